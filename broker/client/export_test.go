package client

import "time"

// Times shortens what tests would wait for; a zero keeps the usual value.
type Times struct {
	Retry, Fence, Listen, Quiet, Heal, Recheck, Restart, Try time.Duration
	Limit                                                    int
}

// NewTimed is New at another pace.
func NewTimed(o Options, t Times) (*Client, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	set := func(d *time.Duration, to time.Duration) {
		if to != 0 {
			*d = to
		}
	}
	set(&c.pace.retry, t.Retry)
	set(&c.pace.spread, t.Retry)
	set(&c.pace.fence, t.Fence)
	set(&c.pace.listen, t.Listen)
	set(&c.pace.quiet, t.Quiet)
	set(&c.pace.heal, t.Heal)
	set(&c.pace.recheck, t.Recheck)
	set(&c.pace.restart, t.Restart)
	set(&c.pace.try, t.Try)
	if t.Limit != 0 {
		c.pace.limit = t.Limit
	}
	return c, nil
}

// Matches and Overlap are the two questions about filters.
var (
	Matches = matches
	Overlap = overlap
)
