package device

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"dominion/topics"
)

// Verdict is what to do with a document that was offered.
type Verdict string

// The verdicts.
const (
	Accept Verdict = "accept" // store it, then act on it
	Same   Verdict = "same"   // it is the one that is held
	Later  Verdict = "later"  // no leader is heard who could vouch for it: look again at the next heartbeat
	Refuse Verdict = "refuse" // keep what is held
)

// Held is the document that a domain holds. The zero value holds none.
type Held struct {
	House   topics.HouseID
	Term    uint64
	Gen     uint64
	Payload []byte
}

// Offer is a document that came by the bus.
type Offer struct {
	Payload []byte
	Heard   bool           // a planner's heartbeat was heard of late
	Leader  topics.HouseID // the house of that leader; empty: not known
}

// Judged is the verdict on an offer. Of a refusal it holds what to say and on
// which error subject; else the document without the services in Bad.
type Judged struct {
	Verdict  Verdict
	Document topics.Document
	Bad      map[topics.Service]error
	Subject  string
	Fault    topics.Fault
}

// Judge decides on an offered document. Order is (term, gen) alone: a lower
// pair, or the same pair with other content, is refused, and so is another
// house. A domain without a house takes the one of the leader that it hears.
func Judge(held Held, offer Offer) Judged {
	refuse := func(subject, code, field, format string, args ...any) Judged {
		return Judged{Verdict: Refuse, Subject: subject,
			Fault: topics.Fault{Code: code, Field: field, Text: fmt.Sprintf(format, args...)}}
	}
	keeps := "keeps what it has"
	if held.Gen > 0 || held.Term > 0 {
		keeps = fmt.Sprintf("keeps (%d, %d)", held.Term, held.Gen)
	}
	if len(offer.Payload) == 0 {
		return refuse(topics.ErrDesired, topics.FaultCleared, "", "no desired document is retained: %s", keeps)
	}
	doc, bad, err := topics.DecodeDocument(offer.Payload)
	if err != nil {
		field := ""
		if f, ok := err.(*topics.FieldError); ok {
			field = f.Field
		}
		return refuse(topics.ErrDesired, topics.FaultBad, field, "the desired document is unreadable: %v: %s", err, keeps)
	}
	house := or(held.House, offer.Leader)
	switch {
	case house != "" && doc.House != house:
		return refuse(topics.ErrHouse, topics.FaultHouse, "house", "the desired document is of house %s, this domain belongs to %s: %s", doc.House, house, keeps)
	case held.House == "" && !offer.Heard:
		return Judged{Verdict: Later}
	case doc.Term < held.Term || doc.Term == held.Term && doc.Gen < held.Gen:
		return refuse(topics.ErrDesired, topics.FaultStale, "gen", "offered (%d, %d), which is older: %s", doc.Term, doc.Gen, keeps)
	case doc.Term == held.Term && doc.Gen == held.Gen && len(held.Payload) > 0:
		if !sameJSON(held.Payload, offer.Payload) {
			return refuse(topics.ErrDesired, topics.FaultStale, "gen", "offered (%d, %d) with other content than the (%d, %d) it has: %s", doc.Term, doc.Gen, held.Term, held.Gen, keeps)
		}
		return Judged{Verdict: Same}
	}
	return Judged{Verdict: Accept, Document: doc, Bad: withValues(&doc, bad)}
}

// withValues takes the services out of a document whose values must not be
// used, and adds them to the bad ones.
func withValues(doc *topics.Document, bad map[topics.Service]error) map[topics.Service]error {
	for _, name := range slices.Sorted(maps.Keys(doc.Services)) {
		if err := CheckWanted(name, doc.Services[name]); err != nil {
			if bad == nil {
				bad = map[topics.Service]error{}
			}
			bad[name] = err
			delete(doc.Services, name)
		}
	}
	return bad
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// Keep is what of the services wanted before stays wanted though a newer
// document does not say so: what it does not speak of and was to run, because
// only run:false stops a service; and what it speaks of in a way that was
// refused.
func Keep(before map[topics.Service]topics.Wanted, doc topics.Document, bad map[topics.Service]error) map[topics.Service]topics.Wanted {
	kept := map[topics.Service]topics.Wanted{}
	for name, want := range before {
		_, named := doc.Services[name]
		_, refused := bad[name]
		if !named && (refused || want.Run) {
			kept[name] = want
		}
	}
	return kept
}
