package main

import (
	"context"
	"sync"
	"time"

	"dominion/broker/client"
	"dominion/cmd/dominion/metrics"
	"dominion/topics"
	"dominion/topics/house"
)

// census counts what the house says of itself, for the metrics.
type census struct {
	mu   sync.Mutex // guards view
	view *house.House
}

func newCensus(space topics.Space) *census { return &census{view: house.New(space)} }

// takeCensus follows the house until ctx ends, as anybody who may read.
func (l *leader) takeCensus(ctx context.Context, c *census) error {
	o := client.Options{Space: l.config.space(), Filters: []string{l.config.space().Filter(topics.State)}, Broker: l.url, Log: l.component("bus")}
	if l.broker != nil {
		o.Dial = l.pipe(topics.Identity{Role: topics.RoleViewer})
	}
	bus, err := client.New(o)
	if err != nil {
		return err
	}
	return client.Live(ctx, bus, func(ctx context.Context) error {
		for {
			select {
			case in := <-bus.Inbound():
				c.fold(in, time.Now())
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// fold takes one thing in. What is unreadable changes nothing.
func (c *census) fold(in topics.Inbound, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch in.Link {
	case topics.LinkNone:
		_ = c.view.Apply(in.Message, now)
	case topics.LinkUp:
		c.view.Began(now)
	case topics.LinkSynced:
		c.view.Synced(now)
	}
}

// house is how many there are of what, those that there may be among them: a
// line that comes and goes is hard to draw.
func (c *census) house(now time.Time) metrics.House {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := metrics.House{
		Leading: c.view.Leads(),
		Domains: zeros(topics.JudgedOnline, topics.JudgedSuspect, topics.JudgedLost, topics.JudgedStopped,
			topics.JudgedSleeping, topics.JudgedUnknown, topics.JudgedConflict),
		Services: zeros(topics.SummaryReady, topics.SummaryDone, topics.SummaryDegraded, topics.SummaryStarting, topics.SummaryWaiting, topics.SummaryStopping,
			topics.SummaryStopped, topics.SummaryFailing, topics.SummaryLost, topics.SummaryUnknown, topics.SummaryOrphaned),
		Alerts: zeros(topics.SeverityInfo, topics.SeverityWarning, topics.SeverityError),
	}
	if leader := c.view.Leader(); leader != nil {
		h.Term = leader.Info.Term
	}
	for _, j := range c.view.Judgements(now) {
		add(h.Domains, string(j.State))
	}
	for _, s := range c.view.Summaries(now) {
		add(h.Services, string(s.Phase))
	}
	for _, a := range c.view.Alerts(now) {
		add(h.Alerts, a.Severity)
	}
	return h
}

// add counts what is known: on another's broker anybody may make up words, and
// each would be a line for ever.
func add(to map[string]int, word string) {
	if _, known := to[word]; known {
		to[word]++
	}
}

func zeros[S ~string](names ...S) map[string]int {
	all := make(map[string]int, len(names))
	for _, name := range names {
		all[string(name)] = 0
	}
	return all
}
