package main

import (
	"net/netip"
	"time"
)

// offences are what was told lately of those who were refused, so that nobody
// fills the log and the alerts: the same is told once a minute, of one source
// a few things a minute, and of all together not many more. What is left out is
// counted, and told with the next.
type offences struct {
	told    map[offence]time.Time
	sources map[string]*allowance
	all     allowance
	untold  int
}

// offence is what somebody did; source is an account, or a network without one.
type offence struct{ source, what string }

const (
	tellAgain   = time.Minute
	eachSource  = 8  // tellings at once, then one each refill
	allSources  = 60 // of all of them
	sourceEvery = 15 * time.Second
	allEvery    = 2 * time.Second
)

// allowance is a bucket of tokens.
type allowance struct {
	used float64
	last time.Time
}

// take takes a token, if there is one: most at once, and one more each.
func (a *allowance) take(now time.Time, most float64, each time.Duration) bool {
	a.used = max(0, a.used-now.Sub(a.last).Seconds()/each.Seconds())
	a.last = now
	if a.used+1 > most {
		return false
	}
	a.used++
	return true
}

// tell tells whether an offence is to be told now, and how many others were
// not since the last that was.
func (o *offences) tell(source, what string, now time.Time) (untold int, ok bool) {
	if o.told == nil {
		o.told, o.sources = map[offence]time.Time{}, map[string]*allowance{}
	}
	o.forget(now)
	key := offence{source, what}
	if last, again := o.told[key]; again && now.Sub(last) < tellAgain {
		return 0, false // it is told already
	}
	known := o.sources[source]
	if known == nil {
		known = &allowance{last: now}
	}
	if o.all.last.IsZero() {
		o.all.last = now
	}
	// One source's own comes first: it must not use up what is for all.
	if !known.take(now, eachSource, sourceEvery) || !o.all.take(now, allSources, allEvery) {
		o.untold++
		return 0, false
	}
	o.sources[source], o.told[key] = known, now // bounded: all.take let it
	untold, o.untold = o.untold, 0
	return untold, true
}

// forget drops what is over.
func (o *offences) forget(now time.Time) {
	for key, last := range o.told {
		if now.Sub(last) >= tellAgain {
			delete(o.told, key)
		}
	}
	for source, a := range o.sources {
		if now.Sub(a.last) >= eachSource*sourceEvery {
			delete(o.sources, source)
		}
	}
}

// network is where somebody comes from, for counting: an IPv4 address, or the
// 64 bits of an IPv6 address that name a network.
func network(remote string) string {
	a, err := netip.ParseAddr(withoutPort(remote))
	if err != nil {
		return remote
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.Addr().String()
}
