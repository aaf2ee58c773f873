package process_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dominion/device/process"
)

// start runs a shell script as a run of its own and ends what is left of it
// when the test ends.
func start(t *testing.T, script string) (*process.Run, string) {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	id := "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	r, err := process.Start(t.Context(), process.Command{
		Dir: dir, Argv: []string{"/bin/sh", "-c", script}, Env: os.Environ(),
		Start: id, Output: out, Grace: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.End(context.WithoutCancel(t.Context()), r.Identity, id, 0); err != nil {
			t.Error(err)
		}
	})
	return r, dir
}

func wait(t *testing.T, r *process.Run) process.Exit {
	t.Helper()
	select {
	case <-r.Done():
		return r.Exit()
	case <-time.After(10 * time.Second):
		t.Fatal("the run has not ended after 10 s")
		return process.Exit{}
	}
}

// pids waits until the script wrote n pids to the file p, one a line.
func pids(t *testing.T, dir string, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		raw, _ := os.ReadFile(filepath.Join(dir, "p"))
		lines := strings.Fields(string(raw))
		if len(lines) < n {
			continue
		}
		var found []int
		for _, l := range lines {
			pid, err := strconv.Atoi(l)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, pid)
		}
		return found
	}
	t.Fatalf("no %d pids after 10 s", n)
	return nil
}

// alive tells whether a process runs; a zombie does not.
func alive(pid int) bool {
	id, err := process.Identify(pid)
	return err == nil && id.Alive()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 10 s: %s", what)
		}
	}
}

func TestExitIsReal(t *testing.T) {
	for _, c := range []struct {
		script string
		want   process.Exit
	}{
		{"exit 0", process.Exit{Known: true}},
		{"exit 7", process.Exit{Known: true, Code: 7}},
		{"kill -SEGV $$", process.Exit{Known: true, Signal: syscall.SIGSEGV}},
	} {
		r, _ := start(t, c.script)
		if got := wait(t, r); got != c.want {
			t.Errorf("%s: exit %+v, want %+v", c.script, got, c.want)
		}
	}
}

func TestStopEndsEveryProcess(t *testing.T) {
	const child = `sh -c 'trap "" TERM; echo $$ >> p; while :; do sleep 0.1; done' & `
	for name, script := range map[string]string{
		"that obeys":            `echo $$ >> p; sleep 100 & echo $! >> p; wait`,
		"that ignores TERM":     `trap "" TERM; echo $$ >> p; sleep 100 & echo $! >> p; while :; do sleep 0.1; done`,
		"whose child is deaf":   child + `echo $$ >> p; wait`,
		"that left its parent":  child + `echo $$ >> p; exit 0`,
		"that left its session": `setsid sh -c 'echo $$ >> p; sleep 100' & echo $$ >> p; sleep 100`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, dir := start(t, script)
			all := pids(t, dir, 2)
			if err := r.Stop(t.Context(), 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			wait(t, r)
			for _, pid := range all {
				if alive(pid) {
					t.Errorf("process %d of %v is alive after the stop", pid, all)
				}
			}
		})
	}
}

func TestStopReturnsWithItsContext(t *testing.T) {
	r, dir := start(t, `trap "" TERM; echo $$ >> p; while :; do sleep 0.1; done`)
	pids(t, dir, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx, time.Hour); err == nil {
		t.Error("no error though the run still runs")
	}
}

func TestBackgroundKeepsTheRunAlive(t *testing.T) {
	r, dir := start(t, `(echo 0 >> p; sleep 0.4) &`)
	pids(t, dir, 1)
	eventually(t, "the shell has ended", func() bool { return !r.Alive() })
	select {
	case <-r.Done():
		t.Fatal("done while its child runs")
	default:
	}
	if got := wait(t, r); got != (process.Exit{Known: true}) {
		t.Errorf("exit %+v", got)
	}
}

func TestFailureTakesTheRestAlong(t *testing.T) {
	r, dir := start(t, `sleep 100 & echo $! >> p; exit 3`)
	left := pids(t, dir, 1)[0]
	if got := wait(t, r); got.Code != 3 {
		t.Errorf("exit %+v", got)
	}
	if alive(left) {
		t.Error("what it started outlived its failure")
	}
}

func TestAdopt(t *testing.T) {
	unknown := func() process.Exit { return process.Exit{} }
	well := func() process.Exit { return process.Exit{Known: true} }

	t.Run("watches what still runs", func(t *testing.T) {
		r, dir := start(t, `echo $$ >> p; while [ ! -e end ]; do sleep 0.05; done; exit 5`)
		pids(t, dir, 1)
		id := startID(t, r.PID)
		again, ok := process.Adopt(t.Context(), r.Identity, id, time.Second,
			func() process.Exit { return process.Exit{Known: true, Code: 5} })
		if !ok {
			t.Fatal("not adopted")
		}
		if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, again); got.Code != 5 {
			t.Errorf("exit %+v", got)
		}
	})
	t.Run("watches what works in the background", func(t *testing.T) {
		r, dir := start(t, `sleep 100 & echo $! >> p`)
		left := pids(t, dir, 1)[0]
		id := startID(t, left)
		eventually(t, "the shell has ended", func() bool { return !r.Alive() })
		again, ok := process.Adopt(t.Context(), r.Identity, id, time.Second, well)
		if !ok {
			t.Fatal("not adopted")
		}
		if err := again.Stop(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if alive(left) {
			t.Error("alive after the stop")
		}
	})
	t.Run("leaves what is over to End", func(t *testing.T) {
		r, dir := start(t, `trap "" TERM; sleep 100 & echo $! >> p; while :; do sleep 0.1; done`)
		left := pids(t, dir, 1)[0]
		id := startID(t, left)
		if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the shell has ended", func() bool { return !r.Alive() })
		if _, ok := process.Adopt(t.Context(), r.Identity, id, time.Second, unknown); ok {
			t.Fatal("adopted what has no first process")
		}
		if err := process.End(t.Context(), r.Identity, id, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if alive(left) {
			t.Error("alive after the end")
		}
	})
	t.Run("finds what it never learned the pid of", func(t *testing.T) {
		_, dir := start(t, `echo $$ >> p; sleep 100`)
		pid := pids(t, dir, 1)[0]
		if err := process.End(t.Context(), process.Identity{}, startID(t, pid), time.Second); err != nil {
			t.Fatal(err)
		}
		if alive(pid) {
			t.Error("alive after the end")
		}
	})
}

func TestAReusedPidIsAStranger(t *testing.T) {
	r, dir := start(t, `echo $$ >> p; sleep 100`)
	pids(t, dir, 1)
	for name, id := range map[string]process.Identity{
		"began at another time": {PID: r.PID, Began: r.Began + 1, Boot: r.Boot},
		"of another boot":       {PID: r.PID, Began: r.Began, Boot: "another"},
	} {
		if id.Alive() {
			t.Errorf("%s: taken for alive", name)
		}
		if _, ok := process.Adopt(t.Context(), id, "other", time.Second, func() process.Exit { return process.Exit{Known: true} }); ok {
			t.Errorf("%s: adopted", name)
		}
		if err := process.End(t.Context(), id, "other", 0); err != nil {
			t.Fatal(err)
		}
		if !r.Alive() {
			t.Fatalf("%s: a stranger was ended", name)
		}
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	_, err := process.Start(t.Context(), process.Command{Argv: []string{"/nowhere/at/all"}, Start: "x"})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("error %v", err)
	}
}

// startID reads the mark of a process from its environment.
func startID(t *testing.T, pid int) (id string) {
	t.Helper()
	environ := fmt.Sprintf("/proc/%d/environ", pid)
	if _, err := os.Stat(environ); err != nil {
		t.Skip("no /proc on this system")
	}
	eventually(t, "the process has its mark", func() bool { // it has none while it calls exec(2)
		raw, _ := os.ReadFile(environ)
		for _, e := range strings.Split(string(raw), "\x00") {
			if v, ok := strings.CutPrefix(e, process.StartVariable+"="); ok {
				id = v
				return true
			}
		}
		return false
	})
	return id
}

// TestWaitingTakesNoThread holds that an agent is not larger by a thread for
// each of its services.
func TestWaitingTakesNoThread(t *testing.T) {
	threads := func() int {
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Skip("threads are counted in /proc:", err)
		}
		return len(all)
	}
	before := threads()
	const many = 40
	for range many {
		start(t, "exec sleep 1000")
	}
	if more := threads() - before; more > many/2 {
		t.Errorf("%d threads more for %d processes", more, many)
	}
}
