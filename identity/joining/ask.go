package joining

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"time"

	"dominion/identity"
	"dominion/topics"
)

// Ask asks to be let in while the owner holds the window open: it calls show
// once with the name that the leader lists this machine under (Request.As) and
// the four words that it shows too, and waits until the owner accepted or
// rejected, or ctx ends. Errors as Join.
//
// Who answers is proven by nothing but the eyes of who compares the words.
func Ask(ctx context.Context, o Options, show func(as topics.Node, words string)) (*identity.Membership, error) {
	n, err := arrive(ctx, o)
	if err != nil {
		return nil, err
	}
	defer n.caller.close()
	a, err := n.ask(ctx)
	if err != nil {
		return nil, err
	}
	show(a.as, wordsOf(a.salt))
	box, err := n.await(ctx, a.session)
	if err != nil {
		return nil, err
	}
	plain, err := unseal(a.secret, a.salt, windowBox, a.session, box)
	if err != nil {
		return nil, n.broken(err)
	}
	return n.membership(plain)
}

// asked is what a newcomer keeps while it waits.
type asked struct {
	session      string
	as           topics.Node
	secret, salt []byte
}

// ask commits, hears the leader, and reveals.
func (n *newcomer) ask(ctx context.Context) (asked, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return asked{}, err
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce)
	own := opening{n.Node, n.ID, nonce, key.PublicKey().Bytes(), n.request}
	leader, err := post[askAnswer](ctx, n.caller, askPath, askQuestion{current(), n.Node, n.ID, own.commitment()})
	if err != nil {
		return asked{}, err
	}
	if len(leader.Nonce) != nonceBytes {
		return asked{}, n.broken(errors.New("a nonce of another length"))
	}
	secret, err := agree(key, leader.Key)
	if err != nil {
		return asked{}, n.broken(err)
	}
	listed, err := post[revealAnswer](ctx, n.caller, revealPath, revealQuestion{current(), leader.Session, nonce, own.key, n.request})
	if err != nil {
		return asked{}, err
	}
	if !labels(listed.As, n.Node) { // only the words prove that it is ours
		return asked{}, n.broken(errors.New("it lists this machine under another's name"))
	}
	return asked{leader.Session, listed.As, secret, transcript(n.house, own, leader)}, nil
}

// await asks again and again until the owner has decided. The network may fail
// for as long as the leader holds a place for who does not ask.
func (n *newcomer) await(ctx context.Context, session string) ([]byte, error) {
	turn := time.NewTicker(cmp.Or(n.poll, pollEach))
	defer turn.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-turn.C:
		}
		answer, err := post[boxAnswer](ctx, n.caller, waitPath, waitQuestion{current(), session})
		var no *Refusal
		var garbled *strange
		switch {
		case err == nil && len(answer.Box) > 0:
			return answer.Box, nil
		case err == nil && !answer.Waiting:
			return nil, n.broken(errors.New("no papers"))
		case err == nil:
			heard = time.Now()
		case ctx.Err() != nil, errors.As(err, &no), errors.As(err, &garbled), time.Since(heard) > pollMissed:
			return nil, err
		}
	}
}

// Renew fetches a new certificate for the same key from the door of the
// membership, whose leader must be of the house. It returns a changed copy for
// the caller to save. The key stays: an answer that is lost then costs nothing.
func Renew(ctx context.Context, m *identity.Membership) (*identity.Membership, error) {
	config, err := m.TLS()
	if err != nil {
		return nil, err
	}
	request, err := identity.Request(m.Key, m.Node)
	if err != nil {
		return nil, err
	}
	c := newCaller(m.Door, config)
	defer c.close()
	c.house.House, c.house.Name = m.House, m.Name
	answer, err := post[renewAnswer](ctx, c, renewPath, renewQuestion{current(), string(request)})
	if err != nil {
		return nil, err
	}
	if err := checkCertificate(answer.Certificate, string(m.Authority), string(request)); err != nil {
		return nil, &BrokenAnswer{m.Door, err}
	}
	renewed := *m
	renewed.Certificate = []byte(answer.Certificate)
	return &renewed, nil
}
