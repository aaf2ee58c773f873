package whereabouts

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"

	"dominion/discovery"
	"dominion/identity"
)

// Run looks for the house whenever a Dial did not reach it, until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.lost:
			f.search(ctx)
		}
	}
}

// search asks the local network for the house until it answers from a place
// that has not just failed, 10 s at most.
func (f *Finder) search(ctx context.Context) {
	m, err := f.membership()
	if err != nil || f.Broker != "" || !withLeader(m) {
		return // Dial says so; or nobody knows of another place
	}
	asking, cancel := context.WithTimeout(ctx, oneSearch)
	defer cancel()
	found, tried, err := f.Find(asking, func(e discovery.Entry) bool { return houseOf(e) == m.House && f.promising(m, e) })
	if ctx.Err() != nil {
		return
	}
	f.learn(m, tried)
	if err == nil && !Vouched(m) {
		f.prove(ctx, m, found)
	}
}

// promising tells whether an announcement names a place to try.
func (f *Finder) promising(m *identity.Membership, e discovery.Entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !Vouched(m) {
		return slices.ContainsFunc(doorsOf(e), func(door string) bool { return door != m.Door && !f.resented(door) })
	}
	return slices.ContainsFunc(placesOf(e), func(p Place) bool { return !f.resented(p.Broker) })
}

// learn keeps what was heard of the house, or says that nothing was.
func (f *Finder) learn(m *identity.Membership, tried discovery.Tried) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard, f.silent = nil, ""
	for _, e := range tried.Heard {
		if houseOf(e) == m.House {
			f.heard = append(f.heard, e)
		}
	}
	if len(f.heard) == 0 {
		f.silent = silence(tried)
	}
}

// silence says that the house was not heard, always in the same words for the
// same trouble, so that a log need not repeat it.
func silence(tried discovery.Tried) string {
	switch {
	case len(tried.Trouble) > 0:
		return "; nor can it be looked for: " + strings.Join(tried.Trouble, "; ")
	case len(tried.Heard) > 0:
		return "; other houses are heard by mDNS, this one is not"
	}
	return fmt.Sprintf("; nobody answers by mDNS on %s (is the leader off, or UDP port 5353 blocked?)", strings.Join(tried.Interfaces, ", "))
}

// prove finds the leader at one of the doors where it is said to be: a broker
// that moves with it, and proves nothing itself, is there too.
func (f *Finder) prove(ctx context.Context, m *identity.Membership, e discovery.Entry) {
	config, err := m.TLS()
	if err != nil {
		return // Dial says so
	}
	_, port, _ := net.SplitHostPort(HostPort(m.Broker))
	for _, door := range doorsOf(e) {
		if door == m.Door {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, oneDial)
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", door)
		cancel()
		if err != nil {
			f.Log.Debug().Err(err).Str("door", door).Msg("what is announced as the house does not prove it")
			f.missed(door)
			continue
		}
		conn.Close()
		f.remember(Place{Broker: net.JoinHostPort(hostOf(door), port), Door: door})
		f.mu.Lock()
		f.broker = ""
		f.mu.Unlock()
		return
	}
}
