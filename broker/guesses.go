package broker

import (
	"hash/maphash"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"
)

// guesses slow down who tries passwords: each user name from each address has
// some tries, and gets another each two seconds; each address has ten times
// that for all user names together. A right password costs none. So nobody is
// locked out for good, and nobody pays for what comes from elsewhere, or for a
// client on the same machine that has another's wrong password.
type guesses struct {
	mu        sync.Mutex // guards all below
	seed      maphash.Seed
	logins    table[loginFrom]
	addresses table[netip.Prefix]
}

// loginFrom is a user name and where it came from. Of the name, which may be
// long, there is a hash.
type loginFrom struct {
	address netip.Prefix
	user    uint64
}

const (
	freeTries    = 10
	tryEach      = 2 * time.Second
	wider        = 10              // times more for an address
	longestTurn  = 4 * time.Second // who would wait longer for its try is refused
	mostGuessers = 1024            // remembered at a time, in each table
)

func newGuesses() guesses {
	return guesses{
		seed:      maphash.MakeSeed(),
		logins:    newTable[loginFrom](freeTries, tryEach),
		addresses: newTable[netip.Prefix](wider*freeTries, tryEach/wider),
	}
}

// wait returns true when it is the turn of a user name from an address to try a
// password, false if that would take too long, the client has gone or the
// server ends.
func (g *guesses) wait(from netip.Prefix, user string, gone, done <-chan struct{}) bool {
	turn, ok := g.take(from, user, time.Now())
	if !ok || turn == 0 {
		return ok
	}
	timer := time.NewTimer(turn)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-gone:
	case <-done:
	}
	return false
}

// take takes a try from both, or, if either has none soon, from neither.
func (g *guesses) take(from netip.Prefix, user string, now time.Time) (turn time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	login, address := g.logins.tries(g.login(from, user), now), g.addresses.tries(from, now)
	turn = max(g.logins.turn(login), g.addresses.turn(address))
	if turn > longestTurn {
		return 0, false
	}
	login.left--
	address.left--
	return turn, true
}

// right gives the try of a right password back.
func (g *guesses) right(from netip.Prefix, user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.logins.giveBack(g.login(from, user))
	g.addresses.giveBack(from)
}

func (g *guesses) login(from netip.Prefix, user string) loginFrom {
	return loginFrom{from, maphash.String(g.seed, user)}
}

// table remembers the tries of those that used some. It is guarded by guesses.mu.
type table[K comparable] struct {
	free float64       // tries to begin with, and at most
	each time.Duration // until there is another
	of   map[K]*tries
}

// tries are what somebody has left; below zero, who waits has taken them.
type tries struct {
	left float64
	at   time.Time // when left was true
}

func newTable[K comparable](free float64, each time.Duration) table[K] {
	return table[K]{free: free, each: each, of: map[K]*tries{}}
}

func (t *table[K]) tries(key K, now time.Time) *tries {
	x := t.of[key]
	if x == nil {
		x = &tries{left: t.free, at: now}
		t.makeRoom(now)
		t.of[key] = x
	}
	t.refill(x, now)
	return x
}

func (t *table[K]) refill(x *tries, now time.Time) {
	x.left = min(t.free, x.left+now.Sub(x.at).Seconds()/t.each.Seconds())
	x.at = now
}

// turn is how long it takes until there is a whole try.
func (t *table[K]) turn(x *tries) time.Duration {
	return time.Duration(max(0, 1-x.left) * float64(t.each))
}

func (t *table[K]) giveBack(key K) {
	if x := t.of[key]; x != nil {
		x.left = min(t.free, x.left+1)
	}
}

// makeRoom, if there is none: first those go that have all their tries again,
// then who has most of them.
func (t *table[K]) makeRoom(now time.Time) {
	if len(t.of) < mostGuessers {
		return
	}
	var best K
	most := math.Inf(-1)
	for key, x := range t.of {
		t.refill(x, now)
		switch {
		case x.left == t.free:
			delete(t.of, key)
		case x.left > most:
			best, most = key, x.left
		}
	}
	if len(t.of) >= mostGuessers {
		delete(t.of, best)
	}
}

// subnet is what counts as one address: for IPv6 the /64, of which any machine
// has all.
func subnet(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() && !ip.IsLoopback() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
