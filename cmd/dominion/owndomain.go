package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"dominion/cmd/domain/agent"
	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
	"dominion/device"
	"dominion/identity"
	"dominion/topics"
)

// ownLogins gives the services of this machine logins of their own, if it is a
// domain too: it joins its house without a door.
func (l *leader) ownLogins(c agent.Config, link *agent.Link) error {
	m, err := l.ownMembership(c)
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: fmt.Errorf("make this machine a domain of its house: %w", err)}
	}
	m.Broker, m.Logins = bare(l.url), identity.LoginsOwn
	if l.broker == nil {
		m.Logins = l.config.Logins
	}
	link.Access = func(s topics.Service) device.Access {
		return whereabouts.Access(m, "", identity.AuthorityFile(c.Data), s)
	}
	return nil
}

// ownMembership is that of this machine's domain; a new one when it has none,
// or one that does not stand any more.
func (l *leader) ownMembership(c agent.Config) (*identity.Membership, error) {
	papers := whereabouts.Papers(c.Data)
	m, err := papers.Load()
	switch {
	case err == nil && m.Node == c.Name && l.stands(m):
		return m, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	id, err := program.MachineID(c.Data)
	if err != nil {
		return nil, err
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	request, err := identity.Request(key, c.Name)
	if err != nil {
		return nil, err
	}
	admitted, err := l.gate.accounts.Admit(c.Name, id, request)
	if err != nil {
		return nil, err
	}
	m = &identity.Membership{
		Name: l.config.Name, Node: c.Name, Base: c.Base, Broker: bare(l.url), Logins: identity.LoginsOwn, Secret: admitted.Secret,
		Authority: admitted.Authority, Certificate: admitted.Certificate, Key: key,
	}
	return m, papers.Replace(m)
}

// stands tells whether the house still knows a membership.
func (l *leader) stands(m *identity.Membership) bool {
	block, _ := pem.Decode(m.Certificate)
	if block == nil {
		return false
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	_, err = l.gate.accounts.Certificate(leaf)
	return err == nil
}
