package main

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheAgentIsMeasured(t *testing.T) {
	for _, file := range []string{"/proc/self/io", "/proc/self/smaps_rollup"} {
		if _, err := os.Stat(file); err != nil {
			t.Skip("what a process costs is read from /proc:", err)
		}
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	tiny := size{services: []int{0, 5}, idle: 50 * time.Millisecond, calm: 2 * time.Second, rounds: 1, alone: true}
	got, _, err := measure(t.Context(), tiny, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"memory, 0", "its share, 0", "processor, 0", "wakes, 0", "written, 0", "sent, 0",
		"memory, 5", "its share, 5", "processor, 5", "wakes, 5", "written, 5", "sent, 5",
		"restart, 5", "restart, 5, told", "restart by make, 5", "restart by make, 5, told", "written for a crash, 5",
	}
	if diff := cmp.Diff(want, got.Lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for _, line := range []string{"memory, 0", "restart, 5", "restart by make, 5, told"} {
		if v := got.Values(line, 0); len(v) != 1 || v[0] <= 0 {
			t.Errorf("%s: %v, want one figure", line, v)
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-rounds", "17"}, {"-idle", "0s"}, {"-idle", "2h"}, {"-idle", "5"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
