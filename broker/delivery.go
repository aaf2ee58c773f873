package broker

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi gives each client a channel of so many messages, for which each client
// pays when it is idle too, and drops in silence what finds no place in it; one
// client that has to wait (for its replay, for its Receive Maximum) makes
// everything behind it wait there; and for each message it copies all lists of
// subscribers on the way to them. So messages are published here, while
// mochi asks us about them (OnPublish), and mochi is told to ignore them: it
// acknowledges them and knows what is in flight. What holds:
//
//   - A client is sent what one publisher published on one topic in the order
//     in which that was published.
//   - The last message of a topic that a client is sent is the one retained.
//   - Nothing comes before CONNACK, and nothing that came for a session while it
//     was away comes after what came later.
//   - What cannot be sent yet waits here, and no publisher waits for it, until
//     Options.MaxPending bytes wait for one client. Then its publishers wait, at
//     most as long as for one write and never for themselves, and the client is
//     disconnected if half is not gone by then.

// heldOverhead is about what a message that waits costs beside its payload, in bytes.
const heldOverhead = 1 << 10

// news are the messages that one client cannot be sent yet.
type news struct {
	mu    sync.Mutex // guards held, and makes the order in which messages are sent
	held  []packets.Packet
	bytes atomic.Int64 // of held
}

// publish retains a message, if it says so, and sends it to its audience. by is
// whose it is, nil for the broker itself.
//
// It is retained first and its audience asked for afterwards: who subscribes
// meanwhile is replayed it or sent it. When two publishers retain something on
// one topic at once, the first may send it last: then the audience gets once
// more what is retained.
func (s *Server) publish(by *conn, to *audience, pk packets.Packet) {
	out := forward(pk)
	if !out.FixedHeader.Retain {
		s.sendTo(to, out)
		return
	}
	s.retain(by, out)
	for {
		s.sendTo(to, out)
		now, _ := s.mqtt.Topics.Retained.Get(out.TopicName)
		if bytes.Equal(now.Payload, out.Payload) {
			return
		}
		now.TopicName, now.FixedHeader = out.TopicName, packets.FixedHeader{Type: packets.Publish, Qos: now.FixedHeader.Qos, Retain: true}
		out = now
	}
}

// retain keeps a message, or empties its topic.
func (s *Server) retain(by *conn, pk packets.Packet) {
	pk.Payload = bytes.Clone(pk.Payload) // not with the packet it came in
	s.mqtt.Topics.RetainMessage(pk)
	s.retained(by, pk.TopicName)
	atomic.StoreInt64(&s.mqtt.Info.Retained, int64(s.mqtt.Topics.Retained.Len()))
}

func (s *Server) sendTo(to *audience, pk packets.Packet) {
	for _, l := range to.renew(s, pk.TopicName) {
		if cl, ok := s.mqtt.Clients.Get(l.id); ok {
			s.deliver(cl, l.sub, pk)
		}
	}
}

// forward is a publisher's message as it is sent on.
func forward(pk packets.Packet) packets.Packet {
	p := &pk.Properties
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain},
		TopicName:   pk.TopicName,
		Payload:     pk.Payload,
		Properties: packets.Properties{
			PayloadFormat:         p.PayloadFormat,
			PayloadFormatFlag:     p.PayloadFormatFlag,
			MessageExpiryInterval: p.MessageExpiryInterval,
			ContentType:           p.ContentType,
			ResponseTopic:         p.ResponseTopic,
			CorrelationData:       p.CorrelationData,
			User:                  p.User,
		},
		Origin:          pk.Origin,
		Created:         pk.Created,
		Expiry:          pk.Expiry,
		ProtocolVersion: pk.ProtocolVersion,
	}
}

// deliver sends a message to one subscriber. That it may have it was settled when
// its filter was granted: Rules grant a filter only with all it matches.
func (s *Server) deliver(cl *mqtt.Client, sub packets.Subscription, pk packets.Packet) {
	c := connOf(cl)
	if c == nil {
		return
	}
	if sub.NoLocal && pk.Origin == cl.ID {
		var heard bool
		if sub, heard = despiteNoLocal(cl, pk.TopicName); !heard {
			return
		}
	}
	if !s.roomFor(c, pk) {
		s.dropped(cl, pk)
		return
	}
	out := addressed(pk, cl, sub)
	c.news.mu.Lock()
	if heir := c.resumption.heir; heir != nil { // since the client was looked up
		c.news.mu.Unlock()
		s.toHeir(heir, sub, pk)
		return
	}
	defer c.news.mu.Unlock()
	switch {
	case out.TopicName == lastTopic:
	case out.FixedHeader.Qos > 0 && !s.keep(cl, &out):
		s.dropped(cl, pk)
		return
	case cl.Closed():
		return
	}
	if len(c.news.held) > 0 || !c.ready(out) {
		c.news.held = append(c.news.held, out)
		c.news.bytes.Add(heldSize(out))
		return
	}
	s.send(c, out)
}

// addressed is the message as one subscriber gets it.
func addressed(pk packets.Packet, cl *mqtt.Client, sub packets.Subscription) packets.Packet {
	pk.FixedHeader.Qos = min(pk.FixedHeader.Qos, sub.Qos)
	if cl.Properties.ProtocolVersion < 5 || !sub.RetainAsPublished {
		pk.FixedHeader.Retain = false // MQTT 5, 3.3.1-12; 3.1.1, 3.3.1-9
	}
	for _, id := range sub.Identifiers {
		if id > 0 {
			pk.Properties.SubscriptionIdentifier = append(pk.Properties.SubscriptionIdentifier, id)
		}
	}
	slices.Sort(pk.Properties.SubscriptionIdentifier)
	return pk
}

// keep puts a message of QoS 1 or 2 among those that the client has not
// acknowledged, from where it is sent again to a session that comes back.
func (s *Server) keep(cl *mqtt.Client, pk *packets.Packet) bool {
	if cl.State.Inflight.Len() >= int(s.mqtt.Options.Capabilities.MaximumInflight) {
		return false
	}
	id, err := cl.NextPacketID()
	if err != nil {
		return false
	}
	pk.PacketID = uint16(id)
	kept := *pk
	kept.ProtocolVersion = 4 // or mochi would end the delivery of what has expired though it was sent (4.3.3-7)
	if cl.State.Inflight.Set(kept) {
		atomic.AddInt64(&s.mqtt.Info.Inflight, 1)
	}
	s.waits(cl, *pk)
	return true
}

// ready tells whether a message may be sent now, if none waits before it.
func (c *conn) ready(pk packets.Packet) bool {
	return c.resumption.caughtUp.Load() && !c.fences(pk) && (pk.FixedHeader.Qos == 0 || c.flow.try(pk.PacketID))
}

// release sends what has waited long enough. It is called whenever that may be so.
func (s *Server) release(c *conn) {
	n := &c.news
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.held) > 0 && c.ready(n.held[0]) {
		pk := n.held[0]
		n.held[0] = packets.Packet{}
		n.held = n.held[1:]
		n.bytes.Add(-heldSize(pk))
		s.send(c, pk)
	}
	if len(n.held) == 0 {
		n.held = nil
	}
}

func heldSize(pk packets.Packet) int64 { return int64(weight(pk) + heldOverhead) }

// send writes a message whose turn it is, unless it has waited for too long.
func (s *Server) send(c *conn, pk packets.Packet) {
	switch {
	case pk.TopicName == lastTopic:
		c.goodbye(packets.ErrServerShuttingDown)
		return
	case expired(pk, time.Now()):
		s.forgetMessage(c.client, pk)
		return
	}
	topic := pk.TopicName
	c.aliases.shorten(&pk)
	if s.write(c.client, pk) {
		c.aliases.learn(topic, pk.Properties.TopicAlias)
	}
}

// write writes a message. What is larger than its client can take is as good as
// sent (MQTT 5, 3.1.2-25).
func (s *Server) write(cl *mqtt.Client, pk packets.Packet) (written bool) {
	err := cl.WritePacket(pk)
	if !errors.Is(err, packets.ErrPacketTooLarge) {
		return true
	}
	s.forgetMessage(cl, pk)
	return false
}

// forgetMessage is for one that needs no acknowledgement.
func (s *Server) forgetMessage(cl *mqtt.Client, pk packets.Packet) {
	if pk.FixedHeader.Qos > 0 && cl.State.Inflight.Delete(pk.PacketID) {
		atomic.AddInt64(&s.mqtt.Info.Inflight, -1)
		connOf(cl).flow.free(pk.PacketID)
		connOf(cl).resumption.forget(pk.PacketID)
	}
}

// roomFor waits, if it must, until a message finds a place among those that
// wait for a client.
func (s *Server) roomFor(c *conn, pk packets.Packet) bool {
	most := s.opt.MaxPending
	room := func(waiting, bytes, unacknowledged int) bool {
		return waiting+int(c.news.bytes.Load()) < bytes && (pk.FixedHeader.Qos == 0 || c.client.State.Inflight.Len() < unacknowledged)
	}
	if room(c.out.waits(), most, mostUnacknowledged) || c.over() {
		return true
	}
	if losable(pk) || pk.Origin == c.client.ID {
		return false
	}
	late := time.NewTimer(s.opt.WriteTimeout)
	defer late.Stop()
	return c.awaitOut(func(waiting int) bool { return room(waiting, most/2, fewUnacknowledged) }, late.C) || c.over()
}

// So many messages may be on their way to a client: there are packet ids for
// 65,535, and what finds none is lost. A client that reads but acknowledges too
// slowly is waited for as one that does not read.
const (
	mostUnacknowledged = 48 << 10
	fewUnacknowledged  = 40 << 10
)

// acknowledged lets those go on who wait for acknowledgements of a client.
func (c *conn) acknowledged() {
	if c.client.State.Inflight.Len() == fewUnacknowledged-1 {
		c.out.move()
	}
}
