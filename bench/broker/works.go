package main

import (
	"context"
	"fmt"
	"time"

	"dominion/bench/load"
	"dominion/bench/table"
)

// work is one piece of what a broker does.
type work struct {
	name string
	do   func(context.Context, *child) ([]figure, error)
}

// figure is what came out of a work once: one line of the table.
type figure struct {
	table.Figure
	remark string // for whoever watches
}

func of(line string, unit table.Unit, value float64) figure {
	return figure{Figure: table.Figure{Line: line, Unit: unit, Value: value}}
}

// counting is a figure beside which lost messages are counted: at QoS 1 there
// may be none.
func counting(f figure, lost int) figure {
	f.Counts, f.Lost = true, lost
	return f
}

// size is how much there is to do.
type size struct {
	flow      time.Duration // one flow, and the latency
	connects  time.Duration
	many      int // clients of a flow with many
	idle      int // clients
	retained  int // messages
	perSecond int // messages, of the latency
	calm      time.Duration
}

func full(flow time.Duration) size {
	return size{flow: flow, connects: flow / 2, many: 100, idle: 1000, retained: 10_000, perSecond: 500, calm: 500 * time.Millisecond}
}

// payload is that of every message, in bytes.
const payload = 256

// works are all there is to do, in the order in which a fresh broker does it:
// what it needs when it is idle is measured first.
func works(s size) []work {
	all := []work{{"memory", func(ctx context.Context, c *child) ([]figure, error) { return memory(ctx, c, s) }}}
	for _, f := range []struct{ pubs, subs, window, ahead int }{
		{1, 1, 500, 2000}, {s.many, 1, 20, 2000}, {1, s.many, 500, 500},
	} {
		for qos := range byte(2) {
			flow := load.Flow{Publishers: f.pubs, Subscribers: f.subs, QoS: qos, Payload: payload, Window: f.ahead, For: s.flow}
			if qos > 0 {
				flow.Window = f.window
			}
			all = append(all, flowing(fmt.Sprintf("%d->%d QoS %d", f.pubs, f.subs, qos), flow))
		}
	}
	return append(all,
		work{"connects", func(ctx context.Context, c *child) ([]figure, error) {
			n, err := load.Connects(ctx, c.addr, 8, s.connects)
			return []figure{of("connects", table.PerSecond, n)}, err
		}},
		work{"latency", func(ctx context.Context, c *child) ([]figure, error) {
			d, err := load.Latency(ctx, c.addr, s.perSecond, payload, s.flow)
			line := fmt.Sprintf("latency at %d/s QoS 1, ", s.perSecond)
			return []figure{
				counting(of(line+"p50", table.Microseconds, micros(d.P50)), d.Lost),
				of(line+"p99", table.Microseconds, micros(d.P99)),
			}, err
		}},
		work{"replay", func(ctx context.Context, c *child) ([]figure, error) { return replay(ctx, c, s) }},
	)
}

func flowing(name string, f load.Flow) work {
	return work{name, func(ctx context.Context, c *child) ([]figure, error) {
		rate, err := f.Run(ctx, c.addr)
		out := of(name, table.PerSecond, rate.PerSecond)
		if f.QoS > 0 {
			out = counting(out, rate.Lost)
		}
		if rate.Lost > 0 {
			out.remark = fmt.Sprintf("%d of %d deliveries lost, %d subscribers cut off", rate.Lost, rate.Lost+rate.Received, rate.Cut)
		}
		return []figure{out}, err
	}}
}

func memory(ctx context.Context, c *child, s size) ([]figure, error) {
	if err := calm(ctx, s.calm); err != nil {
		return nil, err
	}
	before, err := c.resident()
	if err != nil {
		return nil, err
	}
	var with float64
	err = load.Idle(ctx, c.addr, s.idle, func() error {
		if err := calm(ctx, s.calm); err != nil {
			return err
		}
		with, err = c.resident()
		return err
	})
	return []figure{
		of("memory, idle", table.Kibibytes, before),
		of(fmt.Sprintf("memory for %d idle clients", s.idle), table.Kibibytes, with-before),
	}, err
}

func replay(ctx context.Context, c *child, s size) ([]figure, error) {
	if err := load.Retain(ctx, c.addr, s.retained, payload); err != nil {
		return nil, err
	}
	if err := calm(ctx, s.calm); err != nil {
		return nil, err
	}
	took, lost, err := load.Replay(ctx, c.addr, s.retained)
	return []figure{counting(of(fmt.Sprintf("replay of %d retained", s.retained), table.Microseconds, micros(took)), lost)}, err
}

// calm lets a broker finish what it has begun.
func calm(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
