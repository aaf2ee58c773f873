package joining

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"dominion/identity"
	"dominion/topics"
)

// Handout is what every newcomer is given beside its own certificate.
type Handout struct {
	House              topics.HouseID
	Name               string // of the house
	Base               topics.Base
	Broker             string // URL without a password: "mqtts://192.168.1.7:8883"
	Door               string // host:port of the leader's HTTPS port
	Username, Password string // at another's broker; empty at our own
	Logins             string // "own" or "shared", see identity.Membership
}

// What a Happening can be.
const (
	Joined  = "joined"  // a machine came in
	Refused = "refused" // a machine was refused; Why says why, for counting
	Asks    = "asks"    // a machine waits in the window; Words are its words
	Left    = "left"    // a machine that waited no longer does
	Opened  = "window"  // the window was opened or closed
)

// Happening is something the owner of the house may want to know.
type Happening struct {
	What   string
	Why    Why         // of Refused: for counting like with like
	Node   topics.Node // as Request.As where it asks, else as it calls itself; unproven, "" unknown
	ID     topics.MachineID
	Remote string // IP address
	Text   string // a sentence
	Next   string // what to type, if anything
	Words  string // of Asks: the four words
}

// DoorOptions are what a Door needs; all but Now and Log must be given.
type DoorOptions struct {
	House *identity.House
	// Dir is the house's directory, where Invite writes.
	Dir string
	// Handout is asked at each admission.
	Handout func() (Handout, error)
	// Tell is called for each happening, from any goroutine; it must not block.
	// A flood of guesses is told one by one: the caller throttles.
	Tell func(Happening)
	Now  func() time.Time // nil: time.Now
	Log  zerolog.Logger
}

// Door lets machines in. It is an http.Handler for /join/ and, with the
// client's certificate (identity.House.TLS), /renew.
type Door struct{}

// NewDoor makes a door, with the window closed.
func NewDoor(o DoorOptions) *Door { return &Door{} }

// Paths are the patterns to mount the door at in an http.ServeMux.
func (d *Door) Paths() []string { return []string{"/join/", "/renew"} }

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Window opens the join window for a time; 0 closes it and sends away all who
// wait. When it ends by itself, those who wait may still be accepted.
func (d *Door) Window(lasts time.Duration) {}

// WindowEnds is when the window closes; zero: it is closed.
func (d *Door) WindowEnds() time.Time { return time.Time{} }

// Request is a machine that waits in the window to be accepted.
type Request struct {
	// As is what to say to Accept and Reject: its name, or for a machine that
	// asks under a name that was asked for before, "pi2-2". It is never given
	// to another machine while the window is open.
	As     topics.Node
	Node   topics.Node // the name it wants
	ID     topics.MachineID
	Remote string // IP address
	Words  string // "apple-river-stone-lamp": the same four as on its screen
	Since  time.Time
}

// Requests lists who waits, in the order of their coming.
func (d *Door) Requests() []Request { return nil }

// Accept admits the machine that waits as this (Request.As). It is in the
// ledger when Accept returns nil; the machine fetches its papers within
// seconds. Errors: nobody waits under that name, identity.NameTaken, the
// leader's disk.
func (d *Door) Accept(as topics.Node) error { return nil }

// Reject sends the machine away that waits as this.
func (d *Door) Reject(as topics.Node) error { return nil }
