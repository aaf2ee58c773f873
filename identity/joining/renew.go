package joining

import (
	"errors"

	"dominion/topics"
)

// renew makes a new certificate for a machine of the house. It is not kept
// waiting by what strangers do: members have limits of their own.
func (d *Door) renew(v visit, q renewQuestion) (renewAnswer, error) {
	member, err := d.memberOf(v)
	if err != nil {
		if err := d.let(v, "", ""); err != nil {
			return renewAnswer{}, err
		}
		return renewAnswer{}, &refusal{Why: Stranger, err: err}
	}
	d.mu.Lock()
	wait := d.members.take(member.Name, v.now)
	d.mu.Unlock()
	*v.paid = true
	if wait > 0 {
		return renewAnswer{}, &refusal{Why: Busy, wait: wait, node: topics.Node(member.Who.Name)}
	}
	if _, err := requestKey(q.Request); err != nil {
		return renewAnswer{}, &refusal{Why: BadRequest, err: err}
	}
	certificate, err := d.o.House.Renew(v.leaf, []byte(q.Request))
	if err != nil {
		return renewAnswer{}, err
	}
	return renewAnswer{current(), string(certificate)}, nil
}

func (d *Door) memberOf(v visit) (topics.Account, error) {
	if v.leaf == nil {
		return topics.Account{}, errors.New("shows no certificate")
	}
	return d.o.House.Certificate(v.leaf)
}
