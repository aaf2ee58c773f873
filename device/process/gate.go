package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// gate is a shell that waits for a line on its descriptor 3, and then becomes
// the program. When who started it dies before, it never does.
const gate = `read -r _ <&3 && exec 3<&- && exec "$@"`

// prepare makes the program's first process, behind a gate if it is to be put
// somewhere before it begins; release opens that.
func (c Command) prepare() (cmd *exec.Cmd, release func(), err error) {
	cmd, release = exec.Command(c.Argv[0], c.Argv[1:]...), func() {}
	if c.Place != nil && cmd.Err == nil {
		if err := runnable(c.Dir, cmd.Path); err != nil {
			return nil, nil, err
		}
		wait, open, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		cmd = exec.Command("/bin/sh", append([]string{"-c", gate, c.Argv[0], cmd.Path}, c.Argv[1:]...)...)
		cmd.ExtraFiles = []*os.File{wait}
		release = func() {
			wait.Close()
			_, _ = open.WriteString("go\n")
			open.Close()
		}
	}
	cmd.Dir = c.Dir
	cmd.Env = append(append([]string(nil), c.Env...), StartVariable+"="+c.Start)
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, release, nil
}

// runnable says why a program cannot be run, as the kernel would say it when
// there was no gate.
func runnable(dir, path string) error {
	at := path
	if !filepath.IsAbs(at) {
		at = filepath.Join(dir, at)
	}
	info, err := os.Stat(at)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", at)
	case unix.Access(at, unix.X_OK) != nil:
		return &os.PathError{Op: "exec", Path: at, Err: syscall.EACCES}
	}
	return nil
}
