package demo_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty opens a terminal of 80 by 40: the end of the person, and the program's.
func pty(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	conn, err := person.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number, failed := 0, error(nil)
	err = conn.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if failed == nil {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 80})
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// startOn runs a demo on a terminal of its own.
func startOn(t *testing.T) (*running, *os.File) {
	t.Helper()
	person, terminal := pty(t)
	d := &running{t: t, tmp: t.TempDir(), done: make(chan struct{})}
	d.cmd = exec.Command(os.Getenv(builtVariable), "demo", port(t))
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp, "TERM=xterm", "NO_COLOR=")
	d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = terminal, terminal, terminal
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	d.launch()
	terminal.Close()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := person.Read(buffer)
			if err != nil {
				return
			}
			_, _ = d.Write(buffer[:n])
		}
	}()
	return d, person
}

func press(t *testing.T, person *os.File, key string) {
	t.Helper()
	if _, err := person.WriteString(key); err != nil {
		t.Fatal(err)
	}
}

// state is how a terminal is set: whether it echoes.
func echoes(t *testing.T, person *os.File) bool {
	t.Helper()
	conn, err := person.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var settings *unix.Termios
	failed := error(nil)
	if err := conn.Control(func(fd uintptr) { settings, failed = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return settings.Lflag&unix.ECHO != 0
}

func TestKeys(t *testing.T) {
	t.Parallel()
	d, person := startOn(t)
	d.await(soon, 1, `npBar +ready on porch +lamp: on`)
	if !strings.Contains(d.text(), " k  pull attic's plug") {
		t.Error("it does not say which keys there are")
	}
	if !strings.Contains(d.text(), "\x1b[32m") {
		t.Error("it has no colours on a terminal")
	}
	if echoes(t, person) {
		t.Error("keys would be seen")
	}
	press(t, person, "w")
	d.await(soon, 1, `npBar is ready on porch`)

	press(t, person, "s")
	d.await(soon, 1, `npBar +stopped: stopped by demo`)
	d.await(soon, 1, `webServer +stopped`)
	press(t, person, "s")
	d.await(soon, 2, `\ds  \S*npBar +ready (again )?on porch +lamp: on`)

	press(t, person, "\x03")
	if code := d.exits(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !echoes(t, person) {
		t.Error("the terminal is not as it was")
	}
	d.nothingLeft()
}

func TestThePulledPlug(t *testing.T) {
	t.Parallel()
	d, person := startOn(t)
	d.await(soon, 1, `npBar +ready on porch`)
	moves := regexp.MustCompile(`(webServer|lightOrchestrator) +ready on attic`).FindStringSubmatch(d.text())
	if moves == nil {
		t.Fatal("nothing is on attic")
	}
	press(t, person, "kk")
	d.await(soon, 1, `attic +lost \(killed\), seen after \d+ ms`)
	d.await(soon, 1, `attic +is out already`)
	d.await(soon, 1, moves[1]+` +unknown: `)
	d.await(soon, 1, moves[1]+` +ready on kitchen`)
	d.await(soon, 1, `attic +back · nothing started twice`)
	press(t, person, "q")
	if code := d.exits(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.nothingLeft()
}

func TestAClosedTerminalEndsIt(t *testing.T) {
	t.Parallel()
	d, person := startOn(t)
	d.await(soon, 1, `npBar +ready on porch`)
	person.Close()
	d.exits(10 * time.Second)
	d.nothingLeft()
}
