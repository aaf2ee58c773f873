package load

import (
	"context"
	"sync/atomic"
	"time"
)

// gate lets publishers be a bounded way ahead.
type gate struct {
	most    int64
	within  atomic.Int64
	freed   chan struct{} // has an element when there may be a place
	emptied chan struct{} // has one when nobody was within
}

func newGate(most int) *gate {
	return &gate{most: int64(most), freed: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
}

// enter takes n places. Before it waits it calls flush: what is still in a
// write buffer would be waited for in vain.
func (g *gate) enter(ctx context.Context, n int, flush func() error) error {
	waited := false
	for g.within.Load()+int64(n) > g.most {
		waited = true
		if err := flush(); err != nil {
			return err
		}
		if err := g.wait(ctx); err != nil {
			return err
		}
	}
	if g.within.Add(int64(n)) < g.most && waited {
		poke(g.freed) // another publisher may wait too
	}
	return nil
}

// wait waits for places. When none becomes free for long, what was within is
// taken for lost, as messages of QoS 0 may be: the flow goes on.
func (g *gate) wait(ctx context.Context) error {
	lost := time.NewTimer(settling)
	defer lost.Stop()
	select {
	case <-g.freed:
	case <-lost.C:
		g.within.Store(0)
		poke(g.freed)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// leave gives places back. It wakes publishers only when half of them are free,
// so that they write many messages at a time.
func (g *gate) leave(n int) {
	within := g.within.Add(-int64(n))
	if within <= g.most/2 {
		poke(g.freed)
	}
	if within <= 0 {
		poke(g.emptied)
	}
}

// empty waits until nobody is within, at most as long as a broker may take for
// an answer.
func (g *gate) empty(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for g.within.Load() > 0 {
		select {
		case <-g.emptied:
		case <-late.C:
			return nil // what is missing then counts as lost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
