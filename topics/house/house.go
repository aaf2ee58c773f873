// Package house is what the bus says, folded into one value: the nodes and
// what they report, and what the leading coordinator makes of them. The
// coordinator, the Home Assistant bridge and the command line share it.
//
// Apply folds one message. Everything else is a pure query. Time is an input:
// the caller's monotonic clock, never a time from a payload.
package house

import (
	"errors"
	"fmt"
	"time"

	"dominion/topics"
)

// clearGrace is how long a cleared retained message still stands: its writer
// puts it back when the clearing was not meant.
const clearGrace = 5 * time.Second

// House is the folded view of one base. It is not safe for concurrent use:
// one goroutine owns it.
type House struct {
	space   topics.Space
	session int // counts the reader's sessions
	nodes   map[topics.Node]*Node

	judgements map[topics.Node]kept[topics.Judgement]
	summaries  map[topics.Service]kept[topics.Summary]
	lookups    map[topics.Service]kept[topics.Lookup]
	alerts     map[string]kept[topics.Alert]
	services   map[topics.Service]topics.ServiceWord
	domains    map[topics.Node]topics.DomainWord
	documents  map[topics.Node]topics.Document
}

// kept is a retained document, the reader's session it was heard in, and when
// it was cleared, if it was.
type kept[T any] struct {
	value   T
	session int
	cleared time.Time
}

func (k kept[T]) stands(now time.Time) bool {
	return k.cleared.IsZero() || now.Sub(k.cleared) < clearGrace
}

// New makes the view of a house nothing is known of.
func New(space topics.Space) *House {
	return &House{
		space:      space,
		nodes:      map[topics.Node]*Node{},
		judgements: map[topics.Node]kept[topics.Judgement]{},
		summaries:  map[topics.Service]kept[topics.Summary]{},
		lookups:    map[topics.Service]kept[topics.Lookup]{},
		alerts:     map[string]kept[topics.Alert]{},
		services:   map[topics.Service]topics.ServiceWord{},
		domains:    map[topics.Node]topics.DomainWord{},
		documents:  map[topics.Node]topics.Document{},
	}
}

// Space is where the house lives.
func (h *House) Space() topics.Space { return h.space }

// Began marks a new session of the reader: from now on nobody counts as heard
// until he speaks again, because wills may have been missed.
func (h *House) Began(now time.Time) {
	h.session++
	clear(h.services) // a word that was removed meanwhile is not replayed
	clear(h.domains)
	for _, n := range h.nodes {
		n.session = h.session
		n.verified = false
		n.since = now
	}
}

// Synced ends the replay of a session: what the coordinator said before and
// the replay did not show was cleared while the reader was away.
func (h *House) Synced(now time.Time) {
	gone(h.judgements, h.session, now)
	gone(h.summaries, h.session, now)
	gone(h.lookups, h.session, now)
	gone(h.alerts, h.session, now)
}

func gone[K comparable, T any](all map[K]kept[T], session int, now time.Time) {
	for key, k := range all {
		if k.session != session && k.cleared.IsZero() {
			k.cleared = now
			all[key] = k
		}
	}
}

// Apply folds one message of the house. A message that is not one of the
// house's nodes, or that this view does not keep, changes nothing and is no
// error. An unreadable one is an error and the last good word stands.
func (h *House) Apply(m topics.Message, now time.Time) error {
	a, err := h.space.Parse(m.Topic)
	if errors.Is(err, topics.ErrForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.apply(a, m, now); err != nil {
		return fmt.Errorf("%s: %w", m.Topic, err)
	}
	return nil
}

func (h *House) apply(a topics.Address, m topics.Message, now time.Time) error {
	switch a.Class {
	case topics.State:
		if a.Node == topics.Coordinator && a.Subject != "" {
			return h.applyCoordinator(a, m, now)
		}
		return h.applyNode(a, m, now)
	case topics.Event:
		if a.Kind == "heartbeat" && !m.Retained {
			return h.applyNode(a, m, now)
		}
	case topics.Desired:
		return h.applyDesired(a, m)
	}
	return nil
}

// applyNode folds what a node says of itself. What nobody can read, and the
// clearing of what nobody knew, make no node: a forgotten one stays forgotten.
func (h *House) applyNode(a topics.Address, m topics.Message, now time.Time) error {
	n, known := h.nodes[a.Node]
	if !known {
		if len(m.Payload) == 0 || a.Class == topics.State && !described(a) {
			return nil
		}
		n = h.newNode(a.Node, now)
	}
	var err error
	if a.Class == topics.Event {
		err = n.applyHeartbeat(m, now)
	} else {
		err = n.applyState(a, m, now)
	}
	if !known && err == nil {
		h.nodes[a.Node] = n
	}
	return err
}

// described tells a state that this view keeps of a node.
func described(a topics.Address) bool {
	switch a.Kind {
	case "presence", "info", "host":
		return a.Subject == ""
	case "service":
		return a.Subject != ""
	}
	return false
}

func (h *House) newNode(name topics.Node, now time.Time) *Node {
	return &Node{Name: name, since: now, first: now, session: h.session, services: map[topics.Service]kept[topics.ServiceState]{}}
}

// Remember makes a node known that was known before the reader began, so
// that it is judged unknown and not overlooked.
func (h *House) Remember(name topics.Node, now time.Time) {
	if h.nodes[name] == nil {
		h.nodes[name] = h.newNode(name, now)
	}
	h.nodes[name].remembered = true
}

// Forget drops all that is known of a node.
func (h *House) Forget(name topics.Node) {
	delete(h.nodes, name)
	delete(h.judgements, name)
	delete(h.documents, name)
	delete(h.domains, name)
}

// ForgetService drops the word on a service.
func (h *House) ForgetService(name topics.Service) { delete(h.services, name) }

func (h *House) applyCoordinator(a topics.Address, m topics.Message, now time.Time) error {
	switch a.Kind {
	case "domain":
		return keep(h.judgements, topics.Node(a.Subject), m, h.session, now)
	case "summary":
		return keep(h.summaries, topics.Service(a.Subject), m, h.session, now)
	case "lookup":
		return keep(h.lookups, topics.Service(a.Subject), m, h.session, now)
	case "alert":
		if len(m.Payload) == 0 {
			delete(h.alerts, a.Subject)
			return nil
		}
		return keep(h.alerts, a.Subject, m, h.session, now)
	}
	return nil
}

func (h *House) applyDesired(a topics.Address, m topics.Message) error {
	if len(m.Payload) == 0 {
		return nil // unknown, not empty
	}
	switch {
	case a.Kind == "services" && a.Subject == "":
		doc, _, err := topics.DecodeDocument(m.Payload)
		if err != nil {
			return err
		}
		h.documents[a.Node] = doc
	case a.Node == topics.Coordinator && a.Kind == "service":
		return replace(h.services, topics.Service(a.Subject), m)
	case a.Node == topics.Coordinator && a.Kind == "domain":
		return replace(h.domains, topics.Node(a.Subject), m)
	}
	return nil
}

func keep[K comparable, T any](into map[K]kept[T], key K, m topics.Message, session int, now time.Time) error {
	if len(m.Payload) == 0 {
		if k, ok := into[key]; ok && k.cleared.IsZero() {
			k.cleared = now
			into[key] = k
		}
		return nil
	}
	v, err := topics.Decode[T](m.Payload)
	if err != nil {
		return err
	}
	into[key] = kept[T]{value: v, session: session}
	return nil
}

func replace[K comparable, T any](into map[K]T, key K, m topics.Message) error {
	v, err := topics.Decode[T](m.Payload)
	if err != nil {
		return err
	}
	into[key] = v
	return nil
}
