package systemd_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"dominion/device/outside"
	"dominion/device/process"
	"dominion/device/systemd"
	"dominion/device/systemd/systemdtest"
)

const unit = "zigbee2mqtt.service"

// system is the manager that a test's own bus has.
func system(t *testing.T) (*systemdtest.Manager, systemd.Manager) {
	t.Helper()
	fake := systemdtest.New(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", fake.Address)
	t.Setenv("XDG_RUNTIME_DIR", "")
	all := systemd.Managers()
	if len(all) != 1 {
		t.Fatalf("managers %v", all)
	}
	return fake, all[0]
}

// watch has the stages of a unit come in a channel.
func watch(t *testing.T, m systemd.Manager) <-chan outside.State {
	t.Helper()
	states := make(chan outside.State, 100)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		m.Watch(ctx, unit, func(s outside.State, err error) {
			if err == nil {
				states <- s
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-over })
	return states
}

// until waits for a state of the stage.
func until(t *testing.T, states <-chan outside.State, stage outside.Stage) outside.State {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case s := <-states:
			if s.Stage == stage {
				return s
			}
		case <-late:
			t.Fatalf("never %s", stage)
		}
	}
}

func TestAUnitIsWatchedStartedAndStopped(t *testing.T) {
	fake, m := system(t)
	fake.Set(unit, systemdtest.Inactive())
	states := watch(t, m)
	until(t, states, outside.Down)
	if err := m.Start(t.Context(), unit); err != nil {
		t.Fatal(err)
	}
	if s := until(t, states, outside.Up); s.PID != 1 || s.Since.IsZero() {
		t.Errorf("it runs: %+v", s)
	}
	fake.Set(unit, systemdtest.Failed(3))
	want := outside.State{Stage: outside.Failed, Says: "failed: it exited with code 3", Exit: process.Exit{Known: true, Code: 3}}
	if diff := cmp.Diff(want, until(t, states, outside.Failed)); diff != "" {
		t.Error(diff)
	}
	if err := m.Start(t.Context(), unit); err != nil {
		t.Fatal(err)
	}
	until(t, states, outside.Up)
	if err := m.Stop(t.Context(), unit); err != nil {
		t.Fatal(err)
	}
	until(t, states, outside.Down)
	if diff := cmp.Diff([]string{"start " + unit, "start " + unit, "stop " + unit}, fake.Calls()); diff != "" {
		t.Error(diff)
	}
}

// job is the property Job: (uo).
type job struct {
	ID   uint32
	Path dbus.ObjectPath
}

func TestWhatSystemdSaysIsUnderstood(t *testing.T) {
	fake, m := system(t)
	with := func(u systemdtest.Unit, pairs ...any) systemdtest.Unit {
		for i := 0; i < len(pairs); i += 2 {
			u[pairs[i].(string)] = pairs[i+1]
		}
		return u
	}
	for name, c := range map[string]struct {
		unit  systemdtest.Unit
		stage outside.Stage
		says  string
		exit  process.Exit
	}{
		"it starts":              {with(systemdtest.Active(7), "ActiveState", "activating", "SubState", "start-pre"), outside.Starting, "being started", process.Exit{}},
		"it waits for its turn":  {with(systemdtest.Inactive(), "Job", job{5, "/job/5"}), outside.Starting, "its turn", process.Exit{Known: true}},
		"it is started again":    {with(systemdtest.Failed(1), "ActiveState", "activating", "SubState", "auto-restart"), outside.Again, "started again by systemd: it exited with code 1", process.Exit{Known: true, Code: 1}},
		"it stops":               {with(systemdtest.Active(7), "ActiveState", "deactivating", "SubState", "stop-sigterm"), outside.Stopping, "stop-sigterm", process.Exit{}},
		"it reloads":             {with(systemdtest.Active(7), "ActiveState", "reloading"), outside.Up, "", process.Exit{}},
		"a signal killed it":     {with(systemdtest.Failed(11), "Result", "core-dump", "ExecMainCode", int32(3)), outside.Failed, "it crashed", process.Exit{Known: true, Signal: syscall.SIGSEGV}},
		"somebody killed it":     {with(systemdtest.Failed(9), "Result", "signal", "ExecMainCode", int32(2)), outside.Failed, "ended by SIGKILL", process.Exit{Known: true, Signal: syscall.SIGKILL}},
		"memory was used up":     {with(systemdtest.Failed(9), "Result", "oom-kill", "ExecMainCode", int32(2)), outside.Failed, "no memory left", process.Exit{Known: true, Signal: syscall.SIGKILL}},
		"its program is missing": {systemdtest.Failed(203), outside.Failed, "its program cannot be run", process.Exit{Known: true, Code: 203}},
		"it is masked":           {with(systemdtest.Inactive(), "LoadState", "masked"), outside.Down, "masked", process.Exit{Known: true}},
		"nobody knows it":        {systemdtest.Unit{"LoadState": "not-found", "ActiveState": "inactive"}, outside.Missing, "no unit", process.Exit{}},
		"says what it does":      {with(systemdtest.Active(7), "StatusText", "12 devices"), outside.Up, "", process.Exit{}},
	} {
		fake.Set(unit, c.unit)
		s, err := m.Look(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		if s.Stage != c.stage || !strings.Contains(s.Says, c.says) || s.Exit != c.exit {
			t.Errorf("%s: %+v", name, s)
		}
		if name == "says what it does" && s.Said != "12 devices" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestWhoMayNotStartUnitsReadsSo(t *testing.T) {
	fake, m := system(t)
	fake.Set(unit, systemdtest.Inactive())
	fake.Refuse()
	if err := m.Start(t.Context(), unit); !errors.Is(err, systemd.ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func TestAListLeavesTheSystemsOwnOut(t *testing.T) {
	fake, m := system(t)
	for _, name := range []string{"zigbee2mqtt.service", "systemd-journald.service", "dbus.service", "getty@tty1.service", "mosquitto.service", "apt-daily.timer"} {
		fake.Set(name, systemdtest.Active(1))
	}
	fake.Set("stopped.service", systemdtest.Inactive())
	all, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"mosquitto.service", "zigbee2mqtt.service"}, names); diff != "" {
		t.Error(diff)
	}
}
