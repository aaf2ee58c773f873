package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Delay is how long messages took from one client to another.
type Delay struct {
	P50, P99 time.Duration
	Lost     int
}

// Latency sends messages of QoS 1 at a steady pace from one client to another
// and measures each on its way.
func Latency(ctx context.Context, addr string, perSecond, payload int, d time.Duration) (Delay, error) {
	ctx, cancel := context.WithTimeout(ctx, d+overtime)
	defer cancel()
	topic := fmt.Sprintf("bench/latency/%x", time.Now().UnixNano())
	sub, err := Dial(ctx, addr, "bench-hears")
	if err != nil {
		return Delay{}, err
	}
	defer sub.Close()
	if err := sub.Subscribe(topic, 1); err != nil {
		return Delay{}, err
	}
	pub, err := Dial(ctx, addr, "bench-says")
	if err != nil {
		return Delay{}, err
	}
	defer pub.Close()
	want := max(1, int(d.Seconds()*float64(perSecond)))
	began := time.Now()
	heard := make(chan []time.Duration, 1)
	go func() { heard <- hear(sub, began, want) }()
	go acknowledged(pub, newGate(want))
	if err := say(ctx, pub, topic, began, want, perSecond, payload); err != nil {
		return Delay{}, err
	}
	late := time.AfterFunc(patience, sub.Close)
	defer late.Stop()
	took := <-heard
	if len(took) == 0 {
		return Delay{}, errors.Join(errors.New("latency: no message came"), ctx.Err())
	}
	slices.Sort(took)
	return Delay{took[len(took)/2], took[len(took)*99/100], want - len(took)}, ctx.Err()
}

// say publishes the time since began.
func say(ctx context.Context, c *Conn, topic string, began time.Time, n, perSecond, payload int) error {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	p := Packet{Kind: Publish, QoS: 1, Topic: []byte(topic), Payload: make([]byte, max(8, payload))}
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.ID = uint16(i%65535) + 1
		binary.BigEndian.PutUint64(p.Payload, uint64(time.Since(began)))
		if err := errors.Join(c.Send(p), c.Flush()); err != nil {
			return err
		}
	}
	return nil
}

// hear measures n messages, or those that come before the connection ends.
func hear(c *Conn, began time.Time, n int) []time.Duration {
	var took []time.Duration
	for len(took) < n {
		p, err := c.Next()
		if err != nil {
			break
		}
		if p.Kind != Publish || p.Dup || len(p.Payload) < 8 {
			continue
		}
		took = append(took, time.Since(began)-time.Duration(binary.BigEndian.Uint64(p.Payload)))
		if err := errors.Join(c.Send(Packet{Kind: Puback, ID: p.ID}), c.Flush()); err != nil {
			break
		}
	}
	return took
}

// mostConnects bounds Connects, whatever the time.
const mostConnects = 50_000

// Connects has clients connect and disconnect, one after another in each of
// some goroutines, and returns how many did it in a second: TCP, CONNECT,
// CONNACK, DISCONNECT, and the broker closes.
func Connects(ctx context.Context, addr string, atOnce int, d time.Duration) (perSecond float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, d+overtime)
	defer cancel()
	began := time.Now()
	var begun, done atomic.Int64
	errs := make([]error, atOnce)
	var all sync.WaitGroup
	for i := range atOnce {
		all.Go(func() {
			for errs[i] == nil && time.Since(began) < d && begun.Add(1) <= mostConnects {
				var c *Conn
				if c, errs[i] = Dial(ctx, addr, fmt.Sprintf("bench-guest-%d", i)); errs[i] != nil {
					return
				}
				if errs[i] = c.Leave(); errs[i] == nil {
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// Idle connects n clients, each with a subscription, calls while they are idle,
// and then makes sure that each is still connected.
func Idle(ctx context.Context, addr string, n int, while func() error) error {
	ctx, cancel := context.WithTimeout(ctx, overtime)
	defer cancel()
	clients := make([]*Conn, 0, n)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for i := range n {
		c, err := Dial(ctx, addr, fmt.Sprintf("bench-idle-%d", i))
		if err != nil {
			return err
		}
		clients = append(clients, c)
		if err := c.Subscribe(fmt.Sprintf("bench/idle/%d", i), 1); err != nil {
			return err
		}
	}
	if err := while(); err != nil {
		return err
	}
	for i, c := range clients {
		if err := c.Ping(); err != nil {
			return fmt.Errorf("idle client %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

// retained is where the messages are that Replay asks for.
const retained = "bench/retained/"

// Retain publishes n retained messages of QoS 1 on topics of their own.
func Retain(ctx context.Context, addr string, n, payload int) error {
	ctx, cancel := context.WithTimeout(ctx, overtime)
	defer cancel()
	c, err := Dial(ctx, addr, "bench-keeper")
	if err != nil {
		return err
	}
	defer c.Close()
	g := newGate(100)
	go acknowledged(c, g)
	for i := range n {
		if err := g.enter(ctx, 1, c.Flush); err != nil {
			return err
		}
		p := Packet{
			Kind: Publish, QoS: 1, Retain: true, ID: uint16(i%65535) + 1,
			Topic: fmt.Appendf(nil, "%s%d", retained, i), Payload: make([]byte, payload),
		}
		if err := c.Send(p); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return g.empty(ctx)
}

// Replay subscribes a new client, QoS 1, to what Retain published, and returns
// how long it took until n messages had come, and how many did not: the time is
// then that of the last that did.
func Replay(ctx context.Context, addr string, n int) (took time.Duration, lost int, err error) {
	ctx, cancel := context.WithTimeout(ctx, overtime)
	defer cancel()
	c, err := Dial(ctx, addr, "bench-newcomer")
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	began := time.Now()
	if err := errors.Join(c.Send(Packet{Kind: Subscribe, ID: 1, QoS: 1, Topic: []byte(retained + "+")}), c.Flush()); err != nil {
		return 0, 0, err
	}
	late := time.AfterFunc(patience, c.Close)
	defer late.Stop()
	came := 0
	for came < n {
		p, err := c.Next()
		if err != nil {
			break
		}
		if p.Kind != Publish || p.Dup {
			continue
		}
		came, took = came+1, time.Since(began)
		_ = c.Send(Packet{Kind: Puback, ID: p.ID})
		if c.in.Drained() {
			_ = c.Flush()
		}
	}
	return took, n - came, ctx.Err()
}
