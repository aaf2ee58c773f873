package verify

import (
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// Step is one thing that is done to the node, and what it does then.
type Step string

// The steps, in the order in which they are taken.
const (
	StepBirth    Step = "birth"    // it comes
	StepPing     Step = "ping"     // the command ping/host
	StepRepeat   Step = "repeat"   // another command, with the same id
	StepUnknown  Step = "unknown"  // a method that no node has
	StepEmpty    Step = "empty"    // an empty payload on ping/host
	StepBeats    Step = "beats"    // nothing, for two heartbeats
	StepStale    Step = "stale"    // the will of a session that is none of its own
	StepForeign  Step = "foreign"  // another machine says it is online under the name
	StepOverride Step = "override" // another client writes on its info
	StepDocument Step = "document" // it is to run a service that it does not have
	StepOlder    Step = "older"    // an older document
	StepAlien    Step = "alien"    // a document of another house
	StepBad      Step = "bad"      // a document with a bad service beside a good one
	StepCleared  Step = "cleared"  // the document is cleared
	StepStopping Step = "stopping" // run:false
	StepBreak    Step = "break"    // its connections break
	StepRetained Step = "retained" // the same, and a command is found retained
	StepClaimed  Step = "claimed"  // the same, and its name is another's that is silent
	StepRestart  Step = "restart"  // the broker ends, and comes back without its memory
	StepFlag     Step = "flag"     // a command with the retained flag
	StepGoodbye  Step = "goodbye"  // it is stopped
)

// What tells the kinds of events apart.
type What int

// The kinds of events.
const (
	Marked     What = iota // a step begins
	Opened                 // a connection, with its CONNECT
	Subscribed             // to one filter
	Said                   // a message was published
	Left                   // with DISCONNECT
	Broke                  // without
)

// Event is one thing that was seen, or done.
type Event struct {
	What  What
	After time.Duration // since the beginning
	Conn  int           // of a connection, from 1
	Step  Step          // that begins

	Fault  string          // of Opened: what is wrong with the CONNECT, if it cannot be read
	Client string          // of Opened: client id
	Clean  bool            // of Opened: a clean session
	Will   *topics.Message // of Opened

	Filter  string         // of Subscribed
	Message topics.Message // of Said, as it was published
}

// Seen is all that was seen of a node.
type Seen struct {
	Space topics.Space
	Node  topics.Node
	// Wire tells that every packet of the node was seen, with its flags. Else
	// only what a subscriber hears: Retained says then that a message was found
	// retained.
	Wire   bool
	Events []Event
	// Gave are the documents that the node was given, by step.
	Gave map[Step]topics.Document
}

// during are the events of a step; false: it was not taken.
func (s Seen) during(step Step) (events []Event, taken bool) {
	for _, e := range s.Events {
		switch {
		case e.What == Marked:
			if taken {
				return events, true
			}
			taken = e.Step == step
		case taken:
			events = append(events, e)
		}
	}
	return events, taken
}

// said are the messages among events whose topic begins with a prefix.
func said(events []Event, prefix string) (all []Event) {
	for _, e := range events {
		if e.What == Said && strings.HasPrefix(e.Message.Topic, prefix) {
			all = append(all, e)
		}
	}
	return all
}

// own is the beginning of all topics of the node.
func (s Seen) own() string { return strings.TrimSuffix(s.Space.Commands(s.Node), "command/#") }

// presences are what the node said of being there, without what cannot be read.
func (s Seen) presences(events []Event) (all []topics.Presence) {
	for _, e := range said(events, s.Space.Presence(s.Node)) {
		if p, err := topics.DecodePresence(e.Message.Payload); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// born is where among events the node says that it is online, or -1.
func (s Seen) born(events []Event) int {
	return slices.IndexFunc(events, func(e Event) bool {
		if e.What != Said || e.Message.Topic != s.Space.Presence(s.Node) {
			return false
		}
		p, err := topics.DecodePresence(e.Message.Payload)
		return err == nil && p.State == topics.Online
	})
}

// info is the last that the node said of itself and could be read.
func (s Seen) info(events []Event) (info topics.Info, heard bool) {
	for _, e := range said(events, s.Space.Info(s.Node)) {
		if i, err := topics.Decode[topics.Info](e.Message.Payload); err == nil {
			info, heard = i, true
		}
	}
	return info, heard
}

// Domain tells whether the node is to be held to what a domain must do.
func (s Seen) Domain() bool {
	info, _ := s.info(s.Events)
	return info.Kind == topics.KindDomain
}

// beats are the heartbeats among events that could be read.
func (s Seen) beats(events []Event) (all []topics.Heartbeat) {
	for _, e := range said(events, s.Space.Heartbeat(s.Node)) {
		if b, err := topics.Decode[topics.Heartbeat](e.Message.Payload); err == nil {
			all = append(all, b)
		}
	}
	return all
}

// replies are the answers among events that could be read.
func (s Seen) replies(events []Event) (all []topics.Reply) {
	for _, e := range said(events, s.own()+"event/reply/") {
		if r, err := topics.Decode[topics.Reply](e.Message.Payload); err == nil {
			all = append(all, r)
		}
	}
	return all
}

// faults are the refusals among events that nobody asked for, of a subject.
func (s Seen) faults(events []Event, subject string) (all []topics.Fault) {
	for _, e := range said(events, s.Space.Error(s.Node, subject)) {
		if f, err := topics.Decode[topics.Fault](e.Message.Payload); err == nil {
			all = append(all, f)
		}
	}
	return all
}

// states are the topics of the node's state that hold something after events.
func (s Seen) states(events []Event) map[string][]byte {
	all := map[string][]byte{}
	for _, e := range said(events, s.own()+"state/") {
		if all[e.Message.Topic] = e.Message.Payload; len(e.Message.Payload) == 0 {
			delete(all, e.Message.Topic)
		}
	}
	return all
}
