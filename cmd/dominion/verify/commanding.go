package verify

import (
	"fmt"
	"slices"

	"dominion/topics"
)

// The ids of the commands that are sent. Repeat has that of Ping.
const (
	idPing     = "verify-ping"
	idUnknown  = "verify-unknown"
	idRetained = "verify-retained"
)

// methodUnknown is what no node has.
const methodUnknown = "verify-dance"

// commandChecks are of what the node makes of commands.
func commandChecks() []Check {
	return []Check{
		{Name: "ping", Paragraph: "Commands 1", Wanted: "ping/host is done", step: StepPing, judge: answers(topics.Done)},
		{Name: "id", Paragraph: "Commands 2", Wanted: "the answer is on event/reply/<id>, with the id in it", step: StepPing, judge: echoes},
		{Name: "repeated-id", Paragraph: "Commands 3", Wanted: "a command with a known id is answered as before, and not run", step: StepRepeat, judge: repeated},
		{Name: "unknown-method", Paragraph: "Commands 1", Wanted: "a method that it does not have is refused, with a why", step: StepUnknown, judge: refuses},
		{Name: "empty-payload", Paragraph: "Commands 4", Wanted: "an empty payload is no command, and told on event/error/command", step: StepEmpty, judge: empty},
		{Name: "retained-not-run", Paragraph: "Commands 5", Wanted: "a command that is found retained is not run", wire: true, step: StepRetained, judge: notRun},
		{Name: "retained-refused", Paragraph: "Commands 5", Wanted: "it is refused, told on event/error/command, and cleared", wire: true, domain: true, step: StepRetained, judge: clears},
		{Name: "retained-cleared", Paragraph: "Commands 5", Wanted: "a command with the retained flag is not left", guest: true, domain: true, step: StepFlag, judge: leftNone},
	}
}

// answers makes a judgement of the last answer of a step.
func answers(want topics.Status) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		all := s.replies(events)
		if len(all) == 0 {
			return Wrong, "no answer"
		}
		last := all[len(all)-1]
		return verdict(last.Status == want, "it was %s%s", last.Status, reason(last))
	}
}

func reason(r topics.Reply) string {
	if r.Why == nil {
		return ""
	}
	return ": " + r.Why.Text
}

func echoes(s Seen, events []Event) (Result, string) {
	all := said(events, s.own()+"event/reply/")
	if len(all) == 0 {
		return Unseen, ""
	}
	for _, e := range all {
		if e.Message.Topic != s.Space.Reply(s.Node, idPing) {
			return Wrong, "it was on " + s.below(e.Message.Topic)
		}
	}
	for _, r := range s.replies(events) {
		if r.ID != idPing {
			return Wrong, fmt.Sprintf("the id in it was %q", r.ID)
		}
	}
	return Right, ""
}

// repeated is of another method with the id of a ping that was answered: who
// runs it refuses it, for there is no such method.
func repeated(s Seen, events []Event) (Result, string) {
	pinged, _ := s.during(StepPing)
	before, again := s.replies(pinged), s.replies(events)
	switch {
	case len(before) == 0:
		return Unseen, ""
	case len(again) == 0:
		return Wrong, "no answer"
	}
	last, now := before[len(before)-1], again[len(again)-1]
	return verdict(now.Status == last.Status, "it was %s before, and %s now%s", last.Status, now.Status, reason(now))
}

func refuses(s Seen, events []Event) (Result, string) {
	result, text := answers(topics.Refused)(s, events)
	if result == Wrong {
		return result, text
	}
	all := s.replies(events)
	last := all[len(all)-1]
	return verdict(last.Why != nil && last.Why.Code != "" && last.Why.Text != "", "its why has no code, or no text")
}

func empty(s Seen, events []Event) (Result, string) {
	for _, r := range s.replies(events) {
		if r.Status == topics.Done || r.Status == topics.Accepted {
			return Wrong, "it was run"
		}
	}
	return verdict(len(s.faults(events, topics.ErrCommand)) > 0, "nothing on event/error/command")
}

func notRun(s Seen, events []Event) (Result, string) {
	if s.born(events) < 0 {
		return Unseen, ""
	}
	for _, r := range s.replies(events) {
		if r.Status != topics.Refused {
			return Wrong, fmt.Sprintf("it was %s", r.Status)
		}
	}
	return Right, ""
}

func clears(s Seen, events []Event) (Result, string) {
	if s.born(events) < 0 {
		return Unseen, ""
	}
	topic := s.Space.Command(s.Node, "ping", "host")
	refused := slices.ContainsFunc(s.replies(events), func(r topics.Reply) bool { return r.Status == topics.Refused })
	cleared := slices.ContainsFunc(said(events, topic), func(e Event) bool {
		return e.Message.Topic == topic && e.Message.Retained && len(e.Message.Payload) == 0
	})
	switch {
	case !refused:
		return Wrong, "no answer refuses it"
	case !cleared:
		return Wrong, "it was left on " + s.below(topic)
	}
	return verdict(len(s.faults(events, topics.ErrCommand)) > 0, "nothing on event/error/command")
}

// leftNone is of what a new subscriber to the commands finds.
func leftNone(s Seen, events []Event) (Result, string) {
	for _, e := range said(events, s.own()+"command/") {
		if e.Message.Retained && len(e.Message.Payload) > 0 {
			return Wrong, s.below(e.Message.Topic) + " still has it"
		}
	}
	return Right, ""
}
