package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain is also the embedded broker, when it is started as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEmbeddedBrokerDoesAllTheWork(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read from /proc:", err)
	}
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	tiny := size{flow: 20 * time.Millisecond, connects: 20 * time.Millisecond, many: 3, idle: 20, retained: 50, perSecond: 200, calm: time.Millisecond}
	brokers := []contestant{embedded()}
	got, err := compete(t.Context(), brokers, works(tiny), 1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range got.Lines() {
		if v := got.Values(line, 0); len(v) != 1 || v[0] <= 0 && !strings.HasPrefix(line, "memory") {
			t.Errorf("%s: got %v, want one figure", line, v)
		}
	}
	if lost := got.Lost(0); lost != 0 {
		t.Errorf("%d messages lost", lost)
	}
	want := []string{
		"memory, idle", "memory for 20 idle clients",
		"1->1 QoS 0", "1->1 QoS 1", "3->1 QoS 0", "3->1 QoS 1", "1->3 QoS 0", "1->3 QoS 1",
		"connects", "latency at 200/s QoS 1, p50", "latency at 200/s QoS 1, p99", "replay of 50 retained",
	}
	if diff := cmp.Diff(want, got.Lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-only", "no such work"}, {"-only", "("}, {"-rounds", "0"}, {"-seconds", "0"}, {"-seconds", "NaN"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
