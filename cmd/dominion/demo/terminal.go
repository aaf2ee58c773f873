package demo

import (
	"io"
	"os"

	"dominion/cmd/program"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// newStage looks what out can do.
func newStage(out io.Writer) *stage {
	s := &stage{out: out}
	f, ok := out.(*os.File)
	if !ok || !program.Terminal(f) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.live = true
	s.colour = program.Colour(f)
	s.size = func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return columns, 24
		}
		return width, height
	}
	return s
}

// keyboard gives the keys that are pressed on a terminal, and sets it so that
// they come one by one and unseen. Without a terminal, or in the background,
// there are none. restore sets the terminal as it was.
func keyboard(in *os.File) (keys <-chan byte, restore func()) {
	none := func() {}
	if in == nil || !program.Terminal(in) {
		return nil, none
	}
	// A program in the background is stopped when it touches the terminal.
	group, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return nil, none
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, none
	}
	pressed := make(chan byte)
	// Reading a terminal cannot be called off: this ends with the program.
	go func() {
		var one [1]byte
		for {
			if _, err := in.Read(one[:]); err != nil {
				return
			}
			pressed <- one[0]
		}
	}()
	return pressed, func() { _ = term.Restore(int(in.Fd()), before) }
}
