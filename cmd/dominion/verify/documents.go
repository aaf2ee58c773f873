package verify

import (
	"fmt"
	"slices"
	"strings"

	"dominion/topics"
)

// The services that a domain is asked to run. It has none of them.
const (
	wantedService topics.Service = "verify-good"
	badService    topics.Service = "verify-bad"
	besideService topics.Service = "verify-beside"
	neverHad      topics.Service = "verify-foreign"
)

// documentChecks are of what a domain makes of desired documents.
func documentChecks() []Check {
	const chapter = "What a domain should run"
	return []Check{
		{Name: "document", Paragraph: chapter + " 1", Wanted: "a heartbeat acknowledges a document", wire: true, domain: true, step: StepDocument, judge: acknowledges(StepDocument)},
		{Name: "document-state", Paragraph: "A service's state", Wanted: "a service that a document names has a state, with a why if it is not as wanted", wire: true, domain: true, step: StepDocument, judge: reports},
		{Name: "document-older", Paragraph: chapter + " 2", Wanted: "an older document is refused on event/error/desired", wire: true, domain: true, step: StepOlder, judge: keeps(topics.ErrDesired, StepDocument)},
		{Name: "document-alien", Paragraph: chapter + " 3", Wanted: "a document of another house is refused on event/error/house", wire: true, domain: true, step: StepAlien, judge: keeps(topics.ErrHouse, StepDocument)},
		{Name: "document-bad-one", Paragraph: chapter + " 4", Wanted: "a bad service is refused alone, by its name: the document counts", wire: true, domain: true, step: StepBad, judge: refusesOne},
		{Name: "document-cleared", Paragraph: chapter + " 5", Wanted: "a cleared document is told on event/error/desired, and changes nothing", wire: true, domain: true, step: StepCleared, judge: keeps(topics.ErrDesired, StepBad)},
		{Name: "document-stop", Paragraph: chapter + " 6", Wanted: "run:false stops a service", wire: true, domain: true, step: StepStopping, judge: stops},
	}
}

// holds tells what the last heartbeat acknowledges, if that is not the document
// of a step.
func (s Seen) holds(events []Event, step Step) string {
	want, all := s.Gave[step], s.beats(events)
	if len(all) == 0 {
		return "no heartbeat came"
	}
	last := all[len(all)-1]
	return unless(last.Term == want.Term && last.Gen == want.Gen,
		"the heartbeat has (%d, %d), not (%d, %d)", last.Term, last.Gen, want.Term, want.Gen)
}

func acknowledges(step Step) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		text := s.holds(events, step)
		return verdict(text == "", "%s", text)
	}
}

// keeps makes a judgement of a refusal: it is told, and the document of an
// earlier step is held.
func keeps(subject string, held Step) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		if len(s.faults(events, subject)) == 0 {
			return Wrong, "nothing on event/error/" + subject
		}
		return acknowledges(held)(s, events)
	}
}

func reports(s Seen, events []Event) (Result, string) {
	state, said := s.service(events, wantedService)
	if !said {
		return Wrong, fmt.Sprintf("nothing on state/service/%s", wantedService)
	}
	return verdict(state.Ready || state.Why != nil, "it is %s and not ready, and has no why", state.Phase)
}

// service is the last that the domain said of a service.
func (s Seen) service(events []Event, v topics.Service) (state topics.ServiceState, heard bool) {
	for _, e := range said(events, s.Space.ServiceState(s.Node, v)) {
		if got, err := topics.Decode[topics.ServiceState](e.Message.Payload); err == nil {
			state, heard = got, true
		}
	}
	return state, heard
}

func refusesOne(s Seen, events []Event) (Result, string) {
	named := slices.ContainsFunc(s.faults(events, topics.ErrDesired), func(f topics.Fault) bool {
		return strings.HasPrefix(f.Field, "services."+string(badService))
	})
	if !named {
		return Wrong, "nothing on event/error/desired has the field services." + string(badService)
	}
	if _, heard := s.service(events, besideService); !heard {
		return Wrong, fmt.Sprintf("the good one beside it, %s, has no state", besideService)
	}
	return acknowledges(StepBad)(s, events)
}

func stops(s Seen, events []Event) (Result, string) {
	if text := s.holds(events, StepStopping); text != "" {
		return Wrong, text
	}
	state, heard := s.service(s.Events, wantedService)
	return verdict(!heard || state.Phase.Settled(), "%s is %s", wantedService, state.Phase)
}
