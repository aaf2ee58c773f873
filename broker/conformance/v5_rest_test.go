package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dominion/broker"
	"dominion/topics"
)

// Chapters 3.12 to 6 of MQTT 5: PINGREQ, DISCONNECT, AUTH, and how it works.
func v5Rest() []statement {
	return []statement{
		{number: "MQTT-3.12.4-1", asks: "A PINGREQ is answered with PINGRESP.", test: func(x *trial) {
			c := x.five("c")
			c.send(pingreq(), pingreq())
			c.want(PINGRESP)
			c.want(PINGRESP)
		}},
		{number: "MQTT-3.14.0-1", asks: "A server sends DISCONNECT only after a CONNACK of less than 0x80.", test: func(x *trial) {
			c := dial(x, x.s)
			c.level = 5
			c.send(connect{level: 5, id: x.id("c"), flags: 1}.bytes())
			c.want(CONNACK)
			if more := c.ended(); len(more) > 0 {
				x.Errorf("got %v", more)
			}
			for _, first := range [][]byte{pingreq(), disconnect(), {0x10, 0x00}} {
				x.turnsAway("before CONNECT", first)
			}
		}},
		{number: "MQTT-3.14.1-1", asks: "The flags of DISCONNECT are 0.", test: func(x *trial) {
			for _, flags := range []byte{1, 2, 15} {
				x.breaks(malformed, fmt.Sprint(flags), frame(DISCONNECT<<4|flags))
			}
		}},
		{number: "MQTT-3.14.2-1", asks: "The reason is one of DISCONNECT's.", test: func(x *trial) {
			for _, reason := range []byte{0x01, 0x10, 0x87, 0x8b, 0xff} { // of other packets, or a server's
				x.breaks(protocolError, fmt.Sprintf("reason %#x", reason), frame(DISCONNECT<<4, []byte{reason}))
			}
			x.breaks(protocolError, "an expiry after none", disconnect5(0, lasts(10)))
		}},
		{number: "MQTT-3.14.2-2", asks: "A server's DISCONNECT has no session expiry.", test: func(x *trial) {
			c := x.five("c", lasts(100))
			c.send(publish{topic: "#"}.bytes(5))
			got := c.ended()
			if len(got) != 1 || got[0].kind != DISCONNECT || len(got[0].numbers(sessionExpiry)) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.14.2-3", asks: "No reason string makes DISCONNECT larger than the client's maximum.", test: func(x *trial) {
			for most := 20; most < 40; most++ {
				c := x.five("c", prop(maximumPacketSize, u32(most)))
				c.send(publish{topic: "#"}.bytes(5))
				if got := c.ended(); len(got) != 1 || got[0].size > most || got[0].code != invalidTopic {
					x.Errorf("got %v", got)
				}
				c.drop()
			}
		}},
		{number: "MQTT-3.14.2-4", asks: "No user property makes DISCONNECT larger than the client's maximum.", why: "the broker sends none in DISCONNECT"},
		{number: "MQTT-3.14.4-1", asks: "After DISCONNECT nothing is sent.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 0})
			other := x.five("other")
			for range 50 {
				other.publish(publish{topic: x.topic("t")})
			}
			c.send(publish{topic: "#"}.bytes(5))
			for range 50 {
				other.publish(publish{topic: x.topic("t")})
			}
			got := c.ended()
			if i := slices.IndexFunc(got, func(p packet) bool { return p.kind == DISCONNECT }); i != len(got)-1 {
				x.Errorf("packet %d of %d is DISCONNECT", i+1, len(got))
			}
		}},
		{number: "MQTT-3.14.4-2", asks: "After DISCONNECT the connection is closed.", test: func(x *trial) {
			x.five("c").leave()
		}},
		{number: "MQTT-3.14.4-3", asks: "After DISCONNECT 0 the will is dropped.", test: willOnce5},
		{number: "MQTT-3.15.1-1", asks: "The flags of AUTH are 0.", test: func(x *trial) {
			x.breaks(malformed, "flags", frame(AUTH<<4|2, []byte{0x18, 0}))
		}},
		{number: "MQTT-3.15.2-1", asks: "The reason is one of AUTH's.", test: authIsRefused},
		{number: "MQTT-3.15.2-2", asks: "No reason string makes AUTH larger than the client's maximum.", why: "the broker sends no AUTH"},
		{number: "MQTT-3.15.2-3", asks: "No user property makes AUTH larger than the client's maximum.", why: "the broker sends no AUTH"},

		{number: "MQTT-4.1.0-1", asks: "A session is kept while its connection is open.", test: func(x *trial) {
			inBubble(x, func(o *broker.Options) { o.SessionExpiry = time.Second }, func(b *bubble) {
				c := b.five(connect{id: "c", props: lasts(1)})
				c.subscribe(filter{"t", 1})
				b.wait(time.Minute)
				c.exchange(publish{topic: "t", qos: 1})
				c.message()
			})
		}},
		{number: "MQTT-4.1.0-2", asks: "A session is dropped when its connection has ended and its expiry is over.", test: sessionLasts},
		{number: "MQTT-4.2.0-1", asks: "The network keeps bytes in order and loses none.", why: "asks for TCP, TLS or WebSocket, which are what the broker has"},
		{number: "MQTT-4.3.1-1", asks: "At QoS 0 a message is sent once, without DUP.", test: func(x *trial) {
			c := x.five("c", lasts(100))
			c.subscribe(filter{x.topic("t"), 0})
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			if m := c.message(); m.qos != 0 || m.dup {
				x.Errorf("got %v", m)
			}
			c.leave()
			if got := x.back("c").mine(x.name("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-4.3.2-1", asks: "At QoS 1 each new message has an id that is not in use.", test: serverIDs},
		{number: "MQTT-4.3.2-2", asks: "At QoS 1 a message is sent first without DUP.", test: sentAgain5},
		{number: "MQTT-4.3.2-3", asks: "At QoS 1 a message is unacknowledged until PUBACK.", test: sentAgain5},
		{number: "MQTT-4.3.2-4", asks: "At QoS 1 who received a message answers PUBACK.", test: ackIDs},
		{number: "MQTT-4.3.2-5", asks: "At QoS 1 after PUBACK the id is a new message's.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 0})
			for i := range 3 {
				c.publish(publish{topic: x.topic("t"), payload: fmt.Sprint(i), qos: 1, id: 1, dup: i > 0})
				c.acked(PUBACK, 1)
				if m := c.message(); m.payload != fmt.Sprint(i) {
					x.Errorf("got %v", m)
				}
			}
		}},
		{number: "MQTT-4.3.3-1", asks: "At QoS 2 each new message has an id that is not in use.", test: serverIDs},
		{number: "MQTT-4.3.3-2", asks: "At QoS 2 a message is sent first without DUP.", test: sentAgain5},
		{number: "MQTT-4.3.3-3", asks: "At QoS 2 a message is unacknowledged until PUBREC.", test: sentAgain5},
		{number: "MQTT-4.3.3-4", asks: "A PUBREC of less than 0x80 is answered with PUBREL.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 2})
			for _, reason := range [][]byte{nil, {0}, {0x10}} {
				c.exchange(publish{topic: x.topic("t"), qos: 2})
				m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
				c.send(frame(PUBREC<<4, u16(int(m.id)), reason))
				if a := c.want(PUBREL); a.id != m.id || a.code != 0 {
					x.Errorf("got %v", a)
				}
				c.send(ack(PUBCOMP, m.id))
			}
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			c.send(ack5(PUBREC, m.id, 0x80), pingreq())
			c.want(PINGRESP)
		}},
		{number: "MQTT-4.3.3-5", asks: "A PUBREL is unacknowledged until PUBCOMP.", test: releasedAgain},
		{number: "MQTT-4.3.3-6", asks: "After PUBREL the PUBLISH is not sent again.", test: releasedAgain},
		{number: "MQTT-4.3.3-7", asks: "After PUBLISH was sent its expiry counts no more.", test: expiryAfterSending},
		{number: "MQTT-4.3.3-8", asks: "At QoS 2 who received a message answers PUBREC.", test: ackIDs},
		{number: "MQTT-4.3.3-9", asks: "After a PUBREC of 0x80 or more the id is a new message's.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 0})
			c.publish(publish{topic: "$SYS/mine", qos: 2, id: 1})
			c.acked(PUBREC, 1)
			c.publish(publish{topic: x.topic("t"), payload: "new", qos: 2, id: 1})
			if a := c.acked(PUBREC, 1); a.code >= 0x80 {
				x.Errorf("got %v", a)
			}
			if m := c.message(); m.payload != "new" {
				x.Errorf("got %v", m)
			}
		}},
		{number: "MQTT-4.3.3-10", asks: "Until PUBREL the same id is answered with PUBREC, and is the same message.", test: onceAtQoS2},
		{number: "MQTT-4.3.3-11", asks: "A PUBREL is answered with PUBCOMP.", test: ackIDs},
		{number: "MQTT-4.3.3-12", asks: "After PUBCOMP the id is a new message's.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 0})
			for i := range 3 {
				c.exchange(publish{topic: x.topic("t"), payload: fmt.Sprint(i), qos: 2, id: 1})
				if m := c.message(); m.payload != fmt.Sprint(i) {
					x.Errorf("got %v", m)
				}
			}
		}},
		{number: "MQTT-4.3.3-13", asks: "The acknowledgements go on though the message has expired.", test: expiryAfterSending},
		{number: "MQTT-4.4.0-1", asks: "When a session goes on what is unacknowledged is sent again, with its id, and at no other time.", test: func(x *trial) {
			sentAgain5(x)
			releasedAgain(x)
			inBubble(x, nil, func(b *bubble) {
				c := b.five(connect{id: "c", keepAlive: 3600})
				c.subscribe(filter{"t", 2})
				c.exchange(publish{topic: "t", qos: 1})
				c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
				b.wait(10 * time.Minute)
				c.alive()
				if len(c.waiting) > 0 {
					b.Errorf("got %v", c.waiting)
				}
			})
		}},
		{number: "MQTT-4.4.0-2", asks: "A message that was acknowledged, with an error too, is not sent again.", test: func(x *trial) {
			c := x.five("c", lasts(100))
			c.subscribe(filter{x.topic("t"), 2})
			for qos := byte(1); qos < 3; qos++ {
				c.exchange(publish{topic: x.topic("t"), qos: qos})
				m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
				c.send(ack5(map[byte]byte{1: PUBACK, 2: PUBREC}[qos], m.id, 0x80))
			}
			c.alive()
			c.leave()
			if got := x.back("c").mine(x.name("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-4.5.0-1", asks: "A message is added to the session of each client whose subscription matches.", test: func(x *trial) {
			away := x.five("away", lasts(100))
			away.subscribe(filter{x.topic("+"), 2})
			away.leave()
			there := x.five("there")
			there.subscribe(filter{x.topic("#"), 1})
			p := x.five("p")
			for qos := byte(1); qos < 3; qos++ {
				p.exchange(publish{topic: x.topic("t"), payload: fmt.Sprint(qos), qos: qos})
				there.message()
			}
			if got := payloads(x.back("away").mine(x.name("fence"))); !slices.Equal(got, []string{"1", "2"}) {
				x.Errorf("got %q", got)
			}
		}, deviation: "At QoS 1 and 2, at most 65,535 messages: an id is needed for each."},
		{number: "MQTT-4.5.0-2", asks: "A client acknowledges whatever it does with a message.", why: bindsClients},
		{number: "MQTT-4.6.0-1", asks: "A client sends again in the order in which it sent.", why: bindsClients},
		{number: "MQTT-4.6.0-2", asks: "A client sends PUBACK in the order of the messages.", why: bindsClients},
		{number: "MQTT-4.6.0-3", asks: "A client sends PUBREC in the order of the messages.", why: bindsClients},
		{number: "MQTT-4.6.0-4", asks: "A client sends PUBREL in the order of PUBREC.", why: bindsClients},
		{number: "MQTT-4.6.0-5", asks: "A server keeps the order of each ordered topic.", test: inOrder},
		{number: "MQTT-4.6.0-6", asks: "A server takes each topic for ordered, but for shared subscriptions.", test: inOrder},
		{number: "MQTT-4.7.0-1", asks: "Wildcards are for filters alone.", test: func(x *trial) {
			x.breaks(invalidTopic, "+", publish{topic: "+", qos: 1, id: 1}.bytes(5))
			x.breaks(invalidTopic, "#", publish{topic: "a/#", qos: 2, id: 1}.bytes(5))
		}},
		{number: "MQTT-4.7.1-1", asks: "# is a whole level and the last.", test: func(x *trial) {
			got := x.five("c").subscribe(filter{"a#", 0}, filter{"a/#b", 0}, filter{"#/a", 0}, filter{x.topic("#"), 0})
			if want := []byte{invalidFilter, invalidFilter, invalidFilter, 0}; !slices.Equal(got, want) {
				x.Errorf("codes %x, want %x", got, want)
			}
		}},
		{number: "MQTT-4.7.1-2", asks: "+ is a whole level.", test: func(x *trial) {
			got := x.five("c").subscribe(filter{"a+", 0}, filter{"+a/b", 0}, filter{"a/+b/c", 0}, filter{x.topic("+/a/+"), 0})
			if want := []byte{invalidFilter, invalidFilter, invalidFilter, 0}; !slices.Equal(got, want) {
				x.Errorf("codes %x, want %x", got, want)
			}
		}},
		{number: "MQTT-4.7.2-1", asks: "A filter that begins with a wildcard matches no topic that begins with $.", test: dollarTopics5},
		{number: "MQTT-4.7.3-1", asks: "Topics and filters have a character at least.", test: func(x *trial) {
			x.breaks(protocolError, "topic", publish{}.bytes(5))
			if got := x.five("c").subscribe(filter{"", 0}); !slices.Equal(got, []byte{invalidFilter}) {
				x.Errorf("codes %x", got)
			}
			x.refuses(protocolError, "will topic", connect{id: x.id("c"), will: &will{}})
		}},
		{number: "MQTT-4.7.3-2", asks: "Topics and filters have no U+0000.", test: textHasNoNUL},
		{number: "MQTT-4.7.3-3", asks: "Topics and filters have no more than 65,535 bytes.", why: "a length of two bytes cannot say more"},
		{number: "MQTT-4.7.3-4", asks: "Topics are compared as they are.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("é/A/ a"), 0})
			for _, other := range []string{"e\u0301/A/ a", "É/A/ a", "é/a/ a", "é/A/a", "é/A/ a/"} {
				c.publish(publish{topic: x.topic(other)})
			}
			c.publish(publish{topic: x.topic("é/A/ a"), payload: "same"})
			if got := payloads(c.mine(x.name("fence"))); !slices.Equal(got, []string{"same"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-4.8.2-1", asks: "A shared subscription has a name of a character at least.", test: shareNames},
		{number: "MQTT-4.8.2-2", asks: "The name has no wildcard, and a filter follows.", test: shareNames},
		{number: "MQTT-4.8.2-3", asks: "The QoS granted to the client counts.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{"$share/g/" + x.topic("t"), 1})
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			if m := c.message(); m.qos != 1 {
				x.Errorf("got %v", m)
			}
			c.subscribe(filter{"$share/g/" + x.topic("t"), 0})
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			if m := c.message(); m.qos != 0 {
				x.Errorf("got %v", m)
			}
		}},
		{number: "MQTT-4.8.2-4", asks: "A delivery at QoS 2 that has begun is ended with the same client when it is back.", test: shareKeepsQoS2},
		{number: "MQTT-4.8.2-5", asks: "If its session ends first, no other client is sent the message.", test: shareKeepsQoS2},
		{number: "MQTT-4.8.2-6", asks: "A message that was refused is not sent to another client.", test: func(x *trial) {
			a, b := x.five("a"), x.five("b")
			a.subscribe(filter{"$share/g/" + x.topic("t"), 2})
			x.five("p").exchange(publish{topic: x.topic("t"), qos: 1})
			m := a.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			b.subscribe(filter{"$share/g/" + x.topic("t"), 2})
			a.send(ack5(PUBACK, m.id, 0x87))
			a.alive()
			if got := b.mine(x.name("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-4.9.0-1", asks: "The quota begins at most at the other side's Receive Maximum, and not at 0.", test: clientReceiveMaximum},
		{number: "MQTT-4.9.0-2", asks: "At 0 no PUBLISH of QoS 1 or 2 is sent.", test: clientReceiveMaximum},
		{number: "MQTT-4.9.0-3", asks: "At 0 other packets go on.", test: otherPacketsGoOn},
		{number: "MQTT-4.12.0-1", asks: "An authentication method that is not there is answered with 0x8C or 0x87, if at all, and the end.", test: func(x *trial) {
			x.refuses(badAuthMethod, "method", connect{id: x.id("c"), props: slices.Concat(prop(authMethod, str("SCRAM-SHA-256")), prop(authData, str("data")))})
		}},
		{number: "MQTT-4.12.0-2", asks: "A server that wants to know more sends AUTH 0x18.", why: "the broker has no authentication method"},
		{number: "MQTT-4.12.0-3", asks: "A client answers with AUTH 0x18.", why: bindsClients},
		{number: "MQTT-4.12.0-4", asks: "A server that refuses ends the connection.", test: authIsRefused},
		{number: "MQTT-4.12.0-5", asks: "AUTH and CONNACK have the client's authentication method.", why: "the broker has no authentication method"},
		{number: "MQTT-4.12.0-6", asks: "Who has no authentication method is sent no AUTH, and none in CONNACK.", test: func(x *trial) {
			if a := dial(x, x.s).join(connect{level: 5, id: x.id("c"), user: []byte("u"), password: []byte("p")}); len(a.texts(authMethod)) > 0 {
				x.Errorf("got %v", a.props)
			}
		}},
		{number: "MQTT-4.12.0-7", asks: "Who has no authentication method sends no AUTH.", test: authIsRefused},
		{number: "MQTT-4.12.1-1", asks: "Who has an authentication method may begin again with AUTH 0x19.", why: bindsClients},
		{number: "MQTT-4.12.1-2", asks: "When that fails the connection ends.", test: authIsRefused},
		{number: "MQTT-4.13.1-1", asks: "After a malformed packet or a protocol error with a reason the connection ends.", test: func(x *trial) {
			for kind := byte(0); kind < 16; kind++ {
				switch kind {
				case CONNECT, CONNACK, SUBACK, UNSUBACK, PINGRESP, AUTH:
					x.breaks(protocolError, kindName(kind), frame(kind<<4, u16(1), []byte{0}))
				case 0:
					x.breaks(protocolError, "type 0", frame(0))
				}
			}
			x.breaks(malformed, "a length without end", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0xff})
			x.breaks(packetTooLarge, "256 MiB", []byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1})
			// What came before it is done.
			c, watcher := x.five("c"), x.five("watcher")
			watcher.subscribe(filter{x.topic("t"), 0})
			c.send(publish{topic: x.topic("t"), payload: "before"}.bytes(5), frame(PINGREQ<<4|1), publish{topic: x.topic("t"), payload: "after"}.bytes(5))
			c.dismissed("flags of PINGREQ", malformed)
			if got := payloads(watcher.mine(x.name("fence"))); !slices.Equal(got, []string{"before"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-4.13.2-1", asks: "After a CONNACK or DISCONNECT of 0x80 or more the connection ends.", test: func(x *trial) {
			c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t")}})
			c.send(disconnect5(0x80))
			c.ended()
			s, stop := x.another(nil)
			last := join(x, s, connect{level: 5, id: x.id("last")})
			stop()
			last.dismissed("a planned stop", shuttingDown)
		}},
		{number: "MQTT-6.0.0-1", asks: "Over WebSocket packets are binary messages, or the connection ends.", why: "tested in broker/websocket_test.go"},
		{number: "MQTT-6.0.0-2", asks: "A WebSocket message may have more or less than a packet.", why: "tested in broker/websocket_test.go"},
		{number: "MQTT-6.0.0-3", asks: "A client asks for the subprotocol mqtt.", why: bindsClients},
		{number: "MQTT-6.0.0-4", asks: "The server answers with the subprotocol mqtt.", why: "tested in broker/websocket_test.go"},
	}
}

// another is a broker that the statement has for itself, and what stops it.
func (x *trial) another(change func(*broker.Options)) (*broker.Server, func()) {
	x.Helper()
	o := broker.Options{Listen: []string{"127.0.0.1:0"}, Anonymous: []topics.Identity{operator}}
	if change != nil {
		change(&o)
	}
	s, err := broker.Open(o)
	if err != nil {
		x.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	x.Cleanup(func() { cancel(); <-ended })
	return s, cancel
}

func authIsRefused(x *trial) {
	x.breaks(protocolError, "AUTH", frame(AUTH<<4, []byte{0x18}, []byte{0}))
	x.breaks(protocolError, "again", frame(AUTH<<4, []byte{0x19}, withProps(5, prop(authMethod, str("m")))))
	x.breaks(protocolError, "short", frame(AUTH<<4))
}

// What was answered with PUBREC and not completed goes on with PUBREL.
func releasedAgain(x *trial) {
	c := x.five("released", lasts(100))
	c.subscribe(filter{x.topic("r"), 2})
	c.exchange(publish{topic: x.topic("r"), qos: 2})
	m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
	c.send(ack(PUBREC, m.id))
	c.want(PUBREL)
	c.leave()
	c = x.back("released", lasts(100))
	if a := c.want(PUBREL); a.id != m.id || a.code != 0 {
		x.Errorf("got %v, want PUBREL of %d", a, m.id)
	}
	c.send(ack(PUBCOMP, m.id))
	c.alive()
	c.leave()
	if got := x.back("released").mine(x.name("fence")); len(got) > 0 {
		x.Errorf("after PUBCOMP: got %v", got)
	}
}

func expiryAfterSending(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		c := b.five(connect{id: "c", keepAlive: 100})
		c.subscribe(filter{"t", 2})
		c.exchange(publish{topic: "t", qos: 2, props: prop(messageExpiry, u32(1))})
		m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
		b.wait(5 * time.Second)
		c.send(ack(PUBREC, m.id))
		if a := c.want(PUBREL); a.code != 0 {
			b.Errorf("got %v", a)
		}
		b.wait(5 * time.Second)
		c.send(ack(PUBCOMP, m.id))
		c.alive()
		c.publish(publish{topic: "elsewhere", qos: 2, id: 9, props: prop(messageExpiry, u32(1))})
		c.acked(PUBREC, 9)
		b.wait(5 * time.Second)
		c.send(ack(PUBREL, 9))
		if a := c.acked(PUBCOMP, 9); a.code != 0 {
			b.Errorf("got %v", a)
		}
	})
}

// A message at QoS 2 that is sent again, in this connection or the next, is passed on once.
func onceAtQoS2(x *trial) {
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("t"), 1})
	c := x.five("c", lasts(100))
	p := publish{topic: x.topic("t"), qos: 2, id: 5}
	for range 3 {
		c.publish(p)
		if a := c.acked(PUBREC, 5); a.code >= 0x80 {
			x.Errorf("got %v", a)
		}
		p.dup = true
	}
	c.leave()
	c = x.back("c", lasts(100))
	c.publish(p)
	if a := c.acked(PUBREC, 5); a.code >= 0x80 {
		x.Errorf("got %v", a)
	}
	c.send(ack(PUBREL, 5))
	if a := c.acked(PUBCOMP, 5); a.code != 0 {
		x.Errorf("got %v", a)
	}
	watcher.message()
	if got := watcher.mine(x.name("fence")); len(got) > 0 {
		x.Errorf("got %v again", got)
	}
}

func inOrder(x *trial) {
	for qos := range byte(3) {
		c := x.five("c", lasts(100))
		c.subscribe(filter{x.topic("t"), 2})
		p := x.five("p")
		const n = 200
		for i := range n {
			p.publish(publish{topic: x.topic("t"), payload: fmt.Sprint(i), qos: qos})
			if qos == 2 {
				p.send(ack(PUBREL, p.lastID))
			}
			if i == n/2 && qos > 0 {
				p.alive()
				c.leave()
			}
		}
		p.alive()
		if qos > 0 {
			c = x.back("c", lasts(100))
		}
		last := -1
		for last < n-1 {
			m := c.message()
			var i int
			_, _ = fmt.Sscan(m.payload, &i)
			if i <= last && !m.dup || i > last+1 {
				x.Fatalf("QoS %d: %v came after message %d", qos, m, last)
			}
			last = max(last, i)
		}
		c.leave()
		p.leave()
	}
}

// The server publishes its own figures each minute.
func dollarTopics5(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		b.wait(0) // it runs
		c := b.five(connect{id: "c", keepAlive: 3600})
		c.subscribe(filter{"#", 0}, filter{"+/#", 0}, filter{"+/broker/+", 0}, filter{"$share/g/#", 0}, filter{"$share/h/+/broker/#", 0})
		b.wait(2 * time.Minute)
		if got := c.mine("fence"); len(got) > 0 {
			b.Errorf("got %v", got)
		}
		c.subscribe(filter{"$SYS/broker/uptime", 0 | neverReplay})
		b.wait(2 * time.Minute)
		if got := c.mine("fence"); len(got) == 0 {
			b.Errorf("a filter that begins with $ got nothing")
		}
	})
}

func shareNames(x *trial) {
	c := x.five("c")
	got := c.subscribe(filter{"$share//a", 0}, filter{"$share/a+/a", 0}, filter{"$share/#/a", 0}, filter{"$share/g", 0}, filter{"$share/g/", 0}, filter{"$share", 0}, filter{"$share/g/" + x.topic("t"), 0}, filter{"$SHARE/g/" + x.topic("t"), 0})
	if want := []byte{invalidFilter, invalidFilter, invalidFilter, invalidFilter, invalidFilter, invalidFilter, 0}; len(got) != 8 || !slices.Equal(got[:7], want) {
		x.Errorf("codes %x, want %x", got, want)
	}
	// Each message comes to one of those who share, and to all others.
	d, all := x.five("d"), x.five("all")
	d.subscribe(filter{"$share/g/" + x.topic("t"), 0})
	all.subscribe(filter{x.topic("t"), 0})
	p := x.five("p")
	for range 20 {
		p.exchange(publish{topic: x.topic("t"), qos: 1})
		all.message()
	}
	c.unsubscribe("$SHARE/g/" + x.topic("t"))
	if n := len(c.mine(x.name("fence c"))) + len(d.mine(x.name("fence d"))); n != 20 {
		x.Errorf("%d messages came to those who share, want 20", n)
	}
}

func shareKeepsQoS2(x *trial) {
	a, b := x.five("a", lasts(100)), x.five("b")
	a.subscribe(filter{"$share/g/" + x.topic("t"), 2})
	x.five("p").exchange(publish{topic: x.topic("t"), qos: 2})
	m := a.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
	b.subscribe(filter{"$share/g/" + x.topic("t"), 2})
	a.drop()
	again := x.back("a", lasts(100))
	if got := again.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH }); got.id != m.id || !got.dup {
		x.Errorf("got %v, want %v again", got, m)
	}
	again.send(disconnect5(0, lasts(0)))
	again.ended()
	if got := b.mine(x.name("fence")); len(got) > 0 {
		x.Errorf("the other got %v", got)
	}
}

func subackReasons(x *trial) {
	s, _ := x.another(func(o *broker.Options) {
		o.Anonymous = []topics.Identity{{Role: topics.RoleNode, Name: "attic"}}
		o.MaxSubscriptions = 1
	})
	c := join(x, s, connect{level: 5, id: "c"})
	got := c.subscribe(filter{"dominion/cellar/command/#", 0}, filter{"dominion/attic/command/#", 1}, filter{"dominion/attic/state/#", 0})
	if len(got) != 3 || got[0] != notAuthorized || got[1] != 1 || got[2] != quotaExceeded {
		x.Errorf("codes %x", got)
	}
}
