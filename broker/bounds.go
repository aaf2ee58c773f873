package broker

import (
	"log/slog"
	"math"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// topicAliasMaximum bounds what a client may have us remember, in either
// direction: each alias keeps a topic of up to 64 KiB.
const topicAliasMaximum = 32

// bounds are mochi's settings that its defaults leave open or get wrong.
func bounds(o Options, log *slog.Logger) *mqtt.Options {
	c := mqtt.NewDefaultServerCapabilities()
	// The default forgets every retained message a day after it was published.
	c.MaximumMessageExpiryInterval = 0
	// By default a header may announce 256 MiB, and gets the buffer for it.
	c.MaximumPacketSize = uint32(o.MaxPacket)
	// Past this many unacknowledged messages the next is lost without a word.
	c.MaximumInflight = math.MaxUint16
	// A channel of this capacity is made for each client, 8 bytes a place, and
	// never used: see delivery.go.
	c.MaximumClientWritesPending = 0
	// MQTT 3.1 has other rules, which nobody here looks at (3.1.2-2).
	c.MinimumProtocolVersion = 4
	// Sessions are ended in expiry.go.
	c.MaximumSessionExpiryInterval = never
	c.TopicAliasMaximum = topicAliasMaximum
	// Otherwise an acknowledgement repeats the publisher's user properties.
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return &mqtt.Options{
		Capabilities: c,
		Logger:       log,
		// figures.go publishes; this is ten years.
		SysTopicResendInterval: 10 * 365 * 24 * 60 * 60,
		// Each packet comes to conn.Write at once: outbox.go has the buffer.
		ClientNetWriteBufferSize: 1,
		// Every client has one. What is busy reads more at once: conn.go.
		ClientNetReadBufferSize: 512,
	}
}

// clampKeepAlive gives each client a keep-alive that ends: none at all means a
// hung client is connected for ever, and mochi's deadline, one and a half times
// the keep-alive in 16 bits, overflows above 43,690 s. Clients of MQTT 5 are
// told; to others a server may hang up whenever it thinks them dead.
func clampKeepAlive(c *conn, cl *mqtt.Client, longest time.Duration) {
	seconds := uint16(min(longest/time.Second, 43_690))
	if k := cl.State.Keepalive; k == 0 || k > seconds {
		cl.State.Keepalive = seconds
		cl.State.ServerKeepalive = true
	}
	c.silence = time.Duration(cl.State.Keepalive) * time.Second * 3 / 2
}
