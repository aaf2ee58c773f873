//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a program that a test started. It leads a process group of its
// own, which is killed when the test is over; the kernel kills it when the test
// itself is killed.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	output string        // file with its standard output and error
	ended  chan struct{} // closed once it has ended
}

// start runs cmd. What it prints goes to a file and is shown if the test fails.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	name := filepath.Base(cmd.Path)
	file, err := os.CreateTemp(t.TempDir(), name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &process{t: t, cmd: cmd, output: file.Name(), ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = file
	}
	cmd.Stderr = file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v printed:\n%s", cmd.Args, tail(p.output, 40))
		}
	})
	return p
}

// alive says whether it still runs.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop sends SIGTERM to the process itself and waits for its end.
func (p *process) stop(limit time.Duration) {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.awaitEnd(limit)
}

// awaitEnd waits for its end and returns the exit status, -1 after a signal.
func (p *process) awaitEnd(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("%v: still running after %v", p.cmd.Args, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends its process group with SIGKILL.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
