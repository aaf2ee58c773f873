// Package cgroup gives each run of a service a control group of its own
// (Linux, version 2; Documentation/admin-guide/cgroup-v2.rst): nothing that a
// service starts can leave it, all of it is found and killed at once, and what
// it takes can be limited.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Limits are what a group may take; zero is no limit.
type Limits struct {
	Memory uint64  // bytes
	CPU    float64 // cores
}

// Maker makes groups.
type Maker interface {
	// Place makes a group for one start of a service and puts a process into it,
	// which has not started another yet. It returns the group's path. An error
	// beside a path says that its limits do not hold.
	Place(ctx context.Context, service, start string, pid int, l Limits) (path string, err error)
}

// Group is a control group, by its path in the file system.
type Group string

// Processes are all that are in it or in a group below it.
func (g Group) Processes() []int {
	var all []int
	_ = filepath.WalkDir(string(g), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil // one that is removed meanwhile has none
		}
		raw, _ := os.ReadFile(path)
		for _, line := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				all = append(all, pid)
			}
		}
		return nil
	})
	return all
}

// Kill ends all processes at once. Before Linux 5.14 it signals them until none
// is left that forks.
func (g Group) Kill() {
	if os.WriteFile(g.file("cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	for range 100 {
		all := g.Processes()
		for _, pid := range all {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(all) == 0 {
			return
		}
	}
}

// Starved is how many of its processes the kernel killed because memory had run
// out, its own or the machine's.
func (g Group) Starved() int {
	raw, err := os.ReadFile(g.file("memory.events"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			count, _ := strconv.Atoi(strings.TrimSpace(n))
			return count
		}
	}
	return 0
}

// Remove removes a group without processes, and those below it.
func (g Group) Remove() error {
	var dirs []string
	_ = filepath.WalkDir(string(g), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	var bad []error
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...)
}

func (g Group) file(name string) string { return filepath.Join(string(g), name) }

// cpuPeriod is the kernel's usual one, in microseconds.
const cpuPeriod = 100_000

// limit sets what a group may take.
func (g Group) limit(l Limits) error {
	var bad []error
	set := func(file, value string) {
		if err := os.WriteFile(g.file(file), []byte(value), 0); err != nil {
			bad = append(bad, err)
		}
	}
	if l.Memory > 0 {
		set("memory.max", strconv.FormatUint(l.Memory, 10))
		if len(bad) == 0 {
			_ = os.WriteFile(g.file("memory.swap.max"), []byte("0"), 0) // where there is swap
			set("memory.oom.group", "1")
		}
	}
	if l.CPU > 0 {
		set("cpu.max", fmt.Sprintf("%d %d", int64(math.Max(1000, l.CPU*cpuPeriod)), cpuPeriod))
	}
	if len(bad) > 0 {
		return fmt.Errorf("this machine does not let its memory or processor be limited here: %w", errors.Join(bad...))
	}
	return nil
}
