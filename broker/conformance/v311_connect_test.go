package conformance_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// Chapters 3.1 and 3.2 of MQTT 3.1.1: CONNECT and CONNACK.
func v311Connect() []statement {
	return []statement{
		{number: "MQTT-3.1.0-1", asks: "A client's first packet is a CONNECT.", test: firstIsConnect},
		{number: "MQTT-3.1.0-2", asks: "A second CONNECT is a protocol violation: the client is disconnected.", test: secondConnect},
		{number: "MQTT-3.1.2-1", asks: "A CONNECT with another protocol name is not processed as MQTT 3.1.1.", test: protocolName},
		{number: "MQTT-3.1.2-2", asks: "A level that is not supported is answered with CONNACK 1, then the end.", test: protocolLevel},
		{number: "MQTT-3.1.2-3", asks: "A CONNECT whose reserved flag is set ends the connection.", test: reservedConnectFlag},
		{number: "MQTT-3.1.2-4", asks: "With CleanSession 0 a session is resumed or made, and kept when the client is gone.", test: sessionIsResumed,
			deviation: "A session is kept for 2 h after its client is gone, and does not outlive a restart of the broker: no client is to be sent yesterday's commands, and what must survive is retained."},
		{number: "MQTT-3.1.2-5", asks: "Messages at QoS 1 and 2 for a client that is away are kept in its session.", test: queuedWhileAway,
			deviation: "At most 65,535 of them, and a bound of bytes: past it the session ends, and the client is told so by session present 0."},
		{number: "MQTT-3.1.2-6", asks: "With CleanSession 1 nothing of an older session is used, and nothing of this one later.", test: cleanSession},
		{number: "MQTT-3.1.2.7", asks: "Retained messages outlive the session. (Its number has this form in the standard.)", test: retainedOutlivesSession},
		{number: "MQTT-3.1.2-8", asks: "A will is published when the connection ends without DISCONNECT.", test: willIsPublished,
			deviation: "A planned stop of the broker publishes no will: the house restarts its broker, and is not lost."},
		{number: "MQTT-3.1.2-9", asks: "With the will flag, topic and message of the will are there; the message may be empty.", test: willFieldsPresent},
		{number: "MQTT-3.1.2-10", asks: "A will that was published, or ended by DISCONNECT, is not published again.", test: willOnce},
		{number: "MQTT-3.1.2-11", asks: "Without the will flag there are no will QoS, retain, topic and message.", test: noWillFlag},
		{number: "MQTT-3.1.2-12", asks: "Without the will flag no will is published.", test: noWill},
		{number: "MQTT-3.1.2-13", asks: "Without the will flag the will QoS is 0.", test: noWillFlag},
		{number: "MQTT-3.1.2-14", asks: "The will QoS is not 3.", test: willQoS},
		{number: "MQTT-3.1.2-15", asks: "Without the will flag the will retain flag is 0.", test: noWillFlag},
		{number: "MQTT-3.1.2-16", asks: "Without will retain the will is published as a message that is not retained.", test: willNotRetained},
		{number: "MQTT-3.1.2-17", asks: "With will retain the will is published as a retained message.", test: willRetained},
		{number: "MQTT-3.1.2-18", asks: "Without its flag there is no user name.", test: surplusUser},
		{number: "MQTT-3.1.2-19", asks: "With its flag there is a user name.", test: missingUser},
		{number: "MQTT-3.1.2-20", asks: "Without its flag there is no password.", test: surplusPassword},
		{number: "MQTT-3.1.2-21", asks: "With its flag there is a password; it may be empty.", test: missingPassword},
		{number: "MQTT-3.1.2-22", asks: "Without a user name there is no password.", test: passwordAlone},
		{number: "MQTT-3.1.2-23", asks: "A client sends something, or PINGREQ, within each keep-alive.", why: bindsClients},
		{number: "MQTT-3.1.2-24", asks: "A client that is silent for one and a half keep-alives is disconnected as if the network had failed.", test: keepAlive,
			deviation: "No keep-alive, and one above 1 h, is taken for 1 h: a hung client would be connected for ever. Section 3.1.2.10 lets a server hang up on whom it thinks dead."},

		{number: "MQTT-3.1.3-1", asks: "The payload has its fields in the order id, will topic, will message, user name, password.", test: fieldsInOrder},
		{number: "MQTT-3.1.3-2", asks: "The client id tells one session from another.", test: idIsTheSession},
		{number: "MQTT-3.1.3-3", asks: "The client id is there, and first.", test: idIsThere},
		{number: "MQTT-3.1.3-4", asks: "The client id is UTF-8.", test: idIsUTF8},
		{number: "MQTT-3.1.3-5", asks: "Ids of 1 to 23 letters and digits are let in.", test: idsLetIn},
		{number: "MQTT-3.1.3-6", asks: "A client without an id is given one of its own.", test: noID},
		{number: "MQTT-3.1.3-7", asks: "A client without an id asks for a clean session.", test: noIDNotClean},
		{number: "MQTT-3.1.3-8", asks: "If it does not, it gets CONNACK 2 and the end.", test: noIDNotClean},
		{number: "MQTT-3.1.3-9", asks: "An id that is refused gets CONNACK 2 and the end.", test: idRefused,
			deviation: "Ids of more than 256 bytes are refused, and ids that another account's client holds."},
		{number: "MQTT-3.1.3-10", asks: "The will topic is UTF-8.", test: willTopicIsUTF8},
		{number: "MQTT-3.1.3-11", asks: "The user name is UTF-8.", test: userIsUTF8},

		{number: "MQTT-3.1.4-1", asks: "A CONNECT that is not as 3.1 wants it ends the connection without CONNACK.", test: malformedConnect},
		{number: "MQTT-3.1.4-2", asks: "A client with the id of one that is connected takes its place.", test: takesOver,
			deviation: "Not from another account: an id belongs to who is in, or to whom it names. Otherwise any login could throw out any client."},
		{number: "MQTT-3.1.4-3", asks: "CleanSession is processed once CONNECT is found right.", test: cleanAtTakeover},
		{number: "MQTT-3.1.4-4", asks: "A CONNECT that is right gets CONNACK 0.", test: connackZero},
		{number: "MQTT-3.1.4-5", asks: "After a CONNECT that was refused nothing of that client is processed.", test: nothingAfterRefusal},

		{number: "MQTT-3.2.0-1", asks: "The server's first packet is CONNACK.", test: connackFirst},
		{number: "MQTT-3.2.2-1", asks: "After CleanSession 1, session present is 0.", test: cleanIsNotPresent},
		{number: "MQTT-3.2.2-2", asks: "After CleanSession 0, session present is 1 if there is a session.", test: sessionPresent},
		{number: "MQTT-3.2.2-3", asks: "And 0 if there is none.", test: sessionPresent},
		{number: "MQTT-3.2.2-4", asks: "A refusal has session present 0.", test: refusals},
		{number: "MQTT-3.2.2-5", asks: "After a refusal the connection is closed.", test: refusals},
		{number: "MQTT-3.2.2-6", asks: "Where no return code fits, the connection is closed without CONNACK.", test: noCodeFits},
	}
}

func firstIsConnect(x *trial) {
	for what, bytes := range map[string][]byte{
		"PUBLISH": publish{topic: x.topic("a")}.bytes(4), "SUBSCRIBE": subscribe(4, 1, nil, filter{"#", 0}),
		"PINGREQ": pingreq(), "DISCONNECT": disconnect(), "HTTP": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		x.turnsAway(what, bytes)
	}
}

func secondConnect(x *trial) {
	x.hangsUpOn("a second CONNECT", connect{id: x.id("wrong")}.bytes())
	x.hangsUpOn("one with another id", connect{id: x.id("other")}.bytes())
}

func protocolName(x *trial) {
	for _, name := range []string{"hj", "mqtt", "MQTTX", "MQT", "MQIsdp", "HTTP"} {
		x.turnsAway(name, connect{name: name, id: x.id("c")}.bytes())
	}
}

func protocolLevel(x *trial) {
	levels := map[byte]string{3: "MQIsdp", 0: "MQTT", 6: "MQTT", 127: "MQTT", 0x84: "MQTT"}
	for level, name := range levels {
		c := dial(x, x.s)
		bytes := connect{name: name, id: x.id("c")}.bytes()
		bytes[2+2+len(name)] = level
		c.send(bytes)
		if a := c.want(CONNACK); a.code != 1 || a.present {
			x.Errorf("level %d got %v, want code 1", level, a)
		}
		if rest := c.ended(); len(rest) > 0 {
			x.Errorf("level %d: then %v", level, rest)
		}
	}
}

func reservedConnectFlag(x *trial) {
	x.turnsAway("the reserved flag", connect{id: x.id("c"), flags: 1}.bytes())
}

func sessionIsResumed(x *trial) {
	c := x.resume("c")
	if c.present {
		x.Error("there was a session before the first")
	}
	c.subscribe(filter{x.topic("a"), 1})
	c.leave()
	for _, end := range []func(*client){(*client).leave, (*client).drop} {
		c = x.resume("c")
		if !c.present {
			x.Error("the session is gone")
		}
		c.exchange(publish{topic: x.topic("a"), payload: "hello", qos: 1})
		if m := c.message(); m.payload != "hello" {
			x.Errorf("the subscription brought %v", m)
		}
		end(c)
	}
}

func queuedWhileAway(x *trial) {
	c := x.resume("c")
	c.subscribe(filter{x.topic("1"), 1}, filter{x.topic("2"), 2})
	c.leave()
	p := x.join("publisher")
	var want []string
	for i := range 300 { // more than any second's worth, and more than a byte's
		payload := fmt.Sprint(i)
		want = append(want, payload)
		p.exchange(publish{topic: x.topic("1"), payload: payload, qos: 1})
		p.exchange(publish{topic: x.topic("2"), payload: payload, qos: 2})
	}
	c = x.resume("c")
	ones, twos, dups := []string{}, []string{}, 0
	for range 2 * len(want) {
		m := c.message()
		if m.dup {
			dups++
		}
		if m.topic == x.topic("1") && m.qos == 1 {
			ones = append(ones, m.payload)
		} else if m.topic == x.topic("2") && m.qos == 2 {
			twos = append(twos, m.payload)
		}
	}
	if !slices.Equal(ones, want) || !slices.Equal(twos, want) {
		x.Errorf("got %v\nand %v\nwant %v of each", ones, twos, want)
	}
	if dups > 0 {
		x.Errorf("%d messages have DUP, and were never sent before", dups)
	}
}

func cleanSession(x *trial) {
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 1})
	c.leave()
	p := x.join("publisher")
	p.exchange(publish{topic: x.topic("a"), payload: "while away", qos: 1})
	c = x.join("c")
	p.exchange(publish{topic: x.topic("a"), payload: "to the new session", qos: 1})
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("the new session gets %v", got)
	}
	c.subscribe(filter{x.topic("a"), 1})
	c.leave()
	c = x.resume("c")
	p.exchange(publish{topic: x.topic("a"), payload: "to the third", qos: 1})
	if got := c.mine(x.topic("fence")); len(got) > 0 || c.present {
		x.Errorf("the session after a clean one gets %v, session present %v", got, c.present)
	}
}

func retainedOutlivesSession(x *trial) {
	for _, c := range []*client{x.join("clean"), x.resume("kept")} {
		c.exchange(publish{topic: x.topic("a"), payload: "here", qos: 1, retain: true})
		c.leave()
		if r := join(x, x.s, connect{id: x.id("reader")}); len(r.subscribe(filter{x.topic("a"), 1})) != 1 || r.message().payload != "here" {
			x.Error("the retained message is gone")
		}
	}
}

func willIsPublished(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("+"), 2})
	for how, end := range map[string]func(*client){
		"close":              (*client).drop,
		"protocol violation": func(c *client) { c.send(frame(0)) },
		"takeover":           func(*client) { x.join("c") },
	} {
		for qos := range byte(3) {
			c := join(x, x.s, connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: how, qos: qos}})
			end(c)
			if m := watcher.message(); m.payload != how || m.qos != qos || m.topic != x.topic("will") || m.dup {
				x.Errorf("%s: the will comes as %v, want QoS %d", how, m, qos)
			}
		}
	}
}

func willFieldsPresent(x *trial) {
	const flag = 0x04
	for what, fields := range map[string][]byte{
		"neither": nil, "no message": str(x.topic("will")), "a short topic": {0, 9, 'x'}, "an empty topic": append(str(""), str("x")...),
	} {
		c := frame(CONNECT<<4, str("MQTT"), []byte{4, 2 | flag}, u16(0), str(x.id("c")), fields)
		x.turnsAway(what, c)
	}
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 0})
	join(x, x.s, connect{id: x.id("c"), will: &will{topic: x.topic("will")}}).drop()
	if m := watcher.message(); m.payload != "" {
		x.Errorf("the empty will comes as %v", m)
	}
}

func willOnce(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 1})
	with := connect{id: x.id("c"), resume: true, will: &will{topic: x.topic("will"), payload: "lost"}}
	c := join(x, x.s, with)
	c.drop()
	watcher.message()
	x.resume("c").drop() // without a will
	join(x, x.s, with).leave()
	x.resume("c").drop()
	x.join("c").leave() // comes once the one before has ended
	if got := watcher.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("the will came again: %v", got)
	}
}

func noWillFlag(x *trial) {
	x.turnsAway("will retain without a will", connect{id: x.id("c"), flags: 0x20}.bytes())
	for qos := byte(1); qos <= 3; qos++ {
		x.turnsAway(fmt.Sprintf("will QoS %d without a will", qos), connect{id: x.id("c"), flags: qos << 3}.bytes())
	}
	x.turnsAway("will topic and message without a will",
		frame(CONNECT<<4, str("MQTT"), []byte{4, 2}, u16(0), str(x.id("c")), str(x.topic("will")), str("x")))
}

func noWill(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{"#", 1})
	x.join("c").drop()
	x.join("c").leave()
	for _, m := range watcher.mine(x.topic("fence")) {
		if !m.retain {
			x.Errorf("published: %v", m)
		}
	}
}

func willQoS(x *trial) {
	x.turnsAway("will QoS 3", connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "x", qos: 3}}.bytes())
	for qos := range byte(3) {
		join(x, x.s, connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "x", qos: qos}}).leave()
	}
}

// afterWill lets a client with a will end, and returns the will as a subscriber
// of that moment and one of later get it.
func afterWill(x *trial, retain bool) (now packet, later []packet) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 1})
	join(x, x.s, connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "lost", qos: 1, retain: retain}}).drop()
	now = watcher.message()
	late := x.join("late")
	late.subscribe(filter{x.topic("will"), 1})
	return now, late.mine(x.topic("fence"))
}

func willNotRetained(x *trial) {
	if now, later := afterWill(x, false); now.payload != "lost" || len(later) > 0 {
		x.Errorf("got %v, and later %v", now, later)
	}
}

func willRetained(x *trial) {
	now, later := afterWill(x, true)
	if now.payload != "lost" || now.retain || len(later) != 1 || !later[0].retain || later[0].payload != "lost" || later[0].qos != 1 {
		x.Errorf("got %v, and later %v", now, later)
	}
}

// bareConnect is a CONNECT with these flags, and these bytes after its id.
func bareConnect(x *trial, flags byte, rest ...[]byte) []byte {
	return frame(CONNECT<<4, str("MQTT"), []byte{4, 2 | flags}, u16(0), str(x.id("c")), slices.Concat(rest...))
}

func surplusUser(x *trial) {
	x.turnsAway("a user name without its flag", bareConnect(x, 0, str("ann")))
}

func missingUser(x *trial) {
	x.turnsAway("no user name", bareConnect(x, 0x80))
	x.turnsAway("half of one", bareConnect(x, 0x80, []byte{0, 4, 'a'}))
	x.turnsAway("only one field", bareConnect(x, 0xc0, str("ann")))
	join(x, x.s, connect{id: x.id("c"), user: []byte{}}).leave()
}

func surplusPassword(x *trial) {
	x.turnsAway("a password without its flag", bareConnect(x, 0x80, str("ann"), str("secret")))
}

func missingPassword(x *trial) {
	x.turnsAway("no password", bareConnect(x, 0xc0, str("ann")))
	x.turnsAway("half of one", bareConnect(x, 0xc0, str("ann"), []byte{0, 9, 's'}))
	join(x, x.s, connect{id: x.id("c"), user: []byte("ann"), password: []byte{}}).leave()
	join(x, x.s, connect{id: x.id("c"), user: []byte("ann"), password: []byte{0, 0xff}}).leave()
}

func passwordAlone(x *trial) {
	x.turnsAway("a password alone", bareConnect(x, 0x40, str("secret")))
	x.turnsAway("an empty one", bareConnect(x, 0x40, str("")))
}

// keepAlive runs on a clock of its own, where seconds cost nothing.
func keepAlive(x *trial) {
	synctest.Test(x.T, func(t *testing.T) {
		s, err := broker.Open(broker.Options{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for seconds, want := range map[int]time.Duration{
			1: 1500 * time.Millisecond, 2: 3 * time.Second, 5: 7500 * time.Millisecond, 10: 15 * time.Second,
			0: 90 * time.Minute, 65535: 90 * time.Minute,
		} {
			c := newClient(t, s.Pipe(operator))
			c.join(connect{id: "c", keepAlive: seconds, will: &will{topic: "will", payload: "silent", retain: true}})
			if seconds > 0 && seconds < 60 {
				for range 3 { // what it sends keeps it alive
					time.Sleep(time.Duration(seconds) * time.Second)
					c.alive()
				}
			}
			began := time.Now()
			_ = c.conn.SetReadDeadline(time.Time{})
			if _, err := c.in.ReadByte(); err == nil {
				t.Error("something came")
			}
			if took := time.Since(began); took != want {
				t.Errorf("keep-alive %d s: disconnected after %v, want %v", seconds, took, want)
			}
			watcher := newClient(t, s.Pipe(operator))
			watcher.join(connect{id: "watcher"})
			watcher.subscribe(filter{"will", 0})
			if m := watcher.message(); m.payload != "silent" {
				t.Errorf("the will is %v", m)
			}
			watcher.publish(publish{topic: "will", retain: true})
			watcher.leave()
		}
	})
}

func fieldsInOrder(x *trial) {
	s, _ := withLogins(x)
	c := dial(x, s)
	if a := c.greet(connect{id: "in-order", user: []byte("ann"), password: []byte("secret"), will: &will{topic: "a", payload: "lost", qos: 1}}); a.code != 0 {
		x.Fatalf("got %v", a)
	}
	watcher := join(x, s, connect{id: "watcher", user: []byte("ann"), password: []byte("secret")})
	watcher.subscribe(filter{"a", 1})
	c.drop()
	if m := watcher.message(); m.payload != "lost" || m.topic != "a" {
		x.Errorf("the will is %v", m)
	}
}

func idIsTheSession(x *trial) {
	a, b := x.resume("a"), x.resume("A")
	a.subscribe(filter{x.topic("a"), 1})
	b.subscribe(filter{x.topic("b"), 1})
	a.leave()
	b.leave()
	p := x.join("publisher")
	p.exchange(publish{topic: x.topic("a"), payload: "a", qos: 1})
	p.exchange(publish{topic: x.topic("b"), payload: "b", qos: 1})
	for name, want := range map[string]string{"a": "a", "A": "b"} {
		c := x.resume(name)
		if got := payloads(c.mine(x.topic("fence"))); !slices.Equal(got, []string{want}) {
			x.Errorf("%s gets %v, want %s", name, got, want)
		}
	}
}

func idIsThere(x *trial) {
	x.turnsAway("no payload", frame(CONNECT<<4, str("MQTT"), []byte{4, 2}, u16(0)))
	x.turnsAway("half an id", frame(CONNECT<<4, str("MQTT"), []byte{4, 2}, u16(0), []byte{0, 5, 'a'}))
}

func idIsUTF8(x *trial) {
	x.turnsAway("Latin-1", connect{id: "caf\xe9"}.bytes())
	join(x, x.s, connect{id: "café ⌂ 家"}).leave()
}

func idsLetIn(x *trial) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for n := 1; n <= 23; n++ {
		join(x, x.s, connect{id: letters[n:][:n]}).leave()
		join(x, x.s, connect{id: letters[len(letters)-n:]}).leave()
	}
	join(x, x.s, connect{id: "a client id of more than 23 characters, as many libraries make"}).leave()
}

func noID(x *trial) {
	a, b := join(x, x.s, connect{}), join(x, x.s, connect{})
	for _, c := range []*client{a, b} {
		c.subscribe(filter{x.topic("a"), 1})
	}
	a.exchange(publish{topic: x.topic("a"), payload: "to both", qos: 1})
	for _, c := range []*client{a, b} {
		if m := c.message(); m.payload != "to both" {
			x.Errorf("got %v", m)
		}
	}
}

// refused sends a CONNECT that is to be answered with a code, and the end.
func refused(x *trial, s *broker.Server, with connect, code byte) {
	x.Helper()
	c := dial(x, s)
	if a := c.greet(with); a.code != code || a.present {
		x.Errorf("%q got %v, want code %d and no session", shorten(with.id), a, code)
	}
	if got := c.ended(); len(got) > 0 {
		x.Errorf("after the refusal came %v", got)
	}
}

func noIDNotClean(x *trial) { refused(x, x.s, connect{resume: true}, 2) }

func idRefused(x *trial) { refused(x, x.s, connect{id: strings.Repeat("x", 300)}, 2) }

func willTopicIsUTF8(x *trial) {
	x.turnsAway("Latin-1", connect{id: x.id("c"), will: &will{topic: "caf\xe9", payload: "x"}}.bytes())
}

func userIsUTF8(x *trial) {
	x.turnsAway("Latin-1", connect{id: x.id("c"), user: []byte("caf\xe9")}.bytes())
}

func malformedConnect(x *trial) {
	whole := connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "x"}, user: []byte("ann"), password: []byte("pw")}.bytes()
	for n := range len(whole) - 2 { // cut, but with a length that says so
		x.turnsAway(fmt.Sprintf("%d bytes of CONNECT", n), frame(CONNECT<<4, whole[2:2+n]))
	}
	x.turnsAway("bytes after the password", frame(CONNECT<<4, whole[2:], []byte("more")))
	x.turnsAway("a length of five bytes", []byte{CONNECT << 4, 0x80, 0x80, 0x80, 0x80, 1})
}

func takesOver(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 1}, filter{x.topic("a"), 1})
	for range 20 {
		old := join(x, x.s, connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "old"}})
		c := x.join("c")
		if got := old.ended(); len(got) > 0 {
			x.Errorf("the old client got %v", got)
		}
		c.exchange(publish{topic: x.topic("a"), payload: "new", qos: 1})
		if will, news := watcher.message(), watcher.message(); will.payload != "old" || news.payload != "new" {
			x.Errorf("heard %v, then %v: want the old will, then what is new", will, news)
		}
	}
}

func cleanAtTakeover(x *trial) {
	old := x.resume("c")
	old.subscribe(filter{x.topic("a"), 1})
	c := x.join("c")
	c.exchange(publish{topic: x.topic("a"), qos: 1})
	if got := c.mine(x.topic("fence")); len(got) > 0 || c.present {
		x.Errorf("a clean session takes over %v, present %v", got, c.present)
	}
	x.join("d").leave()
	old = x.resume("d")
	old.subscribe(filter{x.topic("d"), 1})
	c = x.resume("d")
	c.exchange(publish{topic: x.topic("d"), payload: "still", qos: 1})
	if m := c.message(); m.payload != "still" || !c.present {
		x.Errorf("a session that is taken over brings %v, present %v", m, c.present)
	}
}

func connackZero(x *trial) {
	if a := dial(x, x.s).join(connect{id: x.id("c")}); a.code != 0 {
		x.Errorf("got %v", a)
	}
}

// logins are accounts with one user, ann, whose password is secret.
type logins struct{}

func (logins) Password(user, password string) (topics.Account, error) {
	if user != "ann" || password != "secret" {
		return topics.Account{}, errors.New("no such user, or another password")
	}
	return topics.Account{Name: "user ann", Who: topics.Identity{Role: topics.RoleOperator, Name: "ann"}}, nil
}

func (logins) Certificate(*x509.Certificate) (topics.Account, error) {
	return topics.Account{}, errors.New("no certificates here")
}

// withLogins is a broker that knows ann; who sends no user name is let in too,
// as a node.
func withLogins(x *trial) (s *broker.Server, wrong connect) {
	s = start(x, func(o *broker.Options) {
		o.Accounts = logins{}
		o.Anonymous = []topics.Identity{{Role: topics.RoleNode, Name: "attic"}}
	})
	return s, connect{id: "wrong", user: []byte("ann"), password: []byte("guess")}
}

func nothingAfterRefusal(x *trial) {
	s, wrong := withLogins(x)
	watcher := join(x, s, connect{id: "watcher", user: []byte("ann"), password: []byte("secret")})
	watcher.subscribe(filter{"a", 1})
	c := dial(x, s)
	c.send(wrong.bytes(), publish{topic: "a", payload: "sneaked in"}.bytes(4), publish{topic: "a", qos: 1, id: 1, retain: true}.bytes(4))
	c.ended()
	if got := watcher.mine("fence"); len(got) > 0 {
		x.Errorf("a refused client published %v", got)
	}
}

func connackFirst(x *trial) {
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 1})
	c.drop()
	p := x.join("publisher")
	p.exchange(publish{topic: x.topic("a"), qos: 1})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the client has much to hear when it comes
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				p.publish(publish{topic: x.topic("a")})
			}
		}
	}()
	for range 30 {
		c = dial(x, x.s)
		c.send(connect{id: x.id("c"), resume: true}.bytes())
		c.want(CONNACK)
		c.drop()
	}
	close(stop)
	<-stopped
}

func cleanIsNotPresent(x *trial) {
	x.resume("c").leave()
	if c := x.join("c"); c.present {
		x.Error("session present after CleanSession 1")
	}
}

func sessionPresent(x *trial) {
	if c := x.resume("c"); c.present {
		x.Error("session present where there was none")
	} else {
		c.leave()
	}
	if c := x.resume("c"); !c.present {
		x.Error("no session present where there was one, without subscriptions")
	}
}

func refusals(x *trial) {
	s, wrong := withLogins(x)
	refused(x, s, wrong, 4)
	wrong.resume = true
	refused(x, s, wrong, 4)
	refused(x, s, connect{id: "c", will: &will{topic: "dominion/coordinator/state/presence", payload: "x"}}, 5)
}

func noCodeFits(x *trial) {
	x.turnsAway("will QoS 3", connect{id: x.id("c"), will: &will{topic: x.topic("will"), payload: "x", qos: 3}}.bytes())
	x.turnsAway("another protocol", connect{name: "AMQP", id: x.id("c")}.bytes())
}
