package verify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"dominion/topics"
)

// sayingChecks are of each message for itself.
func sayingChecks() []Check {
	return []Check{
		{Name: "topics", Paragraph: "Topics", Wanted: "publishes below its own state/ and event/ alone, and on service/",
			wire: true, judge: each(ownTopics)},
		{Name: "names", Paragraph: "Topics", Wanted: "its topics are well formed, and so are the names in them", judge: each(wellFormed)},
		{Name: "state-retained", Paragraph: "Topics", Wanted: "all of its state is retained", judge: stateRetained},
		{Name: "event-retained", Paragraph: "Topics", Wanted: "none of its events and replies is retained", judge: each(eventRetained)},
		{Name: "json", Paragraph: "Payloads", Wanted: `payloads are JSON objects in UTF-8 with "v":1`, judge: each(isJSON)},
		{Name: "fields", Paragraph: "Payloads", Wanted: "the fields that readers need are there, with the right types", judge: each(readable)},
		{Name: "size", Paragraph: "Payloads", Wanted: "no payload is longer than 1 MiB", judge: each(bounded)},
		{Name: "qos", Paragraph: "What a node says of itself", Wanted: "QoS 1, and 0 for heartbeats and readings", wire: true, judge: each(quality)},
		{Name: "kind", Paragraph: "Info", Wanted: `an info whose kind is "domain" or "micro"`, judge: kind},
		{Name: "presence", Paragraph: "Presence", Wanted: "it says online", judge: func(s Seen, events []Event) (Result, string) {
			return verdict(s.born(events) >= 0, "no presence that says so")
		}},
	}
}

// each makes a judgement of all messages of one of each; the first that is
// wrong is told, and how many there are.
func each(wrong func(Seen, topics.Message) string) func(Seen, []Event) (Result, string) {
	return func(s Seen, events []Event) (Result, string) {
		first, others := "", 0
		for _, e := range said(events, "") {
			switch text := wrong(s, e.Message); {
			case text == "":
			case first == "":
				first = text
			default:
				others++
			}
		}
		if others > 0 {
			first += fmt.Sprintf(" (and %d more)", others)
		}
		return verdict(first == "", "%s", first)
	}
}

func ownTopics(s Seen, m topics.Message) string {
	node, class := s.Space.Owner(m.Topic)
	switch {
	case node == s.Node && (class == topics.State || class == topics.Event):
		return ""
	case node == s.Node && class == topics.Command && len(m.Payload) == 0 && m.Retained:
		return "" // a command that was retained is cleared
	case strings.HasPrefix(m.Topic, strings.TrimSuffix(s.Space.All(), "#")+"service/"):
		return ""
	}
	return "it wrote on " + m.Topic
}

func wellFormed(s Seen, m topics.Message) string {
	if node, _ := s.Space.Owner(m.Topic); node != s.Node {
		return ""
	}
	if _, err := s.Space.Parse(m.Topic); err != nil {
		return err.Error()
	}
	return ""
}

func stateRetained(s Seen, events []Event) (Result, string) {
	kept := map[string]bool{} // whether what was said last is; on the wire the first that is not counts
	var order []string
	for _, e := range said(events, s.own()+"state/") {
		before, known := kept[e.Message.Topic]
		if !known {
			order = append(order, e.Message.Topic)
		}
		kept[e.Message.Topic] = e.Message.Retained && (before || !known)
		if !s.Wire { // news has no flag; what is retained is found so once
			kept[e.Message.Topic] = e.Message.Retained || before || len(e.Message.Payload) == 0
		}
	}
	for _, topic := range order {
		if !kept[topic] {
			return Wrong, s.below(topic) + " is not"
		}
	}
	return verdict(len(order) > 0, "it said nothing of itself")
}

func eventRetained(s Seen, m topics.Message) string {
	if at, ok := s.address(m); ok && at.Class == topics.Event && m.Retained {
		return s.below(m.Topic) + " is"
	}
	return ""
}

// speaks tells whether a message is one of the node's own with a payload that
// the protocol knows. A bare presence is firmware's.
func (s Seen) speaks(m topics.Message) (topics.Address, bool) {
	at, ok := s.address(m)
	if !ok || len(m.Payload) == 0 || at.Class == topics.Command || at.Kind == "sync" {
		return at, false
	}
	if m.Topic == s.Space.Presence(s.Node) {
		bare := strings.ToLower(string(bytes.TrimSpace(m.Payload)))
		return at, bare != "online" && bare != "offline"
	}
	return at, true
}

// versioned is what each payload has.
type versioned struct {
	V *int `json:"v"`
}

// version tells why a payload is none of this protocol.
func version(payload []byte) error {
	p, err := topics.Decode[versioned](payload)
	if err == nil && (p.V == nil || *p.V != topics.Protocol) {
		return errors.New(`it lacks "v":1`)
	}
	return err
}

func isJSON(s Seen, m topics.Message) string {
	if _, ok := s.speaks(m); !ok {
		return ""
	}
	if err := version(m.Payload); err != nil && len(m.Payload) <= topics.MaxPayload {
		return fmt.Sprintf("%s: %s (%v)", s.below(m.Topic), brief(m.Payload), err)
	}
	return ""
}

// readable tells what is wrong with the fields of a payload that is JSON.
func readable(s Seen, m topics.Message) string {
	at, ok := s.speaks(m)
	if !ok || version(m.Payload) != nil {
		return "" // told as json
	}
	var err error
	switch {
	case m.Topic == s.Space.Presence(s.Node):
		_, err = topics.DecodePresence(m.Payload)
	case m.Topic == s.Space.Info(s.Node):
		_, err = topics.Decode[topics.Info](m.Payload)
	case at.Class == topics.State && at.Kind == "service":
		_, err = topics.Decode[topics.ServiceState](m.Payload)
	case m.Topic == s.Space.Host(s.Node):
		_, err = topics.Decode[topics.Host](m.Payload)
	case m.Topic == s.Space.Heartbeat(s.Node):
		_, err = topics.Decode[topics.Heartbeat](m.Payload)
	case at.Class == topics.Event && at.Kind == "reply":
		_, err = topics.Decode[topics.Reply](m.Payload)
	case at.Class == topics.Event && at.Kind == "error":
		_, err = topics.Decode[topics.Fault](m.Payload)
	}
	if err != nil {
		return fmt.Sprintf("%s: %v", s.below(m.Topic), err)
	}
	return ""
}

func bounded(s Seen, m topics.Message) string {
	if len(m.Payload) > topics.MaxPayload {
		return fmt.Sprintf("%s has %d bytes", s.below(m.Topic), len(m.Payload))
	}
	return ""
}

func quality(s Seen, m topics.Message) string {
	at, ok := s.address(m)
	if !ok || at.Kind == "sync" || at.Class != topics.State && at.Class != topics.Event {
		return ""
	}
	want := byte(1)
	if m.Topic == s.Space.Heartbeat(s.Node) || m.Topic == s.Space.Host(s.Node) {
		want = 0
	}
	if m.QoS != want && len(m.Payload) > 0 {
		return fmt.Sprintf("%s has QoS %d", s.below(m.Topic), m.QoS)
	}
	return ""
}

func kind(s Seen, events []Event) (Result, string) {
	all := said(events, s.Space.Info(s.Node))
	if len(all) == 0 {
		return Wrong, "no info"
	}
	info, heard := s.info(events)
	if !heard {
		return Unseen, "" // told as json, or fields
	}
	return verdict(info.Kind == topics.KindDomain || info.Kind == topics.KindMicro, "kind is %q", info.Kind)
}
