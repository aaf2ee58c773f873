package joining

import (
	"net/netip"
	"time"
)

// What a door has time for: some tries at once, then one each interval, for
// each address (of members: for each of them) and for all together. An address
// is an IPv6 network of 64 bits, since who has one address there has them all.
const (
	burstOfOne = 10
	oneEach    = 6 * time.Second
	burstOfAll = 30
	allEach    = time.Second
	mostKept   = 256 // kept in mind before those at rest are forgotten
)

// limits count tries of whoever K tells apart. The zero value has not seen any.
type limits[K comparable] struct {
	all bucket
	of  map[K]*bucket
}

// bucket is how many tries were made too early, at a time: none in the zero value.
type bucket struct {
	used float64
	at   time.Time
}

// take counts a try. If it is one too many it is not counted, and
// the return value is how long to wait.
func (l *limits[K]) take(from K, now time.Time) (wait time.Duration) {
	one := l.of[from]
	if one == nil {
		one = &bucket{}
	}
	if wait = one.wait(now, burstOfOne, oneEach); wait > 0 {
		return wait
	}
	if wait = l.all.wait(now, burstOfAll, allEach); wait > 0 {
		return wait
	}
	one.used++
	l.all.used++
	if l.of == nil {
		l.of = make(map[K]*bucket)
	}
	if len(l.of) >= mostKept {
		l.forget(now)
	}
	l.of[from] = one // at most burstOfAll and one each second: forget keeps few
	return 0
}

// wait lets time pass, and says how long until there is room for one more.
func (b *bucket) wait(now time.Time, burst float64, each time.Duration) time.Duration {
	if passed := now.Sub(b.at); passed > 0 { // a clock may be set back
		b.used = max(0, b.used-passed.Seconds()/each.Seconds())
	}
	b.at = now
	if over := b.used + 1 - burst; over > 0 {
		return time.Duration(over * float64(each))
	}
	return 0
}

func (l *limits[K]) forget(now time.Time) {
	for from, b := range l.of {
		if b.wait(now, burstOfOne, oneEach); b.used == 0 {
			delete(l.of, from)
		}
	}
}

func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	network, _ := a.Prefix(bits) // the zero Addr has the zero Prefix: one for all who have none
	return network
}
