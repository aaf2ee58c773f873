// Package pidof watches processes that it finds by their names.
package pidof

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dominion/device/outside"
	"dominion/device/process"
)

const (
	// again is between two looks whether a process still lives: nobody tells
	// when one ends that is not ours.
	again = 2 * time.Second
	// search is between two looks for one that is not there.
	search = 5 * time.Second
	// commLength is what the kernel keeps of a process's name, proc(5).
	commLength = 15
)

// Available tells whether processes can be found here.
func Available() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// Found is a process by that name.
type Found struct {
	process.Identity
	Program string // the file it runs, without arguments: those may hold a password
}

// Find has the processes of a name, the oldest first: it is the kernel's name
// for them, that of the file they run, or of the script an interpreter runs.
// This process is never found.
func Find(name string) ([]Found, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Found
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() || !slices.Contains(names(pid), name) {
			continue
		}
		id, err := process.Identify(pid)
		if errors.Is(err, process.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if id.Alive() {
			all = append(all, Found{id, Program(pid)})
		}
	}
	slices.SortFunc(all, func(a, b Found) int { return cmp.Or(cmp.Compare(a.Began, b.Began), cmp.Compare(a.PID, b.PID)) })
	return all, nil
}

// Name is what Find finds a process by: the longest of its names.
func Name(pid int) string {
	longest := ""
	for _, name := range names(pid) {
		if len(name) > len(longest) && !interprets(name) {
			longest = name
		}
	}
	return longest
}

// Program is the file that a process says it runs.
func Program(pid int) string {
	if argv := arguments(pid); len(argv) > 0 {
		return argv[0]
	}
	return ""
}

func names(pid int) []string {
	dir := "/proc/" + strconv.Itoa(pid)
	raw, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return nil
	}
	all := []string{strings.TrimSpace(string(raw))}
	program := ""
	if exe, err := os.Readlink(dir + "/exe"); err == nil { // of one's own processes only
		program = filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
		all = append(all, program)
	}
	argv := arguments(pid)
	if len(argv) == 0 {
		return all
	}
	first := filepath.Base(argv[0])
	if strings.HasPrefix(first, all[0]) && len(all[0]) == commLength { // the kernel cut it
		all = append(all, first)
	}
	if interprets(first) || interprets(program) {
		for _, arg := range argv[1:] {
			if !strings.HasPrefix(arg, "-") {
				all = append(all, filepath.Base(arg))
				break
			}
		}
	}
	return all
}

// interprets tells whether a program is one that runs scripts.
func interprets(program string) bool {
	for _, known := range []string{"python", "node", "perl", "ruby", "java", "php", "bash", "dash"} {
		if rest, ok := strings.CutPrefix(program, known); ok && strings.Trim(rest, "0123456789.") == "" {
			return true
		}
	}
	return program == "sh"
}

func arguments(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return nil
	}
	var argv []string
	for arg := range bytes.SplitSeq(bytes.TrimRight(raw, "\x00"), []byte{0}) {
		argv = append(argv, string(arg))
	}
	return argv
}

// Watch tells how a process is, at once and whenever it changes, until ctx
// ends. Of several the oldest is watched: its children bear its name.
func Watch(ctx context.Context, name string, tell func(outside.State, error)) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	var watched process.Identity
	said := outside.Stage("")
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if watched.PID != 0 && watched.Alive() {
			tick.Reset(again)
			continue
		}
		state, id, err := look(name)
		if err != nil || state.Stage != said || id.PID != watched.PID || id.Began != watched.Began {
			tell(state, err)
		}
		watched, said = id, state.Stage
		tick.Reset(search)
	}
}

// Look is how a process is now.
func Look(name string) (outside.State, error) {
	s, _, err := look(name)
	return s, err
}

func look(name string) (outside.State, process.Identity, error) {
	all, err := Find(name)
	if err != nil {
		return outside.State{}, process.Identity{}, err
	}
	if len(all) == 0 {
		return outside.State{Stage: outside.Missing, Says: "is no process that runs on this machine"}, process.Identity{}, nil
	}
	s := outside.State{Stage: outside.Up, PID: all[0].PID}
	s.Since = began(all[0].Identity, time.Now())
	return s, all[0].Identity, nil
}

// ticks are the units in which Linux tells a process's start, in every second.
const ticks = 100

// began is when a process did, to the second; zero if that is not known.
func began(id process.Identity, now time.Time) time.Time {
	raw, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}
	}
	text, _, _ := strings.Cut(string(raw), " ")
	up, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}
	}
	age := up - float64(id.Began)/ticks
	return now.Add(-time.Duration(age * float64(time.Second))).Round(time.Second)
}
