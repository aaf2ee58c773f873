package broker

import (
	"strings"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// parents are the subscriptions whose filters end in +/#. mochi does not find
// those for what is published one level above: x/+/# covers x/a too (4.7.1.2).
type parents struct {
	mu sync.Mutex // guards of
	of map[string]map[string]struct{}
}

// add remembers who subscribed to a filter.
func (p *parents) add(filter, id string) {
	if !isParent(filter) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]map[string]struct{}{}
	}
	if p.of[filter] == nil {
		p.of[filter] = map[string]struct{}{}
	}
	p.of[filter][id] = struct{}{}
}

// remove follows when subscriptions have ended.
func (p *parents) remove(ended packets.Subscriptions, id string) {
	for _, sub := range ended {
		if isParent(sub.Filter) {
			p.forget(sub.Filter, id)
		}
	}
}

func (p *parents) forget(filter, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(p.of[filter], id); len(p.of[filter]) == 0 {
		delete(p.of, filter)
	}
}

func isParent(filter string) bool { return strings.HasSuffix(filter, "+/#") }

// find adds the subscribers of a topic that mochi has not found.
func (p *parents) find(s *Server, topic string, subs *mqtt.Subscribers) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for filter, ids := range p.of {
		above := strings.TrimSuffix(unshared(filter), "/#")
		if !matches(above, topic) {
			continue
		}
		for id := range ids {
			sub, is := s.subscription(id, filter)
			switch {
			case !is: // it is about to be removed
			case unshared(filter) == filter:
				subs.Subscriptions[id] = merge(subs.Subscriptions, id, sub)
			default:
				if subs.Shared[filter] == nil {
					subs.Shared[filter] = map[string]packets.Subscription{}
				}
				subs.Shared[filter][id] = sub
			}
		}
	}
}

func (s *Server) subscription(id, filter string) (packets.Subscription, bool) {
	cl, ok := s.mqtt.Clients.Get(id)
	if !ok {
		return packets.Subscription{}, false
	}
	return cl.State.Subscriptions.Get(filter)
}

// merge is what mochi does with several subscriptions of one client.
func merge(all map[string]packets.Subscription, id string, sub packets.Subscription) packets.Subscription {
	first, ok := all[id]
	if !ok {
		first = sub
	}
	return first.Merge(sub)
}

// subscribers are those of a topic.
func (s *Server) subscribers(topic string) *mqtt.Subscribers {
	subs := s.mqtt.Topics.Subscribers(topic)
	s.parents.find(s, topic, subs)
	if strings.HasPrefix(topic, "$") { // 4.7.2-1 is for shared subscriptions too
		for filter := range subs.Shared {
			if !matches(unshared(filter), topic) {
				delete(subs.Shared, filter)
			}
		}
	}
	return subs
}

// despiteNoLocal is the subscription by which a client is sent what it published
// itself, if one of its subscriptions has No Local: mochi takes that for said of
// all of them.
func despiteNoLocal(cl *mqtt.Client, topic string) (sub packets.Subscription, ok bool) {
	merged := map[string]packets.Subscription{}
	for filter, sub := range cl.State.Subscriptions.GetAll() {
		if !sub.NoLocal && unshared(filter) == filter && matches(filter, topic) {
			merged[cl.ID] = merge(merged, cl.ID, sub)
		}
	}
	sub, ok = merged[cl.ID]
	return sub, ok
}
