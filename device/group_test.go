package device_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"dominion/device"
	"dominion/device/cgroup"
	"dominion/topics"
)

// escapes is a service that starts a process which leaves its parent, its
// session and its environment, and takes no TERM.
const escapes = `start:
	@echo $$$$ > pid; (setsid env -i sh -c 'trap "" TERM; echo $$$$ > hidden; while :; do sleep 1; done' &); exec sleep 1000
`

// TestNothingEscapes holds that where there are control groups nothing of a
// service outlives it, also when another agent than the one that started it
// stops it.
func TestNothingEscapes(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": escapes})
	own, err := cgroup.FindOwn("dominion-test-device-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	t.Cleanup(func() {
		if err := own.Remove(); err != nil {
			t.Error(err)
		}
	})
	h.cfg.Groups = own
	for _, restarted := range []bool{false, true} {
		h.begin()
		h.connect()
		h.want(one("lamp", run("1")))
		h.ready("lamp")
		pid, hidden := h.pid("lamp/pid"), h.pid("lamp/hidden")
		if restarted {
			h.finish(nil)
			h.begin()
			h.connect()
			h.ready("lamp")
			if h.pid("lamp/pid") != pid {
				t.Error("the next agent started it anew")
			}
		}
		h.want(one("lamp", topics.Wanted{Run: false, Rev: "1"}))
		h.phase("lamp", topics.PhaseStopped)
		if alive(pid) || alive(hidden) {
			t.Errorf("restarted %v: %v, what has hidden %v", restarted, alive(pid), alive(hidden))
			_ = syscall.Kill(hidden, syscall.SIGKILL)
		}
		h.finish(device.ErrStopServices)
		for _, file := range []string{"pid", "hidden"} {
			_ = os.Remove(h.cfg.ServicesDir + "/lamp/" + file)
		}
	}
}
