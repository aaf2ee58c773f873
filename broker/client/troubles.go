package client

import "time"

const (
	sayAgain = 10 * time.Minute // a trouble that lasts is logged again
	calm     = time.Minute      // a link that held so long may be reported lost again at once
)

// troubles keeps the log quiet while the same trouble lasts or comes back.
type troubles struct {
	said  map[string]time.Time // when each trouble was logged
	since time.Time            // of this outage; zero while the link is good
	good  time.Time            // when the link was last found good
	loud  bool                 // this outage was logged
}

// failed tells whether a failure is to be logged: a new one at once, the same
// one every ten minutes.
func (t *troubles) failed(now time.Time, text string) bool {
	if t.since.IsZero() {
		t.since = now
		if !t.good.IsZero() && now.Sub(t.good) >= calm {
			t.said = nil
		}
	}
	if last, ok := t.said[text]; ok && now.Sub(last) < sayAgain {
		return false
	}
	if t.said == nil || len(t.said) > 16 {
		t.said = map[string]time.Time{}
	}
	t.said[text], t.loud = now, true
	return true
}

// recovered tells whether the return of the link is to be logged, and how long
// it was away. Of a link that flaps only what was logged as lost is.
func (t *troubles) recovered(now time.Time) (away time.Duration, say bool) {
	if !t.since.IsZero() {
		away, say = now.Sub(t.since), t.loud
	}
	t.since, t.good, t.loud = time.Time{}, now, false
	return away, say
}
