package conformance_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Chapters 4 and 7 of MQTT 3.1.1: sessions, QoS, order, topics, errors.
func v311Behaviour() []statement {
	return []statement{
		{number: "MQTT-4.1.0-1", asks: "A session is kept as long as it lasts.", test: sessionIsResumed,
			deviation: "See MQTT-3.1.2-4."},
		{number: "MQTT-4.1.0-2", asks: "A session lasts at least as long as its connection.", test: sessionIsResumed},
		{number: "MQTT-4.3.1-1", asks: "At QoS 0 a message is sent once, with QoS 0 and no DUP.", test: qos0Once},
		{number: "MQTT-4.3.2-1", asks: "At QoS 1 the sender takes an unused id, sends without DUP, and holds the message until PUBACK.", test: qos1Sender},
		{number: "MQTT-4.3.2-2", asks: "The receiver answers PUBACK; the same id after that is a new message.", test: qos1Receiver},
		{number: "MQTT-4.3.3-1", asks: "At QoS 2 the sender holds PUBLISH until PUBREC, then PUBREL until PUBCOMP, and sends PUBLISH no more.", test: qos2Sender},
		{number: "MQTT-4.3.3-2", asks: "The receiver answers PUBREC again to the same id until PUBREL, delivers once, and answers PUBREL with PUBCOMP.", test: qos2Receiver},
		{number: "MQTT-4.4.0-1", asks: "To a client that comes back, all PUBLISH and PUBREL without acknowledgement are sent again, under their ids.", test: sentAgain},
		{number: "MQTT-4.5.0-1", asks: "A message is added to the session of every client that has a matching subscription.", test: everySession},
		{number: "MQTT-4.5.0-2", asks: "A client acknowledges every PUBLISH.", why: bindsClients},
		{number: "MQTT-4.6.0-1", asks: "What is sent again is sent in the order of the first time.", test: orderOfSecondTime},
		{number: "MQTT-4.6.0-2", asks: "PUBACKs are sent in the order of the PUBLISHes.", test: orderOfAcks},
		{number: "MQTT-4.6.0-3", asks: "PUBRECs are sent in the order of the PUBLISHes.", test: orderOfAcks},
		{number: "MQTT-4.6.0-4", asks: "PUBRELs are sent in the order of the PUBRECs.", test: orderOfPubrels},
		{number: "MQTT-4.6.0-5", asks: "Every topic is an ordered one.", test: orderOfMessages},
		{number: "MQTT-4.6.0-6", asks: "Messages of a client on a topic at one QoS reach each subscriber in their order.", test: orderOfMessages},

		{number: "MQTT-4.7.1-1", asks: "Topics have no wildcards.", test: noWildcardsInTopics},
		{number: "MQTT-4.7.1-2", asks: "# stands alone or after a separator, and last.", test: hashIsLast, deviation: wrongFilters},
		{number: "MQTT-4.7.1-3", asks: "+ takes a whole level.", test: plusIsALevel, deviation: wrongFilters},
		{number: "MQTT-4.7.2-1", asks: "A filter that begins with a wildcard matches no topic that begins with $.", test: dollarTopics,
			deviation: "Clients may read $SYS and publish nowhere below $: such a PUBLISH is acknowledged and goes nowhere."},
		{number: "MQTT-4.7.3-1", asks: "Topics and filters have at least one character.", test: emptyTopics, deviation: wrongFilters},
		{number: "MQTT-4.7.3-2", asks: "Topics and filters have no U+0000.", test: nullInText},
		{number: "MQTT-4.7.3-3", asks: "Topics and filters have at most 65,535 bytes.", test: longTopics,
			deviation: "At most 32 levels: a deep topic costs everybody time. A PUBLISH on a deeper one goes nowhere, a filter is refused."},
		{number: "MQTT-4.7.3-4", asks: "Topics are compared as they are: no normalisation, no case folding.", test: noNormalisation},
		{number: "MQTT-4.8.0-1", asks: "A protocol violation ends the connection.", test: violations},
		{number: "MQTT-4.8.0-2", asks: "A transient error while a packet is processed ends the connection.", test: tooLarge},

		{number: "MQTT-6.0.0-1", asks: "Over WebSocket, packets come in binary frames; another kind ends the connection.", why: "tested in package broker, websocket_test.go"},
		{number: "MQTT-6.0.0-2", asks: "Packets and frames need not begin together.", why: "tested in package broker, websocket_test.go"},
		{number: "MQTT-6.0.0-3", asks: "A client offers the subprotocol mqtt.", why: bindsClients},
		{number: "MQTT-6.0.0-4", asks: "The server chooses the subprotocol mqtt.", why: "tested in package broker, websocket_test.go"},

		{number: "MQTT-7.0.0-1", asks: "A server that also connects to servers is a conformant client too.", why: "does not apply: the broker connects to none"},
		{number: "MQTT-7.0.0-2", asks: "No extension is needed to work with others.", why: "every test here speaks MQTT 3.1.1 and nothing else"},
		{number: "MQTT-7.1.1-1", asks: "A server has a transport that is ordered and loses nothing.", why: "TCP, TLS and WebSocket; every test here uses TCP"},
		{number: "MQTT-7.1.2-1", asks: "A client has one too.", why: bindsClients},
	}
}

// wrongFilters is what becomes of a filter that is none.
const wrongFilters = "A wrong filter is refused with 0x80 in SUBACK, and the connection stays: the other subscriptions of the client are no worse for it."

func qos0Once(x *trial) {
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	c.publish(publish{topic: x.topic("a"), payload: "once"})
	if m := c.want(PUBLISH); m.qos != 0 || m.dup || m.payload != "once" {
		x.Errorf("got %v", m)
	}
	c.drop()
	c = x.resume("c")
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("again: %v", got)
	}
}

func qos1Sender(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 1})
	p.exchange(publish{topic: x.topic("a"), payload: "held", qos: 1})
	m := c.want(PUBLISH)
	if m.id == 0 || m.dup || m.qos != 1 {
		x.Errorf("got %v", m)
	}
	// What else the client does, with the same id of its own, changes nothing.
	c.send(ack(PUBREL, m.id), ack(PUBCOMP, m.id+1), ack(PUBACK, m.id+1))
	c.acked(PUBCOMP, m.id)
	for qos := byte(1); qos <= 2; qos++ {
		c.exchange(publish{topic: x.topic("else"), qos: qos, id: m.id})
	}
	c.send(subscribe(4, m.id, nil, filter{x.topic("else2"), 1}))
	c.acked(SUBACK, m.id)
	c.drop()
	c = x.resume("c")
	if again := c.want(PUBLISH); again.id != m.id || !again.dup || again.payload != "held" {
		x.Errorf("got %v, want %v again", again, m)
	}
	c.send(ack(PUBACK, m.id))
	c.alive()
	c.drop()
	c = x.resume("c")
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("after PUBACK: %v", got)
	}
}

func qos1Receiver(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a"), 1})
	for i := range 3 {
		payload := fmt.Sprint(i)
		c.exchange(publish{topic: x.topic("a"), payload: payload, qos: 1, id: 7, dup: i > 0})
		if m := c.message(); m.payload != payload {
			x.Errorf("got %v, want %s", m, payload)
		}
	}
}

func qos2Sender(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	p.exchange(publish{topic: x.topic("a"), payload: "held", qos: 2})
	m := c.want(PUBLISH)
	if m.id == 0 || m.dup || m.qos != 2 {
		x.Errorf("got %v", m)
	}
	c.exchange(publish{topic: x.topic("else"), qos: 2, id: m.id}) // the client's own ids are others
	again := func(kind byte) packet {
		c.drop()
		c = x.resume("c")
		p := c.want(kind)
		if p.id != m.id {
			x.Errorf("got %v, want that of %v", p, m)
		}
		return p
	}
	again(PUBLISH)
	c.send(ack(PUBREC, m.id))
	c.acked(PUBREL, m.id)
	again(PUBREL)
	c.exchange(publish{topic: x.topic("else"), qos: 2, id: m.id})
	again(PUBREL)
	c.send(ack(PUBREC, m.id)) // late, from the first time
	c.acked(PUBREL, m.id)
	c.send(ack(PUBCOMP, m.id))
	c.alive()
	c.drop()
	c = x.resume("c")
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("after PUBCOMP: %v", got)
	}
}

func qos2Receiver(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("a"), 2})
	c := x.resume("c")
	send := func(payload string, dup bool) {
		c.publish(publish{topic: x.topic("a"), payload: payload, qos: 2, id: 7, dup: dup})
		c.acked(PUBREC, 7)
		c.alive()
	}
	release := func() {
		c.send(ack(PUBREL, 7))
		c.acked(PUBCOMP, 7)
	}
	send("one", false)
	send("one", true)
	c.drop()
	c = x.resume("c")
	send("one", true) // over a lost connection too
	release()
	release() // PUBCOMP was lost
	send("two", false)
	release()
	if got := payloads(watcher.mine(x.topic("fence"))); !slices.Equal(got, []string{"one", "two"}) {
		x.Errorf("delivered %v, want one and two", got)
	}
	c.drop()
	c = x.join("c") // a clean session knows nothing of it
	send("three", false)
	c.drop()
	c = x.join("c")
	send("four", false)
	if got := payloads(watcher.mine(x.topic("fence2"))); !slices.Equal(got, []string{"three", "four"}) {
		x.Errorf("delivered %v, want three and four", got)
	}
}

func sentAgain(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	const many = 60
	ids := map[string]uint16{}
	for i := range many {
		p.exchange(publish{topic: x.topic("a"), payload: fmt.Sprint(i), qos: byte(1 + i%2)})
		m := c.want(PUBLISH)
		ids[m.payload] = m.id
	}
	done := []string{"4", "17", "40"} // acknowledged, out of order
	for _, payload := range done {
		if ids[payload]%2 == 0 {
			c.send(ack(PUBREC, ids[payload]), ack(PUBCOMP, ids[payload]))
		} else {
			c.send(ack(PUBACK, ids[payload]))
		}
		delete(ids, payload)
	}
	c.alive()
	for range 3 {
		c.drop()
		// Meanwhile the client is sent more, and does things of its own.
		payload := fmt.Sprint("more ", len(ids))
		p.exchange(publish{topic: x.topic("a"), payload: payload, qos: 1})
		c = x.resume("c")
		for id := uint16(1); id < 20; id++ {
			c.send(publish{topic: x.topic("else"), qos: 1, id: id}.bytes(4))
		}
		got := map[string]uint16{}
		for len(got) < len(ids)+1 {
			m := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
			got[m.payload] = m.id
			if want, known := ids[m.payload]; known && want != m.id {
				x.Fatalf("%q came as %d, and again as %d", m.payload, want, m.id)
			}
		}
		ids[payload] = got[payload]
	}
}

func everySession(x *trial) {
	var all []*client
	for i := range 10 {
		c := x.resume(fmt.Sprint(i))
		c.subscribe(filter{x.topic([]string{"a", "+", "#"}[i%3]), byte(i % 3)})
		if i%2 == 0 {
			c.leave()
		} else {
			all = append(all, c)
		}
	}
	p := x.join("publisher")
	p.exchange(publish{topic: x.topic("a"), payload: "to all", qos: 2})
	for _, c := range all {
		if m := c.message(); m.payload != "to all" {
			x.Errorf("got %v", m)
		}
	}
	for i := 0; i < 10; i += 2 {
		c := x.resume(fmt.Sprint(i))
		want := 1
		if i%3 == 0 {
			want = 0 // QoS 0 is not kept
		}
		if got := c.mine(x.number + fmt.Sprint("-fence", i)); len(got) != want {
			x.Errorf("client %d, which was away, got %v", i, got)
		}
	}
}

func orderOfSecondTime(x *trial) {
	p, c := x.join("publisher"), x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	var want []string
	next := func(n int) {
		for range n {
			payload := fmt.Sprint(len(want))
			want = append(want, payload)
			p.exchange(publish{topic: x.topic("a"), payload: payload, qos: byte(1 + len(want)%2)})
		}
	}
	next(30)
	for range 30 {
		c.want(PUBLISH)
	}
	for range 4 { // some are new each time, and each time the ids begin anew
		c.drop()
		next(30)
		c = x.resume("c")
		var got []string
		for range want {
			got = append(got, c.want(PUBLISH).payload)
		}
		if !slices.Equal(got, want) {
			x.Fatalf("order on the next connection:\ngot  %v\nwant %v", got, want)
		}
	}
}

func orderOfAcks(x *trial) {
	for qos := byte(1); qos <= 2; qos++ {
		c := x.join("c")
		var all []byte
		var want []uint16
		for i := range 200 {
			id := uint16(1 + i*37%200)
			want = append(want, id)
			all = append(all, publish{topic: x.topic("a"), qos: qos, id: id}.bytes(4)...)
		}
		c.send(all)
		var got []uint16
		for range want {
			p, _ := c.next()
			got = append(got, p.id)
		}
		if !slices.Equal(got, want) {
			x.Errorf("QoS %d: acknowledged %v, want %v", qos, got, want)
		}
	}
}

func orderOfPubrels(x *trial) {
	p, c := x.join("publisher"), x.join("c")
	c.subscribe(filter{x.topic("a"), 2})
	var ids []uint16
	for range 20 {
		p.exchange(publish{topic: x.topic("a"), qos: 2})
		ids = append(ids, c.want(PUBLISH).id)
	}
	slices.Reverse(ids)
	for _, id := range ids {
		c.send(ack(PUBREC, id))
	}
	for _, id := range ids {
		if r := c.want(PUBREL); r.id != id {
			x.Errorf("got %v, want that of %d", r, id)
		}
	}
}

func orderOfMessages(x *trial) {
	const publishers, many = 3, 200
	for qos := range byte(3) {
		c := x.join("c")
		c.subscribe(filter{x.topic("a"), 2})
		for i := range publishers {
			p := x.join(fmt.Sprint("p", i))
			go func() {
				for n := range many {
					payload := fmt.Sprintf("%d %d", i, n)
					id := uint16(n + 1)
					p.send(publish{topic: x.topic("a"), payload: payload, qos: qos, id: id}.bytes(4))
					if qos == 2 {
						p.send(ack(PUBREL, id))
					}
				}
			}()
		}
		var next [publishers]int
		for range publishers * many {
			m := c.message()
			var i, n int
			if _, err := fmt.Sscan(m.payload, &i, &n); err != nil || n != next[i] || m.qos != qos {
				x.Fatalf("QoS %d: got %v, want number %d of publisher %d", qos, m, next[i], i)
			}
			next[i]++
		}
		c.leave()
	}
}

// refusesFilters holds that wrong filters are refused, beside one that is not.
func refusesFilters(x *trial, wrong ...string) {
	x.Helper()
	c := x.join("c")
	for _, f := range wrong {
		if codes := c.subscribe(filter{f, 1}, filter{x.topic("right"), 1}); !bytes.Equal(codes, []byte{0x80, 1}) {
			x.Errorf("%q and another filter got %x, want 80 and 01", f, codes)
		}
	}
	c.leave()
}

func hashIsLast(x *trial) {
	refusesFilters(x, "a#", "#a", "a/#/b", "a/b#", "##", "#/", "#/#", "a/#b", "/#/", "a/+#")
	c := x.join("c")
	for f, want := range map[string]int{"#": 3, "/#": 0, "x/#": 3, "x/y/#": 2, "x/y/z/#": 1, "x/+/#": 2, "x/+/+/#": 1} {
		f = strings.Replace(f, "x", x.number, 1)
		if f == "#" {
			f = x.topic("#")
		}
		c.subscribe(filter{f, 0})
		for _, topic := range []string{x.number, x.topic("y"), x.topic("y/z")} {
			c.publish(publish{topic: topic})
		}
		if got := c.mine("fence-" + x.number); len(got) != want {
			x.Errorf("%s got %v, want %d", f, got, want)
		}
		c.unsubscribe(f)
	}
}

func plusIsALevel(x *trial) {
	refusesFilters(x, "+a", "a+", "a+/b", "a/+b", "++", "a/b+/c")
	c := x.join("c")
	for f, want := range map[string][]string{
		"+": {"/y", "/"}, "+/z": {"/y/z"}, "y/+": {"/y/z", "/y/"}, "+/+": {"/y/z", "/y/"}, "+/y": nil,
	} {
		c.subscribe(filter{x.topic(f), 0})
		for _, topic := range []string{"", "/y", "/", "/y/z", "/y/", "/y/z/q"} {
			c.publish(publish{topic: x.number + topic})
		}
		var got []string
		for _, m := range c.mine("fence-" + x.number) {
			got = append(got, strings.TrimPrefix(m.topic, x.number))
		}
		if !slices.Equal(got, want) {
			x.Errorf("%s got %q, want %q", f, got, want)
		}
		c.unsubscribe(x.topic(f))
	}
}

func dollarTopics(x *trial) {
	s := start(x, nil) // nobody else's messages
	c := join(x, s, connect{id: "c"})
	c.subscribe(filter{"#", 0}, filter{"+/#", 0}, filter{"+/+", 0}, filter{"+/broker/#", 0}, filter{"+", 0})
	if got := c.mine("fence"); len(got) > 0 {
		x.Errorf("wildcards bring %v", got)
	}
	c.subscribe(filter{"$SYS/#", 0})
	first := c.message() // the figures are published soon after the start
	for _, m := range append(c.mine("fence"), first) {
		if !strings.HasPrefix(m.topic, "$SYS/") {
			x.Errorf("$SYS/# brings %v", m)
		}
	}
	c.subscribe(filter{"$other/#", 0}, filter{"$SYS/x", 0})
	for qos := range byte(3) {
		c.exchange(publish{topic: "$other/x", qos: qos})
		c.exchange(publish{topic: "$SYS/x", qos: qos, retain: true})
	}
	for _, m := range c.mine("fence") {
		if m.topic == "$other/x" || m.topic == "$SYS/x" { // not one of the figures
			x.Errorf("below $ was published %v", m)
		}
	}
}

func emptyTopics(x *trial) {
	for qos := range byte(3) {
		x.hangsUpOn("PUBLISH on no topic", publish{qos: qos, id: 1}.bytes(4))
	}
	x.turnsAway("a will on no topic", connect{id: x.id("c"), will: &will{payload: "x"}}.bytes())
	refusesFilters(x, "")
	c := x.join("c")
	c.subscribe(filter{"/", 0}, filter{" ", 0})
	c.publish(publish{topic: "/"})
	c.publish(publish{topic: " "})
	if got := c.mine(x.topic("fence")); len(got) != 2 {
		x.Errorf("a separator and a blank are topics, got %v", got)
	}
}

func longTopics(x *trial) {
	long := strings.Repeat("x", 65535-len(x.topic(""))-2)
	c := x.join("c")
	c.subscribe(filter{x.topic("+"), 1})
	c.exchange(publish{topic: x.topic(long), payload: "long", qos: 1})
	if m := c.message(); m.topic != x.topic(long) {
		x.Errorf("a topic of %d bytes came with %d", len(x.topic(long)), len(m.topic))
	}
	if codes := c.subscribe(filter{x.topic(long), 1}); !bytes.Equal(codes, []byte{1}) {
		x.Errorf("a filter of %d bytes got %x", len(x.topic(long)), codes)
	}
}

func noNormalisation(x *trial) {
	c := x.join("c")
	names := []string{"cafe\u0301", "caf\u00e9", "Caf\u00e9", "caf\u00e9/", "caf\u00e9//", " caf\u00e9", "caf\u00e9 ", "\ufffd", "\u200b"}
	for _, name := range names {
		c.subscribe(filter{x.topic(name), 0})
		for _, other := range names {
			c.publish(publish{topic: x.topic(other), payload: other})
		}
		if got := payloads(c.mine(x.topic("fence"))); !slices.Equal(got, []string{name}) {
			x.Errorf("%q got %q", name, got)
		}
		c.unsubscribe(x.topic(name))
	}
}

func violations(x *trial) {
	for what, bytes := range map[string][]byte{
		"a type that is reserved": frame(0xf0), "another": frame(0), "what servers send": frame(CONNACK<<4, []byte{0, 0}),
		"a length of five bytes":    {PUBLISH << 4, 0x80, 0x80, 0x80, 0x80, 1},
		"PUBACK that is too short":  frame(PUBACK<<4, []byte{1}),
		"PUBREL without an id":      frame(PUBREL<<4 | 2),
		"PINGREQ with a payload":    frame(PINGREQ<<4, []byte("x")),
		"DISCONNECT with a payload": frame(DISCONNECT<<4, []byte{4}),
		"PUBACK with a payload":     frame(PUBACK<<4, u16(1), []byte{0}),
	} {
		x.hangsUpOn(what, bytes)
	}
}

func tooLarge(x *trial) {
	x.hangsUpOn("a packet of 256 MiB", []byte{PUBLISH << 4, 0xff, 0xff, 0xff, 0x7f})
}
