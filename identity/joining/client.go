package joining

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"dominion/identity"
	"dominion/topics"
)

// Options are what a newcomer brings to the door.
type Options struct {
	Door string // host:port of the leader's HTTPS port
	Code Code   // for Join
	Node topics.Node
	ID   topics.MachineID
	// Key is the machine's private key (PEM), from KeepKey: a code serves the
	// one key that used it, so a join can only be repeated with the same. nil:
	// a new one that is not kept.
	Key []byte

	poll time.Duration // between questions of Ask; 0: pollEach
}

// newcomer is a machine at a door.
type newcomer struct {
	Options
	request string // PEM
	caller  *caller
	house   helloAnswer
}

// Join brings this machine in with a code. The membership is complete, or there
// is an error and nothing was changed here; it can be repeated. Errors:
// *Refusal, *NotDominion, *BrokenAnswer, *identity.NameTaken, those of ctx and
// of the network.
func Join(ctx context.Context, o Options) (*identity.Membership, error) {
	code, err := ParseCode(string(o.Code))
	if err != nil {
		return nil, err
	}
	n, err := arrive(ctx, o)
	if err != nil {
		return nil, err
	}
	defer n.caller.close()
	p, err := n.prove(ctx, code)
	if err != nil {
		return nil, err
	}
	return n.finish(ctx, p)
}

// arrive makes the request, and asks whose door it is.
func arrive(ctx context.Context, o Options) (*newcomer, error) {
	if err := checkWho(o.Node, o.ID); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(o.Door); err != nil {
		return nil, fmt.Errorf("the leader's address %q: %w", o.Door, err)
	}
	n := &newcomer{Options: o}
	if n.Key == nil {
		key, err := identity.NewKey()
		if err != nil {
			return nil, err
		}
		n.Key = key
	}
	request, err := identity.Request(n.Key, o.Node)
	if err != nil {
		return nil, err
	}
	n.request, n.caller = string(request), newCaller(o.Door, anyLeader())
	if n.house, err = n.hello(ctx); err != nil {
		n.caller.close()
		return nil, err
	}
	n.caller.house = n.house
	return n, nil
}

func (n *newcomer) hello(ctx context.Context) (helloAnswer, error) {
	house, err := post[helloAnswer](ctx, n.caller, helloPath, helloQuestion{current()})
	var notJSON *strange
	var ends *hangsUp
	if errors.As(err, &notJSON) || errors.As(err, &ends) {
		return house, &NotDominion{n.Door, err}
	}
	if err != nil {
		return house, err
	}
	if house.Protocol != protocolName {
		return house, &NotDominion{n.Door, errors.New("it speaks something else")}
	}
	if err := topics.CheckName(string(house.House)); err != nil {
		return house, &NotDominion{n.Door, fmt.Errorf("its house's id: %w", err)}
	}
	if err := checkText("its house's name", house.Name); err != nil {
		return house, &NotDominion{n.Door, err}
	}
	return house, nil
}

// proven is a session in which both sides have shown that they have the code.
type proven struct {
	session   string
	key, salt []byte
}

// prove finds the invitation that the code is of, and shows the leader that we
// have it, and has the leader show the same. Each share that is answered is a
// guess at our code for who only poses as the leader: MaxInvitations at most.
func (n *newcomer) prove(ctx context.Context, code Code) (proven, error) {
	sid := make([]byte, sidBytes)
	rand.Read(sid)
	side := newCPaceSide(string(code), channel(n.Node, n.ID, n.house.House, n.house.Name), sid)
	start, err := post[startAnswer](ctx, n.caller, startPath, startQuestion{current(), sid, n.Node, n.ID, side.share})
	if err != nil {
		return proven{}, err
	}
	if len(start.Shares) == 0 || len(start.Shares) > MaxInvitations {
		return proven{}, n.broken(fmt.Errorf("%d shares", len(start.Shares)))
	}
	if twice(start.Shares) { // a leader's are random
		return proven{}, n.broken(errors.New("a share twice"))
	}
	own := messageOf(side.share, nil)
	question := proveQuestion{version: current(), Session: start.Session}
	var keys, expected [][]byte
	for index, share := range start.Shares {
		theirs := messageOf(share, associatedWith(start.Session, index))
		key, err := side.key(share, own, theirs)
		if err != nil {
			return proven{}, n.broken(err)
		}
		keys, expected = append(keys, key), append(expected, cpaceProof(sid, key, theirs))
		question.Proofs = append(question.Proofs, cpaceProof(sid, key, own))
	}
	answer, err := post[proveAnswer](ctx, n.caller, provePath, question)
	if err != nil {
		return proven{}, err
	}
	if answer.Pick < 0 || answer.Pick >= len(keys) || !hmac.Equal(answer.Proof, expected[answer.Pick]) {
		return proven{}, n.broken(errors.New("the leader does not prove that it has the code"))
	}
	return proven{start.Session, keys[answer.Pick], saltOf(start.Shares, question.Proofs)}, nil
}

func twice(shares [][]byte) bool {
	seen := map[string]bool{}
	for _, share := range shares {
		if seen[string(share)] {
			return true
		}
		seen[string(share)] = true
	}
	return false
}

// finish hands over the request and takes the papers.
func (n *newcomer) finish(ctx context.Context, p proven) (*identity.Membership, error) {
	plain, err := json.Marshal(request{n.request})
	if err != nil {
		return nil, err
	}
	box, err := seal(p.key, p.salt, requestBox, p.session, plain)
	if err != nil {
		return nil, err
	}
	answer, err := post[boxAnswer](ctx, n.caller, finishPath, finishQuestion{current(), p.session, box})
	if err != nil {
		return nil, err
	}
	plain, err = unseal(p.key, p.salt, answerBox, p.session, answer.Box)
	if err != nil {
		return nil, n.broken(err)
	}
	return n.membership(plain)
}

func (n *newcomer) broken(err error) error { return &BrokenAnswer{n.Door, err} }

// membership is what an outcome makes of this machine, if it is complete.
func (n *newcomer) membership(plain []byte) (*identity.Membership, error) {
	var o outcome
	if err := json.Unmarshal(plain, &o); err != nil {
		return nil, n.broken(err)
	}
	switch {
	case o.Why == NameInUse:
		return nil, fmt.Errorf("join %q (%s): %w", n.house.Name, n.house.House, &identity.NameTaken{Node: o.Node, ID: o.ID})
	case o.Why != "":
		r := n.caller.refusal(o.Why, 0)
		r.Node = o.Node
		return nil, r
	case o.Papers == nil:
		return nil, n.broken(errors.New("no papers"))
	}
	if err := n.check(o.Papers); err != nil {
		return nil, n.broken(err)
	}
	p := o.Papers
	m := &identity.Membership{
		House: p.House, Name: p.Name, Node: p.Node, Base: p.Base, Broker: p.Broker, Door: p.Door,
		Username: p.Username, Password: p.Password, Secret: p.Secret, Logins: p.Logins,
		Authority: []byte(p.Authority), Certificate: []byte(p.Certificate), Key: bytes.Clone(n.Key),
	}
	if m.Door == "" {
		m.Door = n.Door
	}
	if _, err := m.TLS(); err != nil {
		return nil, n.broken(err)
	}
	return m, nil
}

// check tells whether papers are complete, and ours.
func (n *newcomer) check(p *papers) error {
	switch {
	case p.House != n.house.House:
		return fmt.Errorf("papers of another house, %s", p.House)
	case p.Node != n.Node:
		return fmt.Errorf("papers for another machine, %s", p.Node)
	case p.Secret == "":
		return errors.New("no secret")
	case p.Broker == "":
		return errors.New("no broker")
	case p.Logins != identity.LoginsOwn && p.Logins != identity.LoginsShared:
		return fmt.Errorf("unknown logins %q", p.Logins)
	}
	if err := p.Base.Check(); err != nil {
		return err
	}
	return checkCertificate(p.Certificate, p.Authority, n.request)
}
