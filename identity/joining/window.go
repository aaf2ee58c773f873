package joining

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dominion/identity"
	"dominion/topics"
)

// Joining through the window, at the leader. Nobody has a secret beforehand, so
// two people's eyes compare four words, which come from all that both sides
// sent. 32 bits are enough because nobody can search for them: the newcomer
// commits to its nonce before it sees the leader's, so who stands between them
// has to fix what it tells each before it learns what the other's words will
// be. It has one chance in 2^32 for each request, and requests are limited.

const (
	tidyEach     = 5 * time.Second
	pollEach     = 2 * time.Second
	pollMissed   = 10 * time.Second // a machine that did not ask for so long has gone
	waitsFor     = 10 * time.Minute // and is sent away after this
	outcomeKept  = 5 * time.Minute
	mostWaiting  = 32
	mostFromOne  = 8
	mostOutcomes = 128
	mostLabels   = 1024
)

// window is the join window and who came through it.
type window struct {
	ends   time.Time // zero: closed
	asking sessions[asking]
	guests []*guest
	labels map[string]bool // in lower case: given since the window was opened
}

// Request is a machine that waits in the window to be accepted.
type Request struct {
	// As is what to say to Accept and Reject: its name, or for a machine that
	// asks under a name that was asked for before, "pi2-2". Unless it was
	// rejected, it is never given to another machine while the window is open,
	// so that what was compared is what is accepted.
	As     topics.Node
	Node   topics.Node // the name it wants
	ID     topics.MachineID
	Remote string // IP address
	Words  string // "apple-river-stone-lamp": the same four as on its screen
	Since  time.Time
	// Member: a machine that says to be this one is in the house already. Four
	// words do not replace its key: Accept refuses.
	Member bool
}

// Window opens the join window for a time; 0 closes it and sends away all who
// wait. When it ends by itself, those who wait may still be accepted.
func (d *Door) Window(lasts time.Duration) {
	d.mu.Lock()
	var told []Happening
	now := d.o.Now()
	w := &d.window
	if lasts <= 0 {
		told = w.close(now)
	} else {
		if !slices.ContainsFunc(w.guests, (*guest).waits) {
			w.labels = nil
		}
		w.ends = now.Add(lasts)
		told = append(told, Happening{What: Opened, Text: fmt.Sprintf("the join window is open for %v", lasts)})
	}
	d.mu.Unlock()
	d.tell(told...)
}

func (w *window) close(now time.Time) (told []Happening) {
	for _, g := range w.guests {
		if g.waits() && !g.deciding {
			told = append(told, g.end(outcome{Why: WindowClosed}, now, "the join window was closed"))
		}
	}
	if !w.ends.IsZero() {
		told = append(told, windowClosed())
	}
	w.ends, w.asking = time.Time{}, sessions[asking]{}
	return told
}

func windowClosed() Happening { return Happening{What: Opened, Text: "the join window is closed"} }

// WindowEnds is when the window closes; zero: it is closed.
func (d *Door) WindowEnds() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.window.open(d.o.Now()) {
		return time.Time{}
	}
	return d.window.ends
}

func (w *window) open(now time.Time) bool { return now.Before(w.ends) }

// Requests lists who waits, in the order of their coming.
func (d *Door) Requests() []Request {
	d.tidy()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Request
	for _, g := range d.window.guests {
		if g.waits() {
			all = append(all, g.Request)
		}
	}
	return all
}

// tidy forgets who has gone, and tells so.
func (d *Door) tidy() {
	d.mu.Lock()
	told := d.window.tidy(d.o.Now())
	d.mu.Unlock()
	d.tell(told...)
}

func (w *window) tidy(now time.Time) (told []Happening) {
	for _, g := range w.guests {
		switch {
		case !g.waits() || g.deciding:
		case now.Sub(g.polled) > pollMissed:
			told = append(told, g.end(outcome{Why: Stale}, now, "it has gone"))
		case now.Sub(g.Since) > waitsFor:
			told = append(told, g.end(outcome{Why: Stale}, now, "nobody answered"))
		}
	}
	w.guests = slices.DeleteFunc(w.guests, func(g *guest) bool { return !g.waits() && now.Sub(g.decided) > outcomeKept })
	if !w.ends.IsZero() && !w.open(now) {
		w.ends = time.Time{}
		told = append(told, windowClosed())
	}
	return told
}

// Accept admits the machine that waits as this (Request.As). It is in the
// ledger when Accept returns nil; the machine fetches its papers within
// seconds. Errors: nobody waits under that name, identity.NameTaken (the
// machine is told, and has to ask under another), a machine that is in the
// house already has name and id (it is told: that takes a code), the leader's
// disk (it waits on).
func (d *Door) Accept(as topics.Node) error {
	g, err := d.decide(as)
	if err != nil {
		return err
	}
	papers, _, err := d.admit(g.Node, g.ID, g.request, false)
	var taken *identity.NameTaken
	var member *errMember
	var told []Happening
	d.mu.Lock()
	g.deciding = false
	now := d.o.Now()
	switch {
	case err == nil:
		g.decide(outcome{Papers: papers}, now)
		if g.As != g.Node {
			told = append(told, g.left(fmt.Sprintf("it was let in as %s", g.Node)))
		}
	case errors.As(err, &taken):
		told = append(told, g.end(outcome{Why: NameInUse, Node: taken.Node, ID: taken.ID}, now, "another has its name"))
	case errors.As(err, &member):
		told = append(told, g.end(outcome{Why: Member, Node: member.node}, now, "it is in the house already, and would need a code"))
	default:
		g.polled = now
	}
	d.mu.Unlock()
	d.tell(told...)
	if err != nil {
		return fmt.Errorf("accept %s: %w", as, err)
	}
	d.joined(g.Node, g.ID, g.Remote, "accepted in the join window", false)
	return nil
}

// decide finds who waits under a name, and keeps it from being decided twice.
func (d *Door) decide(as topics.Node) (*guest, error) {
	d.tidy()
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, g := range d.window.guests {
		if !g.waits() || g.deciding {
			continue
		}
		if g.As == as {
			g.deciding = true
			return g, nil
		}
		names = append(names, string(g.As))
	}
	waiting := cmp.Or(strings.Join(names, ", "), "none")
	if because := d.window.ended(as); because != "" {
		return nil, fmt.Errorf("%s no longer asks to join: %s (waiting: %s)", as, because, waiting)
	}
	return nil, fmt.Errorf("no machine waits to join as %s (waiting: %s)", as, waiting)
}

// ended says why the last that waited under a name no longer does; "": nobody
// did of late, or it was let in.
func (w *window) ended(as topics.Node) string {
	for _, g := range slices.Backward(w.guests) {
		if g.As == as {
			return g.ended
		}
	}
	return ""
}

// Reject sends the machine away that waits as this.
func (d *Door) Reject(as topics.Node) error {
	g, err := d.decide(as)
	if err != nil {
		return err
	}
	d.mu.Lock()
	g.deciding = false
	told := g.end(outcome{Why: Rejected}, d.o.Now(), "it was rejected")
	d.window.release(g.As)
	d.mu.Unlock()
	d.tell(told)
	return nil
}
