package broker

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// guesses slow down who tries passwords: each address has some tries, and gets
// another each two seconds. A right password costs none. So nobody is locked
// out for good, and nobody pays for what comes from elsewhere.
type guesses struct {
	mu sync.Mutex // guards of
	of map[netip.Prefix]*tries
}

const (
	freeTries     = 10
	tryEach       = 2 * time.Second
	longestTurn   = 4 * time.Second // who would wait longer for its try is refused
	mostAddresses = 1024            // remembered at a time
)

// tries are what an address has left; below zero, who waits has taken them.
type tries struct {
	left float64
	at   time.Time // when left was true
}

func (t *tries) refill(now time.Time) {
	t.left = min(freeTries, t.left+now.Sub(t.at).Seconds()/tryEach.Seconds())
	t.at = now
}

// wait returns true when it is an address's turn to try a password, false if
// that would take too long, the client has gone or the server ends.
func (g *guesses) wait(from netip.Prefix, gone, done <-chan struct{}) bool {
	turn, ok := g.take(from, time.Now())
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

func (g *guesses) take(from netip.Prefix, now time.Time) (turn time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.of[from]
	if t == nil {
		t = &tries{left: freeTries, at: now}
		g.remember(from, t, now)
	}
	t.refill(now)
	turn = time.Duration(max(0, 1-t.left) * float64(tryEach))
	if turn > longestTurn {
		return 0, false
	}
	t.left--
	return turn, true
}

// remember makes room: first those go that have all their tries again, then
// who has most of them.
func (g *guesses) remember(from netip.Prefix, t *tries, now time.Time) {
	if g.of == nil {
		g.of = map[netip.Prefix]*tries{}
	}
	if len(g.of) >= mostAddresses {
		var best netip.Prefix
		most := -1e9
		for p, other := range g.of {
			other.refill(now)
			switch {
			case other.left == freeTries:
				delete(g.of, p)
			case other.left > most:
				best, most = p, other.left
			}
		}
		if len(g.of) >= mostAddresses {
			delete(g.of, best)
		}
	}
	g.of[from] = t
}

// right gives the try of a right password back.
func (g *guesses) right(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.of[from]; t != nil {
		t.left = min(freeTries, t.left+1)
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
