package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dominion/device/cgroup"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func reads(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestUnified(t *testing.T) {
	const one = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	const both = "25 23 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n34 23 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for text, want := range map[string]string{one: "/sys/fs/cgroup", both: "/sys/fs/cgroup/unified", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n": ""} {
		got, err := cgroup.Unified(write(t, filepath.Join(t.TempDir(), "mountinfo"), text))
		if got != want || (want == "") != errors.Is(err, cgroup.ErrNotPermitted) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestPermission holds that groups are not made where they are systemd's.
func TestPermission(t *testing.T) {
	mount := t.TempDir()
	write(t, filepath.Join(mount, "system.slice", "x"), "")
	if _, err := cgroup.FindIn(mount, "1:cpu:/\n0::/system.slice\n", "dominion", true); !errors.Is(err, cgroup.ErrNotPermitted) || !strings.Contains(err.Error(), "systemd's") {
		t.Errorf("beside systemd: %v", err)
	}
	if _, err := cgroup.FindIn(mount, "1:cpu:/\n", "dominion", false); !errors.Is(err, cgroup.ErrNotPermitted) {
		t.Errorf("without a group of version 2: %v", err)
	}
	own, err := cgroup.FindIn(mount, "0::/system.slice\n", "dominion", false)
	if err != nil || own.Home() != filepath.Join(mount, "system.slice", "dominion") {
		t.Errorf("in a container: %q, %v", own.Home(), err)
	}
	if got := reads(t, filepath.Join(own.Home(), "cgroup.subtree_control")); !strings.HasPrefix(got, "+") {
		t.Errorf("controllers: %q", got)
	}
}

// TestLimits holds what is written; the files are the kernel's otherwise.
func TestLimits(t *testing.T) {
	own, err := cgroup.FindIn(t.TempDir(), "0::/\n", "dominion", false)
	if err != nil {
		t.Fatal(err)
	}
	path, err := own.Place(t.Context(), "lamp", "s1", 4711, cgroup.Limits{Memory: 128 << 20, CPU: 0.5})
	if err != nil || path != filepath.Join(own.Home(), "lamp-s1") {
		t.Fatalf("%q, %v", path, err)
	}
	for file, want := range map[string]string{
		"memory.max": "134217728", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "50000 100000", "pids.max": "4096", "cgroup.procs": "4711",
	} {
		if got := reads(t, filepath.Join(path, file)); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	g := cgroup.Group(path)
	if got := g.Processes(); len(got) != 1 || got[0] != 4711 {
		t.Errorf("processes %v", got)
	}
	if g.Starved() != 0 {
		t.Error("it starved before it lived")
	}
	write(t, filepath.Join(path, "memory.events"), "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n")
	if g.Starved() != 3 {
		t.Errorf("%d were killed for memory", g.Starved())
	}
}

// TestRealGroup makes one where that is permitted.
func TestRealGroup(t *testing.T) {
	own, err := cgroup.FindOwn("dominion-test")
	if err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	path, err := own.Place(t.Context(), "lamp", "s1", os.Getpid(), cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := cgroup.Group(path).Processes(); len(got) != 1 || got[0] != os.Getpid() {
		t.Errorf("processes %v, want this one", got)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "cgroup.procs"), []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if err := own.Remove(); err != nil {
		t.Error(err)
	}
}
