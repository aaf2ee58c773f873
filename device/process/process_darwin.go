package process

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// zombieState is SZOMB of sys/proc.h.
const zombieState = 5

func look(pid int) (proc, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) {
		return proc{}, ErrGone
	}
	if err != nil {
		return proc{}, err
	}
	return procOf(info), nil
}

func procOf(info *unix.KinfoProc) proc {
	began := info.Proc.P_starttime
	return proc{
		pid:    int(info.Proc.P_pid),
		group:  int(info.Eproc.Pgid),
		parent: int(info.Eproc.Ppid),
		began:  uint64(began.Sec)*1e6 + uint64(began.Usec),
		zombie: info.Proc.P_stat == zombieState,
	}
}

func list() ([]proc, error) {
	infos, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	all := make([]proc, 0, len(infos))
	for i := range infos {
		all = append(all, procOf(&infos[i]))
	}
	return all, nil
}

// carries tells whether a process was started with that in its environment.
// Another user's environment cannot be read, and is not ours.
func carries(pid int, assignment string) bool {
	return bytes.Contains(environ(pid), []byte("\x00"+assignment+"\x00"))
}

// environ is what a process was started with, its arguments before that, a
// zero byte behind each; nil if it cannot be read.
func environ(pid int) []byte {
	args, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil
	}
	return args
}

func bootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }
