// Package systemdtest is a service manager for tests: it speaks real D-Bus, on
// a bus of its own, and its units are what the test says.
package systemdtest

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

const (
	busName = "org.freedesktop.systemd1"
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
)

// Unit is what a manager says of a unit, on both of its interfaces.
type Unit map[string]any

// Active is a unit that runs.
func Active(pid int) Unit {
	return Unit{"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": uint32(pid), "Result": "success", "ActiveEnterTimestamp": uint64(1767225600000000)}
}

// Inactive is one that was stopped.
func Inactive() Unit {
	return Unit{"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "MainPID": uint32(0), "Result": "success", "ExecMainCode": int32(1), "ExecMainStatus": int32(0)}
}

// Failed is one whose main process exited with a code.
func Failed(code int) Unit {
	return Unit{"LoadState": "loaded", "ActiveState": "failed", "SubState": "failed", "MainPID": uint32(0), "Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(code)}
}

// Manager is the manager. Start and Stop are what StartUnit and StopUnit do to
// a unit: by default it becomes Active(1) or Inactive().
type Manager struct {
	// Address is that of its bus, for DBUS_SYSTEM_BUS_ADDRESS.
	Address     string
	Start, Stop func(unit string) Unit

	t       testing.TB
	conn    *dbus.Conn
	mu      sync.Mutex // guards all below
	units   map[string]Unit
	calls   []string
	refuses bool
}

// busConfig lets everybody do everything on a bus for one test.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`

// New starts a bus and a manager on it. The test is skipped where dbus-daemon
// is not installed.
func New(t testing.TB) *Manager {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed (apt install dbus)")
	}
	dir, err := os.MkdirTemp("", "bus") // t.TempDir() is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, filepath.Join(dir, "socket")), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--config-file="+config, "--nofork", "--print-address")
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{Address: strings.TrimSpace(address), t: t, units: map[string]Unit{}}
	m.Start = func(string) Unit { return Active(1) }
	m.Stop = func(string) Unit { return Inactive() }
	m.serve()
	return m
}

func (m *Manager) serve() {
	m.t.Helper()
	conn, err := dbus.Connect(m.Address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	m.conn = conn
	if err := conn.Export(methods{m}, object, busName+".Manager"); err != nil {
		m.t.Fatal(err)
	}
	if reply, err := conn.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		m.t.Fatalf("request the name: %v %v", reply, err)
	}
}

// Set makes a unit what it is now, and tells who listens.
func (m *Manager) Set(name string, unit Unit) {
	m.t.Helper()
	m.mu.Lock()
	_, known := m.units[name]
	m.units[name] = maps.Clone(unit)
	m.mu.Unlock()
	path := pathOf(name)
	if !known {
		if err := m.conn.Export(properties{m, name}, path, "org.freedesktop.DBus.Properties"); err != nil {
			m.t.Error(err)
		}
	}
	changed := map[string]dbus.Variant{"ActiveState": dbus.MakeVariant(unit["ActiveState"])}
	if err := m.conn.Emit(path, "org.freedesktop.DBus.Properties.PropertiesChanged", busName+".Unit", changed, []string{}); err != nil {
		m.t.Error(err)
	}
}

// Refuse has starting and stopping refused, as to an ordinary user.
func (m *Manager) Refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses = true
}

// Calls are the orders that were given, like "start web.service".
func (m *Manager) Calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// takes keeps an order, unless it is refused.
func (m *Manager) takes(what, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.refuses {
		m.calls = append(m.calls, what+" "+name)
	}
	return !m.refuses
}

// pathOf writes a name as systemd does: sd_bus_path_encode(3).
func pathOf(name string) dbus.ObjectPath {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "_%02x", c)
	}
	return object + "/unit/" + dbus.ObjectPath(b.String())
}

// properties answers for one unit.
type properties struct {
	m    *Manager
	name string
}

// GetAll answers with all of a unit on each of its interfaces.
func (p properties) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	all := map[string]dbus.Variant{}
	for key, value := range p.m.units[p.name] {
		all[key] = dbus.MakeVariant(value)
	}
	return all, nil
}

// methods are those of org.freedesktop.systemd1.Manager.
type methods struct{ m *Manager }

// LoadUnit finds a unit; one that nobody knows is there too, as not found.
func (s methods) LoadUnit(name string) (dbus.ObjectPath, *dbus.Error) {
	s.m.mu.Lock()
	_, known := s.m.units[name]
	s.m.mu.Unlock()
	if !known {
		s.m.Set(name, Unit{"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"})
	}
	return pathOf(name), nil
}

// Subscribe has signals sent.
func (s methods) Subscribe() *dbus.Error { return nil }

func (s methods) order(what, name string, unit func(string) Unit) (dbus.ObjectPath, *dbus.Error) {
	if !s.m.takes(what, name) {
		return "/", dbus.NewError("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", []any{"Interactive authentication required."})
	}
	s.m.Set(name, unit(name))
	return "/org/freedesktop/systemd1/job/1", nil
}

// StartUnit starts a unit.
func (s methods) StartUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	return s.order("start", name, s.m.Start)
}

// StopUnit stops a unit.
func (s methods) StopUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	return s.order("stop", name, s.m.Stop)
}

// KillUnit kills a unit.
func (s methods) KillUnit(name, _ string, _ int32) *dbus.Error {
	_, err := s.order("kill", name, func(string) Unit { return Failed(137) })
	return err
}

// Listed is a row of ListUnits.
type Listed struct {
	Name, About, Load, Active, Sub, Following string
	Path                                      dbus.ObjectPath
	Job                                       uint32
	JobType                                   string
	JobPath                                   dbus.ObjectPath
}

// ListUnits lists all units.
func (s methods) ListUnits() ([]Listed, *dbus.Error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var all []Listed
	for _, name := range slices.Sorted(maps.Keys(s.m.units)) {
		u := s.m.units[name]
		text := func(key string) string { v, _ := u[key].(string); return v }
		all = append(all, Listed{Name: name, About: text("Description"), Load: text("LoadState"), Active: text("ActiveState"), Sub: text("SubState"), Path: pathOf(name), JobPath: "/"})
	}
	return all, nil
}
