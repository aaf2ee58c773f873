package whereabouts

import (
	"context"
	"fmt"
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

// staysPut is what a person can do for a broker that is looked for nowhere else.
const staysPut = "; a broker without the house's certificate is looked for nowhere else (has it moved? dominion invite on the leader, domain join here)"

// search asks the local network for the house until it answers from a place
// that has not just failed, 10 s at most.
//
// A broker that does not prove itself is not looked for, not even beside a
// leader who does: whoever answers mDNS could relay the leader's door, and take
// the login at the broker's port.
func (f *Finder) search(ctx context.Context) {
	m, err := f.membership()
	if err != nil || f.Broker != "" {
		return // Dial says so; or the owner has said where it is
	}
	if !Vouched(m) {
		f.mu.Lock()
		f.silent = staysPut
		f.mu.Unlock()
		return
	}
	asking, cancel := context.WithTimeout(ctx, oneSearch)
	defer cancel()
	_, tried, _ := f.Find(asking, func(e discovery.Entry) bool { return houseOf(e) == m.House && f.promising(e) }) // tried tells all
	if ctx.Err() == nil {
		f.learn(m, tried)
	}
}

// promising tells whether an announcement names a place to try.
func (f *Finder) promising(e discovery.Entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
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
