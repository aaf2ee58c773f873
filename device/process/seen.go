package process

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
