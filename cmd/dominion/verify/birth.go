package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"dominion/topics"
)

// birthChecks are of how the node connects and comes.
func birthChecks() []Check {
	return []Check{
		{Name: "connect", Paragraph: "Being a node 1", Wanted: "MQTT 3.1.1 with a clean session", wire: true, judge: connects},
		{Name: "will", Paragraph: "Being a node 1", Wanted: "a last will on its presence topic", wire: true, step: StepBirth, judge: hasWill},
		{Name: "will-retained", Paragraph: "Being a node 1", Wanted: "its will is retained, with QoS 1", wire: true,
			judge: eachWill(func(_ Seen, _ []Event, will Event) string {
				if !will.Will.Retained {
					return "it is not retained"
				}
				return unless(will.Will.QoS == 1, "it has QoS %d", will.Will.QoS)
			})},
		{Name: "will-lost", Paragraph: "Presence", Wanted: "its will says lost, and nothing that may have changed by then", wire: true, judge: eachWill(willLost)},
		{Name: "will-sid", Paragraph: "Being a node 1", Wanted: "the will has the sid and the id of the birth", wire: true, domain: true, judge: eachWill(willSid)},
		{Name: "new-sid", Paragraph: "Being a node 1", Wanted: "a sid that is new for each connection", wire: true, domain: true, judge: newSids},
		{Name: "subscribes", Paragraph: "Being a node 2", Wanted: "it hears its commands", wire: true, step: StepBirth, judge: hears(Seen.neededFilters)},
		{Name: "hears", Paragraph: "Being a node 2", Wanted: "it hears its state and documents, and the coordinator", wire: true, domain: true, step: StepBirth, judge: hears(Seen.domainFilters)},
		{Name: "token", Paragraph: "Being a node 3", Wanted: "a token on event/sync/<sid> before its birth", wire: true, domain: true, step: StepBirth, judge: token},
		{Name: "order", Paragraph: "Being a node 6", Wanted: "its services and info first, its presence last", wire: true, step: StepBirth, judge: order},
		{Name: "one-sid", Paragraph: "Info", Wanted: "info, states and heartbeats have the sid of the connection", wire: true, domain: true, judge: oneSid},
	}
}

// unless says what is wrong.
func unless(right bool, format string, args ...any) string {
	if right {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func connects(_ Seen, events []Event) (Result, string) {
	opened := 0
	for _, e := range events {
		if e.What != Opened {
			continue
		}
		opened++
		if e.Fault != "" {
			return Wrong, e.Fault
		}
		if !e.Clean {
			return Wrong, fmt.Sprintf("the session of %q is not clean", e.Client)
		}
	}
	return verdict(opened > 0, "it did not connect")
}

// wills are the connections with a last will on the node's presence.
func (s Seen) wills(events []Event) (all []Event) {
	for _, e := range events {
		if e.What == Opened && e.Will != nil && e.Will.Topic == s.Space.Presence(s.Node) {
			all = append(all, e)
		}
	}
	return all
}

func hasWill(s Seen, events []Event) (Result, string) {
	if len(s.wills(events)) > 0 {
		return Right, ""
	}
	for _, e := range events {
		if e.What == Opened && e.Will != nil {
			return Wrong, "its will is on " + e.Will.Topic
		}
	}
	return Wrong, "it has none: who listens would not know that it is gone"
}

// eachWill makes a judgement of all wills of one of each.
func eachWill(wrong func(s Seen, events []Event, will Event) string) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		wills := s.wills(events)
		for _, will := range wills {
			if text := wrong(s, events, will); text != "" {
				return Wrong, text
			}
		}
		if len(wills) == 0 {
			return Unseen, ""
		}
		return Right, ""
	}
}

func willLost(_ Seen, _ []Event, will Event) string {
	p, err := topics.DecodePresence(will.Will.Payload)
	switch {
	case err != nil:
		return fmt.Sprintf("%s (%v)", brief(will.Will.Payload), err)
	case p.State != topics.Lost:
		return fmt.Sprintf("it says %s", p.State)
	case bytes.Contains(will.Will.Payload, []byte(`"house"`)):
		return "it says its house too"
	}
	return ""
}

// willSid compares a will with the births on its connection.
func willSid(s Seen, events []Event, will Event) string {
	p, err := topics.DecodePresence(will.Will.Payload)
	if err != nil {
		return "" // told as will-lost
	}
	for _, birth := range s.presences(ofConn(events, will.Conn)) {
		switch {
		case p.Sid == "" || p.ID == "":
			return "it has none"
		case birth.State == topics.Online && (birth.Sid != p.Sid || birth.ID != p.ID):
			return fmt.Sprintf("the will has sid %q and id %q, the birth %q and %q", p.Sid, p.ID, birth.Sid, birth.ID)
		}
	}
	return ""
}

func ofConn(events []Event, conn int) (all []Event) {
	for _, e := range events {
		if e.Conn == conn {
			all = append(all, e)
		}
	}
	return all
}

// newSids compares the connections that came as far as a birth.
func newSids(s Seen, events []Event) (Result, string) {
	had := map[topics.Sid]int{}
	for _, e := range events {
		if e.What != Said || e.Message.Topic != s.Space.Presence(s.Node) {
			continue
		}
		p, err := topics.DecodePresence(e.Message.Payload)
		if err != nil || p.State != topics.Online {
			continue
		}
		if p.Sid == "" {
			return Wrong, "its presence has none"
		}
		if conn, known := had[p.Sid]; known && conn != e.Conn {
			return Wrong, fmt.Sprintf("two connections had %q", p.Sid)
		}
		had[p.Sid] = e.Conn
	}
	if len(had) == 0 {
		return Unseen, ""
	}
	return Right, ""
}

func (s Seen) neededFilters() []string { return []string{s.Space.Commands(s.Node)} }

func (s Seen) domainFilters() []string {
	own := s.own()
	return []string{own + "state/#", own + "desired/#", s.Space.Presence(topics.Coordinator), s.Space.Info(topics.Coordinator), s.Space.PlanHeartbeat()}
}

// hears makes a judgement of what is subscribed to: each of the filters, or one
// that takes it in.
func hears(needed func(Seen) []string) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		for _, filter := range needed(s) {
			if !slices.ContainsFunc(events, func(e Event) bool { return e.What == Subscribed && takesIn(e.Filter, filter) }) {
				return Wrong, "no subscription to " + filter
			}
		}
		return Right, ""
	}
}

// takesIn tells whether all that one filter matches another matches too.
func takesIn(wide, narrow string) bool {
	w, n := strings.Split(wide, "/"), strings.Split(narrow, "/")
	for i, level := range w {
		switch {
		case level == "#":
			return true
		case i >= len(n) || level != n[i] && (level != "+" || n[i] == "#"):
			return false
		}
	}
	return len(w) == len(n)
}

func token(s Seen, events []Event) (Result, string) {
	born := s.born(events)
	if born < 0 {
		return Unseen, ""
	}
	return verdict(len(said(events[:born], s.own()+"event/sync/")) > 0, "none")
}

// order holds the birth against all that the node says for the first time in
// it: its info and the states of its services.
func order(s Seen, events []Event) (Result, string) {
	born := s.born(events)
	if born < 0 {
		return Unseen, ""
	}
	before := s.states(events[:born])
	late := func(topic string) (Result, string) {
		return Wrong, s.below(topic) + " came after its presence"
	}
	for _, e := range said(events[born:], s.own()+"state/") {
		topic := e.Message.Topic
		if _, known := before[topic]; known || topic == s.Space.Presence(s.Node) || topic == s.Space.Host(s.Node) {
			continue
		}
		if at, ok := s.address(e.Message); topic == s.Space.Info(s.Node) || ok && at.Kind == "service" {
			return late(topic)
		}
	}
	return Right, ""
}

// oneSid holds what is said against the will of its connection.
func oneSid(s Seen, events []Event) (Result, string) {
	sids := map[int]topics.Sid{}
	for _, will := range s.wills(events) {
		if p, err := topics.DecodePresence(will.Will.Payload); err == nil && p.Sid != "" {
			sids[will.Conn] = p.Sid
		}
	}
	if len(sids) == 0 {
		return Unseen, ""
	}
	for _, e := range said(events, s.own()) {
		at, ok := s.speaks(e.Message)
		want, known := sids[e.Conn]
		switch {
		case !ok || !known:
			continue
		case at.Class == topics.State && at.Kind != "host", e.Message.Topic == s.Space.Heartbeat(s.Node):
		default:
			continue
		}
		if e.Message.Topic == s.Space.Presence(s.Node) {
			continue // told as will-sid
		}
		if m, err := topics.Decode[sessioned](e.Message.Payload); err == nil && m.Sid != want {
			return Wrong, fmt.Sprintf("%s has sid %q on the connection of %q", s.below(e.Message.Topic), m.Sid, want)
		}
	}
	return Right, ""
}

// sessioned is what is said of a session.
type sessioned struct {
	Sid topics.Sid `json:"sid"`
}
