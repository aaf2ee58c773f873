package verify

import (
	"context"
	"slices"
	"sync"
	"time"

	"dominion/topics"
)

// record takes down what is seen, from several goroutines.
type record struct {
	began time.Time

	mu      sync.Mutex // guards what follows
	seen    Seen
	changed chan struct{} // closed, and replaced, at each event
}

func newRecord(space topics.Space, node topics.Node, wire bool) *record {
	return &record{
		began: time.Now(), changed: make(chan struct{}),
		seen: Seen{Space: space, Node: node, Wire: wire, Gave: map[Step]topics.Document{}},
	}
}

func (r *record) add(e Event) {
	e.After = time.Since(r.began)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Events = append(r.seen.Events, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *record) gave(step Step, doc topics.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Gave[step] = doc
}

// look is what was seen until now.
func (r *record) look() (Seen, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen
	s.Events = slices.Clip(s.Events)
	return s, r.changed
}

// until waits for something to be seen, for so long at most.
func (r *record) until(ctx context.Context, atMost time.Duration, done func(Seen) bool) bool {
	timeout := time.NewTimer(atMost)
	defer timeout.Stop()
	for {
		s, changed := r.look()
		if done(s) {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// rest lets a step go on for so long.
func (r *record) rest(ctx context.Context, d time.Duration) {
	r.until(ctx, d, func(Seen) bool { return false })
}

// forget takes back that a step was begun.
func (r *record) forget(step Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Events = slices.DeleteFunc(slices.Clone(r.seen.Events), func(e Event) bool { return e.What == Marked && e.Step == step })
}
