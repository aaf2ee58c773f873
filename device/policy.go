package device

import (
	"time"

	"dominion/topics"
)

// Outcome is what becomes of a service that ended by itself.
type Outcome string

// The outcomes.
const (
	Retried  Outcome = "retried"  // it is started again, after its backoff
	Complete Outcome = "complete" // a oneshot has done what it is for
	Ended    Outcome = "ended"    // it ended well, and is not started again
	Failed   Outcome = "failed"   // it failed, and is not started again
)

// AfterEnd says what becomes of a service by its terms; clean is an exit with
// code 0 that nobody had to force.
func AfterEnd(want topics.Wanted, clean bool) Outcome {
	policy := want.RestartPolicy()
	switch {
	case clean && want.Ends():
		return Complete
	case clean && policy != topics.RestartAlways:
		return Ended
	case policy == topics.RestartNever:
		return Failed
	}
	return Retried
}

// of is the backoff with what a service's own terms say of it.
func (b Backoff) of(r *topics.Restart) Backoff {
	if r == nil {
		return b
	}
	b.First = or(seconds(r.First), b.First)
	b.Cap = max(or(seconds(r.Cap), b.Cap), b.First)
	return b
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
