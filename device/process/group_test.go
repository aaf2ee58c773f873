package process_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dominion/device/cgroup"
	"dominion/device/process"
)

// groups makes control groups of the test's own, where it may.
func groups(t *testing.T) cgroup.Own {
	t.Helper()
	own, err := cgroup.FindOwn("dominion-test-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(rand.Uint64(), 36))
	if err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	t.Cleanup(func() {
		if err := own.Remove(); err != nil {
			t.Error(err)
		}
	})
	return own
}

// startIn is start in a group of its own.
func startIn(t *testing.T, own cgroup.Own, script string) (*process.Run, string) {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	id := "t" + strconv.FormatUint(rand.Uint64(), 36)
	r, err := process.Start(t.Context(), process.Command{
		Dir: dir, Argv: []string{"/bin/sh", "-c", script}, Env: os.Environ(), Start: id, Output: out, Grace: 100 * time.Millisecond,
		Place: func(pid int) string {
			path, err := own.Place(t.Context(), "lamp", id, pid, cgroup.Limits{})
			if err != nil {
				t.Error(err)
			}
			return path
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.End(context.WithoutCancel(t.Context()), r.Identity, id, 0) })
	return r, dir
}

// hides is a process that leaves its group, its session, its parent and its
// environment, and takes no TERM.
const hides = `setsid env -i sh -c 'trap "" TERM; echo $$ >> p; while :; do sleep 1; done' & `

// TestNothingEscapesItsGroup holds that what hides is found, also by the next
// agent, and ended; and that the group is gone with it.
func TestNothingEscapesItsGroup(t *testing.T) {
	own := groups(t)
	for name, end := range map[string]func(r *process.Run, start string) error{
		"stopped": func(r *process.Run, _ string) error { return r.Stop(t.Context(), 50*time.Millisecond) },
		"ended by the next agent": func(r *process.Run, start string) error {
			return process.End(t.Context(), r.Identity, start, 50*time.Millisecond)
		},
		"after its first process failed": func(r *process.Run, _ string) error { return syscall.Kill(r.PID, syscall.SIGKILL) },
	} {
		r, dir := startIn(t, own, "("+hides+") & wait; exec sleep 1000")
		hidden := pids(t, dir, 1)[0]
		if err := end(r, strings.TrimPrefix(filepath.Base(r.Group), "lamp-")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wait(t, r)
		if alive(hidden) {
			t.Errorf("%s: what has hidden lives on", name)
			_ = syscall.Kill(hidden, syscall.SIGKILL)
		}
		if _, err := os.Stat(r.Group); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its group is left: %v", name, err)
		}
	}
}

// TestAnothersGroupIsLeftAlone holds that a ledger which names another's group
// has nobody killed.
func TestAnothersGroupIsLeftAlone(t *testing.T) {
	r, _ := startIn(t, groups(t), "exec sleep 1000")
	if err := process.End(t.Context(), process.Identity{Group: r.Group}, "other", 0); err != nil {
		t.Error(err)
	}
	if _, ok := process.Adopt(t.Context(), process.Identity{Group: r.Group}, "other", 0, func() process.Exit { return process.Exit{Known: true} }); ok {
		t.Error("another's group was adopted")
	}
	if !alive(r.PID) {
		t.Error("another's group was ended")
	}
}

// TestDescendantsAreFound holds that without a group what changed its session
// and its environment is found as long as who started it lives.
func TestDescendantsAreFound(t *testing.T) {
	r, dir := start(t, hides+"while :; do sleep 1; done")
	hidden := pids(t, dir, 1)[0]
	if err := r.Stop(t.Context(), 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	if alive(hidden) {
		t.Error("what has hidden lives on")
		_ = syscall.Kill(hidden, syscall.SIGKILL)
	}
}

// TestGatedStartIsAStart holds that a program behind the gate is the one that
// was asked for: its pid, arguments, environment, input and errors.
func TestGatedStartIsAStart(t *testing.T) {
	own := groups(t)
	r, dir := startIn(t, own, `echo $$ >> p; echo "$0|$1" >> args; cat >> in; [ -e /proc/self/fd/3 ] && echo open >> fd; exit 3`)
	if pid := pids(t, dir, 1)[0]; pid != r.PID {
		t.Errorf("the program has the pid %d, the run %d", pid, r.PID)
	}
	if e := wait(t, r); e.Code != 3 {
		t.Errorf("exit %+v", e)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "fd")); len(raw) > 0 {
		t.Error("the gate is left open")
	}
	for want, argv := range map[string][]string{
		"executable file not found": {"no-such-program"},
		"no such file":              {"./no-such-program"},
		"permission denied":         {"./file"},
		"is a directory":            {"/tmp"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := process.Start(t.Context(), process.Command{Dir: dir, Argv: argv, Start: "x", Place: func(int) string { return "" }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", argv, err, want)
		}
	}
}

// TestNothingSurvives starts and kills trees of processes in any order, a
// hundred times.
func TestNothingSurvives(t *testing.T) {
	own := groups(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	branches := []string{
		"sleep 1000 & ", "(sleep 1000 & sleep 1000) & ", "setsid sleep 1000 & ", "nohup sleep 1000 >/dev/null & ",
		"sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & ", hides, "(" + hides + ") & ",
	}
	var workers sync.WaitGroup
	for worker := range 10 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 10 {
				script := ""
				for range 1 + random.IntN(4) {
					script += branches[random.IntN(len(branches))]
				}
				script += []string{"wait", "exec sleep 1000", "exit 1", "sleep 0.02; exit 0"}[random.IntN(4)]
				r, _ := startIn(t, own, script)
				time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
				if random.IntN(2) == 0 {
					_ = syscall.Kill(r.PID, []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[random.IntN(2)])
				}
				if err := r.Stop(t.Context(), 20*time.Millisecond); err != nil {
					t.Error(err)
				}
				if left := cgroup.Group(r.Group).Processes(); len(left) > 0 {
					t.Errorf("%q leaves %v", script, left)
				}
			}
		})
	}
	workers.Wait()
}
