package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"dominion/topics"
)

// How long the node has for what it should do at once.
const (
	answerTime = 10 * time.Second          // as long as any sender waits
	healTime   = 8 * time.Second           // it heals a topic once a second
	beatsTime  = 2*beatEvery + 2*lateBy    // two heartbeats
	claimTime  = 12*time.Second + 3*lateBy // beside its return
	settleTime = 1200 * time.Millisecond   // what follows at once has come by then, and errors are told anew
	downTime   = time.Second               // a link, or a broker, that is gone
)

// ErrAbsent is returned when the node does not come.
var ErrAbsent = errors.New("it did not come")

// stage is one step, and how it is taken.
type stage struct {
	step   Step
	doing  string // for people
	domain bool   // it is taken with domains alone
	take   func(context.Context)
}

// Run takes all steps with the node, and returns what was seen. The error is
// ErrAbsent when it did not connect, or why ctx ended.
func (h *House) Run(ctx context.Context) (Seen, error) {
	defer h.Close()
	h.begin(StepBirth, fmt.Sprintf("waiting for %s at %s, base %s", h.Node, h.Addr(), h.Space.All()))
	came := h.born(ctx, h.Patience)
	if s, _ := h.record.look(); len(s.Events) == 1 {
		return s, errors.Join(ErrAbsent, ctx.Err())
	}
	if came {
		h.record.rest(ctx, settleTime)
		h.meet(ctx)
	}
	s, _ := h.record.look()
	return s, ctx.Err()
}

// meet takes all steps after the birth.
func (h *House) meet(ctx context.Context) {
	h.know()
	ctx, end := context.WithCancel(ctx)
	defer end()
	h.present()
	h.connections.Go(func() { h.lead(ctx) })
	s, _ := h.record.look()
	domain := s.Domain()
	for _, stage := range h.stages() {
		if stage.domain && !domain {
			continue
		}
		h.begin(stage.step, stage.doing)
		stage.take(ctx)
		if ctx.Err() != nil || stage.step == StepBreak && !h.born(ctx, 0) {
			return // it would not come back the next time either
		}
	}
	h.stop(ctx)
}

// know takes the node's house and term for those of the leader.
func (h *House) know() {
	s, _ := h.record.look()
	for _, p := range s.presences(s.Events) {
		if p.House != "" {
			h.id = p.House
		}
	}
	info, _ := s.info(s.Events)
	h.term = info.Term + 1
}

func (h *House) begin(step Step, doing string) {
	h.Say(doing)
	h.record.add(Event{What: Marked, Step: step})
}

// stages are the steps between birth and end.
func (h *House) stages() []stage {
	all := commandStages(h.record, h.tell)
	all = append(all,
		stage{StepBeats, "listening for heartbeats", true, func(ctx context.Context) { listenForBeats(ctx, h.record) }},
		stage{StepStale, "the will of an older session comes late", true, h.sayStale},
		stage{StepForeign, "another machine says that it has the name", true, h.sayForeign},
		stage{StepOverride, "another client writes on its state", true, h.override},
	)
	all = append(all, h.documentStages()...)
	return append(all,
		stage{StepBreak, "its connection breaks", false, h.breakLink},
		stage{StepRetained, "its connection breaks, and a command was retained", false, h.retainCommand},
		stage{StepClaimed, "its connection breaks, and its name is another's", true, h.claimName},
		stage{StepRestart, "the broker goes, and comes back empty", false, h.restart},
	)
}

// during waits for something in the last step.
func during(ctx context.Context, r *record, atMost time.Duration, done func(s Seen, events []Event) bool) bool {
	return r.until(ctx, atMost, func(s Seen) bool {
		last := 0
		for i, e := range s.Events {
			if e.What == Marked {
				last = i
			}
		}
		return done(s, s.Events[last+1:])
	})
}

func (h *House) born(ctx context.Context, atMost time.Duration) bool {
	return during(ctx, h.record, atMost, func(s Seen, events []Event) bool { return s.born(events) >= 0 })
}

// commandStages send commands: harmless ones, in anybody's house.
func commandStages(r *record, tell func(topics.Message)) []stage {
	s, _ := r.look()
	send := func(method, payload string) {
		tell(topics.Message{Topic: s.Space.Command(s.Node, method, "host"), Payload: []byte(payload), QoS: 1})
	}
	object := func(id string) string { return fmt.Sprintf(`{"id":%q,"by":"dominion verify"}`, id) }
	answered := func(ctx context.Context) {
		during(ctx, r, answerTime, func(s Seen, events []Event) bool {
			for _, reply := range s.replies(events) {
				if reply.Status != topics.Accepted {
					return true
				}
			}
			return false
		})
		r.rest(ctx, settleTime/3)
	}
	return []stage{
		{StepPing, "a command: ping", false, func(ctx context.Context) { send("ping", object(idPing)); answered(ctx) }},
		{StepRepeat, "another command with the same id", false, func(ctx context.Context) { send(methodUnknown, object(idPing)); answered(ctx) }},
		{StepUnknown, "a command that it does not have", false, func(ctx context.Context) { send(methodUnknown, object(idUnknown)); answered(ctx) }},
		{StepEmpty, "an empty payload", false, func(ctx context.Context) {
			r.rest(ctx, settleTime) // errors are told once a second
			send("ping", "")
			during(ctx, r, answerTime, func(s Seen, events []Event) bool { return len(s.faults(events, topics.ErrCommand)) > 0 })
			r.rest(ctx, settleTime/3)
		}},
	}
}

func listenForBeats(ctx context.Context, r *record) {
	during(ctx, r, beatsTime, func(s Seen, events []Event) bool { return len(s.beats(events)) >= 2 })
}

// machine is the node's own id.
func (h *House) machine() topics.MachineID {
	s, _ := h.record.look()
	for _, p := range s.presences(s.Events) {
		if p.ID != "" {
			return p.ID
		}
	}
	return ""
}

func (h *House) sayStale(ctx context.Context) {
	h.keep(h.Space.Presence(h.Node), topics.Presence{State: topics.Lost, Sid: "longago", ID: h.machine()})
	h.born(ctx, healTime)
	h.record.rest(ctx, settleTime)
}

func (h *House) sayForeign(ctx context.Context) {
	h.keep(h.Space.Presence(h.Node), topics.Presence{State: topics.Online, Sid: "another", ID: foreignID, House: h.id})
	h.born(ctx, healTime)
	h.record.rest(ctx, settleTime)
}

func (h *House) override(ctx context.Context) {
	state := h.Space.ServiceState(h.Node, neverHad)
	h.keep(h.Space.Info(h.Node), topics.Info{Kind: topics.KindDomain, Version: "0.0.0"})
	h.keep(state, topics.ServiceState{Service: neverHad, Phase: topics.PhaseRunning, Ready: true})
	during(ctx, h.record, healTime, func(s Seen, events []Event) bool {
		return len(said(events, s.Space.Info(s.Node))) > 0 && len(said(events, state)) > 0
	})
	h.record.rest(ctx, settleTime)
}

// away has the node's connections broken for a moment, in which something
// happens, and waits until it is there again.
func (h *House) away(ctx context.Context, meanwhile func(), back time.Duration) {
	h.cut()
	h.record.rest(ctx, downTime)
	meanwhile()
	h.admit()
	h.born(ctx, back)
	h.record.rest(ctx, settleTime)
}

func (h *House) breakLink(ctx context.Context) { h.away(ctx, func() {}, h.Patience) }

func (h *House) retainCommand(ctx context.Context) {
	m := topics.Message{Topic: h.Space.Command(h.Node, "ping", "host"), QoS: 1, Retained: true, Payload: fmt.Appendf(nil, `{"id":%q}`, idRetained)}
	h.away(ctx, func() { h.tell(m) }, h.Patience)
	during(ctx, h.record, answerTime, func(s Seen, events []Event) bool {
		result, _ := clears(s, events)
		return result == Right
	})
	m.Payload = nil
	h.tell(m)
	h.record.rest(ctx, settleTime)
}

func (h *House) claimName(ctx context.Context) {
	h.away(ctx, func() {
		h.keep(h.Space.Presence(h.Node), topics.Presence{State: topics.Online, Sid: "another", ID: foreignID, House: h.id})
	}, h.Patience+claimTime)
	during(ctx, h.record, answerTime, func(s Seen, events []Event) bool { return len(s.faults(events, topics.ErrName)) > 0 })
}

func (h *House) restart(ctx context.Context) {
	h.away(ctx, func() {
		h.fall()
		if err := h.rise(); err == nil { // nothing but memory is needed
			h.present()
		}
	}, h.Patience)
	during(ctx, h.record, h.Patience, func(s Seen, events []Event) bool { return len(s.unsaid(events, StepRestart)) == 0 })
	h.record.rest(ctx, settleTime)
}

// stop has the node end, if somebody can.
func (h *House) stop(ctx context.Context) {
	if h.Stop == nil {
		return
	}
	if !h.born(ctx, 0) {
		return // it is not there
	}
	h.begin(StepGoodbye, "it is stopped")
	if !h.Stop() {
		h.record.forget(StepGoodbye)
		return
	}
	gone := time.NewTicker(settleTime / 5)
	defer gone.Stop()
	for until := time.Now().Add(h.Patience); h.connected() > 0 && time.Now().Before(until) && ctx.Err() == nil; {
		<-gone.C
	}
	h.record.rest(ctx, settleTime)
	if s, _ := h.record.look(); h.connected() > 0 && unmoved(s) {
		h.record.forget(StepGoodbye) // nobody stopped it
	}
}

// unmoved tells that the node neither spoke of being there nor went in the last
// step.
func unmoved(s Seen) bool {
	events, _ := s.during(StepGoodbye)
	return len(s.presences(events)) == 0 && !slices.ContainsFunc(events, func(e Event) bool { return e.What == Left || e.What == Broke })
}
