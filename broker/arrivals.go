package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// arrivals are messages of QoS 1 and 2 that come from a client. mochi keeps
// their packet ids among those of its own messages to the client, though each
// side chooses its own (MQTT 3.1.1, 2.3.1): what a client publishes takes the
// message with the same id, which it has not acknowledged, out of its session.
// So mochi is shown the id 0, which it gives to no message of its own, and what
// must be known of a message at QoS 2 is known here. All of it belongs to the
// connection's own goroutine.
type arrivals struct {
	id         uint16          // of the PUBLISH being processed
	qos        byte            // of the same
	unreleased packetIDs       // QoS 2: PUBLISH has come and PUBREL has not; part of the session
	answer     *packets.Packet // what is sent where mochi sends PINGRESP
}

// arrived hides a message's id from mochi, and answers a message at QoS 2 that
// comes again without delivering it again (4.3.3-2).
func (s *Server) arrived(a *arrivals, cl *mqtt.Client, pk packets.Packet) packets.Packet {
	a.id, a.qos = pk.PacketID, pk.FixedHeader.Qos
	if a.id == 0 || a.qos == 0 {
		return pk
	}
	if a.qos == 2 && a.unreleased.has(a.id) {
		if p := pk.Properties; p.TopicAliasFlag {
			cl.State.TopicAliases.Inbound.Set(p.TopicAlias, pk.TopicName)
		}
		return a.instead(packets.Pubrec, packets.CodeSuccess)
	}
	s.admitArrivals(cl, cl.Properties.ProtocolVersion < 5 || a.unreleased.n < s.mostArrivals())
	pk.PacketID, pk.FixedHeader.Qos = 0, 0 // 0 and QoS 1 is what mochi refuses
	return pk
}

// restore is called when mochi has looked at the id.
func (a *arrivals) restore(pk *packets.Packet) {
	if a.id != 0 {
		pk.FixedHeader.Qos = a.qos
	}
}

// acknowledge gives an acknowledgement of mochi's its id.
func (a *arrivals) acknowledge(pk *packets.Packet) {
	if pk.PacketID != 0 {
		return
	}
	pk.PacketID = a.id
	if pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		a.unreleased.add(a.id)
	}
}

// arrivalSettled is called when a message has been processed: mochi remembers one at
// QoS 2, under the id 0.
func (s *Server) arrivalSettled(a *arrivals, cl *mqtt.Client) {
	if a.qos == 2 && cl.State.Inflight.Delete(0) {
		atomic.AddInt64(&s.mqtt.Info.Inflight, -1)
		s.admitArrivals(cl, true)
	}
}

// released answers a PUBREL.
func (a *arrivals) released(pk packets.Packet) packets.Packet {
	a.id = pk.PacketID
	reason := packets.CodeSuccess
	if !a.unreleased.has(a.id) {
		reason = packets.ErrPacketIdentifierNotFound
	}
	a.unreleased.remove(a.id)
	return a.instead(packets.Pubcomp, reason)
}

// instead is what mochi is given for a packet that is none of its business: it
// answers PINGREQ without a look at anything.
func (a *arrivals) instead(kind byte, reason packets.Code) packets.Packet {
	a.answer = &packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: a.id, ReasonCode: reason.Code}
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
}

// answered is what is written for a PINGRESP of mochi's.
func (a *arrivals) answered(pk packets.Packet) packets.Packet {
	if a.answer == nil {
		return pk
	}
	answer := *a.answer
	a.answer = nil
	answer.ProtocolVersion, answer.Mods = pk.ProtocolVersion, pk.Mods
	return answer
}

// admitArrivals tells mochi whether another message may come (MQTT 5, 3.3.4-7).
// Its own count takes what is on its way to the client for what has come.
func (s *Server) admitArrivals(cl *mqtt.Client, more bool) {
	quota := int32(s.mostArrivals())
	if !more {
		quota = 0
	}
	cl.State.Inflight.ResetReceiveQuota(quota)
}

func (s *Server) mostArrivals() int { return int(s.mqtt.Options.Capabilities.ReceiveMaximum) }

// packetIDs is a set of them, of 8 KiB once there was one.
type packetIDs struct {
	words *[1 << 16 / 64]uint64
	n     int
}

func (s *packetIDs) has(id uint16) bool { return s.words != nil && s.words[id/64]>>(id%64)&1 == 1 }

func (s *packetIDs) add(id uint16) {
	if s.has(id) {
		return
	}
	if s.words == nil {
		s.words = new([1 << 16 / 64]uint64)
	}
	s.words[id/64] |= 1 << (id % 64)
	s.n++
}

func (s *packetIDs) remove(id uint16) {
	if s.has(id) {
		s.words[id/64] &^= 1 << (id % 64)
		s.n--
	}
}
