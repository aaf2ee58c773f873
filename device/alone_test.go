package device_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dominion/device"
	"dominion/topics"
)

// TestPlanAlone is what a machine does that boots while no leader is heard with
// a service whose dependency was on another machine.
func TestPlanAlone(t *testing.T) {
	at := topics.Target{Host: "192.168.1.7", Port: 8080}
	hard := topics.Wanted{Run: true, Rev: "1", Dependencies: []topics.Service{"web"}, Endpoints: map[topics.Service]topics.Target{"web": at}}
	soft := hard
	soft.Soft = []topics.Service{"web"}
	nowhere := hard
	nowhere.Endpoints = nil
	for _, c := range []struct {
		name   string
		want   topics.Wanted
		alone  *device.Alone
		starts bool
	}{
		{"with a leader", hard, nil, true},
		{"nothing was heard yet", hard, &device.Alone{}, false},
		{"it answers", hard, &device.Alone{Echoes: map[topics.Target]device.Echo{at: device.Welcome}}, true},
		{"nothing listens yet", hard, &device.Alone{Echoes: map[topics.Target]device.Echo{at: device.Refusal}}, false},
		{"nothing listens for long", hard, &device.Alone{Long: true, Echoes: map[topics.Target]device.Echo{at: device.Refusal}}, true},
		{"its machine is not there", hard, &device.Alone{Long: true}, false},
		{"its machine is not there, and need not be yet", soft, &device.Alone{}, false},
		{"its machine is not there, and need not be", soft, &device.Alone{Long: true}, true},
		{"it was nowhere", nowhere, &device.Alone{}, true},
	} {
		plan := device.Plan(device.Input{
			Wanted: one("lamp", c.want), Have: map[topics.Service]device.Have{"lamp": {Phase: topics.PhaseStopped}}, Alone: c.alone,
		})
		if len(plan) != 1 || (plan[0].Do == device.Start) != c.starts {
			t.Errorf("%s: %+v", c.name, plan)
		}
		if !c.starts && !strings.Contains(plan[0].Why.Text, "web, which was at 192.168.1.7:8080") {
			t.Errorf("%s: why %+v", c.name, plan[0].Why)
		}
	}
}

// TestBootsAloneInOrder holds that a machine that comes back before the others
// waits for what it needs of them, without a leader or a broker.
func TestBootsAloneInOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := topics.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
	want := run("1")
	want.Dependencies, want.Endpoints = []topics.Service{"web"}, map[topics.Service]topics.Target{"web": at}

	h := newHome(t, map[string]string{"lamp": stays, "clock": stays})
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{"lamp": want, "clock": run("1")})
	h.ready("lamp")
	h.ready("clock")
	h.finish(device.ErrStopServices) // as a power cut: all is gone but the disk
	l.Close()

	h.begin()
	h.eventually("clock runs", func() bool { return alive(h.pid("clock/pid")) })
	pid := h.pid("lamp/pid")
	if alive(pid) {
		t.Fatal("lamp runs without what it needs")
	}
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer l.Close()
	h.eventually("lamp runs too", func() bool { return alive(h.pid("lamp/pid")) })
}

// TestALeaderEndsTheWaiting holds that it is the leader's document that counts
// once one is heard.
func TestALeaderEndsTheWaiting(t *testing.T) {
	want := run("1")
	want.Dependencies, want.Endpoints = []topics.Service{"web"}, map[topics.Service]topics.Target{"web": {Host: "127.0.0.1", Port: 1}}
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", want))
	h.ready("lamp")
	h.finish(device.ErrStopServices)
	h.begin()
	time.Sleep(3 * h.cfg.Timing.Boot)
	if h.file("lamp/pid") != "" && alive(h.pid("lamp/pid")) {
		t.Fatal("lamp runs without what it needs")
	}
	h.connect()
	h.ready("lamp")
}

// TestHalfAWrittenDocument holds that a machine whose card lost what it wrote
// last does what it was told before.
func TestHalfAWrittenDocument(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": stays, "clock": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.want(map[topics.Service]topics.Wanted{"lamp": run("1"), "clock": run("1")})
	h.ready("clock")
	h.finish(device.ErrStopServices)
	path := filepath.Join(h.cfg.DataDir, "desired.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"cut": whole[:len(whole)/2], "zeros": make([]byte, len(whole)), "empty": nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		before := h.pid("lamp/pid")
		h.begin()
		h.eventually(name+": lamp runs", func() bool { return h.pid("lamp/pid") != before && alive(h.pid("lamp/pid")) })
		h.finish(device.ErrStopServices)
	}
}

// TestPlanDoesWithout is a dependency on the same machine that the service would
// rather wait for: as long as it may still come.
func TestPlanDoesWithout(t *testing.T) {
	want := topics.Wanted{Run: true, Rev: "1", Dependencies: []topics.Service{"web"}, Soft: []topics.Service{"web"}}
	later := time.Now().Add(time.Minute)
	for name, c := range map[string]struct {
		web    device.Have
		starts bool
	}{
		"it starts":                    {device.Have{Phase: topics.PhaseStarting}, false},
		"it is about to be started":    {device.Have{Phase: topics.PhaseStopped}, false},
		"it waits for another":         {device.Have{Phase: topics.PhaseWaiting}, false},
		"it is ready":                  {device.Have{Phase: topics.PhaseRunning, Ready: true}, true},
		"it failed":                    {device.Have{Phase: topics.PhaseBackoff, Next: later}, true},
		"it fails again and again":     {device.Have{Phase: topics.PhaseCrashloop, Next: later}, true},
		"there is nothing to start it": {device.Have{Phase: topics.PhaseBackoff, Missing: true}, true},
		"it has ended for good":        {device.Have{Phase: topics.PhaseStopped, Over: true, Rev: "1"}, true},
	} {
		plan := device.Plan(device.Input{
			Now:    time.Now(),
			Wanted: map[topics.Service]topics.Wanted{"lamp": want, "web": {Run: true, Rev: "1"}},
			Have:   map[topics.Service]device.Have{"lamp": {Phase: topics.PhaseStopped}, "web": c.web},
		})
		starts := slices.ContainsFunc(plan, func(a device.Action) bool { return a.Service == "lamp" && a.Do == device.Start })
		if starts != c.starts {
			t.Errorf("%s: starts %v: %+v", name, starts, plan)
		}
	}
}
