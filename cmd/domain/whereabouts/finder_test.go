package whereabouts_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/cmd/domain/whereabouts"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

const houseID = "7f3a9c"

func newHouse(t *testing.T) *identity.House {
	t.Helper()
	h, err := identity.Create(filepath.Join(t.TempDir(), "identity"), "Home")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// admitted is the papers of a machine of a house.
func admitted(t *testing.T, h *identity.House, broker string) whereabouts.Papers {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := identity.Request(key, "pi2")
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Admit("pi2", "0123456789abcdef", request)
	if err != nil {
		t.Fatal(err)
	}
	papers := whereabouts.Papers(t.TempDir())
	if err := papers.Replace(&identity.Membership{
		House: houseID, Name: "Home", Node: "pi2", Base: topics.DefaultBase, Broker: broker, Door: "127.0.0.1:1",
		Secret: a.Secret, Authority: a.Authority, Certificate: a.Certificate, Key: key, Logins: identity.LoginsShared,
	}); err != nil {
		t.Fatal(err)
	}
	return papers
}

// broker is somewhere a house can be: it lets everybody shake hands.
type broker struct {
	net.Listener
	met atomic.Int64 // handshakes that succeeded
}

func listen(t *testing.T, h *identity.House) *broker {
	t.Helper()
	return listenAt(t, h, "127.0.0.1:0")
}

func listenAt(t *testing.T, h *identity.House, address string) *broker {
	t.Helper()
	plain, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{Listener: plain}
	if h != nil {
		b.Listener = tls.NewListener(plain, h.TLS(func() []string { return nil }))
	}
	var open sync.WaitGroup
	t.Cleanup(func() { b.Close(); open.Wait() })
	open.Go(func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				if secured, ok := conn.(*tls.Conn); ok && secured.Handshake() != nil {
					return
				}
				b.met.Add(1)
				conn.Read(make([]byte, 1))
			})
		}
	})
	return b
}

func (b *broker) url() string { return "mqtts://" + b.Addr().String() }

// announced is the broker's house as mDNS has it.
func (b *broker) announced(house string) discovery.Entry {
	_, port, _ := net.SplitHostPort(b.Addr().String())
	return leader(house, "Home", "mqtts://:"+port, "127.0.0.1")
}

func port(t *testing.T, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(whereabouts.HostPort(url))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// nowhere is an address where nobody listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// air is what is heard, by whoever looks.
type air struct {
	mu    sync.Mutex
	now   []discovery.Entry
	asked int
}

func (a *air) say(entries ...discovery.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = entries
}

func (a *air) questions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// find asks all who are there, and waits a moment if none is accepted.
func (a *air) find(ctx context.Context, accept func(discovery.Entry) bool) (discovery.Entry, discovery.Tried, error) {
	a.mu.Lock()
	a.asked++
	tried := discovery.Tried{Interfaces: []string{"eth0 (10.0.0.7)"}, Heard: append([]discovery.Entry(nil), a.now...)}
	a.mu.Unlock()
	for _, e := range tried.Heard {
		if accept(e) {
			return e, tried, nil
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
	return discovery.Entry{}, tried, discovery.ErrNotFound
}

func newFinder(t *testing.T, o whereabouts.Options) *whereabouts.Finder {
	t.Helper()
	o.Log = zerolog.New(zerolog.NewTestWriter(t))
	f := whereabouts.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

// reach dials as the bus's client does, again and again.
func reach(t *testing.T, f *whereabouts.Finder) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		conn, err := f.Dial(t.Context())
		if err == nil {
			conn.Close()
			return
		}
		last = err
	}
	t.Fatalf("not reached in 20 s: %v", last)
}

func saved(t *testing.T, p whereabouts.Papers) *identity.Membership {
	t.Helper()
	m, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDialGoesWhereTheHouseWas(t *testing.T) {
	h := newHouse(t)
	b, sky := listen(t, h), &air{}
	papers := admitted(t, h, b.url())
	f := newFinder(t, whereabouts.Options{Papers: papers, Find: sky.find})
	file := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(string(papers), "membership.json"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := file()
	conn, err := f.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !os.SameFile(before, file()) {
		t.Error("the membership was written though nothing changed")
	}
	if sky.questions() != 0 {
		t.Error("a house that is where it was is looked for")
	}
	if f.Address() != b.Addr().String() {
		t.Errorf("the broker is said to be at %s", f.Address())
	}
}

// TestDialFollowsTheHouse holds that a leader that moved is found, and that
// its new place is remembered, for the services too.
func TestDialFollowsTheHouse(t *testing.T) {
	h := newHouse(t)
	sky := &air{}
	papers := admitted(t, h, "mqtts://"+nowhere(t))
	f := newFinder(t, whereabouts.Options{Papers: papers, Find: sky.find})
	_, err := f.Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Home is not reached: 127.0.0.1:") || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("dial: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(err.Error(), "nobody answers by mDNS on eth0 (10.0.0.7)"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("what was tried is not said: %v", err)
		}
		_, err = f.Dial(t.Context())
	}

	b := listen(t, h)
	sky.say(b.announced(houseID))
	reach(t, f)
	m := saved(t, papers)
	if m.Broker != b.url() || m.Door != "127.0.0.1:8443" {
		t.Errorf("remembered are broker %s and door %s", m.Broker, m.Door)
	}
	if f.Address() != b.Addr().String() || !strings.HasSuffix(f.Access("lamp").URL, "@"+b.Addr().String()) {
		t.Errorf("services are told %s, the broker is at %s", f.Access("lamp").URL, f.Address())
	}
}

// TestDialTrustsTheAuthorityAlone holds that neither an address nor an
// announcement makes a house.
func TestDialTrustsTheAuthorityAlone(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	thief, sky := listen(t, other), &air{}
	papers := admitted(t, h, thief.url())
	f := newFinder(t, whereabouts.Options{Papers: papers, Find: sky.find})
	_, err := f.Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "belongs to another house") || !strings.Contains(err.Error(), h.Fingerprint()) {
		t.Errorf("another house where ours was: %v", err)
	}

	second := listen(t, other)
	b := listen(t, h)
	sky.say(second.announced(houseID), thief.announced(houseID), b.announced(houseID))
	reach(t, f)
	if m := saved(t, papers); m.Broker != b.url() {
		t.Errorf("the house is taken to be at %s", m.Broker)
	}
	if thief.met.Load()+second.met.Load() != 0 {
		t.Error("a handshake with another house was completed")
	}
}

func TestDialNeverAsksAnotherHouse(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	neighbour, sky := listen(t, other), &air{}
	sky.say(neighbour.announced("aaaaaa"))
	f := newFinder(t, whereabouts.Options{Papers: admitted(t, h, "mqtts://"+nowhere(t)), Find: sky.find})
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err = f.Dial(t.Context()); strings.Contains(err.Error(), "other houses are heard") {
			return
		}
	}
	t.Errorf("what is heard is not said: %v", err)
}

// TestTheOwnersWordIsLookedForNowhereElse holds that a static address needs no
// mDNS, and is not left.
func TestTheOwnersWordIsLookedForNowhereElse(t *testing.T) {
	h := newHouse(t)
	was, named, sky := listen(t, h), listen(t, h), &air{}
	sky.say(was.announced(houseID))
	papers := admitted(t, h, was.url())
	f := newFinder(t, whereabouts.Options{Papers: papers, Broker: named.url(), Find: sky.find})
	reach(t, f)
	if f.Address() != named.Addr().String() || saved(t, papers).Broker != was.url() {
		t.Errorf("the broker is at %s; remembered is %s", f.Address(), saved(t, papers).Broker)
	}
	named.Close()
	for range 3 {
		if conn, err := f.Dial(t.Context()); err == nil {
			conn.Close()
			t.Fatal("the owner's word was not kept")
		}
	}
	if sky.questions() != 0 {
		t.Error("it was looked for")
	}
}

// TestABrokerThatProvesNothing holds that no announcement leads a password away:
// not even to where the leader proves himself, since a liar can relay that.
func TestABrokerThatProvesNothing(t *testing.T) {
	h := newHouse(t)
	papers := admitted(t, h, "mqtt://"+nowhere(t))
	before := saved(t, papers)
	his, relayed := listenAt(t, nil, "127.0.0.2:"+port(t, before.Broker)), listenAt(t, h, "127.0.0.2:0")
	sky := &air{}
	sky.say(with(leader(houseID, "Home", "mqtt://:1883", "127.0.0.2"), "join", port(t, relayed.url())))
	f := newFinder(t, whereabouts.Options{Papers: papers, Find: sky.find})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := f.Dial(t.Context())
		if err == nil {
			conn.Close()
			t.Fatal("a password is led away")
		}
		if strings.Contains(err.Error(), "is looked for nowhere else") && strings.Contains(err.Error(), "domain join") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what to do is not said: %v", err)
		}
	}
	if his.met.Load()+relayed.met.Load() != 0 || sky.questions() != 0 {
		t.Errorf("it was looked for %d times", sky.questions())
	}
	if m := saved(t, papers); m.Broker != before.Broker || m.Door != before.Door {
		t.Errorf("remembered are broker %s and door %s", m.Broker, m.Door)
	}
}

// TestAnothersBrokerStaysWhereTheOwnerSaid holds that what the house does not
// have it cannot move.
func TestAnothersBrokerStaysWhereTheOwnerSaid(t *testing.T) {
	h := newHouse(t)
	papers := admitted(t, h, "mqtt://"+nowhere(t))
	elsewhere := func(m *identity.Membership) bool { m.Door = "127.0.0.9:8443"; return true }
	if err := papers.Change(elsewhere); err != nil {
		t.Fatal(err)
	}
	b, sky := listen(t, h), &air{}
	sky.say(b.announced(houseID))
	f := newFinder(t, whereabouts.Options{Papers: papers, Find: sky.find})
	for range 5 {
		if conn, err := f.Dial(t.Context()); err == nil {
			conn.Close()
			t.Fatal("it was found elsewhere")
		}
	}
	if b.met.Load() != 0 {
		t.Error("a login was carried elsewhere")
	}
}

func TestWithoutPapers(t *testing.T) {
	f := newFinder(t, whereabouts.Options{Papers: whereabouts.Papers(t.TempDir()), Find: (&air{}).find})
	if _, err := f.Dial(t.Context()); err == nil {
		t.Error("a machine without papers reached a house")
	}
	if f.Address() != "" || f.Access("lamp").URL != "" {
		t.Error("a machine without papers knows a broker")
	}
}

// TestStranger holds that a machine without a house says how to get into one.
func TestStranger(t *testing.T) {
	local := listen(t, nil)
	s := whereabouts.NewStranger("mqtt://"+local.Addr().String(), zerolog.Nop())
	if !s.Alone() {
		t.Error("nobody answered yet")
	}
	conn, err := s.Dial(t.Context())
	if err != nil || s.Alone() {
		t.Fatalf("alone %v, %v", s.Alone(), err)
	}
	conn.Close()
	local.Close()
	if _, err := s.Dial(t.Context()); err == nil || !s.Alone() ||
		!strings.Contains(err.Error(), "belongs to no house") || !strings.Contains(err.Error(), "dominion invite") {
		t.Errorf("alone %v, %v", s.Alone(), err)
	}
}
