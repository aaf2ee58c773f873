package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// dropped is called by mochi, in the publisher's goroutine, when a message
// found no place among those that wait for a client. Lost in silence it would
// leave the client with an old picture for good; disconnected, the client comes
// back and is replayed the present. Only messages of which a newer one follows
// anyway (QoS 0, not retained, as heartbeats) may be lost.
func (s *Server) dropped(cl *mqtt.Client, pk packets.Packet) {
	s.count.dropped.Add(1)
	c := connOf(cl)
	if c == nil || pk.FixedHeader.Qos == 0 && !pk.FixedHeader.Retain {
		return
	}
	if !c.tooSlow.Swap(true) {
		s.log.Warn().Str("client", cl.ID).Int("waiting", s.opt.MaxPending).Str("topic", shorten(pk.TopicName)).Msg("client reads too slowly, disconnected")
	}
	_ = c.Close()
}
