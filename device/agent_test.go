package device_test

import (
	"strings"
	"testing"

	"dominion/device"
	"dominion/topics"
)

func TestServiceLives(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": "build:\n\t@echo built >> built\n" + stays})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	s := h.ready("lamp")
	if s.Phase != topics.PhaseRunning || s.Rev != "1" || s.Host != "127.0.0.1" || s.Port == 0 || s.PID == 0 || s.Start == "" || s.Sid != sid || s.Gen != 1 || s.Term != 1 || s.Why != nil {
		t.Errorf("state %+v", s)
	}
	if h.file("lamp/built") != "built" {
		t.Error("make build did not run before make start")
	}
	pid := h.pid("lamp/pid")
	if !alive(pid) {
		t.Fatalf("its process %d does not run", pid)
	}
	why := &topics.Why{Code: topics.StoppedByPerson, Text: "stopped by anna"}
	h.want(one("lamp", topics.Wanted{Run: false, Rev: "1", Why: why}))
	if s := h.phase("lamp", topics.PhaseStopped); s.Why == nil || *s.Why != *why || s.Ready || s.PID != 0 {
		t.Errorf("state %+v", s)
	}
	if alive(pid) {
		t.Errorf("process %d is alive though the service is reported stopped", pid)
	}
}

// An agent that may stop only what is its own keeps what it adopted.
func TestEndStopsWhatThisRunStarted(t *testing.T) {
	h := newHome(t, map[string]string{"web": stays, "lamp": stays})
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{"web": run("1")})
	h.ready("web")
	h.finish(nil)
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{"web": run("1"), "lamp": run("1")})
	h.ready("lamp")
	web, lamp := h.pid("web/pid"), h.pid("lamp/pid")
	h.finish(device.ErrStopStarted)
	if !alive(web) {
		t.Error("the adopted service ended with its agent")
	}
	if alive(lamp) {
		t.Error("the service that this run started outlived it")
	}
	h.begin()
	h.connect()
	h.ready("web")
	h.finish(device.ErrStopServices)
}

func TestEndKeepsOrStopsServices(t *testing.T) {
	h := newHome(t, map[string]string{"web": stays, "lamp": stays})
	h.begin()
	h.connect()
	lamp := run("1")
	lamp.Dependencies = []topics.Service{"web"}
	h.want(map[topics.Service]topics.Wanted{"web": run("1"), "lamp": lamp})
	web := h.ready("web")
	h.ready("lamp")
	pid := h.pid("lamp/pid")
	h.finish(nil)
	if p := h.presence(); p.State != topics.Stopped || p.Services != topics.ServicesKept {
		t.Errorf("presence %+v", p)
	}
	if !alive(pid) {
		t.Fatal("the service ended with its agent")
	}

	h.begin()
	h.connect()
	if s := h.ready("web"); s.Start != web.Start || s.PID != web.PID || s.Port != web.Port {
		t.Errorf("adopted %+v, was %+v", s, web)
	}
	h.finish(device.ErrStopServices)
	if p := h.presence(); p.State != topics.Stopped || p.Services != topics.ServicesStopped {
		t.Errorf("presence %+v", p)
	}
	if alive(pid) {
		t.Error("the service outlived the end that was to stop it")
	}
	var order []string
	for _, m := range h.wire.all() {
		a, err := space.Parse(m.Topic)
		if err == nil && a.Kind == "service" && decoded[topics.ServiceState](t, m.Payload).Phase == topics.PhaseStopped {
			order = append(order, a.Subject)
		}
	}
	if got := strings.Join(order, " "); got != "lamp web" {
		t.Errorf("stopped in the order %q, want dependents first", got)
	}
	if n := len(h.starts("web")); n != 1 {
		t.Errorf("web was started %d times", n)
	}
}
