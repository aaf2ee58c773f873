package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Flow is messages as fast as they are taken: from each of the publishers, on a
// topic of its own, to all subscribers.
type Flow struct {
	Publishers, Subscribers int
	QoS                     byte // 0 or 1
	Payload                 int  // bytes
	// Window is how many messages one publisher has under way: at QoS 1 those
	// that are not acknowledged to it. At QoS 0 it is shared by all publishers,
	// and a message is under way until the subscribers have it.
	Window int
	For    time.Duration // how long is published
}

// Rate is what became of a Flow.
type Rate struct {
	PerSecond float64 // deliveries, from the first publish to the last delivery
	Sent      int     // messages
	Received  int     // deliveries, each of which is wanted Subscribers times
	Lost      int     // deliveries that did not come
	Cut       int     // subscribers whose connection the broker closed
}

// Bounds beside a Flow's own.
const (
	settling = 500 * time.Millisecond // without a delivery: no more will come
	overtime = 30 * time.Second       // for all that is not publishing
)

// Run connects the clients and makes the flow. It ends by itself, at most half
// a minute after Flow.For.
func (f Flow) Run(ctx context.Context, addr string) (Rate, error) {
	ctx, cancel := context.WithTimeout(ctx, f.For+overtime)
	defer cancel()
	r := &flowing{Flow: f, root: fmt.Sprintf("bench/flow/%x", time.Now().UnixNano())}
	r.shared = newGate(f.Window * f.Subscribers)
	defer r.reading.Wait()
	defer r.close()
	if err := r.connect(ctx, addr); err != nil {
		return Rate{}, err
	}
	r.began = time.Now()
	for _, c := range r.subscribers {
		r.reading.Go(func() { r.receive(c) })
	}
	if err := r.publishAll(ctx); err != nil {
		return Rate{}, err
	}
	r.settle(ctx)
	if err := ctx.Err(); err != nil {
		return Rate{}, err
	}
	sent, received := int(r.sent.Load()), int(r.received.Load())
	return Rate{
		PerSecond: float64(received) / time.Duration(r.last.Load()).Seconds(),
		Sent:      sent, Received: received, Lost: sent*f.Subscribers - received, Cut: int(r.cut.Load()),
	}, nil
}

// flowing is a Flow under way.
type flowing struct {
	Flow
	root                    string
	publishers, subscribers []*Conn
	shared                  *gate // of the deliveries at QoS 0
	reading                 sync.WaitGroup
	began                   time.Time

	sent, received, cut atomic.Int64
	last                atomic.Int64 // delivery, in nanoseconds after began
	closing             atomic.Bool
}

func (r *flowing) connect(ctx context.Context, addr string) error {
	for i := range r.Subscribers {
		c, err := Dial(ctx, addr, fmt.Sprintf("bench-sub-%d", i))
		if err != nil {
			return err
		}
		r.subscribers = append(r.subscribers, c)
		if err := c.Subscribe(r.root+"/+", r.QoS); err != nil {
			return err
		}
	}
	for i := range r.Publishers {
		c, err := Dial(ctx, addr, fmt.Sprintf("bench-pub-%d", i))
		if err != nil {
			return err
		}
		r.publishers = append(r.publishers, c)
	}
	return nil
}

func (r *flowing) close() {
	r.closing.Store(true)
	for _, c := range append(r.publishers, r.subscribers...) {
		c.Close()
	}
}

// receive counts, and acknowledges, until the connection ends.
func (r *flowing) receive(c *Conn) {
	n := 0
	for {
		p, err := c.Next()
		if err != nil {
			break
		}
		if p.Kind != Publish || p.Dup {
			continue
		}
		if p.QoS > 0 {
			_ = c.Send(Packet{Kind: Puback, ID: p.ID})
		}
		if n++; c.in.Drained() || n == 256 {
			_ = c.Flush()
			r.count(n)
			n = 0
		}
	}
	r.count(n)
	if !r.closing.Load() {
		r.cut.Add(1)
	}
}

func (r *flowing) count(n int) {
	r.received.Add(int64(n))
	r.last.Store(int64(time.Since(r.began)))
	r.shared.leave(n)
}

func (r *flowing) publishAll(ctx context.Context) error {
	errs := make([]error, len(r.publishers))
	var all sync.WaitGroup
	for i, c := range r.publishers {
		all.Go(func() { errs[i] = r.publish(ctx, c, fmt.Sprintf("%s/%d", r.root, i)) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// publish sends for Flow.For, and at QoS 1 waits for the last acknowledgement.
func (r *flowing) publish(ctx context.Context, c *Conn, topic string) error {
	g, places := r.shared, r.Subscribers
	if r.QoS > 0 {
		g, places = newGate(r.Window), 1
		r.reading.Go(func() { acknowledged(c, g) })
	}
	p := Packet{Kind: Publish, QoS: r.QoS, Topic: []byte(topic), Payload: make([]byte, r.Payload)}
	for n := 0; n%32 != 0 || time.Since(r.began) < r.For; n++ {
		if err := g.enter(ctx, places, c.Flush); err != nil {
			return fmt.Errorf("publish on %s: %w", topic, err)
		}
		p.ID = uint16(n%65535) + 1
		if err := c.Send(p); err != nil {
			return fmt.Errorf("publish on %s: %w", topic, err)
		}
		r.sent.Add(1)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	if r.QoS == 0 {
		return nil
	}
	return g.empty(ctx)
}

// acknowledged opens a publisher's gate until its connection ends.
func acknowledged(c *Conn, g *gate) {
	for n := 0; ; {
		p, err := c.Next()
		if err != nil {
			return
		}
		if p.Kind == Puback {
			n++
		}
		if c.in.Drained() || n == 256 {
			g.leave(n)
			n = 0
		}
	}
}

// settle waits until all has come, or nothing comes any more.
func (r *flowing) settle(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for seen, since := int64(-1), time.Now(); ctx.Err() == nil; {
		n := r.received.Load()
		switch {
		case n >= r.sent.Load()*int64(r.Subscribers):
			return
		case n != seen:
			seen, since = n, time.Now()
		case time.Since(since) > settling:
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
