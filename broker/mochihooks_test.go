package broker_test

import (
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// panicHook panics right before a session begins.
type panicHook struct {
	mqtt.HookBase
	armed atomic.Bool
}

func (*panicHook) ID() string           { return "panics" }
func (*panicHook) Provides(b byte) bool { return b == mqtt.OnSessionEstablish }

func (h *panicHook) OnSessionEstablish(*mqtt.Client, packets.Packet) {
	if h.armed.Load() {
		panic("test")
	}
}

// packetPanics panics while a message on the topic "panic" is read.
type packetPanics struct{ mqtt.HookBase }

func (*packetPanics) ID() string           { return "packet panics" }
func (*packetPanics) Provides(b byte) bool { return b == mqtt.OnPacketRead }

func (*packetPanics) OnPacketRead(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.TopicName == "panic" {
		panic("test")
	}
	return pk, nil
}

// lateHook widens the moment between the end of a session and its removal.
type lateHook struct {
	mqtt.HookBase
	ended atomic.Int64
}

func (*lateHook) ID() string           { return "late" }
func (*lateHook) Provides(b byte) bool { return b == mqtt.OnUnsubscribed || b == mqtt.OnDisconnect }

func (h *lateHook) OnDisconnect(*mqtt.Client, error, bool) { h.ended.Add(1) }

func (h *lateHook) OnUnsubscribed(*mqtt.Client, packets.Packet) { time.Sleep(4 * time.Millisecond) }

// stuckHook keeps the goroutine of a client that has gone.
type stuckHook struct {
	mqtt.HookBase
	release chan struct{}
}

func (*stuckHook) ID() string           { return "stuck" }
func (*stuckHook) Provides(b byte) bool { return b == mqtt.OnDisconnect }

func (h *stuckHook) OnDisconnect(*mqtt.Client, error, bool) { <-h.release }

// encodeHook is called before a packet is written.
type encodeHook struct {
	mqtt.HookBase
	before func(packets.Packet)
}

func (*encodeHook) ID() string           { return "encode" }
func (*encodeHook) Provides(b byte) bool { return b == mqtt.OnPacketEncode }

func (h *encodeHook) OnPacketEncode(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	h.before(pk)
	return pk
}
