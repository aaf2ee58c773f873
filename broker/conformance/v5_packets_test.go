package conformance_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
)

// The properties of MQTT 5, 2.2.2.2.
const (
	payloadFormat     = 0x01
	messageExpiry     = 0x02
	contentType       = 0x03
	responseTopic     = 0x08
	correlationData   = 0x09
	subscriptionID    = 0x0b
	sessionExpiry     = 0x11
	assignedClientID  = 0x12
	serverKeepAlive   = 0x13
	authMethod        = 0x15
	authData          = 0x16
	requestProblem    = 0x17
	willDelay         = 0x18
	requestResponse   = 0x19
	responseInfo      = 0x1a
	reasonString      = 0x1f
	receiveMaximum    = 0x21
	topicAliasMaximum = 0x22
	topicAlias        = 0x23
	maximumQoS        = 0x24
	retainAvailable   = 0x25
	userProperty      = 0x26
	maximumPacketSize = 0x27
	wildcardAvailable = 0x28
	subIDAvailable    = 0x29
	sharedAvailable   = 0x2a
)

// The options of a subscription, beside its QoS (3.8.3.1).
const (
	noLocal           = 0x04
	retainAsPublished = 0x08
	replayIfNew       = 0x10
	neverReplay       = 0x20
)

// The reasons that these tests look for (2.4).
const (
	malformed       = 0x81
	protocolError   = 0x82
	notAuthorized   = 0x87
	badAuthMethod   = 0x8c
	keepAliveOver   = 0x8d
	takenOver       = 0x8e
	invalidFilter   = 0x8f
	idNotFound      = 0x92
	tooManyAtOnce   = 0x93
	aliasInvalid    = 0x94
	packetTooLarge  = 0x95
	quotaExceeded   = 0x97
	noneSubscribed  = 0x11
	shuttingDown    = 0x8b
	invalidTopic    = 0x90
	unsupportedMQTT = 0x84
)

// user is a user property.
func user(name, value string) []byte { return prop(userProperty, str(name), str(value)) }

// lasts is a session expiry, in seconds.
func lasts(seconds int) []byte { return prop(sessionExpiry, u32(seconds)) }

// ack5 is an acknowledgement with a reason.
func ack5(kind byte, id uint16, code byte, props ...[]byte) []byte {
	flags := byte(0)
	if kind == PUBREL {
		flags = 2
	}
	return frame(kind<<4|flags, u16(int(id)), []byte{code}, withProps(5, slices.Concat(props...)))
}

// disconnect5 is a DISCONNECT with a reason.
func disconnect5(code byte, props ...[]byte) []byte {
	return frame(DISCONNECT<<4, []byte{code}, withProps(5, slices.Concat(props...)))
}

// five connects a client of MQTT 5 under an id of the statement's own; its
// session ends with it, unless props say something else.
func (x *trial) five(name string, props ...[]byte) *client {
	x.Helper()
	return join(x, x.s, connect{level: 5, id: x.id(name), props: slices.Concat(props...)})
}

// back connects a client of MQTT 5 whose session goes on.
func (x *trial) back(name string, props ...[]byte) *client {
	x.Helper()
	return join(x, x.s, connect{level: 5, id: x.id(name), resume: true, props: slices.Concat(props...)})
}

// sent subscribes with properties and returns the codes of SUBACK.
func (c *client) subscribe5(props []byte, filters ...filter) []byte {
	c.t.Helper()
	id := c.newID()
	c.send(subscribe(c.level, id, props, filters...))
	return c.acked(SUBACK, id).codes
}

// dismissed waits for a DISCONNECT with a reason and for the end, and hangs up
// in its turn.
func (c *client) dismissed(what string, code byte) {
	c.t.Helper()
	got := c.ended()
	c.drop()
	if len(got) == 0 {
		c.t.Errorf("%s: the connection ends without a word, want DISCONNECT %#x", what, code)
		return
	}
	if last := got[len(got)-1]; last.kind != DISCONNECT || last.code != code {
		c.t.Errorf("%s: the connection ends with %v, want DISCONNECT %#x", what, last, code)
	}
}

// breaks sends bytes as a connected client of MQTT 5, which must be told the
// reason and be disconnected as a lost one: its will is published.
func (x *trial) breaks(code byte, what string, parts ...[]byte) {
	x.Helper()
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("will"), 0})
	c := join(x, x.s, connect{level: 5, id: x.id("wrong"), will: &will{topic: x.topic("will"), payload: what}})
	c.send(slices.Concat(parts...))
	c.dismissed(what, code)
	if m := watcher.message(); m.payload != what {
		x.Errorf("the will is %q, want %q", m.payload, what)
	}
	watcher.leave()
}

// refuses sends a CONNECT that must be answered with a reason, and the end.
func (x *trial) refuses(code byte, what string, with connect) {
	x.Helper()
	with.level = 5
	x.refusesBytes(code, what, with.bytes())
}

func (x *trial) refusesBytes(code byte, what string, bytes []byte) {
	x.Helper()
	c := dial(x, x.s)
	c.level = 5
	c.send(bytes)
	a := c.want(CONNACK)
	if a.code != code || a.present {
		x.Errorf("%s: got %v, want code %#x", what, a, code)
	}
	if more := c.ended(); len(more) > 0 {
		x.Errorf("%s: %v came after CONNACK", what, more)
	}
	c.drop()
}

// inBubble runs a test on a clock of its own, where seconds cost nothing; its
// broker is reached by pipes alone.
func inBubble(x *trial, change func(*broker.Options), test func(b *bubble)) {
	synctest.Test(x.T, func(t *testing.T) {
		s := start(t, func(o *broker.Options) {
			o.Listen, o.Log = nil, zerolog.Nop()
			if change != nil {
				change(o)
			}
		})
		test(&bubble{T: t, s: s})
	})
}

// bubble is a broker on a clock of its own.
type bubble struct {
	*testing.T
	s *broker.Server
}

// five connects a client of MQTT 5.
func (b *bubble) five(with connect) *client {
	b.Helper()
	c := newClient(b, b.s.Pipe(operator))
	with.level = 5
	c.join(with)
	return c
}

// wait lets time pass, and all that is due happen.
func (b *bubble) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// texts are the values of all properties of an id.
func (p packet) texts(id byte) []string {
	var all []string
	for _, q := range p.props {
		if q.id == id {
			all = append(all, q.name+"="+q.text)
		}
	}
	return all
}

// numbers are the values of all properties of an id.
func (p packet) numbers(id byte) []uint32 {
	var all []uint32
	for _, q := range p.props {
		if q.id == id {
			all = append(all, q.number)
		}
	}
	return all
}
