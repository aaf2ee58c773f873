package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// checkWill holds the will of a CONNECT to the rules of any message: mochi asks
// nobody, and accepts wildcards. What is left of an allowed will needs no look
// when it is sent.
func (s *Server) checkWill(c *conn, cl *mqtt.Client, pk packets.Packet) (refusal string) {
	if !pk.Connect.WillFlag {
		return ""
	}
	will := &cl.Properties.Will
	will.TopicName = strings.Clone(will.TopicName)
	switch empty := len(will.Payload) == 0; {
	case !validTopic(will.TopicName):
		return "not a topic"
	case levels(will.TopicName) > s.opt.MaxLevels:
		return "too many levels"
	case !s.mayWrite(c.who, will.TopicName, will.Retain && empty):
		return "may not write there"
	}
	// A delayed will comes after the next birth, or, if its session has ended
	// by then, is not retained.
	will.WillDelayInterval = 0
	if will.Retain && !s.opt.Rules.Retainable(will.TopicName) {
		will.Retain = false
	}
	return ""
}

// lastWill is asked by mochi before it sends a will. A planned shutdown sends
// none: the house restarts its broker and is not lost. Without topic and
// retain flag the will reaches nobody. One that is too much to be retained is
// sent all the same: who listens must know that a client was lost.
func (s *Server) lastWill(cl *mqtt.Client, will mqtt.Will) mqtt.Will {
	if s.stopping.Load() {
		return mqtt.Will{}
	}
	c := connOf(cl)
	if c == nil || !will.Retain || len(will.Payload) == 0 {
		return will
	}
	pk := packets.Packet{TopicName: will.TopicName, Payload: will.Payload, Properties: packets.Properties{User: will.User}}
	if why := s.mayRetain(c, pk); why != "" {
		will.Retain = false
		s.log.Warn().Str("client", cl.ID).Str("topic", shorten(will.TopicName)).Str("why", why).Msg("will is not retained")
		s.refused(c, Publishing, will.TopicName, "its will is not retained: "+why)
	}
	return will
}
