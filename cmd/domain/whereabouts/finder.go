package whereabouts

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

// The times of looking for the broker.
const (
	oneDial   = 4 * time.Second  // for all places of one Dial: the bus's client ends a connection that took 5 s to come about
	oneSearch = 10 * time.Second // a search that found nobody, until the next Dial asks for another
	grudge    = 30 * time.Second // a place that failed comes after the others
)

// Options are what a Finder is made of.
type Options struct {
	Papers Papers
	// Broker, if not empty, is the URL where the owner says the broker is: it is
	// looked for nowhere else.
	Broker string
	Find   Find
	Log    zerolog.Logger
}

// Find looks for a leader until one is accepted; discovery.Find does.
type Find func(ctx context.Context, accept func(discovery.Entry) bool) (discovery.Entry, discovery.Tried, error)

// Leaders is Find on this machine's networks.
func Leaders(ctx context.Context, accept func(discovery.Entry) bool) (discovery.Entry, discovery.Tried, error) {
	return discovery.Find(ctx, discovery.DominionService, accept)
}

// Finder opens connections to the broker of the house that a machine belongs
// to, wherever that is. Its methods may be called from several goroutines.
type Finder struct {
	Options
	lost chan struct{} // buffered: a Dial failed, look for the house

	mu     sync.Mutex           // guards what follows
	heard  []discovery.Entry    // of the house, by the last search
	failed map[string]time.Time // by address: when no house was met there last
	broker string               // host:port that was reached last
	silent string               // what the last search has to say for a person
}

// New makes a Finder. Its Run must run for the house to be found elsewhere.
func New(o Options) *Finder {
	return &Finder{Options: o, lost: make(chan struct{}, 1), failed: map[string]time.Time{}}
}

// Dial connects to the house's broker, where it was last or has been heard
// since. A broker that the house vouches for has proven itself when Dial
// returns. It takes 4 s at most. The errors are for people.
func (f *Finder) Dial(ctx context.Context) (net.Conn, error) {
	m, err := f.membership()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, oneDial)
	defer cancel()
	places := f.places(m)
	var bad []string
	for i, p := range places {
		conn, err := f.knock(ctx, m, p.Broker, len(places)-i)
		if err == nil {
			f.arrived(p)
			return conn, nil
		}
		f.missed(p.Broker)
		bad = append(bad, p.Broker+": "+plain(err).Error())
	}
	select {
	case f.lost <- struct{}{}:
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, fmt.Errorf("%s is not reached: %s%s", cmp.Or(m.Name, "the house"), strings.Join(bad, "; "), f.silent)
}

// membership is what the machine's papers say now, with the owner's word on
// where the broker is.
func (f *Finder) membership() (*identity.Membership, error) {
	m, err := f.Papers.Load()
	if err == nil && f.Broker != "" {
		m = moved(m, Place{Broker: HostPort(f.Broker)})
	}
	return m, err
}

// places are those to try now; those that failed a moment ago come last.
func (f *Finder) places(m *identity.Membership) []Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Broker != "" {
		return Places(m, nil)
	}
	all := Places(m, f.heard)
	slices.SortStableFunc(all, func(a, b Place) int {
		return compareBool(f.resented(a.Broker), f.resented(b.Broker))
	})
	return all
}

// resented tells whether no house was met at an address a moment ago; f.mu is
// held.
func (f *Finder) resented(address string) bool {
	at, ok := f.failed[address]
	return ok && time.Since(at) < grudge
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// knock opens a connection; it takes its share of the time for those that are
// left to try.
func (f *Finder) knock(ctx context.Context, m *identity.Membership, address string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	config, err := proof(m, address)
	switch {
	case err != nil:
		return nil, err
	case config == nil:
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
}

// proof is how a broker proves what it is: by the house's authority; of a broker
// that is not the house's own, by an authority of this system; nil: not at all.
func proof(m *identity.Membership, address string) (*tls.Config, error) {
	if Vouched(m) {
		return m.TLS()
	}
	if u, err := url.Parse(m.Broker); err != nil || u.Scheme == "mqtt" || u.Scheme == "tcp" {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}, err
}

// arrived notes where the broker is.
func (f *Finder) arrived(p Place) {
	f.mu.Lock()
	f.broker, f.silent = p.Broker, ""
	delete(f.failed, p.Broker)
	f.mu.Unlock()
	if f.Broker == "" {
		f.remember(p)
	}
}

// remember stores where the house is, if that has changed, for the next start.
func (f *Finder) remember(p Place) {
	err := f.Papers.Change(func(m *identity.Membership) bool {
		now := moved(m, p)
		if now.Broker == m.Broker && now.Door == m.Door {
			return false
		}
		f.Log.Info().Str("house", string(m.House)).Str("broker", HostPort(now.Broker)).Str("before", HostPort(m.Broker)).Msg("the house has moved")
		*m = *now
		return true
	})
	if err != nil {
		f.Log.Warn().Err(err).Msg("where the house is now cannot be stored: after a restart it will be looked for again")
	}
}

// missed notes that no house was met at an address.
func (f *Finder) missed(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.failed, func(at string, _ time.Time) bool { return !f.resented(at) })
	f.failed[address] = time.Now()
}

// Address is the broker's host:port as far as it is known.
func (f *Finder) Address() string {
	f.mu.Lock()
	broker := f.broker
	f.mu.Unlock()
	if broker != "" {
		return broker
	}
	m, err := f.membership()
	if err != nil {
		return ""
	}
	return HostPort(m.Broker)
}

// Access is how a service reaches the broker now.
func (f *Finder) Access(service topics.Service) device.Access {
	m, err := f.membership()
	if err != nil {
		f.Log.Error().Err(err).Str("service", string(service)).Msg("the membership cannot be read: the service is not told of the broker")
		return device.Access{}
	}
	return Access(m, f.Address(), identity.AuthorityFile(string(f.Papers)), service)
}

// plain takes the addresses out of a network error: the sentence around it has them.
func plain(err error) error {
	var network *net.OpError
	if errors.As(err, &network) && network.Err != nil {
		return network.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer")
	}
	return err
}
