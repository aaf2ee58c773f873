// Package outside has the words for what runs on a machine without the house:
// units of systemd, containers, processes that somebody else started.
package outside

import (
	"time"

	"dominion/device/process"
)

// Stage is how far one of them is.
type Stage string

// The stages.
const (
	Missing  Stage = "missing"  // there is none of that name
	Starting Stage = "starting" // it is being started, or not well yet
	Up       Stage = "up"       // it runs, and whoever keeps it calls it well
	Unwell   Stage = "unwell"   // it runs, and whoever keeps it calls it unwell
	Stopping Stage = "stopping"
	Again    Stage = "again" // it ended, and whoever keeps it will start it again
	Down     Stage = "down"  // it does not run, and was not meant to
	Failed   Stage = "failed"
)

// State is how one of them is, as whoever keeps it says.
type State struct {
	Stage Stage
	Says  string       // why, in its keeper's own words, to be read after its name; "": nothing to say
	Said  string       // what it says of itself, like STATUS= of sd_notify
	PID   int          // of its first process; 0: it has none, or nobody says
	Port  int          // where it listens, if its keeper knows; 0: not known
	Since time.Time    // when it began to run; zero: not known
	Exit  process.Exit // how it last ended
}

// Alive tells whether something of it runs, or is about to.
func (s State) Alive() bool {
	switch s.Stage {
	case Starting, Up, Unwell, Stopping:
		return true
	}
	return false
}

// Found is one of them that a machine has, as a list shows it.
type Found struct {
	Name  string // as its keeper calls it
	About string // a description, an image, a command
	State State
	Ports []int // where it listens
}
