package joining

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
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
	Times  int    // of Refused: how many like it this stands for, itself included
}

// DoorOptions are what a Door needs; all but Now and Log must be given.
type DoorOptions struct {
	House *identity.House
	// Dir is the house's directory, where Invite writes.
	Dir string
	// Handout is asked at each admission.
	Handout func() (Handout, error)
	// Tell is called for each happening, from any goroutine; it must not block.
	// Of refusals of an address for the same reason, one a minute is told.
	Tell func(Happening)
	Now  func() time.Time // nil: time.Now
	Log  zerolog.Logger
}

// Door lets machines in. It is an http.Handler for /join/ and, with the
// client's certificate (identity.House.TLS), /renew.
type Door struct {
	o           DoorOptions
	invitations invitations
	routes      map[string]route

	admitting sync.Mutex // held from looking who is in until another is

	mu       sync.Mutex           // guards what follows
	limits   limits[netip.Prefix] // of strangers
	members  limits[string]       // that renew, by topics.Account.Name: a key is changed in no time
	offences offences
	attempts sessions[attempt]
	window   window
}

// NewDoor makes a door, with the window closed.
func NewDoor(o DoorOptions) *Door {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Door{o: o, invitations: invitations(o.Dir)}
	d.routes = map[string]route{
		helloPath:  on(d.hello),
		startPath:  on(d.start),
		provePath:  on(d.prove),
		finishPath: on(d.finish),
		askPath:    on(d.ask),
		revealPath: on(d.reveal),
		waitPath:   on(d.wait),
		renewPath:  on(d.renew),
	}
	return d
}

// Run watches the window until ctx ends: it tells when a machine no longer
// waits, and when the window closes by itself. Everything else works without.
func (d *Door) Run(ctx context.Context) error {
	tick := time.NewTicker(tidyEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.tidy()
		}
	}
}

// tell tells what happened. It is never called with the lock held.
func (d *Door) tell(all ...Happening) {
	for _, h := range all {
		d.o.Tell(h)
	}
}

// errMember is a machine that is in the house, and another that says to be it.
type errMember struct{ node topics.Node }

func (e *errMember) Error() string {
	return fmt.Sprintf("%s is in the house already, and the window does not replace its key: for that machine type dominion invite; if another takes its place, dominion forget %[1]s first", e.node)
}

// admit has a machine in the ledger when it returns its papers. One that is in
// already (again) gets its place only if it may replace itself; else the error
// is an *errMember.
func (d *Door) admit(node topics.Node, id topics.MachineID, request string, replace bool) (p *papers, again bool, err error) {
	handout, err := d.o.Handout()
	if err != nil {
		return nil, false, fmt.Errorf("what to give to a newcomer: %w", err)
	}
	d.admitting.Lock()
	defer d.admitting.Unlock()
	if again = d.belongs(node, id); again && !replace {
		return nil, again, &errMember{node}
	}
	admission, err := d.o.House.Admit(node, id, []byte(request))
	if err != nil {
		return nil, again, err
	}
	return &papers{
		House: handout.House, Name: handout.Name, Node: node, Base: handout.Base,
		Broker: handout.Broker, Door: handout.Door,
		Username: handout.Username, Password: handout.Password, Logins: handout.Logins,
		Secret: admission.Secret, Certificate: string(admission.Certificate), Authority: string(admission.Authority),
	}, again, nil
}

// joined tells that a machine came in; again, when it had been in before.
func (d *Door) joined(node topics.Node, id topics.MachineID, remote, how string, again bool) {
	text := fmt.Sprintf("%s joined from %s, %s", node, remote, how)
	if again {
		text = fmt.Sprintf("%s joined again from %s, %s: its former key counts no more", node, remote, how)
	}
	d.tell(Happening{What: Joined, Node: node, ID: id, Remote: remote, Text: text})
}

// belongs tells whether a machine is in the house under a name.
func (d *Door) belongs(node topics.Node, id topics.MachineID) bool {
	return slices.ContainsFunc(d.o.House.Nodes(), func(n identity.Node) bool { return n.Name == node && n.ID == id })
}

func (d *Door) hello(visit, helloQuestion) (helloAnswer, error) {
	handout, err := d.o.Handout()
	if err != nil {
		return helloAnswer{}, &refusal{Why: LeaderFault, err: err}
	}
	return helloAnswer{current(), protocolName, handout.House, handout.Name}, nil
}

// let counts a try against the limits.
func (d *Door) let(v visit, node topics.Node, id topics.MachineID) error {
	*v.paid = true
	d.mu.Lock()
	wait := d.limits.take(networkOf(v.address), v.now)
	d.mu.Unlock()
	if wait > 0 {
		return &refusal{Why: Busy, wait: wait, node: node, id: id}
	}
	return nil
}
