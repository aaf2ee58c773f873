package process

import (
	"slices"
	"strings"
)

// Starts are the START_IDs of all live processes, by what they have in another
// variable of their environment.
func Starts(variable string) map[string][]string {
	all, err := list()
	if err != nil {
		return nil
	}
	found := map[string][]string{}
	for _, p := range all {
		var start, value string
		for assignment := range strings.SplitSeq(string(environ(p.pid)), "\x00") {
			switch name, is, _ := strings.Cut(assignment, "="); name {
			case StartVariable:
				start = is
			case variable:
				value = is
			}
		}
		if start != "" && value != "" && !p.zombie && !slices.Contains(found[value], start) {
			found[value] = append(found[value], start)
		}
	}
	return found
}

// Belongs tells whether a process is one of a run's; ErrGone when there is no
// such process any more.
func Belongs(pid int, id Identity, start string) (bool, error) {
	p, err := look(pid)
	if err != nil {
		return false, err
	}
	return carries(pid, StartVariable+"="+start) || p.group == id.PID && id.Alive(), nil
}

// Halted is a process of a run that a signal has stopped, such as SIGSTOP; 0:
// there is none.
func Halted(id Identity, start string) int {
	r := &Run{Identity: id, start: start}
	for _, p := range r.members() {
		if p.stopped {
			return p.pid
		}
	}
	return 0
}
