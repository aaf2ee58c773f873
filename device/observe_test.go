package device_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dominion/device"
	"dominion/device/systemd/systemdtest"
	"dominion/topics"
)

const bridge = "zigbee2mqtt.service"

// newSystemd is a machine with a systemd, whose service.toml files are JSON.
func newSystemd(t *testing.T) (*home, *systemdtest.Manager) {
	t.Helper()
	fake := systemdtest.New(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", fake.Address)
	t.Setenv("XDG_RUNTIME_DIR", "")
	h := newHome(t, nil)
	h.cfg.Timing.Readings = 200 * time.Millisecond
	h.cfg.Timing.Stop = 5 * time.Second
	h.cfg.Manifest = func(path string) (device.Manifest, error) {
		var m device.Manifest
		raw, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		return m, err
	}
	return h, fake
}

func (h *home) manifest(service string, m device.Manifest) {
	h.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		h.Fatal(err)
	}
	path := filepath.Join(h.cfg.ServicesDir, service, "service.toml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		h.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.Fatal(err)
	}
}

// until waits for a state of a service.
func (h *home) until(what string, service topics.Service, is func(topics.ServiceState) bool) topics.ServiceState {
	h.Helper()
	h.eventually(what, func() bool { return is(h.state(service)) })
	return h.state(service)
}

func TestAUnitIsObservedAndLeftAlone(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Active(4242))
	h.manifest("zigbee", device.Manifest{Unit: bridge, Port: 8099})
	h.begin()
	h.connect()
	s := h.until("it is seen", "zigbee", func(s topics.ServiceState) bool { return s.Ready })
	if !s.Observed || s.Runner != "systemd" || s.PID != 4242 || s.Port != 8099 || s.Host == "" || s.Phase != topics.PhaseRunning || s.Why != nil || s.Since != "2026-01-01T00:00:00Z" {
		t.Errorf("state %+v", s)
	}
	info := decoded[topics.Info](t, h.last(space.Info(attic)).Payload)
	if !slices.Contains(info.Runners, "systemd") {
		t.Errorf("runners %v", info.Runners)
	}
	if _, there := info.Services["zigbee"]; !there {
		t.Errorf("services %v", info.Services)
	}

	fake.Set(bridge, systemdtest.Failed(3))
	s = h.until("its failure is seen", "zigbee", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseStopped })
	if s.Why == nil || s.Why.Code != topics.Exited || !strings.Contains(s.Why.Text, "exited with code 3") || s.Exit == nil || s.Exit.Code != 3 || s.PID != 0 || s.Host != "" {
		t.Errorf("state %+v, why %+v", s, s.Why)
	}

	// Nothing that the house says changes that.
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "1"}))
	s = h.until("the document is refused", "zigbee", func(s topics.ServiceState) bool { return s.Why != nil && s.Why.Code == topics.Observed })
	if !strings.Contains(s.Why.Next, "domain adopt zigbee --own") {
		t.Errorf("why %+v", s.Why)
	}
	h.request("a1", "restart", "zigbee")
	h.eventually("a restart is refused", func() bool {
		r := h.reply("a1")
		return r.Status == topics.Refused && r.Why != nil && r.Why.Code == topics.Observed
	})
	fake.Set(bridge, systemdtest.Active(4243))
	h.until("it runs again", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.PID == 4243 })
	h.finish(device.ErrStopServices)
	if calls := fake.Calls(); len(calls) > 0 {
		t.Errorf("the unit was told to %v", calls)
	}
}

func TestAnObservedServiceThatIsGivenUpIsForgotten(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Active(4242))
	h.manifest("zigbee", device.Manifest{Unit: bridge})
	h.begin()
	h.connect()
	h.until("it is seen", "zigbee", func(s topics.ServiceState) bool { return s.Ready })
	if err := os.RemoveAll(filepath.Join(h.cfg.ServicesDir, "zigbee")); err != nil {
		t.Fatal(err)
	}
	h.eventually("its state is cleared", func() bool { return len(h.last(space.ServiceState(attic, "zigbee")).Payload) == 0 })
	if calls := fake.Calls(); len(calls) > 0 {
		t.Errorf("the unit was told to %v", calls)
	}
}

// TestAnUnreadableManifestChangesNothing holds that the house does not let go of
// what runs while somebody edits what is said of it.
func TestAnUnreadableManifestChangesNothing(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Active(4242))
	fake.Set("hue.service", systemdtest.Active(4243))
	var looks atomic.Int64
	read := h.cfg.Manifest
	h.cfg.Manifest = func(path string) (device.Manifest, error) {
		m, err := read(path)
		if err != nil {
			looks.Add(1)
		}
		return m, err
	}
	h.manifest("zigbee", device.Manifest{Unit: bridge, Own: true, Version: "1.2.0"})
	h.manifest("hue", device.Manifest{Unit: "hue.service"})
	h.begin()
	h.connect()
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "1"}))
	before := h.until("it is taken up", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.Why == nil })
	seen := h.until("it is observed", "hue", func(s topics.ServiceState) bool { return s.Ready && s.Observed })
	said := len(h.wire.all())
	h.write("zigbee/service.toml", "half of")
	h.write("hue/service.toml", "half of")
	h.eventually("it was looked at", func() bool { return looks.Load() >= 6 })
	for _, m := range h.wire.all()[said:] {
		if at, err := space.Parse(m.Topic); err == nil && (at.Kind == "service" || at.Kind == "info") {
			t.Errorf("said %s: %s", m.Topic, m.Payload)
		}
	}
	if now := h.state("zigbee"); now.Start != before.Start {
		t.Errorf("state %+v, was %+v", now, before)
	}
	if now := h.state("hue"); now.PID != seen.PID {
		t.Errorf("state %+v, was %+v", now, seen)
	}
}

func TestAUnitOfTheHousesOwnIsStartedAndStopped(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Inactive())
	h.manifest("zigbee", device.Manifest{Unit: bridge, Own: true})
	h.begin()
	h.connect()
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "1"}))
	s := h.until("it is started", "zigbee", func(s topics.ServiceState) bool { return s.Ready })
	if s.Observed || s.Runner != "systemd" || s.Rev != "1" || s.Start == "" {
		t.Errorf("state %+v", s)
	}
	// Its failure is a failure like any other.
	fake.Set(bridge, systemdtest.Failed(3))
	h.eventually("its end is told", func() bool {
		raw := h.last(space.Occurrence(attic, "exit", "zigbee")).Payload
		return len(raw) > 0 && strings.Contains(decoded[topics.Happening](t, raw).Why.Text, "exited with code 3")
	})
	s = h.until("it is started again", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.Restarts == 1 })
	// The agent's end is none of the unit's; the next agent takes it up.
	h.finish(nil)
	h.begin()
	h.connect()
	h.planner()
	if again := h.until("it is taken up", "zigbee", func(s topics.ServiceState) bool { return s.Ready }); again.Start != s.Start {
		t.Errorf("another start: %+v, was %+v", again, s)
	}
	h.want(one("zigbee", topics.Wanted{Run: false, Rev: "1"}))
	h.until("it is stopped", "zigbee", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseStopped })
	if got := strings.Join(fake.Calls(), ", "); got != "start "+bridge+", start "+bridge+", stop "+bridge {
		t.Errorf("the unit was told to %s", got)
	}
}

func TestWhatRunsAlreadyIsTakenUpWithoutARestart(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Active(4242))
	h.manifest("zigbee", device.Manifest{Unit: bridge})
	h.begin()
	h.connect()
	h.until("it is observed", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.Observed })
	h.manifest("zigbee", device.Manifest{Unit: bridge, Own: true})
	s := h.until("it is the house's", "zigbee", func(s topics.ServiceState) bool { return s.Ready && !s.Observed })
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "7"}))
	h.until("it is wanted", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.Why == nil })
	if now := h.state("zigbee"); now.Start != s.Start || now.Restarts != 0 {
		t.Errorf("state %+v, was %+v", now, s)
	}
	h.manifest("zigbee", device.Manifest{Unit: bridge})
	h.until("it is observed again", "zigbee", func(s topics.ServiceState) bool { return s.Ready && s.Observed })
	if calls := fake.Calls(); len(calls) > 0 {
		t.Errorf("the unit was told to %v", calls)
	}
}

func TestAUnitThatMayNotBeStartedSaysSo(t *testing.T) {
	h, fake := newSystemd(t)
	fake.Set(bridge, systemdtest.Inactive())
	fake.Refuse()
	h.manifest("zigbee", device.Manifest{Unit: bridge, Own: true})
	h.begin()
	h.connect()
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "1"}))
	h.until("it says why", "zigbee", func(s topics.ServiceState) bool {
		return s.Phase == topics.PhaseBackoff && strings.Contains(s.Why.Text, "may not start or stop "+bridge)
	})
}

func TestWithoutItsKeeperAServiceSaysSo(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here")
	}
	h, _ := newSystemd(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "")
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	h.manifest("zigbee", device.Manifest{Unit: bridge, Own: true})
	h.manifest("frigate", device.Manifest{Container: "frigate"})
	h.begin()
	h.connect()
	h.want(one("zigbee", topics.Wanted{Run: true, Rev: "1"}))
	h.until("no systemd", "zigbee", func(s topics.ServiceState) bool {
		return s.Why != nil && strings.Contains(s.Why.Text, "no systemd runs on this machine")
	})
	s := h.until("no engine", "frigate", func(s topics.ServiceState) bool {
		return s.Why != nil && strings.Contains(s.Why.Text, "no Docker or Podman engine is on this machine")
	})
	if !s.Observed || s.Ready {
		t.Errorf("state %+v", s)
	}
	if info := decoded[topics.Info](t, h.last(space.Info(attic)).Payload); slices.Contains(info.Runners, "systemd") || slices.Contains(info.Runners, "docker") {
		t.Errorf("runners %v", info.Runners)
	}
}

func TestAProcessIsObservedByItsName(t *testing.T) {
	h, _ := newSystemd(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	const name = "mosquitto-observed-test"
	raw, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func() *exec.Cmd {
		cmd := exec.Command(path, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	h.manifest("mosquitto", device.Manifest{PIDOf: name, Port: 1883})
	h.begin()
	h.connect()
	s := h.until("it is not there", "mosquitto", func(s topics.ServiceState) bool { return s.Why != nil && s.Why.Code == topics.NotThere })
	if s.Phase != topics.PhaseStopped || !s.Observed || s.Runner != "pid" {
		t.Errorf("state %+v", s)
	}
	first := run()
	h.until("it is found", "mosquitto", func(s topics.ServiceState) bool { return s.Ready && s.PID == first.Process.Pid })
	h.finish(device.ErrStopServices)
	if !alive(first.Process.Pid) {
		t.Fatal("it ended with the agent")
	}
	h.begin()
	h.connect()
	h.until("it is found by the next agent", "mosquitto", func(s topics.ServiceState) bool { return s.Ready && s.PID == first.Process.Pid })
}
