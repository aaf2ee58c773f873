package conformance_test

import (
	"slices"
	"strings"
)

// Chapters 1 and 2 of MQTT 5: data and packets.
func v5Format() []statement {
	return []statement{
		{number: "MQTT-1.5.4-1", asks: "A text is UTF-8, without surrogates; a packet with another one is malformed.", test: textIsUTF8},
		{number: "MQTT-1.5.4-2", asks: "A text has no U+0000.", test: textHasNoNUL},
		{number: "MQTT-1.5.4-3", asks: "A U+FEFF in a text stays where it is.", test: markStays},
		{number: "MQTT-1.5.5-1", asks: "A length has as few bytes as it needs.", test: shortLengths},
		{number: "MQTT-1.5.7-1", asks: "Both texts of a pair are UTF-8.", test: pairsAreUTF8},
		{number: "MQTT-2.1.3-1", asks: "Reserved flags of a packet are as the standard says, or the packet is malformed.", test: reservedFlags},
		{number: "MQTT-2.2.1-2", asks: "A PUBLISH at QoS 0 has no packet id.", test: noIDAtQoS05},
		{number: "MQTT-2.2.1-3", asks: "A client gives each SUBSCRIBE, UNSUBSCRIBE and PUBLISH at QoS 1 and 2 an id that is not 0 and not in use.", test: idIsNotZero},
		{number: "MQTT-2.2.1-4", asks: "A server gives each PUBLISH at QoS 1 and 2 an id that is not 0 and not in use.", test: serverIDs},
		{number: "MQTT-2.2.1-5", asks: "PUBACK, PUBREC, PUBREL and PUBCOMP have the id of their PUBLISH.", test: ackIDs},
		{number: "MQTT-2.2.1-6", asks: "SUBACK and UNSUBACK have the id of their SUBSCRIBE and UNSUBSCRIBE.", test: subackIDs},
		{number: "MQTT-2.2.2-1", asks: "A packet without properties says so with a length of 0.", test: noProperties},
	}
}

func textIsUTF8(x *trial) {
	for what, bad := range map[string]string{"surrogate": "a\xed\xa0\x80", "cut": "a\xc3", "overlong": "\xc0\xaf", "not UTF-8": "\xff"} {
		x.breaks(malformed, what+" in a topic", publish{topic: bad}.bytes(5))
		x.breaks(malformed, what+" in a filter", subscribe(5, 1, nil, filter{bad, 0}))
		x.breaks(malformed, what+" in a content type", publish{topic: x.topic("t"), props: prop(contentType, str(bad))}.bytes(5))
		x.refuses(malformed, what+" in a client id", connect{id: bad})
	}
}

func textHasNoNUL(x *trial) {
	x.breaks(malformed, "NUL in a topic", publish{topic: "a\x00b"}.bytes(5))
	x.breaks(malformed, "NUL in a filter", unsubscribe(5, 1, "a\x00"))
	x.breaks(malformed, "NUL in a response topic", publish{topic: x.topic("t"), props: prop(responseTopic, str("a\x00"))}.bytes(5))
	x.refuses(malformed, "NUL in a will topic", connect{id: x.id("c"), will: &will{topic: "a\x00"}})
	x.refuses(malformed, "NUL in a user name", connect{id: x.id("c"), user: []byte("a\x00")})
}

func markStays(x *trial) {
	c := x.five("c")
	topic := x.topic("\ufeffmark\ufeff")
	c.subscribe(filter{topic, 0})
	c.exchange(publish{topic: strings.ReplaceAll(topic, "\ufeff", ""), payload: "without"})
	c.exchange(publish{topic: topic, payload: "with"})
	if m := c.message(); m.payload != "with" || m.topic != topic {
		x.Errorf("got %v, want the topic %q", m, topic)
	}
}

func shortLengths(x *trial) {
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 0})
	for _, n := range []int{0, 1, 127, 128, 16_383, 16_384} {
		c.publish(publish{topic: x.topic("t"), payload: strings.Repeat("x", n)})
		m := c.message()
		if len(m.payload) != n {
			x.Errorf("payload has %d bytes, want %d", len(m.payload), n)
		}
		if m.long {
			x.Errorf("the length of a message of %d bytes has more bytes than it needs", n)
		}
	}
	x.breaks(malformed, "a length of five bytes", []byte{0xc0, 0x80, 0x80, 0x80, 0x80, 0x00})
}

func pairsAreUTF8(x *trial) {
	x.breaks(malformed, "a name", publish{topic: x.topic("t"), props: user("\xff", "v")}.bytes(5))
	x.breaks(malformed, "a value", publish{topic: x.topic("t"), props: user("n", "\x00")}.bytes(5))
	x.breaks(malformed, "a value of DISCONNECT", disconnect5(0, user("n", "\xff")))
}

func reservedFlags(x *trial) {
	id := u16(1)
	for _, packet := range [][]byte{
		frame(PUBACK<<4|1, id), frame(PUBREC<<4|2, id), frame(PUBREL<<4, id), frame(PUBREL<<4|3, id), frame(PUBCOMP<<4|8, id),
		frame(SUBSCRIBE<<4, id, []byte{0}, str("a"), []byte{0}), frame(UNSUBSCRIBE<<4|6, id, []byte{0}, str("a")),
		frame(PINGREQ<<4 | 1), frame(DISCONNECT<<4 | 4), frame(AUTH<<4|1, []byte{0x18, 0}),
	} {
		x.breaks(malformed, kindName(packet[0]>>4), packet)
	}
}

// What looks like an id is the beginning of what follows.
func noIDAtQoS05(x *trial) {
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 2})
	c.publish(publish{topic: x.topic("t"), payload: "payload"})
	if m := c.message(); m.qos != 0 || m.payload != "payload" {
		x.Errorf("got %v", m)
	}
}

func idIsNotZero(x *trial) {
	x.breaks(protocolError, "PUBLISH", frame(PUBLISH<<4|2, str(x.topic("t")), u16(0), []byte{0}))
	x.breaks(protocolError, "SUBSCRIBE", subscribe(5, 0, nil, filter{x.topic("t"), 0}))
	x.breaks(protocolError, "UNSUBSCRIBE", unsubscribe(5, 0, x.topic("t")))
	x.breaks(protocolError, "PUBACK", ack(PUBACK, 0))
}

// The client publishes with the ids that the server uses: they have nothing to
// do with each other.
func serverIDs(x *trial) {
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 2})
	used := map[uint16]bool{}
	for id := range uint16(20) {
		c.publish(publish{topic: x.topic("t"), qos: 1 + byte(id%2), id: 1000 + id})
		m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
		if m.id == 0 || used[m.id] {
			x.Errorf("message %d has the id %d, which is 0 or in use", id, m.id)
		}
		used[m.id] = true
	}
	other := x.five("other")
	for id := range used {
		c.publish(publish{topic: x.topic("elsewhere"), qos: 1, id: id})
		c.acked(PUBACK, id)
	}
	other.exchange(publish{topic: x.topic("t"), qos: 1})
	if m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH }); used[m.id] {
		x.Errorf("the id %d is used again, though its message is not acknowledged", m.id)
	}
}

func ackIDs(x *trial) {
	c := x.five("c")
	c.publish(publish{topic: x.topic("t"), qos: 1, id: 65535})
	if a := c.want(PUBACK); a.id != 65535 {
		x.Errorf("got %v", a)
	}
	c.publish(publish{topic: x.topic("t"), qos: 2, id: 256})
	if a := c.want(PUBREC); a.id != 256 {
		x.Errorf("got %v", a)
	}
	c.send(ack(PUBREL, 256))
	if a := c.want(PUBCOMP); a.id != 256 {
		x.Errorf("got %v", a)
	}
	c.subscribe(filter{x.topic("t"), 2})
	c.exchange(publish{topic: x.topic("t"), qos: 2})
	m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
	c.send(ack(PUBREC, m.id))
	if a := c.want(PUBREL); a.id != m.id {
		x.Errorf("got %v, want the id %d", a, m.id)
	}
}

func subackIDs(x *trial) {
	c := x.five("c")
	c.send(subscribe(5, 77, nil, filter{x.topic("t"), 0}), unsubscribe(5, 78, x.topic("t")))
	if a := c.want(SUBACK); a.id != 77 {
		x.Errorf("got %v", a)
	}
	if a := c.want(UNSUBACK); a.id != 78 {
		x.Errorf("got %v", a)
	}
}

// The test client takes a packet apart by this length.
func noProperties(x *trial) {
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 0})
	c.publish(publish{topic: x.topic("t"), payload: "p"})
	m := c.message()
	if len(m.props) > 0 || m.payload != "p" {
		x.Errorf("got %v with %v", m, m.props)
	}
	x.breaks(malformed, "PUBLISH without a length", frame(PUBLISH<<4, str(x.topic("t"))))
	x.breaks(malformed, "SUBSCRIBE with a length that is too large", frame(SUBSCRIBE<<4|2, u16(1), []byte{100}, str("a"), []byte{0}))
	x.breaks(malformed, "a property that there is not", publish{topic: x.topic("t"), props: []byte{0x7f, 0}}.bytes(5))
	x.breaks(malformed, "a property of another packet", publish{topic: x.topic("t"), props: lasts(1)}.bytes(5))
	x.breaks(malformed, "a property that is cut", publish{topic: x.topic("t"), props: []byte{messageExpiry, 0, 0}}.bytes(5))
	x.breaks(malformed, "bytes after the end", frame(PUBACK<<4, u16(1), []byte{0, 0, 0}))
	x.breaks(malformed, "a PINGREQ with bytes", frame(PINGREQ<<4, []byte{0}))
	for what, twice := range map[string][]byte{
		"expiry": prop(messageExpiry, u32(5)), "format": prop(payloadFormat, []byte{1}), "content type": prop(contentType, str("t")),
		"response topic": prop(responseTopic, str("r")), "correlation": prop(correlationData, str("c")), "alias": prop(topicAlias, u16(1)),
	} {
		x.breaks(protocolError, what+" twice", publish{topic: x.topic("t"), props: slices.Concat(twice, twice)}.bytes(5))
	}
}
