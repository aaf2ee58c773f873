package pidof_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"dominion/device/outside"
	"dominion/device/pidof"
)

// program is a program of a name that no other process of the machine has.
func program(t *testing.T, name string) string {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	return cmd
}

func TestAProcessIsFoundByItsName(t *testing.T) {
	if !pidof.Available() {
		t.Skip("no /proc here")
	}
	const name = "mosquitto-pidof-test" // longer than the kernel keeps
	path := program(t, name)
	first := run(t, path, "1000")
	run(t, path, "1000")
	script := filepath.Join(t.TempDir(), "blinds-pidof.sh")
	if err := os.WriteFile(script, []byte("sleep 1000; :\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := run(t, "/bin/sh", script)
	for want, pid := range map[string]int{name: first.Process.Pid, "blinds-pidof.sh": shell.Process.Pid} {
		s, err := pidof.Look(want)
		if err != nil || s.Stage != outside.Up || s.PID != pid || s.Since.IsZero() {
			t.Errorf("%s, which is %d: %+v, %v", want, pid, s, err)
		}
	}
	if got := pidof.Name(first.Process.Pid); got != name {
		t.Errorf("its name is %q", got)
	}
	if s, err := pidof.Look("nobody-has-this-name"); err != nil || s.Stage != outside.Missing {
		t.Errorf("nobody: %+v, %v", s, err)
	}
}

func TestAProcessIsWatched(t *testing.T) {
	if !pidof.Available() {
		t.Skip("no /proc here")
	}
	const name = "watched-pidof"
	path := program(t, name)
	first := run(t, path, "1000")
	states, over := make(chan outside.State, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(over)
		pidof.Watch(ctx, name, func(s outside.State, err error) {
			if err != nil {
				t.Error(err)
			}
			states <- s
		})
	}()
	defer func() { cancel(); <-over }()
	if s := <-states; s.Stage != outside.Up || s.PID != first.Process.Pid {
		t.Fatalf("at first %+v", s)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	if s := <-states; s.Stage != outside.Missing {
		t.Fatalf("after its end %+v", s)
	}
	second := run(t, path, "1000")
	if s := <-states; s.Stage != outside.Up || s.PID != second.Process.Pid {
		t.Fatalf("started again %+v", s)
	}
}
