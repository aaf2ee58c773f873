package joining

import (
	"time"

	"dominion/topics"
)

// Limits of invitations.
const (
	// MaxInvitations is how many may be open at a time.
	MaxInvitations = 8
	// MaxTries is how many wrong tries void a code.
	MaxTries = 5
	// DefaultLife is how long a code is good when nobody said otherwise.
	DefaultLife = 15 * time.Minute
)

// Invitation is a code that brings one machine in.
type Invitation struct {
	Code    Code      `json:"code"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	// Tries counts the wrong tries made while it was open; MaxTries void it.
	Tries int `json:"tries,omitempty"`
	// ID and Key (the SHA-256 of its public key, hex) are the machine that used
	// the code; only that may use it again. Empty: unused.
	ID  topics.MachineID `json:"id,omitempty"`
	Key string           `json:"key,omitempty"`
	// Node is the name it came in under. Empty: it was not admitted (yet).
	Node topics.Node `json:"node,omitempty"`
}

// State says in one word what has become of the invitation at a time: "open",
// "used", "expired", "void" (MaxTries wrong tries).
func (i Invitation) State(now time.Time) string { return "" }

// Invite makes a code that is good for a time (0: DefaultLife) and writes it to
// invitations.json in the house's directory, where the running Door finds it.
// Several processes may do so at once.
func Invite(dir string, lasts time.Duration) (Code, error) { return "", nil }

// Invitations lists what is in the house's directory, the oldest first, those
// included that ended in the last day.
func Invitations(dir string) ([]Invitation, error) { return nil, nil }
