package joining

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dominion/topics"
)

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
	ended        string // why it no longer waits, if it was not let in
}

func (g *guest) waits() bool { return g.box == nil }

// end decides that a guest does not come in.
func (g *guest) end(o outcome, now time.Time, because string) Happening {
	g.decide(o, now)
	g.ended = because
	return g.left(because)
}

func (g *guest) left(because string) Happening {
	return Happening{What: Left, Node: g.As, ID: g.ID, Remote: g.Remote, Text: fmt.Sprintf("%s (%s) no longer waits: %s", g.As, g.Remote, because)}
}

func (g *guest) decide(o outcome, now time.Time) {
	box, err := sealOutcome(g.secret, g.salt, windowBox, g.session, o)
	if err != nil { // cannot be: the keys are ours. An empty box is refused by the newcomer.
		box = []byte{}
	}
	g.box, g.decided = box, now
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
	*v.paid = true
	g, err := a.guest(v, q)
	if err != nil {
		return revealAnswer{}, &refusal{Why: BadRequest, node: a.node, id: a.id, err: err}
	}
	g.Member = d.belongs(g.Node, g.ID)
	d.mu.Lock()
	if why := d.window.refuses(v); why != "" {
		d.mu.Unlock()
		return revealAnswer{}, &refusal{Why: why, wait: sessionAge, node: a.node, id: a.id}
	}
	g.As = d.window.label(a.node)
	d.window.guests = append(d.window.guests, g)
	d.mu.Unlock()
	d.tell(g.asks())
	return revealAnswer{current(), g.As}, nil
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
	next := fmt.Sprintf("dominion accept %s", g.As)
	if g.Member {
		text += fmt.Sprintf(". %s is in the house already: to give it another key takes a code", g.Node)
		next = "dominion invite"
	}
	return Happening{What: Asks, Node: g.As, ID: g.ID, Remote: g.Remote, Words: g.Words, Text: text, Next: next}
}

// label makes the name by which a guest is accepted: its own, or if that was
// given before, one with a number.
func (w *window) label(node topics.Node) topics.Node {
	label := string(node)
	for n := 2; w.labels[strings.ToLower(label)]; n++ {
		label = numbered(node, n)
	}
	if w.labels == nil {
		w.labels = make(map[string]bool)
	}
	w.labels[strings.ToLower(label)] = true
	return topics.Node(label)
}

// release has a name given again.
func (w *window) release(label topics.Node) { delete(w.labels, strings.ToLower(string(label))) }

func numbered(node topics.Node, n int) string {
	number := fmt.Sprintf("-%d", n)
	return string(node)[:min(len(node), longestLabel-len(number))] + number
}

// labels tells whether a name is one that label makes of a node's.
func labels(as, node topics.Node) bool {
	n, err := strconv.Atoi(string(as[strings.LastIndexByte(string(as), '-')+1:]))
	return as == node || err == nil && n >= 2 && string(as) == numbered(node, n)
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
