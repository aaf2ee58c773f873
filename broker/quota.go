package broker

import (
	"fmt"
	"slices"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
)

// quota bounds what is retained, by each account and in all: without it one
// service with a login fills the leader's memory and disk. What the coordinator
// retains is not counted. What was in the store when the server was opened
// counts for no account until it is replaced.
type quota struct {
	each, all holding // the most

	mu    sync.Mutex           // guards all below
	on    map[string]retention // by topic, what is counted
	of    map[string]holding   // by account
	total holding
}

// holding is how much somebody retains.
type holding struct{ topics, bytes int }

func (h holding) plus(o holding) holding { return holding{h.topics + o.topics, h.bytes + o.bytes} }

// retention is one retained message.
type retention struct {
	holder string // its account; empty: nobody's
	bytes  int
}

func (k retention) holding() holding { return holding{1, k.bytes} }

func newQuota(o Options) quota {
	return quota{
		each: holding{o.MaxRetained, o.MaxRetainedBytes},
		all:  holding{o.MaxRetainedInAll, o.MaxRetainedBytesInAll},
		on:   map[string]retention{},
		of:   map[string]holding{},
	}
}

// take counts a message that its holder is about to retain, or says why it must
// not. What takes no more than what it replaces is never too much.
func (q *quota) take(topic string, k retention) (refusal string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	old, replaces := q.on[topic]
	more := k.holding()
	if replaces {
		more = holding{0, k.bytes - old.bytes}
	}
	own := more
	if replaces && old.holder != k.holder {
		own = k.holding()
	}
	if most := exceeds(q.of[k.holder], own, q.each); most != "" {
		return "one account may retain no more than " + most + ": empty some of them"
	}
	if most := exceeds(q.total, more, q.all); most != "" {
		return "the broker retains no more than " + most + " in all: empty some of them"
	}
	q.set(topic, k)
	return ""
}

// exceeds names the bound that growing would break.
func exceeds(have, more, most holding) string {
	switch sum := have.plus(more); {
	case more.topics > 0 && sum.topics > most.topics:
		return fmt.Sprintf("%d messages", most.topics)
	case more.bytes > 0 && sum.bytes > most.bytes:
		return fmt.Sprintf("%.3g MiB of messages", float64(most.bytes)/(1<<20))
	}
	return ""
}

// settle follows a change of what is retained on a topic. Asking under the lock
// makes the last of two calls right, whatever their order. by is who changed it,
// nil for the broker itself: then the holder stays.
func (q *quota) settle(topic string, by *conn, retained func(string) (packets.Packet, bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pk, is := retained(topic)
	old, counted := q.on[topic]
	switch {
	case !is, by != nil && by.coordinates():
		q.remove(topic)
	case counted:
		if n := weight(pk); n != old.bytes {
			q.set(topic, retention{old.holder, n})
		}
	case by != nil: // emptied by another one between take and now
		q.set(topic, retention{by.holder(), weight(pk)})
	}
}

// set is called with the lock, or before anybody else knows q.
func (q *quota) set(topic string, k retention) {
	q.remove(topic)
	q.on[topic] = k
	q.add(k.holder, k.holding())
}

func (q *quota) remove(topic string) {
	if old, counted := q.on[topic]; counted {
		delete(q.on, topic)
		q.add(old.holder, holding{-1, -old.bytes})
	}
}

func (q *quota) add(holder string, more holding) {
	q.total = q.total.plus(more)
	q.of[holder] = q.of[holder].plus(more)
	if q.of[holder].topics == 0 {
		delete(q.of, holder)
	}
}

// mayRetain counts a message for the client that is about to retain it, or says
// why it must not.
func (s *Server) mayRetain(c *conn, pk packets.Packet) (refusal string) {
	if c.coordinates() {
		return ""
	}
	return s.quota.take(pk.TopicName, retention{c.holder(), weight(pk)})
}

// coordinates tells whether the client is, or may be, a coordinator.
func (c *conn) coordinates() bool {
	return slices.ContainsFunc(c.who, func(w topics.Identity) bool { return w.Role == topics.RoleCoordinator })
}

// holder is for whom it counts what the client retains: its account or, without
// one, all that come from its address.
func (c *conn) holder() string {
	switch {
	case c.heldBy != "":
	case c.account.Name != "":
		c.heldBy = c.account.Name
	case c.inside:
		c.heldBy = fmt.Sprintf("%s %s", c.who[0].Role, c.who[0].Name)
	default:
		c.heldBy = "without a login from " + subnet(c.RemoteAddr()).String()
	}
	return c.heldBy
}

// weight is how many bytes a retained message is counted as: what its publisher
// chose.
func weight(pk packets.Packet) int {
	p := &pk.Properties
	n := len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val)
	}
	return n
}
