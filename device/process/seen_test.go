package process_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"dominion/device/process"
)

func TestWhoBelongsToARun(t *testing.T) {
	r, dir := start(t, `setsid sh -c 'echo $$ >> p; sleep 60' & echo $$ >> p; wait`)
	id := startID(t, r.PID)
	for _, pid := range pids(t, dir, 2) {
		if ours, err := process.Belongs(pid, r.Identity, id); !ours || err != nil {
			t.Errorf("process %d: %v, %v", pid, ours, err)
		}
	}
	if ours, _ := process.Belongs(os.Getpid(), r.Identity, id); ours {
		t.Error("the test belongs to what it started")
	}
	if _, err := process.Belongs(1<<22+1, r.Identity, id); !errors.Is(err, process.ErrGone) {
		t.Errorf("a process that cannot be: %v", err)
	}
}

func TestAHaltedProcessIsSeen(t *testing.T) {
	r, dir := start(t, `sh -c 'echo $$ >> p; while :; do sleep 0.05; done' & wait`)
	id, child := startID(t, r.PID), pids(t, dir, 1)[0]
	if pid := process.Halted(r.Identity, id); pid != 0 {
		t.Fatalf("process %d is taken for halted", pid)
	}
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child is halted", func() bool { return process.Halted(r.Identity, id) == child })
}
