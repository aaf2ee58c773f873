package device

import "time"

// Backoff says when a service that failed is tried again.
type Backoff struct {
	First  time.Duration // the wait after the first failure; doubled by each that follows
	Cap    time.Duration // the longest wait
	Jitter float64       // the part of a wait that chance may add or take: 0.25 is a quarter
	Reset  time.Duration // how long it must have been ready for all to be forgotten

	LoopCount  int           // that many failures
	LoopWindow time.Duration // within that time are a crash loop
	LoopPause  time.Duration // and then it is tried only that often, for ever
}

func (b Backoff) withDefaults() Backoff {
	b.First = or(b.First, time.Second)
	b.Cap = or(b.Cap, time.Minute)
	b.Jitter = or(b.Jitter, 0.25)
	b.Reset = or(b.Reset, 2*time.Minute)
	b.LoopCount = or(b.LoopCount, 5)
	b.LoopWindow = or(b.LoopWindow, 10*time.Minute)
	b.LoopPause = or(b.LoopPause, 5*time.Minute)
	return b
}

func or[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

// History is what is remembered of a service's failures. The zero value is a
// service that never failed.
type History struct {
	InRow   int         // failures since it was last ready for long
	Recent  []time.Time // those within the loop's window, oldest first
	Looping bool
}

// Failed is the history after one more failure at now, and how long to wait
// before the next try. chance is a random number in [0, 1).
func (b Backoff) Failed(h History, now time.Time, chance float64) (History, time.Duration) {
	var recent []time.Time
	for _, at := range h.Recent {
		if now.Sub(at) < b.LoopWindow {
			recent = append(recent, at)
		}
	}
	recent = append(recent, now)
	if len(recent) > b.LoopCount {
		recent = recent[len(recent)-b.LoopCount:]
	}
	next := History{InRow: h.InRow + 1, Recent: recent, Looping: h.Looping || len(recent) >= b.LoopCount}
	if next.Looping {
		return next, b.LoopPause
	}
	wait := b.First
	for i := 0; i < h.InRow && wait < b.Cap; i++ {
		wait *= 2
	}
	wait = min(wait, b.Cap)
	return next, wait + time.Duration(float64(wait)*b.Jitter*(2*chance-1))
}

// Ready is the history of a service that has been ready for that long.
func (b Backoff) Ready(h History, ready time.Duration) History {
	if ready >= b.Reset {
		return History{}
	}
	return h
}
