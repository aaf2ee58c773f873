package whereabouts

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/discovery"
	"dominion/topics"
)

// Stranger is the way of a machine that belongs to no house and was told of no
// broker: it speaks to one on this machine alone, if there is one. Its methods
// may be called from several goroutines.
type Stranger struct {
	local string // URL
	log   zerolog.Logger

	mu     sync.Mutex // guards what follows
	alone  bool       // nobody answers
	looked bool       // the network was listened to
	houses []House    // that are heard
}

// NewStranger makes a Stranger that tries the broker at a URL without a login.
func NewStranger(local string, log zerolog.Logger) *Stranger {
	return &Stranger{local: local, log: log, alone: true}
}

// Dial connects to the broker on this machine. Its error says how to get into
// a house, and which there are.
func (s *Stranger) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", HostPort(s.local))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = err != nil
	if err != nil {
		return nil, errors.New(advice(s.looked, s.houses))
	}
	return conn, nil
}

// advice is what a person can do for a machine without a house.
func advice(looked bool, houses []House) string {
	const howto = `on the leader type "dominion invite", and here the line that it prints`
	switch {
	case !looked:
		return "this machine belongs to no house: " + howto
	case len(houses) == 0:
		return "this machine belongs to no house, and hears none: " + howto
	}
	names := make([]string, 0, len(houses))
	for _, h := range houses {
		names = append(names, h.String())
	}
	return "this machine belongs to no house, and hears " + strings.Join(names, ", ") + ": " + howto
}

// Run listens which houses there are, until ctx ends.
func (s *Stranger) Run(ctx context.Context) error {
	for heard := range discovery.Browse(ctx, discovery.DominionService, s.log) {
		s.mu.Lock()
		s.looked, s.houses = true, Houses(heard)
		s.mu.Unlock()
	}
	return nil
}

// Alone tells whether nobody answers.
func (s *Stranger) Alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alone
}

// Address is the broker's host:port.
func (s *Stranger) Address() string { return HostPort(s.local) }

// Access is how a service reaches the broker: without a login.
func (s *Stranger) Access(topics.Service) device.Access { return device.Access{URL: s.local} }
