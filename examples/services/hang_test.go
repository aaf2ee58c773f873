//go:build e2e

package services_test

import (
	"syscall"
	"testing"

	"dominion/topics"
)

// Each is halted, which only its liveness finds out.
func TestTheExamplesAreStartedAnewWhenTheyHang(t *testing.T) {
	h := open(t)
	starts := map[topics.Service]string{}
	for _, name := range examples() {
		h.eventually(string(name)+" is ready", func() bool { s, _ := h.state(name); return s.Ready })
		s, _ := h.state(name)
		starts[name] = s.Start
		if err := syscall.Kill(-s.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range examples() {
		h.eventually(string(name)+" is started anew", func() bool { s, _ := h.state(name); return s.Ready && s.Start != starts[name] })
	}
}
