package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotPermitted is returned where this program may make no groups of its own.
var ErrNotPermitted = errors.New("no control groups of its own")

// Own makes groups below the one that this program is in.
type Own struct{ home string }

// FindOwn finds out where this program may make groups: it is root in a
// container, or its service manager has delegated its own group to it. name
// tells several such programs from one another. What a former one left empty is
// removed.
func FindOwn(name string) (Own, error) {
	mount, err := unified("/proc/self/mountinfo")
	if err != nil {
		return Own{}, err
	}
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return Own{}, err
	}
	return own(mount, string(raw), name, exists("/run/systemd/system"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// unified is where the second version is mounted.
func unified(mountinfo string) (string, error) {
	raw, err := os.ReadFile(mountinfo)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(raw)) {
		before, after, _ := strings.Cut(line, " - ") // proc_pid_mountinfo(5)
		if fields := strings.Fields(before); len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", fmt.Errorf("%w: this kernel, or this container, has no control groups of version 2", ErrNotPermitted)
}

func own(mount, membership, name string, systemd bool) (Own, error) {
	at := ""
	for line := range strings.Lines(membership) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			at = filepath.Join(mount, path)
		}
	}
	switch {
	case at == "":
		return Own{}, ErrNotPermitted
	case systemd && !delegated(at):
		return Own{}, fmt.Errorf("%w: they are systemd's", ErrNotPermitted)
	}
	home := filepath.Join(at, name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return Own{}, fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	if !systemd { // or its manager could not start it again: no process may be beside groups with controllers
		for _, dir := range []string{at, home} {
			for _, controller := range []string{"+memory", "+cpu", "+pids"} {
				_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(controller), 0)
			}
		}
	}
	o := Own{home}
	o.tidy()
	return o, nil
}

// delegated tells whether a service manager has given a group away, as
// systemd.resource-control(5) says of Delegate=. To another user than root it
// gives the folder too, and before systemd 251 root alone could read the mark.
func delegated(at string) bool {
	var stat unix.Stat_t
	if user := os.Geteuid(); user != 0 && unix.Stat(at, &stat) == nil && int(stat.Uid) == user {
		return true
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(at, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// tidy removes what is empty.
func (o Own) tidy() {
	entries, _ := os.ReadDir(o.home)
	for _, e := range entries {
		if g := Group(filepath.Join(o.home, e.Name())); e.IsDir() && len(g.Processes()) == 0 {
			_ = g.Remove()
		}
	}
}

// mostTasks is how many processes and threads a service may have: more than any
// needs, and fewer than a machine bears. Scopes have systemd's DefaultTasksMax.
const mostTasks = "4096"

// Place makes a group by hand.
func (o Own) Place(_ context.Context, service, start string, pid int, l Limits) (string, error) {
	g := Group(filepath.Join(o.home, service+"-"+start))
	if err := os.MkdirAll(string(g), 0o755); err != nil { // another agent may have left, and taken the empty home along
		return "", err
	}
	limited := g.limit(l)
	_ = os.WriteFile(g.file("pids.max"), []byte(mostTasks), 0) // where there is that controller
	if err := os.WriteFile(g.file("cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		return "", errors.Join(err, g.Remove())
	}
	return string(g), limited
}

// Leave removes the place of the groups once there is none.
func (o Own) Leave() { _ = os.Remove(o.home) }

// Remove removes all groups, which must be empty.
func (o Own) Remove() error { return Group(o.home).Remove() }
