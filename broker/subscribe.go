package broker

import (
	"fmt"
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribing decides about each filter of a SUBSCRIBE, and keeps mochi from
// replaying what is retained (replay.go does). It gives the packet the id 0 for
// now: mochi looks for the client's id among those of its own messages in
// flight, and refuses if it finds it.
func (s *Server) subscribing(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	c.subscribe, pk.PacketID = pk.PacketID, 0
	refused := map[string]bool{}
	has := cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		sub := &pk.Filters[i]
		sub.Filter = strings.Clone(sub.Filter) // mochi's is a piece of the packet, which would be kept with it
		_, existed := cl.State.Subscriptions.Get(sub.Filter)
		why, reason := s.judgeFilter(c, sub.Filter)
		switch {
		case why != "" || existed:
		case has >= s.opt.MaxSubscriptions:
			why, reason = fmt.Sprintf("a client may have no more than %d subscriptions", s.opt.MaxSubscriptions), packets.ErrQuotaExceeded
		default:
			has++
		}
		if why != "" {
			refused[sub.Filter] = true
			if c.verdicts.sayMore() {
				s.log.Warn().Str("client", cl.ID).Str("filter", shorten(sub.Filter)).Str("why", why).Msg("subscription refused")
			}
			s.refused(c, Subscribing, sub.Filter, why)
		}
		w := newWish(*sub, existed)
		w.refusal = reason.Code
		c.wishes = append(c.wishes, w)
		sub.RetainHandling = neverReplay
	}
	if len(refused) > 0 {
		c.refusing.Store(&refused)
	}
	return pk
}

// subscribed follows once mochi knows which filters are granted.
func (s *Server) subscribed(cl *mqtt.Client, codes []byte) {
	c := connOf(cl)
	if c == nil {
		return
	}
	c.refusing.Store(nil)
	wishes := c.wishes
	c.wishes = nil
	for i, w := range wishes[:min(len(wishes), len(codes))] {
		if w.refusal != 0 && cl.Properties.ProtocolVersion == 5 {
			codes[i] = w.refusal // SUBACK is made of them
		}
		if codes[i] >= packets.ErrUnspecifiedError.Code {
			continue
		}
		s.parents.add(w.sub.Filter, cl.ID)
		if w.wanted {
			w.topics = s.index.matching(w.sub.Filter)
			if c.replay.add(w) {
				s.giveUp(cl, c, "it asks for more of what is retained than it takes")
				return
			}
		}
	}
}

// unsubscribing tells mochi which subscriptions there are to end. It does what
// mochi leaves out for the same reason as in subscribing, when the packet's id
// is among those in flight.
func (s *Server) unsubscribing(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	pk.Filters = c.answers.unsubscribe(cl, pk.Filters)
	if _, taken := cl.State.Inflight.Get(pk.PacketID); !taken {
		return pk
	}
	for _, sub := range pk.Filters {
		if s.mqtt.Topics.Unsubscribe(sub.Filter, cl.ID) {
			atomic.AddInt64(&s.mqtt.Info.Subscriptions, -1)
		}
		cl.State.Subscriptions.Delete(sub.Filter)
	}
	return pk
}

func (s *Server) judgeFilter(c *conn, filter string) (refusal string, reason packets.Code) {
	bare := unshared(filter)
	switch {
	case !validFilter(bare), !validShare(filter):
		return "not a filter", packets.ErrTopicFilterInvalid
	case levels(bare) > s.opt.MaxLevels:
		return "too many levels", packets.ErrTopicFilterInvalid
	case !s.mayRead(c.who, bare):
		return "may not read there", packets.ErrNotAuthorized
	}
	return "", packets.Code{}
}

// allowed answers mochi's question about a topic or a filter. What a client may
// write is decided in published, which filters are granted in subscribing.
func (s *Server) allowed(cl *mqtt.Client, topic string, write bool) bool {
	c := connOf(cl)
	if write || c == nil {
		return true
	}
	refusing := c.refusing.Load()
	return refusing == nil || !(*refusing)[topic]
}
