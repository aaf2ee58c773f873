package conformance_test

import (
	"fmt"
	"slices"
	"strings"
)

// Chapters 3.8 to 3.11 of MQTT 5: SUBSCRIBE and UNSUBSCRIBE.
func v5Subscribe() []statement {
	return []statement{
		{number: "MQTT-3.8.1-1", asks: "The flags of SUBSCRIBE are 0010.", test: func(x *trial) {
			for _, flags := range []byte{0, 1, 3, 10} {
				x.breaks(malformed, fmt.Sprint(flags), frame(SUBSCRIBE<<4|flags, u16(1), []byte{0}, str("a"), []byte{0}))
			}
		}},
		{number: "MQTT-3.8.3-1", asks: "A filter is UTF-8.", test: func(x *trial) {
			x.breaks(malformed, "not UTF-8", subscribe(5, 1, nil, filter{"\xff", 0}))
			x.breaks(malformed, "cut", frame(SUBSCRIBE<<4|2, u16(1), []byte{0}, u16(9), []byte("a")))
		}},
		{number: "MQTT-3.8.3-2", asks: "A SUBSCRIBE has a filter with its options.", test: func(x *trial) {
			x.breaks(protocolError, "no filter", subscribe(5, 1, nil))
			x.breaks(malformed, "no options", frame(SUBSCRIBE<<4|2, u16(1), []byte{0}, str("a")))
		}},
		{number: "MQTT-3.8.3-3", asks: "With No Local a client is not sent what it published.", test: noLocalHolds},
		{number: "MQTT-3.8.3-4", asks: "No Local for a shared subscription is a protocol error.", test: func(x *trial) {
			x.breaks(protocolError, "shared", subscribe(5, 1, nil, filter{"$share/g/a", noLocal}))
		}},
		{number: "MQTT-3.8.3-5", asks: "The reserved bits of the options are 0; there is no QoS 3 and no retain handling 3.", test: func(x *trial) {
			x.breaks(malformed, "bit 6", subscribe(5, 1, nil, filter{"a", 0x40}))
			x.breaks(malformed, "bit 7", subscribe(5, 1, nil, filter{"a", 0x80}))
			x.breaks(protocolError, "QoS 3", subscribe(5, 1, nil, filter{"a", 3}))
			x.breaks(protocolError, "retain handling 3", subscribe(5, 1, nil, filter{"a", 0x30}))
			x.breaks(protocolError, "identifier 0", subscribe(5, 1, prop(subscriptionID, varint(0)), filter{"a", 0}))
			x.breaks(protocolError, "two identifiers", subscribe(5, 1, slices.Concat(prop(subscriptionID, varint(1)), prop(subscriptionID, varint(2))), filter{"a", 0}))
		}},
		{number: "MQTT-3.8.4-1", asks: "A SUBSCRIBE is answered with SUBACK.", test: func(x *trial) {
			c := x.five("c")
			c.send(subscribe(5, 7, nil, filter{x.topic("t"), 0}))
			c.want(SUBACK)
		}},
		{number: "MQTT-3.8.4-2", asks: "SUBACK has the id of its SUBSCRIBE.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 2})
			x.five("other").exchange(publish{topic: x.topic("t"), qos: 1})
			m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			// The server uses that id for a message, which has nothing to do with it.
			c.send(subscribe(5, m.id, nil, filter{x.topic("u"), 1}))
			if a := c.want(SUBACK); a.id != m.id || !slices.Equal(a.codes, []byte{1}) {
				x.Errorf("got %v", a)
			}
		}},
		{number: "MQTT-3.8.4-3", asks: "A subscription with the filter of another replaces it.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe5(prop(subscriptionID, varint(1)), filter{x.topic("t"), 2 | noLocal})
			c.subscribe5(prop(subscriptionID, varint(2)), filter{x.topic("t"), 0})
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			if m := c.message(); m.qos != 0 || !slices.Equal(m.numbers(subscriptionID), []uint32{2}) {
				x.Errorf("got %v with %v", m, m.props)
			}
			if more := c.mine(x.name("fence")); len(more) > 0 {
				x.Errorf("and %v", more)
			}
			c.subscribe(filter{x.topic("t"), 1})
			c.exchange(publish{topic: x.topic("t"), qos: 2})
			if m := c.message(); m.qos != 1 || len(m.numbers(subscriptionID)) > 0 {
				x.Errorf("got %v with %v", m, m.props)
			}
		}},
		{number: "MQTT-3.8.4-4", asks: "With retain handling 0 it is sent what is retained again; nothing is lost meanwhile.", test: func(x *trial) {
			c := x.five("c")
			c.exchange(publish{topic: x.topic("kept"), payload: "kept", retain: true, qos: 1})
			c.subscribe(filter{x.topic("#"), 1})
			if m := c.message(); m.payload != "kept" {
				x.Errorf("got %v", m)
			}
			other := x.five("other")
			for i := range 50 {
				id := c.newID()
				c.send(subscribe(5, id, nil, filter{x.topic("#"), 1}))
				other.exchange(publish{topic: x.topic("news"), payload: fmt.Sprint(i), qos: 1})
			}
			news, kept := 0, 0
			for news < 50 || kept < 50 {
				switch m := c.message(); m.payload {
				case "kept":
					kept++
				case fmt.Sprint(news):
					news++
				default:
					x.Fatalf("got %v, want message %d", m, news)
				}
			}
		}},
		{number: "MQTT-3.8.4-5", asks: "Several filters are as good as several SUBSCRIBE, with one SUBACK.", test: func(x *trial) {
			c := x.five("c")
			if got := c.subscribe(filter{x.topic("a"), 1}, filter{x.topic("a"), 0}, filter{x.topic("b"), 2}); !slices.Equal(got, []byte{1, 0, 2}) {
				x.Errorf("codes %v", got)
			}
			c.exchange(publish{topic: x.topic("a"), qos: 1})
			if got := c.mine(x.name("fence")); len(got) != 1 || got[0].qos != 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.8.4-6", asks: "SUBACK has a reason for each filter.", test: func(x *trial) {
			c := x.five("c")
			var filters []filter
			for i := range 100 {
				filters = append(filters, filter{x.topic(fmt.Sprint(i)), byte(i % 3)})
			}
			got := c.subscribe(filters...)
			for i, f := range filters {
				if len(got) != len(filters) || got[i] != f.options {
					x.Fatalf("codes %v", got)
				}
			}
		}},
		{number: "MQTT-3.8.4-7", asks: "The reason is the QoS that was granted, or why none was.", test: func(x *trial) {
			c := x.five("c")
			deep := strings.Repeat("a/", 40)
			got := c.subscribe(filter{x.topic("0"), 0}, filter{x.topic("1"), 1}, filter{x.topic("2"), 2}, filter{"a#", 0}, filter{"a/#/b", 0}, filter{"+a", 0}, filter{"", 0}, filter{deep, 0}, filter{"$share/g", 0}, filter{"$share//a", 0})
			if want := []byte{0, 1, 2, invalidFilter, invalidFilter, invalidFilter, invalidFilter, invalidFilter, invalidFilter, invalidFilter}; !slices.Equal(got, want) {
				x.Errorf("codes %x, want %x", got, want)
			}
		}},
		{number: "MQTT-3.8.4-8", asks: "A message comes with the smaller of its QoS and the granted one.", test: func(x *trial) {
			c := x.five("c")
			for granted := range byte(3) {
				c.subscribe(filter{x.topic("t"), granted})
				for qos := range byte(3) {
					c.exchange(publish{topic: x.topic("t"), qos: qos})
					if m := c.message(); m.qos != min(qos, granted) {
						x.Errorf("published at %d, granted %d: got %v", qos, granted, m)
					}
				}
			}
		}},

		{number: "MQTT-3.9.2-1", asks: "No reason string makes SUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.9.2-2", asks: "No user property makes SUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
		{number: "MQTT-3.9.3-1", asks: "The reasons are in the order of the filters.", test: func(x *trial) {
			if got := x.five("c").subscribe(filter{x.topic("a"), 2}, filter{"a#", 0}, filter{x.topic("b"), 1}); !slices.Equal(got, []byte{2, invalidFilter, 1}) {
				x.Errorf("codes %x", got)
			}
		}},
		{number: "MQTT-3.9.3-2", asks: "The reasons are SUBACK's.", test: subackReasons,
			deviation: "What a client may read is the house's rules (0x87), how much it may subscribe to is bounded (0x97)."},

		{number: "MQTT-3.10.1-1", asks: "The flags of UNSUBSCRIBE are 0010.", test: func(x *trial) {
			for _, flags := range []byte{0, 1, 3, 10} {
				x.breaks(malformed, fmt.Sprint(flags), frame(UNSUBSCRIBE<<4|flags, u16(1), []byte{0}, str("a")))
			}
		}},
		{number: "MQTT-3.10.3-1", asks: "A filter is UTF-8.", test: func(x *trial) {
			x.breaks(malformed, "not UTF-8", unsubscribe(5, 1, "\xff"))
		}},
		{number: "MQTT-3.10.3-2", asks: "An UNSUBSCRIBE has a filter.", test: func(x *trial) {
			x.breaks(protocolError, "none", unsubscribe(5, 1))
		}},
		{number: "MQTT-3.10.4-1", asks: "The subscription with just this filter is ended.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("#"), 0}, filter{x.topic("a"), 1})
			c.unsubscribe(x.topic("a"), x.topic("+"))
			c.exchange(publish{topic: x.topic("a"), qos: 1})
			if m := c.message(); m.qos != 0 {
				x.Errorf("got %v", m)
			}
			c.unsubscribe(x.topic("#"))
			c.exchange(publish{topic: x.topic("a"), qos: 1})
			if got := c.mine(x.name("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.10.4-2", asks: "After it no message is added for the client.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 1}, filter{"$share/g/" + x.topic("s"), 1})
			c.unsubscribe(x.topic("t"), "$share/g/"+x.topic("s"))
			other := x.five("other")
			other.exchange(publish{topic: x.topic("t"), qos: 1})
			other.exchange(publish{topic: x.topic("s"), qos: 1})
			if got := c.mine(x.name("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.10.4-3", asks: "Deliveries at QoS 1 and 2 that have begun are ended.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("t"), 2})
			x.five("other").exchange(publish{topic: x.topic("t"), qos: 2})
			m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			c.unsubscribe(x.topic("t"))
			c.acknowledge(m)
		}},
		{number: "MQTT-3.10.4-4", asks: "An UNSUBSCRIBE is answered with UNSUBACK.", test: func(x *trial) {
			c := x.five("c")
			c.send(unsubscribe(5, 7, x.topic("t")))
			c.want(UNSUBACK)
		}},
		{number: "MQTT-3.10.4-5", asks: "UNSUBACK has the id of its UNSUBSCRIBE, and comes when nothing was ended too.", test: func(x *trial) {
			c := x.five("c")
			c.send(unsubscribe(5, 65535, x.topic("none")))
			if a := c.want(UNSUBACK); a.id != 65535 {
				x.Errorf("got %v", a)
			}
		}},
		{number: "MQTT-3.10.4-6", asks: "Several filters are as good as several UNSUBSCRIBE, with one UNSUBACK.", test: func(x *trial) {
			c := x.five("c")
			c.subscribe(filter{x.topic("a"), 0}, filter{x.topic("b"), 0})
			if got := c.unsubscribe(x.topic("a"), x.topic("a"), x.topic("b")); !slices.Equal(got, []byte{0, noneSubscribed, 0}) {
				x.Errorf("codes %x", got)
			}
		}},
		{number: "MQTT-3.11.2-1", asks: "No reason string makes UNSUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(reasonString) }},
		{number: "MQTT-3.11.2-2", asks: "No user property makes UNSUBACK larger than the client's maximum.", test: func(x *trial) { x.shortAcks(userProperty) }},
		{number: "MQTT-3.11.3-1", asks: "The reasons are in the order of the filters.", test: unsubackReasons},
		{number: "MQTT-3.11.3-2", asks: "The reasons are UNSUBACK's.", test: unsubackReasons},
	}
}

func noLocalHolds(x *trial) {
	a, b := x.five("a"), x.five("b")
	a.subscribe(filter{x.topic("t"), 2 | noLocal})
	b.subscribe(filter{x.topic("t"), 2 | noLocal})
	a.exchange(publish{topic: x.topic("t"), payload: "of a", qos: 1, retain: true})
	b.message()
	if got := a.mine(x.name("fence")); len(got) > 0 {
		x.Errorf("got %v", got)
	}
	// Another subscription without it is not silenced.
	a.subscribe(filter{x.topic("+"), 1 | neverReplay})
	a.exchange(publish{topic: x.topic("t"), payload: "by the other", qos: 1})
	if got := payloads(a.mine(x.name("fence"))); !slices.Equal(got, []string{"by the other"}) {
		x.Errorf("with another subscription: got %q", got)
	}
	// A will is its client's.
	c := join(x, x.s, connect{level: 5, id: x.id("c"), props: lasts(100), will: &will{topic: x.topic("t"), payload: "will"}})
	c.subscribe(filter{x.topic("t"), 1 | noLocal | neverReplay})
	c.drop()
	a.message()
	if got := x.back("c").mine(x.name("fence")); len(got) > 0 {
		x.Errorf("got its own will: %v", got)
	}
}

func unsubackReasons(x *trial) {
	c, other := x.five("c"), x.five("other")
	c.subscribe(filter{x.topic("a"), 0}, filter{"$share/g/" + x.topic("s"), 0}, filter{x.topic("deep/er"), 0})
	other.subscribe(filter{x.topic("others"), 0}, filter{"$share/g/" + x.topic("theirs"), 0})
	got := c.unsubscribe(x.topic("a"), x.topic("none"), x.topic("others"), "$share/g/"+x.topic("s"), "$share/g/"+x.topic("theirs"), x.topic("deep"), "a#")
	if want := []byte{0, noneSubscribed, noneSubscribed, 0, noneSubscribed, noneSubscribed, noneSubscribed}; !slices.Equal(got, want) {
		x.Errorf("codes %x, want %x", got, want)
	}
}
