package host_test

import (
	"os"
	"testing"

	"dominion/device/host"
)

func TestRunning(t *testing.T) {
	p, err := host.Running(t.Context(), os.Getpid())
	if err != nil || p.Name == "" || p.Memory == 0 || p.Age <= 0 {
		t.Errorf("this process: %+v, %v", p, err)
	}
	if p, err := host.Running(t.Context(), 1<<30); err == nil {
		t.Errorf("a process that is not: %+v", p)
	}
}
