package program_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dominion/cmd/program"
)

// TestMainWrapsErrorsOnATerminal holds that a person gets lines of 80 columns,
// with what is to be typed whole, and a script the error as it is.
func TestMainWrapsErrorsOnATerminal(t *testing.T) {
	words := strings.TrimSpace(strings.Repeat("ünser ", 25))
	said := "tool: " + words + "\nnext:  x\n  " + words + "\n"
	broken := "tool: " + strings.TrimSpace(strings.Repeat("ünser ", 12)) + "\n" +
		strings.TrimSpace(strings.Repeat("ünser ", 13)) + "\nnext:  x\n  " + words + "\n"

	screen, keyboard := terminal(t)
	fails(screen)
	fmt.Fprint(screen, "\x00") // it comes in pieces: this is the end
	got, err := bufio.NewReader(keyboard).ReadString('\x00')
	if text := strings.ReplaceAll(strings.TrimSuffix(got, "\x00"), "\r\n", "\n"); err != nil || text != broken {
		t.Errorf("on a terminal: %v\n%s\nwant:\n%s", err, text, broken)
	}

	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fails(file)
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != said {
		t.Errorf("in a file: %v\n%s\nwant:\n%s", err, text, said)
	}
}

// fails runs a command that does, with long words.
func fails(stderr *os.File) {
	words := strings.TrimSpace(strings.Repeat("ünser ", 25))
	cmd := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error {
		return errors.New(words + "\nnext:  x\n  " + words)
	}}
	cmd.SetArgs(nil)
	cmd.SetErr(stderr)
	program.Main(cmd)
}

// terminal is one with whoever looks at it.
func terminal(t *testing.T) (screen, keyboard *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	return screen, keyboard
}
