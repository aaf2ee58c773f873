// Package systemd watches, starts and stops units over D-Bus:
// org.freedesktop.systemd1, https://systemd.io/ and its manual page.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	busName = "org.freedesktop.systemd1"
	manager = busName + ".Manager"
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
)

// ErrNone is returned where no systemd runs.
var ErrNone = errors.New("no systemd runs on this machine")

// ErrNoBus is returned where systemd runs, and only root can speak to it.
var ErrNoBus = errors.New("only root can speak to systemd here: there is no message bus (sudo apt install dbus)")

// Manager is one service manager: the machine's, or this user's own.
type Manager struct {
	User bool // this user's own
	dial func(context.Context) (*dbus.Conn, error)
}

// Managers are those that this user can speak to: for root the machine's, for
// others their own, then the machine's, which they may at least look at.
func Managers() []Manager {
	var all []Manager
	if os.Geteuid() != 0 {
		if dial := userDial(); dial != nil {
			all = append(all, Manager{User: true, dial: dial})
		}
	}
	if dial := systemDial(); dial != nil {
		all = append(all, Manager{dial: dial})
	}
	return all
}

// Available says why this user can speak to no manager; nil: to one at least.
func Available() error {
	all := Managers()
	switch {
	case len(all) == 0:
		return ErrNone
	case os.Geteuid() != 0 && !all[0].User && os.Getenv("DBUS_SYSTEM_BUS_ADDRESS") == "" && !exists("/run/dbus/system_bus_socket"):
		return ErrNoBus
	}
	return nil
}

// systemDial reaches the machine's manager, by its own socket if this is root:
// a small machine has no message bus.
func systemDial() func(context.Context) (*dbus.Conn, error) {
	const private = "/run/systemd/private"
	bus := func(ctx context.Context) (*dbus.Conn, error) { return dbus.ConnectSystemBus(dbus.WithContext(ctx)) }
	if os.Getenv("DBUS_SYSTEM_BUS_ADDRESS") != "" {
		return bus
	}
	if !exists("/run/systemd/system") { // sd_booted(3)
		return nil
	}
	if os.Geteuid() == 0 && exists(private) {
		return func(ctx context.Context) (*dbus.Conn, error) { return direct(ctx, private) }
	}
	return func(ctx context.Context) (*dbus.Conn, error) {
		conn, err := bus(ctx)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoBus
		}
		return conn, err
	}
}

func userDial() func(context.Context) (*dbus.Conn, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if private := filepath.Join(dir, "systemd", "private"); exists(private) {
			return func(ctx context.Context) (*dbus.Conn, error) { return direct(ctx, private) }
		}
	}
	return nil
}

// direct speaks to a manager without a bus between: there is nobody to greet.
func direct(ctx context.Context, socket string) (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil {
		err = wake(ctx, conn)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// wake has the manager read what it was sent. A message that reaches systemd
// (252 at least) in one piece with the end of the authentication lies there
// until more comes: of 40 first calls on a Debian 12, 38 were never answered.
func wake(ctx context.Context, conn *dbus.Conn) error {
	const soon = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ping, done := context.WithTimeout(ctx, soon)
		err := conn.Object(busName, object).CallWithContext(ping, "org.freedesktop.DBus.Peer.Ping", 0).Err
		done()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// UnitName is a unit's whole name: what has no type is a service.
func UnitName(name string) string {
	for _, kind := range []string{".service", ".socket", ".timer", ".target", ".mount", ".path"} {
		if strings.HasSuffix(name, kind) {
			return name
		}
	}
	return name + ".service"
}

// Start has a unit started. It returns once the manager has taken the job.
func (m Manager) Start(ctx context.Context, unit string) error {
	return m.call(ctx, "start", unit, "StartUnit", unit, "replace")
}

// Stop has a unit stopped, as the unit itself says, and not started again.
func (m Manager) Stop(ctx context.Context, unit string) error {
	return m.call(ctx, "stop", unit, "StopUnit", unit, "replace")
}

// Kill ends all processes of a unit at once.
func (m Manager) Kill(ctx context.Context, unit string) error {
	const sigkill = int32(9)
	return m.call(ctx, "kill", unit, "KillUnit", unit, "all", sigkill)
}

func (m Manager) call(ctx context.Context, verb, unit, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, unit, err)
	}
	defer conn.Close()
	if err := conn.Object(busName, object).CallWithContext(ctx, manager+"."+method, 0, args...).Err; err != nil {
		return m.refusal(verb, unit, err)
	}
	return nil
}

// ErrRefused is returned for what this user may not do.
var ErrRefused = errors.New("systemd does not let this user do that")

// refusal says what a manager's error means.
func (m Manager) refusal(verb, unit string, err error) error {
	var said dbus.Error
	if !errors.As(err, &said) {
		return fmt.Errorf("%s %s: %w", verb, unit, err)
	}
	switch said.Name {
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "org.freedesktop.DBus.Error.AuthFailed":
		return fmt.Errorf("%s %s: %w", verb, unit, ErrRefused)
	}
	return fmt.Errorf("%s %s: %w", verb, unit, said)
}
