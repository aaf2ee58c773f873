package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// dropped is called when a message finds no place among those that wait for a
// client. Lost in silence it would leave the client with an old picture for
// good; disconnected, the client comes back and is replayed the present. Only
// messages of which a newer one follows anyway may be lost.
func (s *Server) dropped(cl *mqtt.Client, pk packets.Packet) {
	s.count.dropped.Add(1)
	c := connOf(cl)
	if c == nil || losable(pk) {
		return
	}
	s.giveUp(cl, c, "more waits for it than is kept")
}

// losable tells whether a newer message follows anyway, as for heartbeats: QoS
// 0 and not retained.
func losable(pk packets.Packet) bool { return pk.FixedHeader.Qos == 0 && !pk.FixedHeader.Retain }
