package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// end is a hold of a process by which its end can be waited for, pidfd_open(2):
// a goroutine waits, and no thread. Linux has it since 5.3.
type end struct{ file *os.File }

// endOf takes hold of the process that has the pid now.
func endOf(pid int) (end, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return end{}, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime takes it into its poll
		unix.Close(fd)
		return end{}, err
	}
	return end{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// wait returns when the process has ended.
func (e end) wait() error {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
}

func (e end) close() { e.file.Close() }
