package joining

import (
	"cmp"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
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
	pollMissed   = 30 * time.Second // a machine that did not ask for so long has gone
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

// asking is a machine that committed to its nonce, and was sent ours.
type asking struct {
	answer     askAnswer
	key        *ecdh.PrivateKey
	node       topics.Node
	id         topics.MachineID
	commitment []byte
	house      helloAnswer
}

// guest is a machine that waits, or has waited, for the owner.
type guest struct {
	Request
	session      string
	request      string // PEM
	secret, salt []byte
	polled       time.Time
	deciding     bool
	box          []byte // the outcome, once decided
	decided      time.Time
}

func (g *guest) waits() bool { return g.box == nil }

// Request is a machine that waits in the window to be accepted.
type Request struct {
	// As is what to say to Accept and Reject: its name, or for a machine that
	// asks under a name that was asked for before, "pi2-2". It is never given
	// to another machine while the window is open, so that what was compared
	// is what is accepted.
	As     topics.Node
	Node   topics.Node // the name it wants
	ID     topics.MachineID
	Remote string // IP address
	Words  string // "apple-river-stone-lamp": the same four as on its screen
	Since  time.Time
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

// end decides that a guest does not come in.
func (g *guest) end(o outcome, now time.Time, because string) Happening {
	g.decide(o, now)
	return Happening{What: Left, Node: g.As, ID: g.ID, Remote: g.Remote, Text: fmt.Sprintf("%s (%s) no longer waits: %s", g.As, g.Remote, because)}
}

func (g *guest) decide(o outcome, now time.Time) {
	box, err := sealOutcome(g.secret, g.salt, windowBox, g.session, o)
	if err != nil { // cannot be: the keys are ours. An empty box is refused by the newcomer.
		box = []byte{}
	}
	g.box, g.decided = box, now
}

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

// ask is a machine's first word: it commits to what it will reveal.
func (d *Door) ask(v visit, q askQuestion) (askAnswer, error) {
	if err := checkWho(q.Node, q.ID); err != nil {
		return askAnswer{}, &refusal{Why: BadRequest, err: err}
	}
	if len(q.Commitment) != sha256.Size {
		return askAnswer{}, &refusal{Why: BadRequest, node: q.Node, id: q.ID, err: errors.New("a commitment of another length")}
	}
	if err := d.let(v, q.Node, q.ID); err != nil {
		return askAnswer{}, err
	}
	house, err := d.hello(v, helloQuestion{})
	if err != nil {
		return askAnswer{}, err
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return askAnswer{}, err
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce)
	answer := askAnswer{current(), newSession(), nonce, key.PublicKey().Bytes()}

	d.tidy()
	d.mu.Lock()
	defer d.mu.Unlock()
	if why := d.window.refuses(v); why != "" {
		return askAnswer{}, &refusal{Why: why, wait: sessionAge, node: q.Node, id: q.ID}
	}
	if !d.window.asking.put(answer.Session, asking{answer, key, q.Node, q.ID, q.Commitment, house}, v.now) {
		return askAnswer{}, &refusal{Why: Busy, wait: sessionAge, node: q.Node, id: q.ID}
	}
	return answer, nil
}

// refuses says why no more machines are taken in; "": they are.
func (w *window) refuses(v visit) Why {
	if !w.open(v.now) {
		return WindowClosed
	}
	var waiting, fromOne int
	for _, g := range w.guests {
		if g.waits() {
			waiting++
			if g.Remote == v.remote() {
				fromOne++
			}
		}
	}
	if waiting >= mostWaiting || fromOne >= mostFromOne || len(w.guests) >= mostOutcomes || len(w.labels) >= mostLabels {
		return Busy
	}
	return ""
}

// reveal is a machine's second word: what it committed to. Now both sides can
// compute the words.
func (d *Door) reveal(v visit, q revealQuestion) (revealAnswer, error) {
	d.mu.Lock()
	a, ok := d.window.asking.take(q.Session, v.now)
	d.mu.Unlock()
	if !ok {
		return revealAnswer{}, &refusal{Why: Stale}
	}
	g, err := a.guest(v, q)
	if err != nil {
		return revealAnswer{}, &refusal{Why: BadRequest, node: a.node, id: a.id, err: err}
	}
	d.mu.Lock()
	if why := d.window.refuses(v); why != "" {
		d.mu.Unlock()
		return revealAnswer{}, &refusal{Why: why, wait: sessionAge, node: a.node, id: a.id}
	}
	g.As = d.window.label(a.node)
	d.window.guests = append(d.window.guests, g)
	d.mu.Unlock()
	d.tell(g.asks())
	return revealAnswer{current()}, nil
}

func (a asking) guest(v visit, q revealQuestion) (*guest, error) {
	if len(q.Nonce) != nonceBytes {
		return nil, errors.New("a nonce of another length")
	}
	if _, err := requestKey(q.Request); err != nil {
		return nil, err
	}
	theirs := opening{a.node, a.id, q.Nonce, q.Key, q.Request}
	if !slices.Equal(theirs.commitment(), a.commitment) {
		return nil, errors.New("what it reveals is not what it committed to")
	}
	t := transcript(a.house, theirs, a.answer)
	secret, err := agree(a.key, q.Key)
	if err != nil {
		return nil, err
	}
	return &guest{
		Request: Request{Node: a.node, ID: a.id, Remote: v.remote(), Words: wordsOf(t), Since: v.now},
		session: a.answer.Session, request: q.Request, secret: secret, salt: t, polled: v.now,
	}, nil
}

func (g *guest) asks() Happening {
	text := fmt.Sprintf("%s (%s) asks to join; its screen must show: %s", g.As, g.Remote, g.Words)
	if g.As != g.Node {
		text = fmt.Sprintf("another machine (%s) asks to join as %s; its screen must show: %s", g.Remote, g.Node, g.Words)
	}
	return Happening{What: Asks, Node: g.As, ID: g.ID, Remote: g.Remote, Words: g.Words, Text: text, Next: fmt.Sprintf("dominion accept %s", g.As)}
}

// label makes the name by which a guest is accepted: its own, or if that was
// given before, one with a number.
func (w *window) label(node topics.Node) topics.Node {
	label := string(node)
	for n := 2; w.labels[strings.ToLower(label)]; n++ {
		number := fmt.Sprintf("-%d", n)
		label = string(node)[:min(len(node), longestLabel-len(number))] + number
	}
	if w.labels == nil {
		w.labels = make(map[string]bool)
	}
	w.labels[strings.ToLower(label)] = true
	return topics.Node(label)
}

const longestLabel = 63 // as of any node's name

// wait is how a machine hears what the owner decided.
func (d *Door) wait(v visit, q waitQuestion) (boxAnswer, error) {
	d.tidy()
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slices.IndexFunc(d.window.guests, func(g *guest) bool { return g.session == q.Session })
	if at < 0 {
		return boxAnswer{}, &refusal{Why: Stale}
	}
	g := d.window.guests[at]
	g.polled = v.now
	return boxAnswer{version: current(), Waiting: g.waits(), Box: g.box}, nil
}

// Accept admits the machine that waits as this (Request.As). It is in the
// ledger when Accept returns nil; the machine fetches its papers within
// seconds. Errors: nobody waits under that name, identity.NameTaken (the
// machine is told, and has to ask under another), the leader's disk (it waits
// on).
func (d *Door) Accept(as topics.Node) error {
	g, err := d.decide(as)
	if err != nil {
		return err
	}
	again := d.belongs(g.Node)
	papers, err := d.admit(g.Node, g.ID, g.request)
	var taken *identity.NameTaken
	d.mu.Lock()
	g.deciding = false
	now := d.o.Now()
	switch {
	case err == nil:
		g.decide(outcome{Papers: papers}, now)
	case errors.As(err, &taken):
		g.decide(outcome{Why: NameInUse, Node: taken.Node, ID: taken.ID}, now)
	default:
		g.polled = now
	}
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("accept %s: %w", as, err)
	}
	d.joined(g.Node, g.ID, g.Remote, "accepted in the join window", again)
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
	return nil, fmt.Errorf("no machine waits to join as %s (waiting: %s)", as, cmp.Or(strings.Join(names, ", "), "none"))
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
	d.mu.Unlock()
	d.tell(told)
	return nil
}
