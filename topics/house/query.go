package house

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

// Node is what is known of one node, or nil. The caller does not change it.
func (h *House) Node(name topics.Node) *Node { return h.nodes[name] }

// Domains are all known nodes but the coordinator, by name: domains and
// microdomains.
func (h *House) Domains() []*Node {
	all := make([]*Node, 0, len(h.nodes))
	for _, n := range h.nodes {
		if n.Name != topics.Coordinator && n.Name != topics.Reader && n.known() {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Leader is the coordinator as a node: its presence, info and heartbeat; nil
// when nothing was ever heard of it.
func (h *House) Leader() *Node { return h.nodes[topics.Coordinator] }

// Leads tells whether a coordinator is online and active, so that lookups,
// summaries and judgements are valid.
func (h *House) Leads() bool {
	l := h.Leader()
	return l != nil && l.Presence.State == topics.Online && l.Presence.Role == topics.Active
}

// Judgement is the coordinator's published judgement of a domain.
func (h *House) Judgement(name topics.Node, now time.Time) (topics.Judgement, bool) {
	k, ok := h.judgements[name]
	return k.value, ok && k.stands(now)
}

// Judgements are all published judgements that stand.
func (h *House) Judgements(now time.Time) map[topics.Node]topics.Judgement {
	return standing(h.judgements, now)
}

// Summary is the coordinator's published summary of a service.
func (h *House) Summary(name topics.Service, now time.Time) (topics.Summary, bool) {
	k, ok := h.summaries[name]
	return k.value, ok && k.stands(now)
}

// Summaries are all published summaries that stand.
func (h *House) Summaries(now time.Time) map[topics.Service]topics.Summary {
	return standing(h.summaries, now)
}

// Lookup is the coordinator's published lookup of a service.
func (h *House) Lookup(name topics.Service, now time.Time) (topics.Lookup, bool) {
	k, ok := h.lookups[name]
	return k.value, ok && k.stands(now)
}

// Lookups are all published lookups that stand.
func (h *House) Lookups(now time.Time) map[topics.Service]topics.Lookup {
	return standing(h.lookups, now)
}

// Alerts are the open problems by id.
func (h *House) Alerts(now time.Time) map[string]topics.Alert { return standing(h.alerts, now) }

// ServiceWords are the operator's words on services, as retained on the bus.
func (h *House) ServiceWords() map[topics.Service]topics.ServiceWord { return maps.Clone(h.services) }

// DomainWords are the operator's words on domains, as retained on the bus.
func (h *House) DomainWords() map[topics.Node]topics.DomainWord { return maps.Clone(h.domains) }

// Document is the desired document that stands on a domain's topic.
func (h *House) Document(name topics.Node) (topics.Document, bool) {
	d, ok := h.documents[name]
	return d, ok
}

func standing[K comparable, T any](all map[K]kept[T], now time.Time) map[K]T {
	m := make(map[K]T, len(all))
	for key, k := range all {
		if k.stands(now) {
			m[key] = k.value
		}
	}
	return m
}
