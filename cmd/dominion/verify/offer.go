package verify

import (
	"bytes"
	"context"
	"fmt"

	"dominion/topics"
)

// documentStages offer documents.
func (h *House) documentStages() []stage {
	wanted := func(run bool) map[topics.Service]topics.Wanted {
		return map[topics.Service]topics.Wanted{wantedService: {Run: run, Rev: "1"}}
	}
	beside := map[topics.Service]topics.Wanted{wantedService: {Run: true, Rev: "1"}, besideService: {Run: true, Rev: "1"}}
	faulty := func(payload []byte) []byte { // run must be true or false
		at := fmt.Appendf(nil, `"services":{"%s":{"run":"perhaps"},`, badService)
		return bytes.Replace(payload, []byte(`"services":{`), at, 1)
	}
	same := func(payload []byte) []byte { return payload }
	return []stage{
		{StepDocument, "a document wants a service that it does not have", true, h.offer(StepDocument, 1, wanted(true), same, h.tookUp(StepDocument))},
		{StepOlder, "an older document", true, h.older(wanted(false))},
		{StepAlien, "a document of another house", true, h.alien(wanted(false))},
		{StepBad, "a document with a bad service beside a good one", true, h.offer(StepBad, 2, beside, faulty, h.tookUp(StepBad))},
		{StepCleared, "the document is cleared", true, h.clear},
		{StepStopping, "the document stops the service", true, h.offer(StepStopping, 3, map[topics.Service]topics.Wanted{
			wantedService: {Rev: "1"}, besideService: {Rev: "1"},
		}, same, h.tookUp(StepStopping))},
	}
}

// tookUp tells that a heartbeat acknowledges the document of a step.
func (h *House) tookUp(step Step) func(Seen, []Event) bool {
	return func(s Seen, events []Event) bool { return s.holds(events, step) == "" }
}

// offer writes a document, and waits until something is seen of it.
func (h *House) offer(step Step, gen uint64, services map[topics.Service]topics.Wanted, change func([]byte) []byte, done func(Seen, []Event) bool) func(context.Context) {
	return func(ctx context.Context) {
		doc := topics.Document{House: h.id, Term: h.term, Gen: gen, Services: services}
		h.record.gave(step, doc)
		h.desire(ctx, change(topics.Encode(doc)), done)
	}
}

// desire has a payload written on desired/services.
func (h *House) desire(ctx context.Context, payload []byte, done func(Seen, []Event) bool) {
	h.tell(topics.Message{Topic: h.Space.DesiredServices(h.Node), QoS: 1, Retained: true, Payload: payload})
	during(ctx, h.record, beatEvery+2*lateBy, done)
	h.record.rest(ctx, settleTime)
}

// refused waits for a refusal, and for the heartbeat that shows what is held.
func refused(subject string) func(Seen, []Event) bool {
	return func(s Seen, events []Event) bool {
		return len(s.faults(events, subject)) > 0 && len(s.beats(events)) > 0
	}
}

func (h *House) older(services map[topics.Service]topics.Wanted) func(context.Context) {
	return func(ctx context.Context) {
		doc := topics.Document{House: h.id, Term: h.term - 1, Gen: 99, Services: services}
		h.desire(ctx, topics.Encode(doc), refused(topics.ErrDesired))
	}
}

func (h *House) alien(services map[topics.Service]topics.Wanted) func(context.Context) {
	return func(ctx context.Context) {
		doc := topics.Document{House: h.id + "x", Term: h.term + 1, Gen: 1, Services: services}
		h.desire(ctx, topics.Encode(doc), refused(topics.ErrHouse))
	}
}

func (h *House) clear(ctx context.Context) { h.desire(ctx, nil, refused(topics.ErrDesired)) }
