package systemd

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"dominion/device/outside"
	"dominion/device/process"
)

const (
	// retry is how long a manager that does not answer is left alone.
	retry = time.Second
	// calm is between two looks at a unit that changes all the time.
	calm = 100 * time.Millisecond
	// patience bounds one question.
	patience = 10 * time.Second
)

// Watch tells how a unit is, at once and whenever it changes, until ctx ends.
// An error is told while the manager cannot be asked; it is asked again.
func (m Manager) Watch(ctx context.Context, unit string, tell func(outside.State, error)) {
	for ctx.Err() == nil {
		if err := m.watch(ctx, unit, tell); ctx.Err() == nil {
			tell(outside.State{}, fmt.Errorf("watch %s: %w", unit, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// watch is Watch for as long as one connection holds.
func (m Manager) watch(ctx context.Context, unit string, tell func(outside.State, error)) error {
	conn, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	var path dbus.ObjectPath
	systemd := conn.Object(busName, object)
	if err := call(ctx, systemd, manager+".LoadUnit", unit).Store(&path); err != nil {
		return err
	}
	// Without a bus between there is nobody to ask for matches: all signals come.
	_ = conn.AddMatchSignalContext(ctx, dbus.WithMatchObjectPath(path), dbus.WithMatchInterface("org.freedesktop.DBus.Properties"))
	if err := call(ctx, systemd, manager+".Subscribe").Err; err != nil {
		return err
	}
	for {
		state, err := look(ctx, conn.Object(busName, path))
		if err != nil {
			return err
		}
		tell(state, nil)
		if err := changed(ctx, conn, signals, path); err != nil {
			return err
		}
	}
}

// changed waits until a unit's properties change, and a moment more.
func changed(ctx context.Context, conn *dbus.Conn, signals <-chan *dbus.Signal, path dbus.ObjectPath) error {
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-conn.Context().Done():
			return dbus.ErrClosed
		case s, ok := <-signals:
			if !ok {
				return dbus.ErrClosed
			}
			if s.Path == path && settled == nil {
				settled = time.After(calm)
			}
		case <-settled:
			return nil
		}
	}
}

func call(ctx context.Context, o dbus.BusObject, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return o.CallWithContext(ctx, method, 0, args...)
}

// properties are those of one interface of a unit.
type properties map[string]dbus.Variant

func (p properties) text(key string) string {
	s, _ := p[key].Value().(string)
	return s
}

func (p properties) number(key string) int64 {
	switch n := p[key].Value().(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case uint64:
		return int64(n)
	}
	return 0
}

// job tells whether the manager has something to do for the unit: a number
// and an object, zero for nothing.
func (p properties) job() bool {
	job, _ := p["Job"].Value().([]any)
	if len(job) == 0 {
		return false
	}
	id, _ := job[0].(uint32)
	return id != 0
}

func ask(ctx context.Context, o dbus.BusObject, kind string) (properties, error) {
	p := properties{}
	err := call(ctx, o, "org.freedesktop.DBus.Properties.GetAll", busName+"."+kind).Store(&p)
	return p, err
}

func look(ctx context.Context, o dbus.BusObject) (outside.State, error) {
	unit, err := ask(ctx, o, "Unit")
	if err != nil {
		return outside.State{}, err
	}
	service, err := ask(ctx, o, "Service")
	if _, another := err.(dbus.Error); another { // a timer, a socket
		service, err = properties{}, nil
	}
	return stateOf(unit, service), err
}

// stateOf reads what systemd says of a unit.
func stateOf(unit, service properties) outside.State {
	s := outside.State{
		PID: int(service.number("MainPID")), Said: service.text("StatusText"), Exit: exitOf(service),
		Since: microseconds(unit.number("ActiveEnterTimestamp")),
	}
	result := service.text("Result")
	switch active, sub := unit.text("ActiveState"), unit.text("SubState"); {
	case active == "active", active == "reloading", active == "refreshing":
		s.Stage = outside.Up
	case active == "activating" && sub == "auto-restart", active == "activating" && sub == "auto-restart-queued":
		s.Stage, s.Says = outside.Again, "ended and is started again by systemd"+reason(result, s.Exit)
	case active == "activating":
		s.Stage, s.Says = outside.Starting, "is being started by systemd ("+sub+")"
	case active == "deactivating":
		s.Stage, s.Says = outside.Stopping, "is being stopped ("+sub+")"
	case unit.job():
		s.Stage, s.Says = outside.Starting, "waits for its turn in systemd"
	case active == "failed":
		s.Stage, s.Says = outside.Failed, "failed"+reason(result, s.Exit)
	case unit.text("LoadState") == "not-found":
		s.Stage, s.Says = outside.Missing, "is no unit that systemd knows"
	case unit.text("LoadState") == "masked":
		s.Stage, s.Says = outside.Down, "is masked: it cannot be started"
	default:
		s.Stage, s.Says = outside.Down, "does not run"
	}
	if !s.Alive() {
		s.PID, s.Since = 0, time.Time{}
	}
	return s
}

func microseconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

// exitOf reads how a unit's main process ended: waitid(2) has the codes.
func exitOf(service properties) process.Exit {
	const exited, killed, dumped = 1, 2, 3
	status := int(service.number("ExecMainStatus"))
	switch service.number("ExecMainCode") {
	case exited:
		return process.Exit{Known: true, Code: status}
	case killed, dumped:
		return process.Exit{Known: true, Signal: syscall.Signal(status)}
	}
	return process.Exit{}
}

// reason is why a unit failed, as systemd.exec(5) and systemd.service(5) have
// it.
func reason(result string, exit process.Exit) string {
	words := map[string]string{
		"timeout": "it took too long", "watchdog": "its watchdog was not fed", "oom-kill": "the machine had no memory left for it",
		"start-limit-hit": "it was started too often; systemctl reset-failed clears that", "resources": "systemd lacked something to start it",
		"core-dump": "it crashed and left a core", "protocol": "it did not say that it is ready as its type promises",
	}
	if text, ok := words[result]; ok {
		return ": " + text
	}
	switch result {
	case "exit-code":
	case "signal":
		return ": it was ended by " + unix.SignalName(exit.Signal)
	default:
		return ""
	}
	own := map[int]string{
		200: "its working directory cannot be entered", 203: "its program cannot be run: not there, or not executable",
		216: "its group does not exist", 217: "its user does not exist", 226: "its namespace cannot be set up",
	}
	return ": " + or(own[exit.Code], fmt.Sprintf("it exited with code %d", exit.Code))
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
