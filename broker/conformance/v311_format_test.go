package conformance_test

import (
	"fmt"
	"slices"
)

// Chapters 1 and 2 of MQTT 3.1.1: strings, fixed header, packet identifiers.
func v311Format() []statement {
	return []statement{
		{number: "MQTT-1.5.3-1", asks: "A packet with ill-formed UTF-8, surrogates included, ends the connection.", test: illFormedText},
		{number: "MQTT-1.5.3-2", asks: "So does one with U+0000 in a string.", test: nullInText},
		{number: "MQTT-1.5.3-3", asks: "U+FEFF in a string is kept as it is.", test: byteOrderMark},

		{number: "MQTT-2.2.2-1", asks: "Reserved flag bits have the values of table 2.2.", test: ownFlags},
		{number: "MQTT-2.2.2-2", asks: "Other values end the connection.", test: wrongFlags},

		{number: "MQTT-2.3.1-1", asks: "SUBSCRIBE, UNSUBSCRIBE and PUBLISH at QoS 1 and 2 have a packet id that is not 0.", test: zeroID},
		{number: "MQTT-2.3.1-2", asks: "A client's new packet has an id that is not in use.", why: bindsClients},
		{number: "MQTT-2.3.1-3", asks: "A client sends again under the same id, which is free after the acknowledgement.", why: bindsClients},
		{number: "MQTT-2.3.1-4", asks: "The same holds for the server's PUBLISH at QoS 1 and 2.", test: serversIDs},
		{number: "MQTT-2.3.1-5", asks: "A PUBLISH at QoS 0 has no packet id.", test: noIDAtQoS0},
		{number: "MQTT-2.3.1-6", asks: "PUBACK, PUBREC and PUBREL carry the id of their PUBLISH.", test: acksCarryTheID},
		{number: "MQTT-2.3.1-7", asks: "SUBACK and UNSUBACK carry the id of their packet.", test: subacksCarryTheID},
	}
}

// texts are packets with a string of our choice in each place that has one.
func texts(x *trial, s string) map[string][]byte {
	return map[string][]byte{
		"client id":          connect{id: s}.bytes(),
		"will topic":         connect{id: x.id("c"), will: &will{topic: s, payload: "x"}}.bytes(),
		"user name":          connect{id: x.id("c"), user: []byte(s)}.bytes(),
		"PUBLISH's topic":    publish{topic: s}.bytes(4),
		"SUBSCRIBE's filter": subscribe(4, 1, nil, filter{s, 0}),
		"UNSUBSCRIBE's":      unsubscribe(4, 1, s),
	}
}

// refusesText holds that a string ends the connection, wherever it stands.
func refusesText(x *trial, s string) {
	x.Helper()
	for place, bytes := range texts(x, s) {
		what := fmt.Sprintf("%q as %s", s, place)
		if bytes[0] == CONNECT<<4 {
			x.turnsAway(what, bytes)
		} else {
			x.hangsUpOn(what, bytes)
		}
	}
}

func illFormedText(x *trial) {
	for _, s := range []string{"a\xffb", "\xc0\xaf", "\xed\xa0\x80", "\xed\xbf\xbf", "cut\xe2\x82", "\xf4\x90\x80\x80"} {
		refusesText(x, s)
	}
}

func nullInText(x *trial) { refusesText(x, "a\x00b") }

func byteOrderMark(x *trial) {
	c := x.join("c")
	c.subscribe(filter{"\ufeff" + x.topic("a"), 0}, filter{x.topic("a"), 0}, filter{x.topic("\ufeff"), 0})
	for _, topic := range []string{"\ufeff" + x.topic("a"), x.topic("a"), x.topic("\ufeff")} {
		c.publish(publish{topic: topic})
		if m := c.message(); m.topic != topic {
			x.Errorf("published on %q, came on %q", topic, m.topic)
		}
	}
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("more came: %v", got)
	}
}

func ownFlags(x *trial) {
	c := dial(x, x.s)
	c.send(connect{id: x.id("c")}.bytes(), subscribe(4, 1, nil, filter{x.topic("a"), 2}), unsubscribe(4, 2, x.topic("b")), pingreq())
	c.send(publish{topic: x.topic("b"), qos: 1, id: 3}.bytes(4), publish{topic: x.topic("a"), qos: 2, id: 4}.bytes(4), ack(PUBREL, 4))
	var message packet
	for _, kind := range []byte{CONNACK, SUBACK, UNSUBACK, PINGRESP, PUBACK, PUBREC, PUBCOMP, PUBLISH, PUBREL} {
		want := byte(0)
		switch kind {
		case PUBREL:
			c.send(ack(PUBREC, message.id))
			want = 2
		case PUBLISH:
			want = 4 // QoS 2
		}
		p := c.await(kindName(kind), func(p packet) bool { return p.kind == kind })
		if p.flags != want || len(p.rest) > 0 {
			x.Errorf("%v has flags %04b and %d bytes too many, want %04b", p, p.flags, len(p.rest), want)
		}
		message = p
	}
}

func wrongFlags(x *trial) {
	packets := map[byte][]byte{
		PUBACK: u16(1), PUBREC: u16(1), PUBREL: u16(1), PUBCOMP: u16(1),
		SUBSCRIBE:   append(append(u16(1), str(x.topic("a"))...), 0),
		UNSUBSCRIBE: append(u16(1), str(x.topic("a"))...),
		PINGREQ:     nil, DISCONNECT: nil,
	}
	for kind, body := range packets {
		right := byte(0)
		if kind == PUBREL || kind == SUBSCRIBE || kind == UNSUBSCRIBE {
			right = 2
		}
		for _, flags := range []byte{0, 1, 2, 4, 8, 15} {
			if flags != right {
				x.hangsUpOn(fmt.Sprintf("%s with flags %04b", kindName(kind), flags), frame(kind<<4|flags, body))
			}
		}
	}
	c := connect{id: x.id("c")}.bytes()
	for _, flags := range []byte{1, 2, 4, 8} {
		c[0] = CONNECT<<4 | flags
		x.turnsAway(fmt.Sprintf("CONNECT with flags %04b", flags), c)
	}
	for _, kind := range []byte{0, CONNACK, SUBACK, UNSUBACK, PINGRESP, AUTH} {
		x.hangsUpOn("a packet of type "+fmt.Sprint(kind)+", which clients do not send", frame(kind<<4, u16(1), []byte{0}))
	}
}

func zeroID(x *trial) {
	x.hangsUpOn("SUBSCRIBE 0", subscribe(4, 0, nil, filter{x.topic("a"), 0}))
	x.hangsUpOn("UNSUBSCRIBE 0", unsubscribe(4, 0, x.topic("a")))
	for qos := byte(1); qos <= 2; qos++ {
		x.hangsUpOn(fmt.Sprintf("PUBLISH 0 at QoS %d", qos), publish{topic: x.topic("a"), qos: qos}.bytes(4))
	}
	c := x.join("c")
	c.subscribe(filter{x.topic("b"), 2})
	for qos := byte(1); qos <= 2; qos++ {
		c.exchange(publish{topic: x.topic("b"), qos: qos})
		if m := c.message(); m.id == 0 {
			x.Errorf("the server sends %v", m)
		}
	}
}

func serversIDs(x *trial) {
	publisher := x.join("publisher")
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	used := map[uint16]string{}
	take := func(c *client, payload string, qos byte) packet {
		publisher.exchange(publish{topic: x.topic("a"), payload: payload, qos: qos})
		m := c.want(PUBLISH)
		if m.payload != payload || used[m.id] != "" {
			x.Errorf("%v came when %q was published; its id is that of %q", m, payload, used[m.id])
		}
		used[m.id] = payload
		return m
	}
	one, two := take(c, "one", 1), take(c, "two", 2)
	take(c, "three", 1)
	c.send(ack(PUBACK, one.id)) // free from here on
	delete(used, one.id)
	c.send(ack(PUBREC, two.id))
	c.acked(PUBREL, two.id) // two is not free yet
	take(c, "four", 1)
	c.drop()
	c = x.resume("c")
	again := map[uint16]string{two.id: "two"}
	for range 3 {
		if p, _ := c.next(); p.kind == PUBLISH {
			again[p.id] = p.payload
		} else if p.kind != PUBREL || p.id != two.id {
			x.Errorf("got %v, want what was not acknowledged", p)
		}
	}
	for id, payload := range used {
		if again[id] != payload {
			x.Errorf("%q was sent as %d, which is %q on the next connection", payload, id, again[id])
		}
	}
	take(c, "five", 1)
}

func noIDAtQoS0(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a"), 2})
	c.publish(publish{topic: x.topic("a"), payload: "xy"})
	if m := c.message(); m.payload != "xy" || m.qos != 0 {
		x.Errorf("got %v, want xy at QoS 0", m)
	}
}

func acksCarryTheID(x *trial) {
	c := x.join("c")
	for _, id := range []uint16{1, 255, 256, 65535} {
		c.send(publish{topic: x.topic("a"), qos: 1, id: id}.bytes(4))
		c.send(publish{topic: x.topic("a"), qos: 2, id: id - 1 | 2}.bytes(4))
		c.send(ack(PUBREL, id-1|2))
		var got []uint16
		for range 3 {
			p, _ := c.next()
			got = append(got, p.id)
		}
		if want := []uint16{id, id - 1 | 2, id - 1 | 2}; !slices.Equal(got, want) {
			x.Errorf("acknowledged %v, want %v", got, want)
		}
	}
	c.subscribe(filter{x.topic("b"), 2})
	c.exchange(publish{topic: x.topic("b"), qos: 2})
	m := c.want(PUBLISH)
	c.send(ack(PUBREC, m.id))
	if p := c.want(PUBREL); p.id != m.id {
		x.Errorf("%v got %v", m, p)
	}
}

func subacksCarryTheID(x *trial) {
	c := x.join("c")
	for _, id := range []uint16{1, 255, 256, 65535} {
		c.send(subscribe(4, id, nil, filter{x.topic("a"), 0}), unsubscribe(4, id, x.topic("a")))
		if s, u := c.want(SUBACK), c.want(UNSUBACK); s.id != id || u.id != id {
			x.Errorf("%d got %v and %v", id, s, u)
		}
	}
}
