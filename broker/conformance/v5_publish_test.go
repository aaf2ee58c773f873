package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Chapters 3.3 to 3.7 of MQTT 5: PUBLISH and its acknowledgements.
func v5Publish() []statement {
	return []statement{
		{number: "MQTT-3.3.1-1", asks: "A PUBLISH that is sent again has DUP.", test: sentAgain5},
		{number: "MQTT-3.3.1-2", asks: "A PUBLISH at QoS 0 has no DUP.", test: func(x *trial) {
			x.breaks(protocolError, "DUP", publish{topic: x.topic("t"), dup: true}.bytes(5))
		}},
		{number: "MQTT-3.3.1-3", asks: "DUP is not passed on.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 2})
			for qos := byte(1); qos < 3; qos++ {
				c.publish(publish{topic: x.topic("t"), qos: qos, dup: true})
				if m := c.message(); m.dup {
					x.Errorf("got %v", m)
				}
			}
		}},
		{number: "MQTT-3.3.1-4", asks: "There is no QoS 3.", test: func(x *trial) {
			x.breaks(malformed, "QoS 3", frame(PUBLISH<<4|6, str(x.topic("t")), u16(1), []byte{0}))
		}},
		{number: "MQTT-3.3.1-5", asks: "A message with the retain flag replaces what is retained on its topic.", test: func(x *trial) {
			c := x.five("c")
			for qos := range byte(3) {
				c.exchange(publish{topic: x.topic("t"), payload: fmt.Sprint(qos), qos: qos, retain: true, props: user("n", fmt.Sprint(qos))})
				if got := x.retained("t"); len(got) != 1 || got[0].payload != fmt.Sprint(qos) || got[0].qos != qos || !got[0].retain || !slices.Equal(got[0].texts(userProperty), []string{"n=" + fmt.Sprint(qos)}) {
					x.Errorf("QoS %d: retained is %v", qos, got)
				}
			}
		}},
		{number: "MQTT-3.3.1-6", asks: "A retained message without payload is passed on, and takes away what is retained.", test: func(x *trial) {
			c := x.five("c")
			c.exchange(publish{topic: x.topic("t"), payload: "p", retain: true, qos: 1})
			c.subscribe(filter{x.topic("t"), 0 | neverReplay | retainAsPublished})
			c.exchange(publish{topic: x.topic("t"), retain: true, qos: 1})
			if m := c.message(); m.payload != "" || !m.retain {
				x.Errorf("got %v", m)
			}
			if got := x.retained("t"); len(got) > 0 {
				x.Errorf("retained is %v", got)
			}
		}},
		{number: "MQTT-3.3.1-7", asks: "A message without payload is not retained.", test: func(x *trial) {
			x.five("c").exchange(publish{topic: x.topic("t"), retain: true, qos: 1})
			if got := x.retained("t"); len(got) > 0 {
				x.Errorf("retained is %v", got)
			}
		}},
		{number: "MQTT-3.3.1-8", asks: "A message without the retain flag changes nothing of what is retained.", test: func(x *trial) {
			c := x.five("c")
			c.exchange(publish{topic: x.topic("t"), payload: "kept", retain: true, qos: 1})
			c.exchange(publish{topic: x.topic("t"), payload: "other", qos: 1})
			c.exchange(publish{topic: x.topic("t"), qos: 1})
			if got := payloads(x.retained("t")); !slices.Equal(got, []string{"kept"}) {
				x.Errorf("retained is %q", got)
			}
		}},
		{number: "MQTT-3.3.1-9", asks: "With retain handling 0 what is retained is sent at each SUBSCRIBE.", test: func(x *trial) {
			x.replays(0, []int{1, 1})
		}},
		{number: "MQTT-3.3.1-10", asks: "With retain handling 1 it is sent if the subscription is new.", test: func(x *trial) {
			x.replays(replayIfNew, []int{1, 0})
		}},
		{number: "MQTT-3.3.1-11", asks: "With retain handling 2 it is not sent.", test: func(x *trial) {
			x.replays(neverReplay, []int{0, 0})
		}},
		{number: "MQTT-3.3.1-12", asks: "Without Retain As Published the retain flag is not passed on.", test: func(x *trial) {
			x.passesRetain(0, false)
		}},
		{number: "MQTT-3.3.1-13", asks: "With Retain As Published it is.", test: func(x *trial) {
			x.passesRetain(retainAsPublished, true)
		}},

		{number: "MQTT-3.3.2-1", asks: "The topic is there, first, and UTF-8.", test: func(x *trial) {
			x.breaks(malformed, "nothing", frame(PUBLISH<<4))
			x.breaks(malformed, "cut", frame(PUBLISH<<4, u16(10), []byte("short")))
			x.breaks(malformed, "not UTF-8", publish{topic: "\xff"}.bytes(5))
			x.breaks(protocolError, "empty", publish{}.bytes(5))
		}},
		{number: "MQTT-3.3.2-2", asks: "A topic has no wildcards.", test: func(x *trial) {
			for _, topic := range []string{"a/+", "#", "a#"} {
				x.breaks(invalidTopic, topic, publish{topic: topic}.bytes(5))
			}
		}},
		{number: "MQTT-3.3.2-3", asks: "A message that is sent to a subscriber matches its filter.", test: matching},
		{number: "MQTT-3.3.2-4", asks: "The payload format is passed on.", test: func(x *trial) {
			for _, format := range []byte{0, 1} {
				m := x.passed(publish{payload: "p", props: prop(payloadFormat, []byte{format})})
				if got := m.numbers(payloadFormat); !slices.Equal(got, []uint32{uint32(format)}) {
					x.Errorf("got %v, want %d", got, format)
				}
			}
			if m := x.passed(publish{payload: "p"}); len(m.numbers(payloadFormat)) > 0 {
				x.Errorf("got %v", m.props)
			}
		}},
		{number: "MQTT-3.3.2-5", asks: "A message whose expiry is over is not sent any more.", test: expires},
		{number: "MQTT-3.3.2-6", asks: "The expiry that is passed on is less by the time that the message waited.", test: expiryShrinks},
		{number: "MQTT-3.3.2-7", asks: "An alias is of one connection.", test: func(x *trial) {
			c := x.five("c", lasts(100))
			c.exchange(publish{topic: x.topic("t"), qos: 1, props: prop(topicAlias, u16(1))})
			c.exchange(publish{qos: 1, props: prop(topicAlias, u16(1))})
			c.leave()
			c = x.back("c")
			c.publish(publish{qos: 1, id: 9, props: prop(topicAlias, u16(1))})
			c.dismissed("an alias of an older connection", aliasInvalid)
			other := x.five("other", prop(topicAliasMaximum, u16(10)))
			other.subscribe(filter{x.topic("t"), 0})
			x.five("c").exchange(publish{topic: x.topic("t"), qos: 1, props: prop(topicAlias, u16(7))})
			if m := other.message(); slices.Equal(m.numbers(topicAlias), []uint32{7}) || m.topic == "" {
				x.Errorf("the publisher's alias came with %v", m)
			}
		}},
		{number: "MQTT-3.3.2-8", asks: "There is no alias 0.", test: func(x *trial) {
			x.breaks(aliasInvalid, "alias 0", publish{topic: x.topic("t"), qos: 1, id: 1, props: prop(topicAlias, u16(0))}.bytes(5))
		}},
		{number: "MQTT-3.3.2-9", asks: "A client uses no alias above the server's maximum.", why: bindsClients + "; 3.2.2-17 tests what follows"},
		{number: "MQTT-3.3.2-10", asks: "A client takes every alias up to its maximum.", why: bindsClients},
		{number: "MQTT-3.3.2-11", asks: "A server uses no alias above the client's maximum.", test: serverAlias},
		{number: "MQTT-3.3.2-12", asks: "A server takes every alias up to its maximum.", test: func(x *trial) {
			most := int(x.announced(topicAliasMaximum))
			c := x.five("c")
			c.subscribe(filter{x.topic("#"), 0})
			for alias := 1; alias <= most; alias++ {
				c.publish(publish{topic: x.topic(fmt.Sprint(alias)), props: prop(topicAlias, u16(alias))})
				c.message()
			}
			for alias := 1; alias <= most; alias++ {
				c.publish(publish{payload: "short", props: prop(topicAlias, u16(alias))})
				if m := c.message(); m.topic != x.topic(fmt.Sprint(alias)) {
					x.Errorf("alias %d is %q", alias, m.topic)
				}
			}
			c.publish(publish{topic: x.topic("new"), props: prop(topicAlias, u16(1))})
			c.publish(publish{props: prop(topicAlias, u16(1))})
			if a, b := c.message(), c.message(); a.topic != x.topic("new") || b.topic != x.topic("new") {
				x.Errorf("an alias that was given anew is %q and %q", a.topic, b.topic)
			}
		}},
		{number: "MQTT-3.3.2-13", asks: "A response topic is UTF-8.", test: func(x *trial) {
			x.breaks(malformed, "not UTF-8", publish{topic: x.topic("t"), props: prop(responseTopic, str("\xff"))}.bytes(5))
		}},
		{number: "MQTT-3.3.2-14", asks: "A response topic has no wildcards.", test: func(x *trial) {
			x.breaks(protocolError, "wildcard", publish{topic: x.topic("t"), props: prop(responseTopic, str("a/+"))}.bytes(5))
		}},
		{number: "MQTT-3.3.2-15", asks: "The response topic is passed on.", test: func(x *trial) {
			if got := x.passed(publish{props: prop(responseTopic, str("answer/here"))}).texts(responseTopic); !slices.Equal(got, []string{"=answer/here"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-3.3.2-16", asks: "The correlation data are passed on.", test: func(x *trial) {
			if got := x.passed(publish{props: prop(correlationData, str("\x00\xff1"))}).texts(correlationData); !slices.Equal(got, []string{"=\x00\xff1"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-3.3.2-17", asks: "The user properties are passed on.", test: func(x *trial) {
			if got := x.passed(publish{props: slices.Concat(user("", ""), user("n", "v"))}).texts(userProperty); !slices.Equal(got, []string{"=", "n=v"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-3.3.2-18", asks: "User properties keep their order.", test: func(x *trial) {
			for qos := range byte(3) {
				if got := x.passed(publish{qos: qos, props: slices.Concat(user("b", "1"), user("a", "2"), user("b", "0"))}).texts(userProperty); !slices.Equal(got, []string{"b=1", "a=2", "b=0"}) {
					x.Errorf("got %q", got)
				}
			}
		}},
		{number: "MQTT-3.3.2-19", asks: "A content type is UTF-8.", test: func(x *trial) {
			x.breaks(malformed, "not UTF-8", publish{topic: x.topic("t"), props: prop(contentType, str("\xff"))}.bytes(5))
		}},
		{number: "MQTT-3.3.2-20", asks: "The content type is passed on.", test: func(x *trial) {
			if got := x.passed(publish{props: prop(contentType, str("application/json"))}).texts(contentType); !slices.Equal(got, []string{"=application/json"}) {
				x.Errorf("got %q", got)
			}
		}},

		{number: "MQTT-3.3.4-1", asks: "A PUBLISH is answered as its QoS asks: nothing, PUBACK, PUBREC.", test: func(x *trial) {
			c := x.five("c")
			c.publish(publish{topic: x.topic("t")})
			c.publish(publish{topic: x.topic("t"), qos: 1, id: 1})
			c.publish(publish{topic: x.topic("t"), qos: 2, id: 2})
			if a, b := c.want(PUBACK), c.want(PUBREC); a.id != 1 || b.id != 2 || a.code >= 0x80 || b.code >= 0x80 {
				x.Errorf("got %v and %v", a, b)
			}
		}},
		{number: "MQTT-3.3.4-2", asks: "Of overlapping subscriptions the largest QoS counts.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("#"), 2}, filter{x.topic("+"), 1}, filter{x.topic("t"), 0})
			x.five("other").exchange(publish{topic: x.topic("t"), qos: 2})
			got := append([]packet{c.message()}, c.mine(x.name("fence"))...)
			if slices.MaxFunc(got, func(a, b packet) int { return int(a.qos) - int(b.qos) }).qos != 2 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.3.4-3", asks: "A message has the identifier of its subscription.", test: func(x *trial) {
			c := x.five("c")
			for _, id := range []int{1, 127, 128, 268_435_455} {
				topic := x.topic(fmt.Sprint(id))
				c.subscribe5(prop(subscriptionID, varint(id)), filter{topic, 1})
				c.exchange(publish{topic: topic, retain: true, qos: 1, payload: "p"})
				if m := c.message(); !slices.Equal(m.numbers(subscriptionID), []uint32{uint32(id)}) {
					x.Errorf("got %v, want %d", m.props, id)
				}
				c.subscribe5(prop(subscriptionID, varint(id)), filter{topic, 1})
				if m := c.message(); !m.retain || !slices.Equal(m.numbers(subscriptionID), []uint32{uint32(id)}) {
					x.Errorf("retained: got %v with %v, want %d", m, m.props, id)
				}
			}
		}},
		{number: "MQTT-3.3.4-4", asks: "One message for several subscriptions has the identifiers of all.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe5(prop(subscriptionID, varint(2)), filter{x.topic("t"), 2})
			c.subscribe5(prop(subscriptionID, varint(3)), filter{x.topic("t/#"), 0})
			c.subscribe(filter{x.topic("+"), 0})
			c.publish(publish{topic: x.topic("t")})
			m := c.message()
			got := m.numbers(subscriptionID)
			slices.Sort(got)
			if more := c.mine(x.name("fence")); len(more) > 0 || !slices.Equal(got, []uint32{2, 3}) {
				x.Errorf("got %v, and then %v", got, more)
			}
		}},
		{number: "MQTT-3.3.4-5", asks: "Several messages for several subscriptions have each its own.", why: "the broker sends one message: 3.3.4-4"},
		{number: "MQTT-3.3.4-6", asks: "A PUBLISH to a server has no subscription identifier.", test: func(x *trial) {
			x.breaks(protocolError, "an identifier", publish{topic: x.topic("t"), props: prop(subscriptionID, varint(1))}.bytes(5))
		}},
		{number: "MQTT-3.3.4-7", asks: "A client has no more messages on their way than the server's Receive Maximum.", test: serverReceiveMaximum},
		{number: "MQTT-3.3.4-8", asks: "A client delays nothing else because of it.", why: bindsClients},
		{number: "MQTT-3.3.4-9", asks: "A server has no more messages on their way than the client's Receive Maximum.", test: clientReceiveMaximum},
		{number: "MQTT-3.3.4-10", asks: "A server delays nothing else because of it.", test: otherPacketsGoOn},

		{number: "MQTT-3.4.2-1", asks: "The reason is one of PUBACK's.", test: func(x *trial) {
			c := x.five("c")
			c.publish(publish{topic: "$SYS/mine", qos: 1, id: 1})
			if a := c.want(PUBACK); a.code != invalidTopic {
				x.Errorf("a message on a topic of the server: got %v", a)
			}
			c.publish(publish{topic: strings.Repeat("a/", 40), qos: 1, id: 2})
			if a := c.want(PUBACK); a.code != invalidTopic {
				x.Errorf("too many levels: got %v", a)
			}
			x.breaks(protocolError, "another reason", ack5(PUBACK, 1, 0x92))
			x.five("c").send(ack5(PUBACK, 1, 0x87), ack5(PUBACK, 1, 0), frame(PUBACK<<4, u16(1), []byte{0x10}))
		}, deviation: "Who may write where is the house's rules; to a client of MQTT 5 the refusal is a reason in PUBACK, with which it stays. One of MQTT 3.1.1, which cannot be told, gets a PUBACK; both are an alert for the owner."},
		{number: "MQTT-3.4.2-2", asks: "No reason string makes PUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.4.2-3", asks: "No user property makes PUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
		{number: "MQTT-3.5.2-1", asks: "The reason is one of PUBREC's.", test: func(x *trial) {
			c := x.five("c")
			for range 3 { // the exchange ends with it: the id is free
				c.publish(publish{topic: "$SYS/mine", qos: 2, id: 1})
				if a := c.want(PUBREC); a.code != invalidTopic {
					x.Errorf("got %v", a)
				}
			}
			c.publish(publish{topic: x.topic("t"), qos: 2, id: 1})
			if a := c.want(PUBREC); a.code >= 0x80 {
				x.Errorf("got %v", a)
			}
			x.breaks(protocolError, "another reason", ack5(PUBREC, 1, 0x92))
		}},
		{number: "MQTT-3.5.2-2", asks: "No reason string makes PUBREC larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.5.2-3", asks: "No user property makes PUBREC larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
		{number: "MQTT-3.6.1-1", asks: "The flags of PUBREL are 0010.", test: func(x *trial) {
			for _, flags := range []byte{0, 1, 3, 6, 15} {
				x.breaks(malformed, fmt.Sprint(flags), frame(PUBREL<<4|flags, u16(1)))
			}
		}},
		{number: "MQTT-3.6.2-1", asks: "The reason is one of PUBREL's.", test: func(x *trial) {
			c := x.five("c")
			c.send(ack(PUBREC, 77))
			if a := c.want(PUBREL); a.id != 77 || a.code != idNotFound {
				x.Errorf("for an id that there is not: got %v", a)
			}
			x.breaks(protocolError, "another reason", ack5(PUBREL, 1, 0x80))
		}},
		{number: "MQTT-3.6.2-2", asks: "No reason string makes PUBREL larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.6.2-3", asks: "No user property makes PUBREL larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
		{number: "MQTT-3.7.2-1", asks: "The reason is one of PUBCOMP's.", test: func(x *trial) {
			c := x.five("c")
			c.send(ack(PUBREL, 77))
			if a := c.want(PUBCOMP); a.id != 77 || a.code != idNotFound {
				x.Errorf("for an id that there is not: got %v", a)
			}
			x.breaks(protocolError, "another reason", ack5(PUBCOMP, 1, 0x80))
		}},
		{number: "MQTT-3.7.2-2", asks: "No reason string makes PUBCOMP larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.7.2-3", asks: "No user property makes PUBCOMP larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
	}
}

// name is a topic that x.topic("#") does not cover.
func (x *trial) name(level string) string { return level + "/" + x.number }

// retained is what a new subscriber finds.
func (x *trial) retained(levels string) []packet {
	x.Helper()
	c := x.five("finds")
	defer c.leave()
	c.subscribe(filter{x.topic(levels), 2})
	return c.mine(x.name("fence"))
}

// replays counts the retained messages after each of several SUBSCRIBE.
func (x *trial) replays(handling byte, want []int) {
	x.Helper()
	c := x.five("c")
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("t"), payload: "kept", retain: true, qos: qos})
		var got []int
		for range want {
			c.subscribe(filter{x.topic("t"), 2 | handling})
			got = append(got, len(c.mine(x.name("fence"))))
		}
		if !slices.Equal(got, want) {
			x.Errorf("QoS %d: got %v retained messages, want %v", qos, got, want)
		}
		c.unsubscribe(x.topic("t"))
	}
}

func (x *trial) passesRetain(option byte, want bool) {
	x.Helper()
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 2 | option | neverReplay})
	for _, retain := range []bool{true, false} {
		c.exchange(publish{topic: x.topic("t"), payload: "p", retain: retain, qos: 1})
		if m := c.message(); m.retain != (retain && want) {
			x.Errorf("published with retain %v: got %v", retain, m)
		}
	}
	c.subscribe(filter{x.topic("t"), 2 | option})
	if m := c.message(); !m.retain {
		x.Errorf("what was retained came as %v", m)
	}
}

// passed is a message as it comes to a subscriber, and to one that comes later.
func (x *trial) passed(p publish) packet {
	x.Helper()
	c := x.five("passes")
	defer c.leave()
	p.topic = x.topic("t")
	c.subscribe(filter{p.topic, 2})
	c.exchange(p)
	m := c.message()
	if p.payload == "" {
		return m
	}
	p.retain = true
	c.exchange(p)
	c.message()
	defer c.exchange(publish{topic: p.topic, qos: 1, retain: true})
	if kept := x.retained("t"); len(kept) != 1 || !slices.Equal(kept[0].props, m.props) {
		x.Errorf("retained: got %v, want one with %v", kept, m.props)
	}
	return m
}

// What was sent and not acknowledged is sent again when the client is back, in
// order and with its id; what was not yet sent comes after it without DUP.
func sentAgain5(x *trial) {
	for qos := byte(1); qos < 3; qos++ {
		inBubble(x, nil, func(b *bubble) {
			c := b.five(connect{id: "c", props: lasts(100)})
			c.subscribe(filter{"t", 2})
			other := b.five(connect{id: "other"})
			first := map[string]packet{}
			for i := range 5 {
				other.exchange(publish{topic: "t", payload: fmt.Sprint(i), qos: qos})
				m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
				if m.dup {
					b.Errorf("%v was not sent before", m)
				}
				first[m.payload] = m
			}
			c.leave()
			b.wait(0) // the connection has ended
			for i := 5; i < 10; i++ {
				other.exchange(publish{topic: "t", payload: fmt.Sprint(i), qos: qos})
			}
			c = b.five(connect{id: "c", resume: true, props: lasts(100)})
			for i := range 10 {
				m := c.message()
				was, sent := first[m.payload]
				if m.payload != fmt.Sprint(i) || m.dup != sent || sent && m.id != was.id {
					b.Errorf("message %d came as %v, DUP wanted: %v", i, m, sent)
				}
			}
			if more := c.mine("fence"); len(more) > 0 {
				b.Errorf("and then %v", more)
			}
		})
	}
}

func matching(x *trial) {
	base := x.topic("")
	for topic, filters := range map[string]map[string]bool{
		"a":     {"a": true, "+": true, "#": true, "a/#": true, "a/+": false, "A": false, "a/": false, "+/#": true},
		"a/b":   {"a/b": true, "a/+": true, "+/b": true, "+/+": true, "a/#": true, "#": true, "+": false, "a": false, "a/b/#": true, "a/+/#": true, "+/+/#": true, "b/+": false},
		"a/":    {"a/": true, "a/+": true, "a": false, "+/+": true},
		"a/b/c": {"a/+/c": true, "a/#": true, "a/+": false, "+/+/+": true, "a/+/#": true, "a/b/+/#": true},
	} {
		for f, want := range filters {
			c := x.five("c")
			c.subscribe(filter{base + f, 0})
			c.publish(publish{topic: base + topic})
			if got := c.mine(x.name("fence")); (len(got) == 1) != want || len(got) > 1 {
				x.Errorf("filter %q, topic %q: got %v, want a message: %v", f, topic, got, want)
			}
			c.leave()
		}
	}
}

func expires(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		away := b.five(connect{id: "away", props: lasts(100)})
		away.subscribe(filter{"t", 2})
		away.leave()
		p := b.five(connect{id: "p"})
		for qos := byte(1); qos < 3; qos++ {
			p.exchange(publish{topic: "t", payload: "short", qos: qos, props: prop(messageExpiry, u32(1))})
			p.exchange(publish{topic: "t", payload: "long", qos: qos, props: prop(messageExpiry, u32(10))})
			p.exchange(publish{topic: "t", payload: "for ever", qos: qos})
		}
		p.exchange(publish{topic: "kept", payload: "kept", qos: 1, retain: true, props: prop(messageExpiry, u32(1))})
		b.wait(2 * time.Second)
		away = b.five(connect{id: "away", resume: true, props: lasts(100)})
		away.subscribe(filter{"kept", 0})
		if got := payloads(away.mine("fence")); !slices.Equal(got, []string{"long", "for ever", "long", "for ever"}) {
			b.Errorf("got %q", got)
		}
	})
}

func expiryShrinks(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		there := b.five(connect{id: "there"})
		there.subscribe(filter{"t", 1})
		away := b.five(connect{id: "away", props: lasts(100)})
		away.subscribe(filter{"t", 1})
		away.leave()
		b.five(connect{id: "p"}).exchange(publish{topic: "t", payload: "p", qos: 1, retain: true, props: prop(messageExpiry, u32(20))})
		if m := there.message(); !slices.Equal(m.numbers(messageExpiry), []uint32{20}) {
			b.Errorf("at once: %v", m.props)
		}
		b.wait(5 * time.Second)
		away = b.five(connect{id: "away", resume: true})
		later := b.five(connect{id: "later"})
		later.subscribe(filter{"t", 1})
		for who, c := range map[string]*client{"away": away, "later": later} {
			if m := c.message(); !slices.Equal(m.numbers(messageExpiry), []uint32{15}) {
				b.Errorf("%s: %v, want 15 s", who, m.props)
			}
		}
	})
}

func serverAlias(x *trial) {
	c := x.five("c", prop(topicAliasMaximum, u16(1)), lasts(100))
	c.subscribe(filter{x.topic("t"), 2})
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("t"), qos: qos})
		m := c.message()
		if first := qos == 0; (m.topic == x.topic("t")) != first || !slices.Equal(m.numbers(topicAlias), []uint32{1}) {
			x.Errorf("QoS %d: got %v with %v", qos, m, m.props)
		}
	}
	c.exchange(publish{topic: x.topic("t"), qos: 1, payload: "again"})
	c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
	c.leave()
	// It is of the connection: what is sent again has its topic.
	c = x.back("c")
	if m := c.message(); m.topic != x.topic("t") || m.payload != "again" || len(m.numbers(topicAlias)) > 0 {
		x.Errorf("sent again: got %v with %v", m, m.props)
	}
}

func serverReceiveMaximum(x *trial) {
	most := int(x.announced(receiveMaximum))
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("t"), 0})
	c := x.five("c")
	var all []byte
	for id := 1; id <= most; id++ {
		all = append(all, publish{topic: x.topic("t"), qos: 2, id: uint16(id)}.bytes(5)...)
	}
	c.send(all)
	for range most {
		c.want(PUBREC)
		watcher.message()
	}
	// Those that are done leave their place to others, also to QoS 1.
	c.send(ack(PUBREL, 1))
	c.want(PUBCOMP)
	c.publish(publish{topic: x.topic("t"), qos: 1, id: uint16(most) + 1})
	c.want(PUBACK)
	c.publish(publish{topic: x.topic("t"), qos: 2, id: uint16(most) + 1})
	c.want(PUBREC)
	c.publish(publish{topic: x.topic("t"), qos: 2, id: 2, dup: true}) // one of those on their way
	c.want(PUBREC)
	c.publish(publish{topic: x.topic("t"), qos: 2, id: uint16(most) + 2})
	c.dismissed("one too many", tooManyAtOnce)
}

func clientReceiveMaximum(x *trial) {
	for qos := byte(1); qos < 3; qos++ {
		c := x.five("c", prop(receiveMaximum, u16(3)), lasts(100))
		c.subscribe(filter{x.topic("t"), 2})
		other := x.five("other")
		published := 0
		send := func(n int) {
			for range n {
				other.exchange(publish{topic: x.topic("t"), payload: fmt.Sprint(published), qos: qos})
				published++
			}
		}
		send(20)
		var open []packet
		for next := 0; next < 30; next++ {
			if len(open) == 3 {
				// No fourth before one of the three is done: PINGRESP comes first.
				c.alive()
				if i := slices.IndexFunc(c.waiting, func(p packet) bool { return p.kind == PUBLISH }); i >= 0 {
					x.Fatalf("QoS %d: %v came with %d on their way", qos, c.waiting[i], len(open))
				}
				c.acknowledge(open[0])
				open = open[1:]
			}
			m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			if m.payload != fmt.Sprint(next) {
				x.Errorf("QoS %d: got %v, want message %d", qos, m, next)
			}
			open = append(open, m)
			if next == 15 { // the same for what comes while the client is away
				for _, m := range open {
					c.acknowledge(m)
				}
				open = nil
				c.alive()
				unread := 0
				for _, p := range c.waiting {
					unread += int(bit(p.kind == PUBLISH))
				}
				c.leave()
				send(10)
				c = x.back("c", prop(receiveMaximum, u16(3)), lasts(100))
				_ = unread
			}
		}
		for _, m := range open {
			c.acknowledge(m)
		}
		c.mine(x.name("fence"))
		other.leave()
		c.leave()
		x.five("c").leave()
	}
}

func otherPacketsGoOn(x *trial) {
	c := x.five("c", prop(receiveMaximum, u16(1)))
	c.subscribe(filter{x.topic("t"), 1})
	other := x.five("other")
	for range 5 {
		other.exchange(publish{topic: x.topic("t"), qos: 1})
	}
	c.alive()
	c.exchange(publish{topic: x.topic("elsewhere"), qos: 2})
	c.subscribe(filter{x.topic("more"), 0})
	c.unsubscribe(x.topic("more"))
}

// shortAcks looks at acknowledgements for a client that takes little.
func (x *trial) shortAcks(id byte) {
	x.Helper()
	const most = 20
	for _, problem := range []byte{0, 1} {
		c := x.five("c", prop(maximumPacketSize, u32(most)), prop(requestProblem, []byte{problem}))
		c.publish(publish{topic: "$SYS/mine", qos: 1, id: 1, props: user(strings.Repeat("n", 20), "v")})
		c.publish(publish{topic: "$SYS/mine", qos: 2, id: 2, props: user(strings.Repeat("n", 20), "v")})
		c.send(ack(PUBREC, 3), ack(PUBREL, 4), subscribe(5, 5, user(strings.Repeat("n", 20), "v"), filter{"wrong/#/x", 0}), unsubscribe(5, 6, "none"))
		for _, kind := range []byte{PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK} {
			p := c.want(kind)
			code := p.code
			if len(p.codes) > 0 {
				code = p.codes[0]
			}
			if _, has := p.prop(id); has || p.size > most || code == 0 {
				x.Errorf("got %v of %d bytes with %v", p, p.size, p.props)
			}
		}
	}
	// With room for them the properties of a client are not sent back.
	c := x.five("roomy")
	c.publish(publish{topic: x.topic("t"), qos: 1, id: 1, props: user("n", "v")})
	c.send(subscribe(5, 2, user("n", "v"), filter{x.topic("t"), 0}))
	for _, kind := range []byte{PUBACK, SUBACK} {
		if p := c.want(kind); len(p.texts(userProperty)) > 0 {
			x.Errorf("got %v with %v", p, p.props)
		}
	}
}
