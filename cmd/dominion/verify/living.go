package verify

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

// foreignID is another machine that says it has the node's name.
const foreignID topics.MachineID = "zzzzzzzzzzzzzzzz"

// lifeChecks are of how the node stays, comes back, and goes.
func lifeChecks() []Check {
	return []Check{
		{Name: "heartbeat", Paragraph: "Being a node 7", Wanted: "a heartbeat every 5 s, with a seq that rises", domain: true, step: StepBeats, judge: beats},
		{Name: "stale-will", Paragraph: "Being a node 9", Wanted: "after the will of another session it says its birth again", wire: true, domain: true, step: StepStale, judge: bornAgain},
		{Name: "same-name", Paragraph: "Being a node 9", Wanted: "it does so too when a machine with a greater id says online", wire: true, domain: true, step: StepForeign, judge: bornAgain},
		{Name: "heal", Paragraph: "Being a node 8", Wanted: "it puts back what others write on its state", wire: true, domain: true, step: StepOverride, judge: heals},
		{Name: "heal-foreign", Paragraph: "Being a node 8", Wanted: "it empties state that it never wrote", wire: true, domain: true, step: StepOverride, judge: empties},
		{Name: "comes-back", Paragraph: "Being a node 10", Wanted: "when its connection breaks it connects, and is born again", wire: true, step: StepBreak, judge: comesBack},
		{Name: "name-in-use", Paragraph: "Being a node 4", Wanted: "it listens 12 s for one that is online with its name, goes on when that is silent, and says so", wire: true, domain: true, step: StepClaimed, judge: claims},
		{Name: "says-all-again", Paragraph: "Being a node 10", Wanted: "after a restart of the broker it says all of its state again", wire: true, step: StepRestart, judge: saysAllAgain},
		{Name: "goodbye", Paragraph: "Being a node 11", Wanted: "when it is stopped its presence says stopped", wire: true, step: StepGoodbye, judge: goodbye},
		{Name: "leaves", Paragraph: "Being a node 11", Wanted: "and it disconnects cleanly, so that its will is not sent", wire: true, step: StepGoodbye, judge: leaves},
	}
}

// beatEvery is the pause that the protocol asks for, and lateBy what a busy
// machine may add to it.
const (
	beatEvery = 5 * time.Second
	lateBy    = 2 * time.Second
)

func beats(s Seen, events []Event) (Result, string) {
	var last *Event
	var seq uint64
	for _, e := range said(events, s.Space.Heartbeat(s.Node)) {
		b, err := topics.Decode[topics.Heartbeat](e.Message.Payload)
		switch {
		case err != nil:
			continue
		case last != nil && b.Seq <= seq:
			return Wrong, fmt.Sprintf("seq %d after %d", b.Seq, seq)
		case last != nil && e.After-last.After > beatEvery+lateBy:
			return Wrong, fmt.Sprintf("%.1f s between two", (e.After - last.After).Seconds())
		}
		last, seq = &e, b.Seq
	}
	return verdict(last != nil, "none in %d s", int(beatsTime.Seconds()))
}

func bornAgain(s Seen, events []Event) (Result, string) {
	return verdict(s.born(events) >= 0, "it did not say online again")
}

// heals compares the info before it was overwritten with the one put back.
func heals(s Seen, events []Event) (Result, string) {
	var mine []byte
	for _, e := range s.Events {
		if e.What == Marked && e.Step == StepOverride {
			break
		}
		if e.What == Said && e.Message.Topic == s.Space.Info(s.Node) {
			mine = e.Message.Payload
		}
	}
	for _, e := range said(events, s.Space.Info(s.Node)) {
		return verdict(bytes.Equal(e.Message.Payload, mine), "it put back something else: %s", brief(e.Message.Payload))
	}
	return Wrong, "its info was left as another client wrote it"
}

func empties(s Seen, events []Event) (Result, string) {
	for _, e := range said(events, s.Space.ServiceState(s.Node, neverHad)) {
		return verdict(len(e.Message.Payload) == 0 && e.Message.Retained, "it wrote %s", brief(e.Message.Payload))
	}
	return Wrong, "a state that another client wrote was left"
}

func comesBack(s Seen, events []Event) (Result, string) {
	opened := slices.ContainsFunc(events, func(e Event) bool { return e.What == Opened && e.Fault == "" })
	if !opened {
		return Wrong, "it did not connect again"
	}
	return verdict(s.born(events) >= 0, "it connected, and did not say online")
}

func claims(s Seen, events []Event) (Result, string) {
	born := s.born(events)
	if born < 0 {
		return Wrong, "it did not come back"
	}
	for i := born - 1; i >= 0; i-- {
		if e := events[i]; e.What == Opened && events[born].After-e.After < 10*time.Second {
			return Wrong, fmt.Sprintf("it listened for %.1f s", (events[born].After - e.After).Seconds())
		} else if e.What == Opened {
			break
		}
	}
	return verdict(len(s.faults(events, topics.ErrName)) > 0, "nothing on event/error/name")
}

// saysAllAgain compares what is retained before a restart with what is said
// after it.
func saysAllAgain(s Seen, events []Event) (Result, string) {
	missing := s.unsaid(events, StepRestart)
	if len(missing) == 0 {
		return Right, ""
	}
	return Wrong, fmt.Sprintf("%s was not said again", s.below(missing[0]))
}

// unsaid are the topics of state that held something before a step, and of
// which nothing was said among events. Readings have their own time.
func (s Seen) unsaid(events []Event, step Step) (missing []string) {
	at := slices.IndexFunc(s.Events, func(e Event) bool { return e.What == Marked && e.Step == step })
	before := s.states(s.Events[:max(at, 0)])
	delete(before, s.Space.Host(s.Node))
	for _, topic := range slices.Sorted(maps.Keys(before)) {
		if !slices.ContainsFunc(events, func(e Event) bool { return e.What == Said && e.Message.Topic == topic }) {
			missing = append(missing, topic)
		}
	}
	return missing
}

func goodbye(s Seen, events []Event) (Result, string) {
	all := s.presences(events)
	if len(all) == 0 {
		return Wrong, "it went without a word"
	}
	last := all[len(all)-1]
	return verdict(last.State == topics.Stopped, "the last that it said is %s", last.State)
}

func leaves(s Seen, events []Event) (Result, string) {
	willed := map[int]bool{}
	for _, will := range s.wills(s.Events) {
		willed[will.Conn] = true
	}
	gone := false
	for _, e := range events {
		switch {
		case e.What == Broke && willed[e.Conn]:
			return Wrong, "its connection broke: its will was sent"
		case e.What == Left:
			gone = true
		}
	}
	return verdict(gone, "it is still connected")
}
