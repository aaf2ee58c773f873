package main

import (
	"context"
	"time"

	"dominion/cmd/dominion/screen"
	"dominion/discovery"
	"dominion/topics"
)

// nearby listens for machines that hear no leader, while the house is asked.
type nearby struct {
	wanted  bool
	entries chan []discovery.Entry // nil: nobody listens
}

// listenNearby is how long status listens at most, from its start.
const listenNearby = 1500 * time.Millisecond

// listen begins, unless the house is to be watched. What it returns ends it.
func (n *nearby) listen(ctx context.Context, watch bool) (end func()) {
	if !n.wanted || watch {
		return func() {}
	}
	ctx, end = context.WithTimeout(ctx, listenNearby)
	n.entries = make(chan []discovery.Entry, 1)
	go func() { n.entries <- hearAll(ctx, discovery.DomainService) }()
	return end
}

// heard waits until it has listened long enough.
func (n *nearby) heard() []screen.Lonely {
	if n.entries == nil {
		return nil
	}
	return lonelyOf(<-n.entries)
}

// lonelyOf reads what machines announce of themselves. One whose name is none for
// a domain is none of ours.
func lonelyOf(entries []discovery.Entry) []screen.Lonely {
	var all []screen.Lonely
	for _, e := range entries {
		l := screen.Lonely{Name: e.Text["name"], ID: topics.MachineID(e.Text["id"]), House: topics.HouseID(e.Text["house"])}
		if topics.Node(l.Name).Check() != nil || l.House != "" && topics.CheckName(string(l.House)) != nil {
			continue
		}
		if len(e.Addresses) > 0 {
			l.Address = e.Addresses[0].String()
		}
		all = append(all, l)
	}
	return all
}
