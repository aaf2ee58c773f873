package conformance_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"dominion/broker"
)

// Chapters 3.1 and 3.2 of MQTT 5: CONNECT and CONNACK.
func v5Connect() []statement {
	return []statement{
		{number: "MQTT-3.1.0-1", asks: "A client's first packet is a CONNECT.", test: func(x *trial) {
			for _, first := range [][]byte{pingreq(), publish{topic: "t"}.bytes(5), subscribe(5, 1, nil, filter{"t", 0}), frame(AUTH<<4, []byte{0x18, 0})} {
				x.turnsAway(kindName(first[0]>>4), first)
			}
		}},
		{number: "MQTT-3.1.0-2", asks: "A second CONNECT is a protocol error.", test: func(x *trial) {
			x.breaks(protocolError, "second CONNECT", connect{level: 5, id: x.id("wrong")}.bytes())
		}},
		{number: "MQTT-3.1.2-1", asks: "A CONNECT with another protocol name is not let in.", test: func(x *trial) {
			for _, name := range []string{"mqtt", "MQTX", "hj"} {
				x.notLetIn(name, connect{level: 5, name: name, id: x.id("c")}.bytes())
			}
		}},
		{number: "MQTT-3.1.2-2", asks: "A CONNECT of another version is not let in.", test: func(x *trial) {
			for _, version := range []byte{6, 7, 0x85} {
				bytes := connect{level: 5, id: x.id("c")}.bytes()
				bytes[8] = version
				x.notLetIn(fmt.Sprint("version ", version), bytes)
			}
		}},
		{number: "MQTT-3.1.2-3", asks: "The reserved flag of CONNECT is 0, or the packet is malformed.", test: func(x *trial) {
			x.refuses(malformed, "reserved flag", connect{id: x.id("c"), flags: 1})
		}},
		{number: "MQTT-3.1.2-4", asks: "With Clean Start the older session is dropped.", test: func(x *trial) {
			old := x.five("c", lasts(100))
			old.subscribe(filter{x.topic("t"), 1})
			old.leave()
			now := x.five("c", lasts(100))
			now.exchange(publish{topic: x.topic("t"), qos: 1})
			if got := now.mine(x.topic("fence")); now.present || len(got) > 0 {
				x.Errorf("session present: %v, messages %v; want neither", now.present, got)
			}
		}},
		{number: "MQTT-3.1.2-5", asks: "Without Clean Start a session that there is goes on.", test: func(x *trial) {
			old := x.five("c", lasts(100))
			old.subscribe(filter{x.topic("t"), 1})
			old.leave()
			now := x.back("c", lasts(100))
			now.exchange(publish{topic: x.topic("t"), qos: 1, payload: "heard"})
			if got := payloads(now.mine(x.topic("fence"))); !now.present || !slices.Equal(got, []string{"heard"}) {
				x.Errorf("session present: %v, messages %q", now.present, got)
			}
		}},
		{number: "MQTT-3.1.2-6", asks: "Without Clean Start a session is made if there is none.", test: func(x *trial) {
			first := x.back("c", lasts(100))
			if first.present {
				x.Error("a session that there was not is present")
			}
			first.leave()
			if !x.back("c").present {
				x.Error("the session was not kept")
			}
		}},
		{number: "MQTT-3.1.2-7", asks: "With the will flag the will is kept with the session.", test: willIsKept},
		{number: "MQTT-3.1.2-8", asks: "The will is published after the connection has ended, when its delay is over or the session ends, unless DISCONNECT had reason 0 or the client is back.",
			test:      willDelays,
			deviation: "A planned stop of the broker publishes no will: the house restarts its broker, and is not lost. The will is lost with the session then."},
		{number: "MQTT-3.1.2-9", asks: "With the will flag the will's properties, topic and payload are there, and its QoS and retain count.", test: func(x *trial) {
			whole := connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), payload: "p"}}.bytes()
			x.refusesBytes(malformed, "no payload", relength(whole[:len(whole)-3]))
			c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t")}})
			watcher := x.five("watcher")
			watcher.subscribe(filter{x.topic("t"), 0})
			c.drop()
			if m := watcher.message(); m.payload != "" {
				x.Errorf("an empty will became %v", m)
			}
		}},
		{number: "MQTT-3.1.2-10", asks: "A will that was published, or ended by DISCONNECT 0, is removed.", test: willOnce5},
		{number: "MQTT-3.1.2-11", asks: "Without the will flag the will QoS is 0.", test: func(x *trial) {
			x.refuses(malformed, "QoS 1", connect{id: x.id("c"), flags: 0x08})
			x.refuses(malformed, "QoS 2", connect{id: x.id("c"), flags: 0x10})
		}},
		{number: "MQTT-3.1.2-12", asks: "The will QoS is not 3.", test: func(x *trial) {
			x.refuses(malformed, "QoS 3", connect{id: x.id("c"), will: &will{topic: x.topic("t"), qos: 3}})
		}},
		{number: "MQTT-3.1.2-13", asks: "Without the will flag will retain is 0.", test: func(x *trial) {
			x.refuses(malformed, "retain", connect{id: x.id("c"), flags: 0x20})
		}},
		{number: "MQTT-3.1.2-14", asks: "Without will retain the will is not retained.", test: func(x *trial) {
			if got := x.retainedWill(false); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.1.2-15", asks: "With will retain the will is retained.", test: func(x *trial) {
			if got := x.retainedWill(true); len(got) != 1 || !got[0].retain {
				x.Errorf("got %v, want the will", got)
			}
		}},
		{number: "MQTT-3.1.2-16", asks: "Without its flag there is no user name.", test: func(x *trial) {
			x.refusesBytes(malformed, "surplus", relength(append(connect{level: 5, id: x.id("c")}.bytes(), str("user")...)))
		}},
		{number: "MQTT-3.1.2-17", asks: "With its flag there is a user name.", test: func(x *trial) {
			x.refuses(malformed, "missing", connect{id: x.id("c"), flags: 0x80})
		}},
		{number: "MQTT-3.1.2-18", asks: "Without its flag there is no password.", test: func(x *trial) {
			x.refusesBytes(malformed, "surplus", relength(append(connect{level: 5, id: x.id("c"), user: []byte("u")}.bytes(), str("p")...)))
		}},
		{number: "MQTT-3.1.2-19", asks: "With its flag there is a password; it may be empty, and there may be no user name.", test: func(x *trial) {
			x.refuses(malformed, "missing", connect{id: x.id("c"), flags: 0x40})
			join(x, x.s, connect{level: 5, id: x.id("empty"), user: []byte("u"), password: []byte{}}).leave()
			join(x, x.s, connect{level: 5, id: x.id("alone"), password: []byte("p")}).leave()
		}},
		{number: "MQTT-3.1.2-20", asks: "A client sends something, or PINGREQ, within each keep-alive.", why: bindsClients},
		{number: "MQTT-3.1.2-21", asks: "A client keeps to the keep-alive in CONNACK, if there is one.", why: bindsClients},
		{number: "MQTT-3.1.2-22", asks: "A client that is silent for one and a half keep-alives is disconnected.", test: silence,
			deviation: "No keep-alive, and one above 1 h, becomes 1 h, which CONNACK says (3.2.2-21): a hung client would be connected for ever."},
		{number: "MQTT-3.1.2-23", asks: "A session with an expiry is kept after the connection.", test: sessionLasts,
			deviation: "For 2 h at most, which CONNACK says; it does not outlive a restart of the broker: nobody in the house is to be sent yesterday's commands, and what must survive is retained."},
		{number: "MQTT-3.1.2-24", asks: "The server sends no packet that is larger than the client's maximum.", test: tooLargeFor5},
		{number: "MQTT-3.1.2-25", asks: "A message that is too large for its client counts as sent.", test: tooLargeIsDone},
		{number: "MQTT-3.1.2-26", asks: "The server uses no alias above the client's maximum.", test: func(x *trial) {
			c := x.five("c", prop(topicAliasMaximum, u16(2)))
			c.subscribe(filter{x.topic("#"), 0})
			for i := range 10 {
				c.publish(publish{topic: x.topic(fmt.Sprint(i % 5)), payload: fmt.Sprint(i % 5)})
			}
			topics := map[uint32]string{}
			for range 10 {
				m := c.message()
				alias := m.numbers(topicAlias)
				if len(alias) > 1 || len(alias) == 1 && (alias[0] < 1 || alias[0] > 2) {
					x.Errorf("got the aliases %v", alias)
				}
				if m.topic != "" && len(alias) == 1 {
					topics[alias[0]] = m.topic
				}
				topic := m.topic
				if topic == "" && len(alias) == 1 {
					topic = topics[alias[0]]
				}
				if topic != x.topic(m.payload) {
					x.Errorf("message %q is on %q", m.payload, topic)
				}
			}
		}},
		{number: "MQTT-3.1.2-27", asks: "Without a maximum, or with 0, the server uses no alias.", test: func(x *trial) {
			for _, props := range [][]byte{nil, prop(topicAliasMaximum, u16(0))} {
				c := x.five("c", props)
				c.subscribe(filter{x.topic("t"), 0})
				for range 3 {
					c.publish(publish{topic: x.topic("t")})
					if m := c.message(); m.topic == "" || len(m.numbers(topicAlias)) > 0 {
						x.Errorf("got %v with %v", m, m.props)
					}
				}
				c.leave()
			}
		}},
		{number: "MQTT-3.1.2-28", asks: "Who does not ask for response information gets none.", test: func(x *trial) {
			for _, props := range [][]byte{nil, prop(requestResponse, []byte{0})} {
				c := dial(x, x.s)
				if a := c.join(connect{level: 5, id: x.id("c"), props: props}); len(a.texts(responseInfo)) > 0 {
					x.Errorf("got %v", a.props)
				}
				c.leave()
			}
			x.five("c", prop(requestResponse, []byte{1})).leave()
		}},
		{number: "MQTT-3.1.2-29", asks: "Who asks for no problem information gets no reason string and no user property but in PUBLISH, CONNACK and DISCONNECT.", test: func(x *trial) {
			c := x.five("c", prop(requestProblem, []byte{0}))
			id := c.newID()
			c.send(subscribe(5, id, user("n", "v"), filter{"#/wrong", 0}), publish{topic: "$SYS/mine", qos: 1, id: 99}.bytes(5), ack(PUBREL, 98))
			for range 3 {
				if p, err := c.next(); err != nil || len(p.props) > 0 {
					x.Errorf("got %v with %v, %v", p, p.props, err)
				}
			}
		}},
		{number: "MQTT-3.1.2-30", asks: "With an authentication method a client sends only AUTH and DISCONNECT before CONNACK.", why: bindsClients},

		{number: "MQTT-3.1.3-1", asks: "The payload has its fields in the order id, will properties, will topic, will payload, user name, password.", test: func(x *trial) {
			c := join(x, x.s, connect{level: 5, id: x.id("c"), user: []byte("user"), password: []byte("password"),
				will: &will{topic: x.topic("t"), payload: "payload", props: prop(contentType, str("type"))}})
			watcher := x.five("watcher")
			watcher.subscribe(filter{x.topic("t"), 0})
			c.drop()
			if m := watcher.message(); m.payload != "payload" || !slices.Equal(m.texts(contentType), []string{"=type"}) {
				x.Errorf("got %v with %v", m, m.props)
			}
		}},
		{number: "MQTT-3.1.3-2", asks: "The client id tells one session from another.", test: func(x *trial) {
			a := x.five("a", lasts(100))
			a.subscribe(filter{x.topic("t"), 1})
			a.leave()
			if x.back("A").present || !x.back("a").present {
				x.Error("a session is taken for another's")
			}
		}},
		{number: "MQTT-3.1.3-3", asks: "The client id is there, and first.", test: func(x *trial) {
			x.refusesBytes(malformed, "none", relength(connect{level: 5}.bytes()[:13]))
		}},
		{number: "MQTT-3.1.3-4", asks: "The client id is UTF-8.", test: func(x *trial) {
			x.refuses(malformed, "not UTF-8", connect{id: "\xff"})
		}},
		{number: "MQTT-3.1.3-5", asks: "Ids of 1 to 23 letters and digits are let in.", test: func(x *trial) {
			for _, id := range []string{"0", "abcdefghijklmnopqrstuvw", "xyzABCDEFGHIJKLMNOPQRST", "UVWXYZ0123456789"} {
				join(x, x.s, connect{level: 5, id: id}).leave()
			}
		}},
		{number: "MQTT-3.1.3-6", asks: "A client without an id is given one of its own.", test: assignedID},
		{number: "MQTT-3.1.3-7", asks: "An id that was given is in CONNACK, and is as good as one that was sent.", test: func(x *trial) {
			c := dial(x, x.s)
			a := c.join(connect{level: 5, props: lasts(100)})
			given, _ := a.prop(assignedClientID)
			c.subscribe(filter{x.topic("t"), 0})
			c.leave()
			if again := join(x, x.s, connect{level: 5, id: given.text, resume: true}); !again.present {
				x.Errorf("the session of %q is not there", given.text)
			}
			named := dial(x, x.s)
			if a := named.join(connect{level: 5, id: x.id("c")}); len(a.texts(assignedClientID)) > 0 {
				x.Error("an id was given to a client that has one")
			}
		}},
		{number: "MQTT-3.1.3-8", asks: "A client id that is refused is answered with 0x85, if at all, and the end.", test: func(x *trial) {
			x.refuses(0x85, "an id of 300 bytes", connect{id: strings.Repeat("x", 300)})
		}},
		{number: "MQTT-3.1.3-9", asks: "When the client is back before the delay is over, the will is not sent.", test: willIsCancelled},
		{number: "MQTT-3.1.3-10", asks: "User properties of a will keep their order.", test: func(x *trial) {
			c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), props: slices.Concat(user("a", "2"), user("c", "3"), user("a", "1"))}})
			watcher := x.five("watcher")
			watcher.subscribe(filter{x.topic("t"), 0})
			c.drop()
			if got := watcher.message().texts(userProperty); !slices.Equal(got, []string{"a=2", "c=3", "a=1"}) {
				x.Errorf("got %q", got)
			}
		}},
		{number: "MQTT-3.1.3-11", asks: "The will topic is UTF-8.", test: func(x *trial) {
			x.refuses(malformed, "not UTF-8", connect{id: x.id("c"), will: &will{topic: "\xc3"}})
		}},
		{number: "MQTT-3.1.3-12", asks: "The user name is UTF-8.", test: func(x *trial) {
			x.refuses(malformed, "not UTF-8", connect{id: x.id("c"), user: []byte("\xc3")})
		}},

		{number: "MQTT-3.1.4-1", asks: "A CONNECT that is not as the standard says ends the connection.", test: connectProperties},
		{number: "MQTT-3.1.4-2", asks: "A CONNECT that fails other checks ends the connection.", test: func(x *trial) {
			x.refuses(notAuthorized, "a will on a topic of the server", connect{id: x.id("c"), will: &will{topic: "$SYS/broker/version"}})
			x.refuses(notAuthorized, "a will that is a filter", connect{id: x.id("c"), will: &will{topic: "a/+"}})
		}},
		{number: "MQTT-3.1.4-3", asks: "Who has the client id is sent DISCONNECT 0x8E and disconnected.", test: func(x *trial) {
			old := x.five("c")
			x.five("c").alive()
			old.dismissed("the older one", takenOver)
		}},
		{number: "MQTT-3.1.4-4", asks: "Clean Start is processed.", test: func(x *trial) {
			for _, old := range []string{"gone", "there"} {
				c := x.five(old, lasts(100))
				c.subscribe(filter{x.topic("t"), 1})
				if old == "gone" {
					c.leave()
				}
				if !x.back(old, lasts(100)).present || x.five(old, lasts(100)).present || !x.back(old).present {
					x.Errorf("the session of a client that is %s: not as Clean Start says", old)
				}
			}
		}},
		{number: "MQTT-3.1.4-5", asks: "A CONNECT that is let in is answered with CONNACK 0.", test: func(x *trial) {
			if a := dial(x, x.s).join(connect{level: 5, id: x.id("c")}); a.code != 0 || a.flags != 0 {
				x.Errorf("got %v", a)
			}
		}},
		{number: "MQTT-3.1.4-6", asks: "After a CONNECT that is refused nothing is processed.", test: func(x *trial) {
			watcher := x.five("watcher")
			watcher.subscribe(filter{x.topic("t"), 0})
			x.refusesBytes(badAuthMethod, "refused", slices.Concat(
				connect{level: 5, id: x.id("c"), props: prop(authMethod, str("method"))}.bytes(), publish{topic: x.topic("t"), payload: "wrong"}.bytes(5)))
			if got := watcher.mine(x.topic("fence")); len(got) > 0 {
				x.Errorf("got %v", got)
			}
		}},

		{number: "MQTT-3.2.0-1", asks: "CONNACK is the first packet that a server sends.", test: connackFirst5},
		{number: "MQTT-3.2.0-2", asks: "There is one CONNACK.", test: func(x *trial) {
			c := x.five("c")
			c.alive()
			c.send(disconnect())
			if more := c.ended(); len(more) > 0 {
				x.Errorf("got %v", more)
			}
		}},
		{number: "MQTT-3.2.2-1", asks: "The flags of CONNACK are 0, but for session present.", test: func(x *trial) {
			c := dial(x, x.s)
			c.send(connect{level: 5, id: x.id("c")}.bytes())
			head := make([]byte, 4)
			for i := range head {
				head[i], _ = c.in.ReadByte()
			}
			if head[0] != 0x20 || head[2] != 0 {
				x.Errorf("CONNACK begins with %x", head)
			}
		}},
		{number: "MQTT-3.2.2-2", asks: "With Clean Start no session is present.", test: func(x *trial) {
			x.five("c", lasts(100)).leave()
			if x.five("c").present {
				x.Error("a session is present")
			}
		}},
		{number: "MQTT-3.2.2-3", asks: "Without Clean Start a session is present if there is one.", test: func(x *trial) {
			if x.back("c", lasts(100)).present {
				x.Error("a session is present that there is not")
			}
			if !x.back("c").present {
				x.Error("a session is not present that there is")
			}
		}},
		{number: "MQTT-3.2.2-4", asks: "A client without a session hangs up when one is present.", why: bindsClients},
		{number: "MQTT-3.2.2-5", asks: "A client with a session drops it when none is present.", why: bindsClients},
		{number: "MQTT-3.2.2-6", asks: "Who is refused has no session present.", test: func(x *trial) {
			x.five("c", lasts(100)).leave()
			x.refuses(notAuthorized, "will", connect{id: x.id("c"), resume: true, will: &will{topic: "$SYS/a"}})
		}},
		{number: "MQTT-3.2.2-7", asks: "After a CONNACK of 0x80 or more the connection ends.", test: func(x *trial) {
			x.refuses(notAuthorized, "will", connect{id: x.id("c"), will: &will{topic: "$SYS/a"}})
		}},
		{number: "MQTT-3.2.2-8", asks: "The reason is one of CONNACK's.", test: func(x *trial) {
			x.refuses(malformed, "malformed", connect{id: x.id("c"), flags: 1})
			x.refuses(0x85, "client id", connect{id: strings.Repeat("x", 300)})
			x.refuses(badAuthMethod, "method", connect{id: x.id("c"), props: prop(authMethod, str("m"))})
			x.refuses(protocolError, "twice", connect{id: x.id("c"), props: slices.Concat(lasts(1), lasts(1))})
		}},
		{number: "MQTT-3.2.2-9", asks: "A server without QoS 1 or 2 says so.", why: "the broker has QoS 1 and 2; that it does not say less is tested under 3.2.2-12"},
		{number: "MQTT-3.2.2-10", asks: "A server without QoS 1 or 2 grants what it has.", why: "the broker has QoS 1 and 2"},
		{number: "MQTT-3.2.2-11", asks: "A client sends nothing above the Maximum QoS.", why: bindsClients},
		{number: "MQTT-3.2.2-12", asks: "A will above the Maximum QoS is refused.", test: func(x *trial) {
			c := dial(x, x.s)
			a := c.join(connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), qos: 2, retain: true}})
			for _, id := range []byte{maximumQoS, retainAvailable, wildcardAvailable, subIDAvailable, sharedAvailable} {
				if p, ok := a.prop(id); ok && p.number == 0 {
					x.Errorf("CONNACK says that %#x is not available, but it is", id)
				}
			}
		}},
		{number: "MQTT-3.2.2-13", asks: "A retained will is refused if nothing is retained.", why: "the broker retains; that it does not say otherwise is tested under 3.2.2-12"},
		{number: "MQTT-3.2.2-14", asks: "A client retains nothing where it is not available.", why: bindsClients},
		{number: "MQTT-3.2.2-15", asks: "A client sends no packet above the server's maximum.", test: serverMaximum},
		{number: "MQTT-3.2.2-16", asks: "An id that the server gives is nobody else's.", test: assignedID},
		{number: "MQTT-3.2.2-17", asks: "A client uses no alias above the server's maximum.", test: func(x *trial) {
			most := x.announced(topicAliasMaximum)
			x.breaks(aliasInvalid, "an alias above", publish{topic: x.topic("t"), props: prop(topicAlias, u16(int(most)+1))}.bytes(5))
		}},
		{number: "MQTT-3.2.2-18", asks: "Without a maximum a client uses no alias.", why: "the broker says its maximum"},
		{number: "MQTT-3.2.2-19", asks: "No reason string makes CONNACK larger than the client's maximum.", test: func(x *trial) {
			c := dial(x, x.s)
			c.level = 5
			c.send(connect{level: 5, id: x.id("c"), props: prop(maximumPacketSize, u32(20)), will: &will{topic: "$SYS/a"}}.bytes())
			if got := c.ended(); len(got) > 1 || len(got) == 1 && (got[0].size > 20 || got[0].code != notAuthorized) {
				x.Errorf("got %v", got)
			}
		}},
		{number: "MQTT-3.2.2-20", asks: "No user property makes CONNACK larger than the client's maximum.", why: "the broker sends no user property in CONNACK"},
		{number: "MQTT-3.2.2-21", asks: "The client keeps to the keep-alive that the server says.", test: func(x *trial) {
			for said, want := range map[int][]uint32{60: nil, 0: {3600}, 3601: {3600}, 65535: {3600}} {
				c := dial(x, x.s)
				if a := c.join(connect{level: 5, id: x.id("c"), keepAlive: said}); !slices.Equal(a.numbers(serverKeepAlive), want) {
					x.Errorf("keep-alive %d: CONNACK says %v, want %v", said, a.numbers(serverKeepAlive), want)
				}
				c.leave()
			}
		}},
		{number: "MQTT-3.2.2-22", asks: "The client's keep-alive counts if CONNACK has none.", test: silence},
	}
}

// relength makes a packet's length as long as it is.
func relength(packet []byte) []byte {
	n := 1 + bytes.IndexFunc(packet[1:], func(r rune) bool { return r < 128 }) + 1
	return frame(packet[0], packet[n:])
}

// notLetIn sends a CONNECT that must not be answered with CONNACK 0.
func (x *trial) notLetIn(what string, bytes []byte) {
	x.Helper()
	c := dial(x, x.s)
	c.level = 5
	c.send(bytes)
	if p, err := c.next(); err == nil && (p.kind != CONNACK || p.code == 0) {
		x.Errorf("%s: got %v", what, p)
	}
	c.ended()
	c.drop()
}

// announced is a number that CONNACK says.
func (x *trial) announced(id byte) uint32 {
	x.Helper()
	c := dial(x, x.s)
	defer c.leave()
	a := c.join(connect{level: 5, id: x.id("asks")})
	p, ok := a.prop(id)
	if !ok {
		x.Fatalf("CONNACK does not say %#x", id)
	}
	return p.number
}

// retainedWill is what a later subscriber finds of a will.
func (x *trial) retainedWill(retain bool) []packet {
	x.Helper()
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("t"), 2 | retainAsPublished})
	c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), payload: "will", qos: 1, retain: retain}})
	c.drop()
	if m := watcher.message(); m.qos != 1 || m.retain != retain {
		x.Errorf("the will came as %v", m)
	}
	later := x.five("later")
	later.subscribe(filter{x.topic("t"), 1})
	return later.mine(x.topic("fence"))
}

func willIsKept(x *trial) {
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("t"), 0})
	c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), payload: "lost", props: slices.Concat(
		prop(payloadFormat, []byte{1}), prop(messageExpiry, u32(100)), prop(contentType, str("text")), prop(responseTopic, str("answer")), prop(correlationData, str("1")))}})
	c.drop()
	m := watcher.message()
	format, _ := m.prop(payloadFormat)
	expiry, _ := m.prop(messageExpiry)
	texts := slices.Concat(m.texts(contentType), m.texts(responseTopic), m.texts(correlationData))
	if m.payload != "lost" || format.number != 1 || expiry.number < 90 || expiry.number > 100 || !slices.Equal(texts, []string{"=text", "=answer", "=1"}) {
		x.Errorf("got %v with %v", m, m.props)
	}
}

// The will of a client that says goodbye with another reason than 0 is sent; the
// forms of DISCONNECT that leave its reason or its properties out count.
func willOnce5(x *trial) {
	watcher := x.five("watcher")
	watcher.subscribe(filter{x.topic("t"), 0})
	for what, goodbye := range map[string]struct {
		bytes []byte
		sent  bool
	}{
		"no reason":                       {disconnect(), false},
		"reason 0":                        {frame(DISCONNECT<<4, []byte{0}), false},
		"reason 0, properties":            {disconnect5(0, user("n", "v")), false},
		"reason 4":                        {frame(DISCONNECT<<4, []byte{4}), true},
		"reason 4, no properties":         {disconnect5(4), true},
		"reason 4, properties":            {disconnect5(4, prop(reasonString, str("why"))), true},
		"unspecified error":               {frame(DISCONNECT<<4, []byte{0x80}), true},
		"malformed packet":                {disconnect5(0x81), true},
		"administrative action and words": {disconnect5(0x98, prop(reasonString, str("why"))), true},
	} {
		c := join(x, x.s, connect{level: 5, id: x.id("c"), will: &will{topic: x.topic("t"), payload: what}})
		c.send(goodbye.bytes)
		c.ended()
		// Its id is free once its will is published or dropped.
		x.five("c").leave()
		got := payloads(watcher.mine(x.topic("fence")))
		if want := map[bool][]string{true: {what}, false: {}}[goodbye.sent]; !slices.Equal(got, want) {
			x.Errorf("%s: got the wills %q, want %q", what, got, want)
		}
	}
}

func willDelays(x *trial) {
	for _, c := range []struct {
		name         string
		delay, lasts int
		clean        time.Duration // when the client begins anew; 0: never
		want         time.Duration
	}{
		{name: "no delay", lasts: 100, want: 0},
		{name: "delay", delay: 5, lasts: 100, want: 5 * time.Second},
		{name: "session ends first", delay: 100, lasts: 5, want: 5 * time.Second},
		{name: "no session", delay: 100, lasts: 0, want: 0},
		{name: "new session", delay: 100, lasts: 100, clean: 2 * time.Second, want: 2 * time.Second},
	} {
		inBubble(x, nil, func(b *bubble) {
			watcher := b.five(connect{id: "watcher"})
			watcher.subscribe(filter{"t", 0})
			p := b.five(connect{id: "c", props: lasts(c.lasts), will: &will{topic: "t", payload: c.name, retain: true, props: prop(willDelay, u32(c.delay))}})
			began := time.Now()
			p.drop()
			if c.clean > 0 {
				b.wait(c.clean)
				b.five(connect{id: "c"})
			}
			if m := watcher.message(); m.payload != c.name || time.Since(began) != c.want {
				b.Errorf("%s: got %v after %v, want it after %v", c.name, m, time.Since(began), c.want)
			}
			later := b.five(connect{id: "later"})
			later.subscribe(filter{"t", 0})
			if got := later.mine("fence"); len(got) != 1 {
				b.Errorf("%s: retained is %v", c.name, got)
			}
		})
	}
}

func willIsCancelled(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		watcher := b.five(connect{id: "watcher"})
		watcher.subscribe(filter{"t", 0})
		p := b.five(connect{id: "c", props: lasts(100), will: &will{topic: "t", payload: "first", props: prop(willDelay, u32(5))}})
		p.drop()
		b.wait(4 * time.Second)
		p = b.five(connect{id: "c", resume: true, props: lasts(100), will: &will{topic: "t", payload: "second", props: prop(willDelay, u32(1))}})
		b.wait(10 * time.Second)
		p.drop()
		b.wait(10 * time.Second)
		if got := payloads(watcher.mine("fence")); !slices.Equal(got, []string{"second"}) {
			b.Errorf("got the wills %q, want the second alone", got)
		}
	})
}

func silence(x *trial) {
	inBubble(x, nil, func(b *bubble) {
		for keepAlive, want := range map[int]time.Duration{1: 1500 * time.Millisecond, 2: 3 * time.Second, 10: 15 * time.Second, 0: 90 * time.Minute, 40_000: 90 * time.Minute} {
			topic := fmt.Sprint("will/", keepAlive)
			c := b.five(connect{id: "c", keepAlive: keepAlive, will: &will{topic: topic, payload: "lost", retain: true}})
			b.wait(time.Second)
			c.alive()
			began := time.Now()
			c.patience = 2 * want
			c.dismissed("silent", keepAliveOver)
			if took := time.Since(began); took != want {
				b.Errorf("keep-alive %d s: disconnected after %v, want %v", keepAlive, took, want)
			}
			later := b.five(connect{id: "later"})
			later.subscribe(filter{topic, 0})
			if m := later.message(); m.payload != "lost" {
				b.Errorf("keep-alive %d s: the will is %v", keepAlive, m)
			}
			later.leave()
		}
	})
}

func sessionLasts(x *trial) {
	inBubble(x, func(o *broker.Options) { o.SessionExpiry = time.Minute }, func(b *bubble) {
		for _, c := range []struct {
			name    string
			props   []byte
			goodbye []byte
			away    time.Duration
			present bool
		}{
			{"no time", nil, disconnect(), 0, false},
			{"time 0", lasts(0), disconnect(), 0, false},
			{"back in time", lasts(10), disconnect(), 9 * time.Second, true},
			{"back too late", lasts(10), disconnect(), 12 * time.Second, false},
			{"for ever is as long as the server says", lasts(0xffffffff), disconnect(), 59 * time.Second, true},
			{"and no longer", lasts(0xffffffff), disconnect(), 62 * time.Second, false},
			{"made longer", lasts(1), disconnect5(0, lasts(10)), 9 * time.Second, true},
			{"made 0", lasts(10), disconnect5(0, lasts(0)), 0, false},
		} {
			p := b.five(connect{id: "c", props: c.props})
			p.send(c.goodbye)
			p.ended()
			b.wait(c.away)
			again := b.five(connect{id: "c", resume: true})
			if again.present != c.present {
				b.Errorf("%s: session present %v, want %v", c.name, again.present, c.present)
			}
			again.leave()
		}
		p := newClient(b, b.s.Pipe(operator))
		if a := p.join(connect{level: 5, id: "c", props: lasts(100)}); !slices.Equal(a.numbers(sessionExpiry), []uint32{60}) {
			b.Errorf("CONNACK says %v, want 60 s", a.props)
		}
	})
}

func tooLargeFor5(x *trial) {
	c := x.five("c", prop(maximumPacketSize, u32(100)))
	c.subscribe(filter{x.topic("#"), 1})
	other := x.five("other")
	for qos := range byte(2) {
		other.exchange(publish{topic: x.topic("t"), payload: strings.Repeat("x", 100), qos: qos})
		other.exchange(publish{topic: x.topic("t"), payload: "small", qos: qos, retain: true, props: user(strings.Repeat("n", 80), "v")})
		other.exchange(publish{topic: x.topic("t"), payload: "small", qos: qos})
	}
	other.exchange(publish{topic: x.topic("end"), qos: 1})
	for _, m := range c.upTo(x.topic("end")) {
		if m.payload != "small" || m.size > 100 {
			x.Errorf("got %v of %d bytes", m, m.size)
		}
	}
}

// It takes no place of the Receive Maximum, and is not tried again.
func tooLargeIsDone(x *trial) {
	limits := slices.Concat(prop(maximumPacketSize, u32(100)), prop(receiveMaximum, u16(1)), lasts(100))
	c := x.five("c", limits)
	c.subscribe(filter{x.topic("#"), 1})
	other := x.five("other")
	large := func() {
		for range 3 {
			other.exchange(publish{topic: x.topic("t"), payload: strings.Repeat("x", 100), qos: 1})
		}
	}
	large()
	other.exchange(publish{topic: x.topic("small"), qos: 1})
	if got := c.upTo(x.topic("small")); len(got) > 0 {
		x.Errorf("got %v", got)
	}
	c.leave()
	large()
	other.exchange(publish{topic: x.topic("small"), qos: 1})
	c = x.back("c", limits)
	if got := c.upTo(x.topic("small")); !c.present || len(got) > 0 {
		x.Errorf("session present: %v, got %v", c.present, got)
	}
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("got %v", got)
	}
}

func assignedID(x *trial) {
	given := map[string]bool{}
	for i := range 10 {
		c := dial(x, x.s)
		a := c.join(connect{level: 5, resume: i%2 == 0})
		id, ok := a.prop(assignedClientID)
		if !ok || id.text == "" || given[id.text] || a.present {
			x.Errorf("got %v with %v", a, a.props)
		}
		given[id.text] = true
		c.alive()
	}
}

func connectProperties(x *trial) {
	for what, c := range map[string]struct {
		code  byte
		props []byte
	}{
		"receive maximum 0":             {protocolError, prop(receiveMaximum, u16(0))},
		"packet size 0":                 {protocolError, prop(maximumPacketSize, u32(0))},
		"response information 2":        {protocolError, prop(requestResponse, []byte{2})},
		"problem information 2":         {protocolError, prop(requestProblem, []byte{2})},
		"two alias maxima":              {protocolError, slices.Concat(prop(topicAliasMaximum, u16(1)), prop(topicAliasMaximum, u16(1)))},
		"data without a method":         {protocolError, prop(authData, str("data"))},
		"a method":                      {badAuthMethod, prop(authMethod, str("SCRAM-SHA-1"))},
		"a property of PUBLISH":         {malformed, prop(topicAlias, u16(1))},
		"a property that there is not":  {malformed, []byte{0x7e, 0}},
		"a property that is cut":        {malformed, []byte{sessionExpiry, 0}},
		"a user property of other text": {malformed, user("\xff", "")},
	} {
		x.refuses(c.code, what, connect{id: x.id("c"), props: c.props})
	}
	for what, c := range map[string]struct {
		code  byte
		props []byte
	}{
		"two delays":                {protocolError, slices.Concat(prop(willDelay, u32(1)), prop(willDelay, u32(1)))},
		"format 2":                  {protocolError, prop(payloadFormat, []byte{2})},
		"a property of CONNECT":     {malformed, lasts(1)},
		"a wildcard in an answer's": {protocolError, prop(responseTopic, str("a/#"))},
	} {
		x.refuses(c.code, "will: "+what, connect{id: x.id("c"), will: &will{topic: x.topic("t"), props: c.props}})
	}
	x.refusesBytes(malformed, "a byte after the end", relength(append(connect{level: 5, id: x.id("c")}.bytes(), 0)))
	x.five("c", user("n", "v"), user("n", "v"), prop(requestProblem, []byte{1}), prop(receiveMaximum, u16(65535))).leave()
}

// A message for a session that is just beginning waits for CONNACK.
func connackFirst5(x *trial) {
	c := x.five("c", lasts(100))
	c.subscribe(filter{x.topic("t"), 1})
	c.leave()
	stop, stopped := make(chan struct{}), make(chan struct{})
	busy := x.five("busy")
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				busy.publish(publish{topic: x.topic("t")})
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	for range 50 {
		p := dial(x, x.s)
		p.join(connect{level: 5, id: x.id("c"), resume: true, props: lasts(100)})
		p.drop()
	}
	close(stop)
	<-stopped
}

func serverMaximum(x *trial) {
	most := int(x.announced(maximumPacketSize))
	c := x.five("c")
	c.subscribe(filter{x.topic("t"), 0})
	empty := len(publish{topic: x.topic("t")}.bytes(5)) + 2 // a length of three bytes
	c.publish(publish{topic: x.topic("t"), payload: strings.Repeat("x", most-empty)})
	if m := c.message(); len(m.payload) != most-empty {
		x.Errorf("got %d bytes", len(m.payload))
	}
	x.breaks(packetTooLarge, "a byte more", publish{topic: x.topic("t"), payload: strings.Repeat("x", most-empty+1)}.bytes(5))
}
