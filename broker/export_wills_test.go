package broker

import "github.com/mochi-mqtt/server/v2/packets"

// Retained is what is retained on a topic.
func (s *Server) Retained(topic string) (packets.Packet, bool) {
	return s.mqtt.Topics.Retained.Get(topic)
}
