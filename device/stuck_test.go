package device_test

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dominion/device"
	"dominion/topics"
)

// TestAMakefileThatDoesNotEndIsToldSo holds that nothing which a Makefile lets
// go of while make reads it can keep the agent waiting.
func TestAMakefileThatDoesNotEndIsToldSo(t *testing.T) {
	t.Parallel()
	// Before it has got away it is found by its START_ID, and ended.
	h := newHome(t, map[string]string{"bad": "x := $(shell setsid env -i sh -c 'echo $$$$ > pid; exec sleep 1000' >/dev/null & until [ -s pid ]; do sleep 0.01; done)\nstart:\n\t@sleep 1000\n"})
	h.cfg.Timing.Start = 3 * time.Second
	h.cfg.Timing.Backoff = device.Backoff{First: time.Hour, Cap: time.Hour} // each try lets go of another
	leftAlone := h.beside()
	h.Cleanup(func() { _ = syscall.Kill(h.pid("bad/pid"), syscall.SIGKILL) })
	h.too("bad", run("1"))
	if s := h.why("bad", topics.StartFailed); !strings.Contains(s.Why.Text, "more than 3s") {
		t.Errorf("why %+v", s.Why)
	}
	leftAlone()
	h.finish(nil)
}

// TestAPromiseDuringABuildCostsNothing holds that the agent rests while a
// command waits for a build that takes long.
func TestAPromiseDuringABuildCostsNothing(t *testing.T) {
	t.Parallel()
	var turns atomic.Int64
	h := newHome(t, map[string]string{"lamp": "build:\n\t@[ ! -e slow ] || sleep 1000\n" + stays})
	h.cfg.Turned = func() { turns.Add(1) }
	h.cfg.Timing.Stop, h.cfg.Timing.Start = 50*time.Millisecond, 5*time.Second
	h.begin()
	h.connect()
	h.want(one("lamp", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 0.05, Timeout: 5}}))
	h.ready("lamp")
	h.write("lamp/slow", "")
	h.want(one("lamp", topics.Wanted{Run: true, Rev: "2", Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 0.05, Timeout: 0.1}}))
	h.phase("lamp", topics.PhaseBuilding)
	h.request("r1", "restart", "lamp")
	h.replies("r1", topics.Accepted)
	<-time.After(5500 * time.Millisecond) // more than the time that a promise has here
	before := turns.Load()
	<-time.After(time.Second)
	if n := turns.Load() - before; n > 100 {
		t.Errorf("%d turns in a second", n)
	}
}

// TestWhatWasPromisedIsAnsweredBeforeTheEnd holds that a command which waits for
// a service is answered when its agent ends.
func TestWhatWasPromisedIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: topics.ReadyTopic}}))
	h.phase("lamp", topics.PhaseStarting)
	h.request("r1", "restart", "lamp")
	h.replies("r1", topics.Accepted)
	h.finish(nil)
	if r := h.replies("r1", topics.Accepted, topics.Failed)[1]; r.Why == nil || r.Why.Code != topics.DomainStopped {
		t.Errorf("reply %+v", r)
	}
}
