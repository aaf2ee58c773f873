package broker

import "github.com/mochi-mqtt/server/v2/packets"

// listener is one subscriber of a topic.
type listener struct {
	id  string // of the client
	sub packets.Subscription
}

// audience are the subscribers of one topic. mochi looks for them by copying
// all that it meets on the way; a client publishes on few topics again and
// again, and remembers their audiences until anybody subscribes or unsubscribes.
type audience struct {
	as  uint64 // of which number of changes
	who []listener
}

// longestAudience is how many listeners of a topic are remembered by each that
// publishes on it.
const longestAudience = 256

// changedAudiences is called after subscriptions have changed, and before the
// client is told and its replay begins.
func (s *Server) changedAudiences() { s.changes.Add(1) }

// renew returns the audience of a topic, from memory if it is still true.
func (a *audience) renew(s *Server, topic string) []listener {
	now := s.changes.Load() + 1 // the zero audience is of no number
	if a.as == now {
		return a.who
	}
	who, lasting := s.audienceOf(topic)
	*a = audience{}
	if lasting && len(who) <= longestAudience {
		*a = audience{now, who}
	}
	return who
}

// audienceOf looks for the subscribers of a topic. It does not last if one of
// those that share a subscription was chosen.
func (s *Server) audienceOf(topic string) (who []listener, lasting bool) {
	subs := s.subscribers(topic)
	if lasting = len(subs.Shared) == 0; !lasting {
		subs.SelectShared()
		subs.MergeSharedSelected()
	}
	for id, sub := range subs.Subscriptions {
		who = append(who, listener{id, sub})
	}
	return who, lasting
}
