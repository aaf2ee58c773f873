package joining

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"

	"dominion/identity"
	"dominion/topics"
)

// Joining with a code, at the leader.
//
// The leader cannot know which invitation a newcomer means: nothing of the code
// is ever sent. So it answers with a share for each that is open, and the
// newcomer proves itself for each. That gives a guess up to MaxInvitations
// codes of 45 bits to hit, and costs a try of all of them; MaxTries guesses hit
// one of eight codes once in 10^12 times. A message that proves one code charges
// nobody: its share is made for that code, and so none of its other proofs can
// be right, whatever they guess; who has a code gets no free try at another. The alternative, a part of the code
// that names the invitation, would have to be typed as well, or be taken from
// the secret.
//
// The newcomer proves itself first. Until it has, it was sent nothing but
// shares, which are random elements of the group whatever the code is: so
// nothing is learned by a start, only a proof is a guess, and a start that is
// given up (a lost connection, four machines at once) costs no try. A try is
// charged on the disk before the proof is looked at.

// attempt is what the leader keeps of a start.
type attempt struct {
	node   topics.Node
	id     topics.MachineID
	offers []offer
	shares [][]byte
	// Once proven:
	picked *offer
	salt   []byte
}

// offer is a run of CPace for an open invitation.
type offer struct {
	code         Code
	key          []byte
	theirs, ours []byte // proofs
}

// channel names the parties of a run, so that none can be led to another.
func channel(node topics.Node, id topics.MachineID, house topics.HouseID, name string) []byte {
	return lvCat([]byte("dominion join 1"), []byte("machine"), []byte(node), []byte(id), []byte("house"), []byte(house), []byte(name))
}

// messageOf is what CPace calls lv_cat(Y, AD): a share and what was sent with
// it, which is nothing from a newcomer.
func messageOf(share, associated []byte) []byte { return lvCat(share, associated) }

// associatedWith is sent with the leader's share for the invitation at an index.
func associatedWith(session string, index int) []byte {
	return lvCat([]byte(session), []byte{byte(index)})
}

// saltOf makes the boxes depend on the shares and proofs of all invitations,
// those of other codes included: nothing that was sent can be altered unnoticed.
func saltOf(shares, proofs [][]byte) []byte {
	return append(lvCat(shares...), lvCat(proofs...)...)
}

func (d *Door) start(v visit, q startQuestion) (startAnswer, error) {
	if err := checkWho(q.Node, q.ID); err != nil {
		return startAnswer{}, &refusal{Why: BadRequest, err: err}
	}
	if len(q.Sid) != sidBytes || len(q.Share) != shareBytes {
		return startAnswer{}, &refusal{Why: BadRequest, node: q.Node, id: q.ID, err: errors.New("a sid or a share of another length")}
	}
	if err := d.let(v, q.Node, q.ID); err != nil {
		return startAnswer{}, err
	}
	open, err := d.invitations.answering(v.now)
	if err != nil {
		return startAnswer{}, err
	}
	if len(open) == 0 {
		return startAnswer{}, &refusal{Why: NoInvitation, node: q.Node, id: q.ID}
	}
	return d.offer(v, q, open)
}

// offer answers a start with a share for each open invitation.
func (d *Door) offer(v visit, q startQuestion, open []Invitation) (startAnswer, error) {
	handout, err := d.o.Handout()
	if err != nil {
		return startAnswer{}, err
	}
	answer := startAnswer{version: current(), Session: newSession()}
	a := attempt{node: q.Node, id: q.ID}
	for index, i := range open {
		side := newCPaceSide(string(i.Code), channel(q.Node, q.ID, handout.House, handout.Name), q.Sid)
		theirs, ours := messageOf(q.Share, nil), messageOf(side.share, associatedWith(answer.Session, index))
		key, err := side.key(q.Share, theirs, ours)
		if err != nil {
			return startAnswer{}, &refusal{Why: BadRequest, node: q.Node, id: q.ID, err: err}
		}
		a.shares = append(a.shares, side.share)
		a.offers = append(a.offers, offer{i.Code, key, cpaceProof(q.Sid, key, theirs), cpaceProof(q.Sid, key, ours)})
	}
	answer.Shares = a.shares
	return answer, d.keepAttempt(v, answer.Session, a)
}

func (d *Door) keepAttempt(v visit, session string, a attempt) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.attempts.put(session, a, v.now) {
		return &refusal{Why: Busy, wait: sessionAge, node: a.node, id: a.id}
	}
	return nil
}

func (d *Door) takeAttempt(v visit, session string) (attempt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.attempts.take(session, v.now)
	if !ok {
		return a, &refusal{Why: Stale}
	}
	*v.paid = true
	return a, nil
}

func (d *Door) prove(v visit, q proveQuestion) (proveAnswer, error) {
	a, err := d.takeAttempt(v, q.Session)
	if err != nil {
		return proveAnswer{}, err
	}
	if a.picked != nil || len(q.Proofs) != len(a.offers) {
		return proveAnswer{}, &refusal{Why: BadRequest, node: a.node, id: a.id, err: errors.New("proofs of another number than shares")}
	}
	codes := make([]Code, len(a.offers))
	for i, o := range a.offers {
		codes[i] = o.code
	}
	index, left, err := d.invitations.try(codes, v.now, func(i int) bool { return hmac.Equal(q.Proofs[i], a.offers[i].theirs) })
	if err != nil {
		return proveAnswer{}, err
	}
	if index < 0 {
		return proveAnswer{}, wrongCode(a, left)
	}
	a.picked, a.salt = &a.offers[index], saltOf(a.shares, q.Proofs)
	return proveAnswer{current(), index, a.picked.ours}, d.keepAttempt(v, q.Session, a)
}

func wrongCode(a attempt, left int) *refusal {
	r := &refusal{Why: WrongCode, node: a.node, id: a.id, text: fmt.Sprintf("tried a wrong code: %d more, and the open codes are void", left)}
	if left == 0 {
		r.text, r.next = "tried a wrong code: that was one too many, and none is open any more", "dominion invite"
	}
	return r
}

func (d *Door) finish(v visit, q finishQuestion) (boxAnswer, error) {
	a, err := d.takeAttempt(v, q.Session)
	if err != nil {
		return boxAnswer{}, err
	}
	if a.picked == nil {
		return boxAnswer{}, &refusal{Why: BadRequest, node: a.node, id: a.id, err: errors.New("the end before the proof")}
	}
	plain, err := unseal(a.picked.key, a.salt, requestBox, q.Session, q.Box)
	var wish request
	if err == nil {
		err = json.Unmarshal(plain, &wish)
	}
	if err != nil {
		return boxAnswer{}, &refusal{Why: BadRequest, node: a.node, id: a.id, err: err}
	}
	box, err := sealOutcome(a.picked.key, a.salt, answerBox, q.Session, d.redeem(v, a, wish.Request))
	return boxAnswer{version: current(), Box: box}, err
}

// redeem gives the code to the machine and admits it, or says why not; both is
// told.
func (d *Door) redeem(v visit, a attempt, request string) outcome {
	papers, again, err := d.admitWith(v, a, request)
	if err != nil {
		return d.unredeemed(v, a.node, a.id, err)
	}
	d.joined(a.node, a.id, v.remote(), "with a code", again)
	return outcome{Papers: papers}
}

func (d *Door) admitWith(v visit, a attempt, request string) (p *papers, again bool, err error) {
	key, err := requestKey(request)
	if err != nil {
		return nil, false, &refusal{Why: BadRequest, err: err}
	}
	before, err := d.invitations.bind(a.picked.code, v.now, a.node, a.id, key)
	if err != nil {
		return nil, false, err
	}
	if before != "" && !d.belongs(before, a.id) { // forgotten since: the code does not bring it back
		return nil, false, &errUsed{by: before}
	}
	p, again, err = d.admit(a.node, a.id, request, true)
	if err != nil && before == "" && !d.belongs(a.node, a.id) {
		if err := d.invitations.release(a.picked.code); err != nil {
			d.o.Log.Warn().Err(err).Str("node", string(a.node)).Msg("a code is spent, though its machine did not come in")
		}
	}
	return p, again, err
}

// unredeemed is the outcome for a machine that was not admitted; it is told.
func (d *Door) unredeemed(v visit, node topics.Node, id topics.MachineID, err error) outcome {
	r := asRefusal(err)
	o := outcome{Why: r.Why}
	var used *errUsed
	var taken *identity.NameTaken
	switch {
	case errors.As(err, &used):
		o = outcome{Why: Used, Node: used.by}
		r = &refusal{Why: Used, text: "wants to join with a code that has served another machine", next: "dominion invite"}
		switch {
		case used.same: // so it says, and has the code; it may have typed it once more
			r.text = "was let in by this code already, and it gives no other key: nothing was changed"
			r.next = "if it has lost its papers: dominion invite"
		case used.by != "":
			r.text = fmt.Sprintf("wants to join with the code that %s has used", used.by)
		}
	case errors.As(err, &taken):
		o = outcome{Why: NameInUse, Node: taken.Node, ID: taken.ID}
		r = &refusal{Why: NameInUse, text: "wants the name of another machine", next: "if it is yours, give it another name there: domain join CODE --name OTHER"}
	case errors.Is(err, errEnded):
		o = outcome{Why: WrongCode}
		r = &refusal{Why: WrongCode, text: "was too late: its code has ended meanwhile", next: "dominion invite"}
	}
	r.node, r.id = node, id
	d.tellRefusal(v, r)
	return o
}

func sealOutcome(secret, salt []byte, purpose, session string, o outcome) ([]byte, error) {
	plain, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return seal(secret, salt, purpose, session, plain)
}
