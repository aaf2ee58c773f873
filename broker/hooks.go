package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hooks is the one hook that mochi knows, and so the order of the guards does
// not depend on mochi. The comments say in which goroutine mochi calls.
type hooks struct {
	mqtt.HookBase
	s *Server
}

// ID names the hook in mochi's log.
func (h *hooks) ID() string { return "dominion" }

// Provides tells mochi which of the methods below exist.
func (h *hooks) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnACLCheck, mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketProcessed,
		mqtt.OnPublish, mqtt.OnQosPublish, mqtt.OnQosDropped, mqtt.OnWill,
		mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed,
		mqtt.OnRetainedExpired:
		return true
	}
	return false
}

// The client's own goroutine, from CONNECT to the end.

// OnConnect admits a client: access.go, wills.go, takeover.go.
func (h *hooks) OnConnect(cl *mqtt.Client, pk packets.Packet) error { return h.s.admit(cl, pk) }

// OnConnectAuthenticate has nothing left to ask after OnConnect.
func (h *hooks) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnSessionEstablished comes after CONNACK: the next client with this id may try,
// takeover.go, and what was in flight is sent again: resume.go.
func (h *hooks) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if c := connOf(cl); c != nil {
		h.s.count.connected(atomic.LoadInt64(&h.s.mqtt.Info.ClientsConnected))
		h.s.takeover.pass(c)
		c.settled.Store(true)
		h.s.resume(c)
	}
}

// OnDisconnect comes after the will was sent: crash.go has nothing to mend.
func (h *hooks) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	if c := connOf(cl); c != nil {
		c.finished = true
	}
}

// OnPacketRead sees each packet before it is handled: access.go, arrivals.go.
func (h *hooks) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return h.s.received(cl, pk), nil
}

// OnPacketProcessed follows. After a SUBSCRIBE, SUBACK was written, replay.go;
// after an acknowledgement something else may be sent: flow.go, delivery.go.
func (h *hooks) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if err == nil {
		h.s.processed(cl, pk)
	}
}

// OnPublish judges a message, and publishes it: access.go, delivery.go.
func (h *hooks) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return h.s.published(cl, pk)
}

// OnSubscribe judges the filters: subscribe.go.
func (h *hooks) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.s.subscribing(cl, pk)
}

// OnSubscribed comes before SUBACK is written: audience.go, subscribe.go.
func (h *hooks) OnSubscribed(cl *mqtt.Client, _ packets.Packet, codes []byte) {
	h.s.changedAudiences()
	h.s.subscribed(cl, codes)
}

// OnUnsubscribe comes after mochi judged the packet's id: subscribe.go.
func (h *hooks) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.s.unsubscribing(cl, pk)
}

// OnUnsubscribed comes before UNSUBACK is written, and when a session ends:
// overlap.go, audience.go.
func (h *hooks) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	h.s.parents.remove(pk.Filters, cl.ID)
	h.s.changedAudiences()
}

// OnWill is asked for the will of a client that is lost: wills.go.
func (h *hooks) OnWill(cl *mqtt.Client, _ mqtt.Will) (mqtt.Will, error) {
	return h.s.lastWill(cl), nil
}

// Any goroutine: publishers', writers', mochi's own.

// OnACLCheck is asked about the topic of a PUBLISH and each filter of a
// SUBSCRIBE: subscribe.go.
func (h *hooks) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return h.s.allowed(cl, topic, write)
}

// OnPacketEncode sees each packet before it is written, and mends mochi's own:
// answers.go, arrivals.go. A replay waits here: resume.go, flow.go.
func (h *hooks) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.s.encoding(cl, pk)
}

// OnQosPublish tells of a message that a session that goes on is sent again, and
// the client is to acknowledge: backlog.go.
func (h *hooks) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) { h.s.waits(cl, pk) }

// OnQosDropped tells of one that is not waited for any more, as when the session
// is taken over: resume.go.
func (h *hooks) OnQosDropped(cl *mqtt.Client, pk packets.Packet) { h.s.orphaned(cl, pk) }

// OnRetainedExpired tells that a message of MQTT 5 outlived its expiry: replay.go.
func (h *hooks) OnRetainedExpired(topic string) { h.s.retained(nil, topic) }
