package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// answers are what a client of MQTT 5 is told where mochi says too little, or
// the wrong thing. They belong to the connection's own goroutine.
type answers struct {
	refusal      packets.Code // of the message of QoS 1 or 2 that is processed; zero: none
	unsubscribed []byte       // reasons of UNSUBACK
}

// announce puts into CONNACK what the client has to keep to.
func (s *Server) announce(pk *packets.Packet) {
	if pk.ProtocolVersion == 5 {
		pk.Properties.MaximumPacketSize = uint32(s.opt.MaxPacket)
		pk.Properties.TopicAliasMaximum = topicAliasMaximum
	}
}

// refuse remembers why a message is refused. A client of MQTT 3.1.1 cannot be
// told and gets the acknowledgement of any message: without one it would send
// it again.
func (a *answers) refuse(pk packets.Packet, why packets.Code) {
	if pk.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
		a.refusal = why
	}
}

// acknowledge gives PUBACK or PUBREC the reason of a refusal.
func (a *answers) acknowledge(pk *packets.Packet) {
	if a.refusal.Code != 0 {
		pk.ReasonCode, pk.Properties.ReasonString = a.refusal.Code, a.refusal.Reason
		a.refusal = packets.Code{}
	}
}

// refusalOf is why a message on a topic is refused.
func (s *Server) refusalOf(topic string) packets.Code {
	if isOwn(topic) || levels(topic) > s.opt.MaxLevels {
		return packets.ErrTopicNameInvalid
	}
	return packets.ErrNotAuthorized
}

// unsubscribe finds out which subscriptions there are to end. mochi takes one of
// anybody for the client's. It is told of those that there are.
func (a *answers) unsubscribe(cl *mqtt.Client, filters packets.Subscriptions) (there packets.Subscriptions) {
	a.unsubscribed = a.unsubscribed[:0]
	seen := map[string]bool{}
	for _, sub := range filters {
		reason := packets.CodeNoSubscriptionExisted
		if _, is := cl.State.Subscriptions.Get(sub.Filter); is && !seen[sub.Filter] {
			reason, seen[sub.Filter] = packets.CodeSuccess, true
			there = append(there, sub)
		}
		a.unsubscribed = append(a.unsubscribed, reason.Code)
	}
	return there
}

// answered makes an acknowledgement fit its client. mochi sends a client its own
// user properties back, and of a reason that makes a packet too large for the
// client it says nothing at all.
func answered(pk *packets.Packet) {
	const head = 24 // bytes of what stands beside the codes and the reason, at most
	pk.Properties.User = nil
	if most := int(pk.Mods.MaxSize); most > 0 && head+len(pk.ReasonCodes)+len(pk.Properties.ReasonString) > most {
		pk.Properties.ReasonString = ""
	}
}
