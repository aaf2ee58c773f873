package conformance_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Chapters 3.8 to 3.14 of MQTT 3.1.1: SUBSCRIBE to DISCONNECT.
func v311Subscribe() []statement {
	return []statement{
		{number: "MQTT-3.8.1-1", asks: "SUBSCRIBE's reserved flags are 2, anything else ends the connection.", test: subscribeFlags},
		{number: "MQTT-3.8.3-1", asks: "Filters are UTF-8.", test: filtersAreUTF8},
		{number: "MQTT-3.8.3-2", asks: "A server without wildcards refuses filters that have them.", why: "does not apply: the broker has wildcards (MQTT-4.7.1-2 and -3)"},
		{number: "MQTT-3.8.3-3", asks: "A SUBSCRIBE has at least one filter with its QoS.", test: subscribeToNothing},
		{number: "MQTT-3.8.3-4", asks: "Reserved bits, or QoS 3, ends the connection.", test: subscribeBits},
		{number: "MQTT-3.8.4-1", asks: "SUBSCRIBE is answered with SUBACK.", test: subackComes},
		{number: "MQTT-3.8.4-2", asks: "SUBACK has the id of its SUBSCRIBE.", test: subacksCarryTheID},
		{number: "MQTT-3.8.4-3", asks: "A filter again replaces the subscription: retained messages come again, nothing else is lost or doubled.", test: subscribeAgain},
		{number: "MQTT-3.8.4-4", asks: "Several filters are as several SUBSCRIBEs with one answer.", test: severalFilters},
		{number: "MQTT-3.8.4-5", asks: "SUBACK has a return code for each filter: the QoS granted, or failure.", test: codes,
			deviation: "Filters are refused that the client's role may not read, that have more than 32 levels, or that are the 1,001st of the client."},
		{number: "MQTT-3.8.4-6", asks: "A message comes at the lower of its own QoS and the subscription's.", test: lowerQoS},
		{number: "MQTT-3.9.3-1", asks: "The return codes are in the order of the filters.", test: codes},
		{number: "MQTT-3.9.3-2", asks: "There are no return codes but 0, 1, 2 and 0x80.", test: codes},

		{number: "MQTT-3.10.1-1", asks: "UNSUBSCRIBE's reserved flags are 2, anything else ends the connection.", test: unsubscribeFlags},
		{number: "MQTT-3.10.3-1", asks: "Filters are UTF-8, one after another.", test: unsubscribeUTF8},
		{number: "MQTT-3.10.3-2", asks: "An UNSUBSCRIBE has at least one filter.", test: unsubscribeNothing},
		{number: "MQTT-3.10.4-1", asks: "The subscription whose filter has the same characters is deleted, no other.", test: unsubscribeSame},
		{number: "MQTT-3.10.4-2", asks: "Nothing new is added for the client.", test: unsubscribed},
		{number: "MQTT-3.10.4-3", asks: "What was begun at QoS 1 and 2 is completed.", test: completedAfterUnsubscribe},
		{number: "MQTT-3.10.4-4", asks: "UNSUBACK has the id of its UNSUBSCRIBE.", test: subacksCarryTheID},
		{number: "MQTT-3.10.4-5", asks: "UNSUBACK comes even if there was nothing to delete.", test: unsubackAlways},
		{number: "MQTT-3.10.4-6", asks: "Several filters are as several UNSUBSCRIBEs with one answer.", test: unsubscribeSeveral},

		{number: "MQTT-3.12.4-1", asks: "PINGREQ is answered with PINGRESP.", test: pings},

		{number: "MQTT-3.14.1-1", asks: "DISCONNECT's reserved bits are 0, anything else ends the connection as a lost one.", test: disconnectFlags},
		{number: "MQTT-3.14.4-1", asks: "A client closes the connection after DISCONNECT.", test: serverClosesToo},
		{number: "MQTT-3.14.4-2", asks: "A client sends nothing after DISCONNECT.", test: nothingAfterDisconnect},
		{number: "MQTT-3.14.4-3", asks: "DISCONNECT takes the will away.", test: disconnectDropsTheWill},
	}
}

func subscribeFlags(x *trial) {
	for flags := range byte(16) {
		if flags != 2 {
			x.hangsUpOn(fmt.Sprintf("SUBSCRIBE with flags %04b", flags), frame(SUBSCRIBE<<4|flags, u16(1), str("a"), []byte{0}))
		}
	}
}

func filtersAreUTF8(x *trial) {
	x.hangsUpOn("SUBSCRIBE in Latin-1", subscribe(4, 1, nil, filter{"ok", 0}, filter{"caf\xe9", 0}))
	c := x.join("c")
	if codes := c.subscribe(filter{"café/⌂/家", 1}); !bytes.Equal(codes, []byte{1}) {
		x.Errorf("got %x", codes)
	}
}

func subscribeToNothing(x *trial) {
	x.hangsUpOn("SUBSCRIBE without filters", frame(SUBSCRIBE<<4|2, u16(1)))
	x.hangsUpOn("without anything", frame(SUBSCRIBE<<4|2))
	x.hangsUpOn("without a QoS", frame(SUBSCRIBE<<4|2, u16(1), str("a")))
	x.hangsUpOn("with half a filter", frame(SUBSCRIBE<<4|2, u16(1), []byte{0, 9, 'a'}))
	x.hangsUpOn("with bytes left over", frame(SUBSCRIBE<<4|2, u16(1), str("a"), []byte{0, 7}))
}

func subscribeBits(x *trial) {
	for _, options := range []byte{3, 4, 8, 16, 32, 64, 128, 0x81, 0xff} {
		x.hangsUpOn(fmt.Sprintf("SUBSCRIBE with QoS %#x", options), subscribe(4, 1, nil, filter{"a", options}))
	}
}

func subackComes(x *trial) {
	c := x.join("c")
	c.send(subscribe(4, 9, nil, filter{x.topic("a"), 0}), pingreq())
	c.want(SUBACK)
	c.want(PINGRESP)
}

func subscribeAgain(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	p.exchange(publish{topic: x.topic("a"), payload: "kept", qos: 2, retain: true})
	for _, qos := range []byte{0, 2, 1} {
		c.subscribe(filter{x.topic("a"), qos})
		if m := c.message(); !m.retain || m.payload != "kept" || m.qos != qos {
			x.Errorf("subscribed at QoS %d, got %v", qos, m)
		}
		p.exchange(publish{topic: x.topic("a"), payload: "news", qos: 2})
		if m := c.message(); m.payload != "news" || m.qos != qos {
			x.Errorf("subscribed at QoS %d, got %v", qos, m)
		}
	}
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("more came: %v", got)
	}
	subscribeInAStream(x, p, c)
}

// subscribeInAStream subscribes again and again while messages flow: each comes
// once.
func subscribeInAStream(x *trial, p, c *client) {
	const many = 500
	go func() {
		for i := range many {
			p.publish(publish{topic: x.topic("a"), payload: fmt.Sprint(i), qos: 1})
		}
	}()
	next := 0
	for next < many {
		if next%50 == 0 {
			c.send(subscribe(4, 1000, nil, filter{x.topic("a"), 1}))
		}
		if m := c.message(); !m.retain && m.payload != fmt.Sprint(next) {
			x.Fatalf("got %v, want %d", m, next)
		} else if !m.retain {
			next++
		}
	}
}

func severalFilters(x *trial) {
	c := x.join("c")
	c.exchange(publish{topic: x.topic("a"), payload: "a", qos: 1, retain: true})
	c.exchange(publish{topic: x.topic("b"), payload: "b", qos: 1, retain: true})
	codes := c.subscribe(filter{x.topic("a"), 0}, filter{x.topic("b"), 1}, filter{x.topic("c"), 2}, filter{x.topic("a"), 2})
	if !bytes.Equal(codes, []byte{0, 1, 2, 2}) {
		x.Errorf("got %v", codes)
	}
	got := payloads(c.mine(x.topic("fence")))
	slices.Sort(got)
	if !slices.Equal(slices.Compact(got), []string{"a", "b"}) {
		x.Errorf("retained: %v", got)
	}
	for _, topic := range []string{"a", "b", "c"} {
		c.exchange(publish{topic: x.topic(topic), payload: topic, qos: 2})
	}
	var qos []byte
	for _, m := range c.mine(x.topic("fence2")) {
		qos = append(qos, m.qos)
	}
	if !bytes.Equal(qos, []byte{2, 1, 2}) {
		x.Errorf("messages on a, b and c came at %v", qos)
	}
}

func codes(x *trial) {
	c := x.join("c")
	deep := strings.Repeat("x/", 40)
	got := c.subscribe(filter{x.topic("a"), 2}, filter{deep, 1}, filter{x.topic("a#"), 0}, filter{x.topic("b"), 0}, filter{"", 1}, filter{x.topic("c"), 1})
	if want := []byte{2, 0x80, 0x80, 0, 0x80, 1}; !bytes.Equal(got, want) {
		x.Errorf("got %x, want %x", got, want)
	}
}

func lowerQoS(x *trial) {
	for granted := range byte(3) {
		c := x.join("c")
		c.subscribe(filter{x.topic("a"), granted})
		for qos := range byte(3) {
			c.exchange(publish{topic: x.topic("a"), qos: qos})
			if m := c.message(); m.qos != min(qos, granted) {
				x.Errorf("published at %d, granted %d, got %v", qos, granted, m)
			}
		}
		c.leave()
	}
}

func unsubscribeFlags(x *trial) {
	for flags := range byte(16) {
		if flags != 2 {
			x.hangsUpOn(fmt.Sprintf("UNSUBSCRIBE with flags %04b", flags), frame(UNSUBSCRIBE<<4|flags, u16(1), str("a")))
		}
	}
}

func unsubscribeUTF8(x *trial) {
	x.hangsUpOn("UNSUBSCRIBE in Latin-1", unsubscribe(4, 1, "ok", "caf\xe9"))
	x.hangsUpOn("with half a filter", frame(UNSUBSCRIBE<<4|2, u16(1), str("a"), []byte{0, 9, 'a'}))
	x.hangsUpOn("with a byte left over", frame(UNSUBSCRIBE<<4|2, u16(1), str("a"), []byte{0}))
}

func unsubscribeNothing(x *trial) {
	x.hangsUpOn("UNSUBSCRIBE without filters", frame(UNSUBSCRIBE<<4|2, u16(1)))
	x.hangsUpOn("without anything", frame(UNSUBSCRIBE<<4|2))
}

func unsubscribeSame(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a/+"), 1})
	c.unsubscribe(x.topic("a/b"), x.topic("a/#"), x.topic("A/+"), x.topic("+/+"), x.topic("a/+/"), "#")
	c.exchange(publish{topic: x.topic("a/b"), payload: "still", qos: 1})
	if m := c.message(); m.payload != "still" {
		x.Errorf("got %v", m)
	}
	c.unsubscribe(x.topic("a/+"))
	c.exchange(publish{topic: x.topic("a/b"), payload: "no more", qos: 1})
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("got %v", got)
	}
}

func unsubscribed(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 1}, filter{x.topic("b"), 1})
	c.unsubscribe(x.topic("a"))
	p.exchange(publish{topic: x.topic("a"), qos: 1})
	c.leave()
	p.exchange(publish{topic: x.topic("a"), qos: 1})
	c = x.resume("c")
	p.exchange(publish{topic: x.topic("b"), payload: "b", qos: 1})
	if m := c.message(); m.payload != "b" {
		x.Errorf("got %v", m)
	}
	// The id of an UNSUBSCRIBE is the client's, whatever is in flight to it.
	p.exchange(publish{topic: x.topic("b"), payload: "in flight", qos: 1})
	m := c.want(PUBLISH)
	c.send(unsubscribe(4, m.id, x.topic("b")))
	c.acked(UNSUBACK, m.id)
	p.exchange(publish{topic: x.topic("b"), qos: 1})
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("got %v", got)
	}
}

func completedAfterUnsubscribe(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	p.exchange(publish{topic: x.topic("a"), payload: "1", qos: 1})
	p.exchange(publish{topic: x.topic("a"), payload: "2", qos: 2})
	one, two := c.want(PUBLISH), c.want(PUBLISH)
	c.unsubscribe(x.topic("a"))
	c.send(ack(PUBREC, two.id))
	c.acked(PUBREL, two.id)
	c.drop()
	c = x.resume("c")
	if m := c.want(PUBLISH); m.id != one.id || m.payload != "1" {
		x.Errorf("got %v, want %v again", m, one)
	}
	if r := c.want(PUBREL); r.id != two.id {
		x.Errorf("got %v, want PUBREL of %v", r, two)
	}
}

func unsubackAlways(x *trial) {
	c := x.join("c")
	c.unsubscribe(x.topic("never"))
	c.unsubscribe("a#", strings.Repeat("x/", 100))
}

func unsubscribeSeveral(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a"), 0}, filter{x.topic("b"), 0}, filter{x.topic("c"), 0})
	c.send(unsubscribe(4, 77, x.topic("a"), x.topic("none"), x.topic("c"), x.topic("a")), pingreq())
	if u := c.want(UNSUBACK); u.id != 77 {
		x.Errorf("got %v", u)
	}
	c.want(PINGRESP)
	for _, topic := range []string{"a", "b", "c"} {
		c.publish(publish{topic: x.topic(topic), payload: topic})
	}
	if got := payloads(c.mine(x.topic("fence"))); !slices.Equal(got, []string{"b"}) {
		x.Errorf("got %v", got)
	}
}

func pings(x *trial) {
	c := x.join("c")
	for range 3 {
		c.send(pingreq())
		c.want(PINGRESP)
	}
}

func disconnectFlags(x *trial) {
	for flags := byte(1); flags < 16; flags++ {
		x.hangsUpOn(fmt.Sprintf("DISCONNECT with flags %04b", flags), frame(DISCONNECT<<4|flags))
	}
}

func serverClosesToo(x *trial) {
	c := x.join("c")
	c.send(disconnect())
	if got := c.ended(); len(got) > 0 {
		x.Errorf("after DISCONNECT came %v", got)
	}
}

func nothingAfterDisconnect(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("a"), 0})
	c := x.join("c")
	c.send(disconnect(), publish{topic: x.topic("a")}.bytes(4))
	c.ended()
	if got := watcher.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("what came after DISCONNECT was published: %v", got)
	}
}

func disconnectDropsTheWill(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 1})
	for _, resume := range []bool{false, true} {
		c := join(x, x.s, connect{id: x.id("c"), resume: resume, will: &will{topic: x.topic("will"), payload: "lost", qos: 1, retain: true}})
		c.leave()
		x.join("c").leave() // comes when the other has ended whole
	}
	if got := watcher.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("the will came: %v", got)
	}
}
