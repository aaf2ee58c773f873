package joining

import "errors"

// renew makes a new certificate for a machine of the house.
func (d *Door) renew(v visit, q renewQuestion) (renewAnswer, error) {
	if err := d.let(v, "", ""); err != nil {
		return renewAnswer{}, err
	}
	if v.leaf == nil {
		return renewAnswer{}, &refusal{Why: Stranger, err: errors.New("shows no certificate")}
	}
	if _, err := d.o.House.Certificate(v.leaf); err != nil {
		return renewAnswer{}, &refusal{Why: Stranger, err: err}
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
