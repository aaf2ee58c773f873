package conformance_test

import (
	"fmt"
	"slices"
	"strings"
)

// Chapters 3.3 to 3.7 of MQTT 3.1.1: PUBLISH and its acknowledgements.
func v311Publish() []statement {
	return []statement{
		{number: "MQTT-3.3.1-1", asks: "A PUBLISH that is sent again has the DUP flag.", test: dupWhenSentAgain},
		{number: "MQTT-3.3.1-2", asks: "A PUBLISH at QoS 0 has no DUP flag.", test: noDupAtQoS0},
		{number: "MQTT-3.3.1-3", asks: "DUP says whether the server sends the message again, whatever the publisher's PUBLISH had.", test: dupIsNotPassedOn},
		{number: "MQTT-3.3.1-4", asks: "QoS 3 ends the connection.", test: qos3},
		{number: "MQTT-3.3.1-5", asks: "A message with the retain flag is kept, with its QoS, for later subscribers.", test: retainedIsKept,
			deviation: "Not kept is what the access rules refuse, what is over a quota of retained messages, and commands and events of the house, which docs/protocol.md never retains."},
		{number: "MQTT-3.3.1-6", asks: "A new subscription gets the last retained message of each topic it matches.", test: retainedIsSent,
			deviation: "A topic that changes while its retained message is sent is sent once more, as it is then: an empty message if it was emptied. So the last message that a subscriber gets on a topic is the newest."},
		{number: "MQTT-3.3.1-7", asks: "A retained message at QoS 0 takes the place of the one before.", test: retainedAtQoS0},
		{number: "MQTT-3.3.1-8", asks: "What is sent because of a new subscription has the retain flag.", test: retainFlagOfReplay},
		{number: "MQTT-3.3.1-9", asks: "What is sent because of an old one has not.", test: retainFlagOfNews},
		{number: "MQTT-3.3.1-10", asks: "An empty retained message is delivered, and empties the topic.", test: emptying},
		{number: "MQTT-3.3.1-11", asks: "An empty message is not retained.", test: emptying},
		{number: "MQTT-3.3.1-12", asks: "A message without the retain flag changes nothing of what is retained.", test: notRetained},
		{number: "MQTT-3.3.2-1", asks: "The topic is the first field, in UTF-8.", test: topicFirst},
		{number: "MQTT-3.3.2-2", asks: "A topic has no wildcards.", test: noWildcardsInTopics},
		{number: "MQTT-3.3.2-3", asks: "The topic that a subscriber is sent matches its filter.", test: topicMatchesFilter},
		{number: "MQTT-3.3.4-1", asks: "QoS 0 gets no answer, QoS 1 PUBACK, QoS 2 PUBREC.", test: answers},
		{number: "MQTT-3.3.5-1", asks: "Where several subscriptions match, the highest QoS of them counts.", test: overlapping,
			deviation: "A message comes once, at that QoS, not once for each subscription. Both are allowed."},
		{number: "MQTT-3.3.5-2", asks: "A PUBLISH that is not allowed is acknowledged, or the connection ends.", test: notAllowed,
			deviation: "It is acknowledged and goes nowhere: a client that is hung up on comes back and does the same again. The house is told by an alert."},
		{number: "MQTT-3.6.1-1", asks: "PUBREL's reserved flags are 2, anything else ends the connection.", test: pubrelFlags},
	}
}

func dupWhenSentAgain(x *trial) {
	p := x.join("publisher")
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	p.exchange(publish{topic: x.topic("a"), payload: "1", qos: 1})
	p.exchange(publish{topic: x.topic("a"), payload: "2", qos: 2})
	for range 2 {
		if m := c.want(PUBLISH); m.dup {
			x.Errorf("%v came first with DUP", m)
		}
	}
	c.drop()
	for range 2 { // as often as it must be sent again
		c = x.resume("c")
		for _, payload := range []string{"1", "2"} {
			if m := c.want(PUBLISH); !m.dup || m.payload != payload {
				x.Errorf("%v came again, want %s with DUP", m, payload)
			}
		}
		c.drop()
	}
}

func noDupAtQoS0(x *trial) {
	x.hangsUpOn("DUP at QoS 0", publish{topic: x.topic("a"), dup: true}.bytes(4))
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 0})
	c.exchange(publish{topic: x.topic("a"), qos: 1, dup: true})
	if m := c.message(); m.dup || m.qos != 0 {
		x.Errorf("got %v", m)
	}
}

func dupIsNotPassedOn(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a"), 2})
	for qos := byte(1); qos <= 2; qos++ {
		c.exchange(publish{topic: x.topic("a"), payload: "x", qos: qos, dup: true, retain: true})
		if m := c.message(); m.dup || m.qos != qos {
			x.Errorf("got %v", m)
		}
		c.subscribe(filter{x.topic("a"), 2})
		if m := c.message(); m.dup || !m.retain {
			x.Errorf("retained: %v", m)
		}
		c.mine(x.topic("fence")) // see the deviation of MQTT-3.3.1-6
	}
}

func qos3(x *trial) {
	for _, flags := range []byte{6, 7, 14, 15} {
		x.hangsUpOn(fmt.Sprintf("PUBLISH with flags %04b", flags), frame(PUBLISH<<4|flags, str(x.topic("a")), u16(1), []byte("x")))
	}
}

// replayed is what a new subscription to a filter is sent.
func replayed(x *trial, qos byte, filters ...string) []packet {
	x.Helper()
	c := x.join("reader")
	defer c.leave()
	for _, f := range filters {
		c.subscribe(filter{f, qos})
	}
	return c.mine(x.topic("fence"))
}

func retainedIsKept(x *trial) {
	c := x.join("c")
	for qos := byte(2); qos < 3; qos-- {
		c.exchange(publish{topic: x.topic("a"), payload: fmt.Sprint(qos), qos: qos, retain: true})
		if got := replayed(x, 2, x.topic("a")); len(got) != 1 || got[0].payload != fmt.Sprint(qos) || got[0].qos != qos {
			x.Errorf("retained at QoS %d, kept is %v", qos, got)
		}
	}
}

func retainedIsSent(x *trial) {
	c := x.join("c")
	for _, level := range []string{"a", "a/b", "a/b/c", "a//c", "b", "/"} {
		c.exchange(publish{topic: x.topic(level), payload: "older", qos: 1, retain: true})
		c.exchange(publish{topic: x.topic(level), payload: level, qos: 1, retain: true})
	}
	for f, want := range map[string][]string{
		"#": {"/", "a", "a/b", "a/b/c", "a//c", "b"}, "a": {"a"}, "a/#": {"a", "a/b", "a/b/c", "a//c"}, "a/+": {"a/b"},
		"+": {"a", "b"}, "+/+": {"a/b", "/"}, "a/+/c": {"a/b/c", "a//c"}, "a/+/#": {"a/b", "a/b/c", "a//c"}, "+/b/#": {"a/b", "a/b/c"},
		"b/#": {"b"}, "/": {"/"}, "//": nil, "a/b/c/#": {"a/b/c"}, "+/#": {"/", "a", "a/b", "a/b/c", "a//c", "b"},
	} {
		got := payloads(replayed(x, 1, x.topic(f)))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			x.Errorf("%s: got %v, want %v", f, got, want)
		}
	}
}

func retainedAtQoS0(x *trial) {
	c := x.join("c")
	c.exchange(publish{topic: x.topic("a"), payload: "old", qos: 1, retain: true})
	c.publish(publish{topic: x.topic("a"), payload: "new", retain: true})
	c.alive()
	if got := replayed(x, 1, x.topic("a")); len(got) != 1 || got[0].payload != "new" || got[0].qos != 0 {
		x.Errorf("kept is %v, want new at QoS 0", got)
	}
}

func retainFlagOfReplay(x *trial) {
	c := x.join("c")
	c.exchange(publish{topic: x.topic("a"), payload: "here", qos: 1, retain: true})
	c.subscribe(filter{x.topic("a"), 1})
	if m := c.message(); !m.retain {
		x.Errorf("got %v", m)
	}
	c.unsubscribe(x.topic("a"))
	c.subscribe(filter{x.topic("#"), 0})
	if m := c.message(); !m.retain {
		x.Errorf("after another subscription: %v", m)
	}
}

func retainFlagOfNews(x *trial) {
	c := x.resume("c")
	c.subscribe(filter{x.topic("a"), 2})
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("a"), payload: "news", qos: qos, retain: true})
		if m := c.message(); m.retain || m.payload != "news" {
			x.Errorf("got %v", m)
		}
	}
	c.leave()
	x.join("publisher").exchange(publish{topic: x.topic("a"), payload: "while away", qos: 1, retain: true})
	c = x.resume("c")
	if m := c.message(); m.retain || m.payload != "while away" {
		x.Errorf("from the session: %v", m)
	}
}

func emptying(x *trial) {
	c := x.join("c")
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("a"), payload: "old", qos: 1, retain: true})
		watcher := x.join("watcher")
		watcher.subscribe(filter{x.topic("a"), 2})
		watcher.message()
		watcher.mine(x.topic("fence"))
		c.exchange(publish{topic: x.topic("a"), qos: qos, retain: true})
		if m := watcher.message(); m.payload != "" || m.retain || m.qos != qos {
			x.Errorf("emptying at QoS %d came as %v", qos, m)
		}
		if got := replayed(x, 1, x.topic("a"), x.topic("#")); len(got) > 0 {
			x.Errorf("after emptying at QoS %d: %v", qos, got)
		}
		watcher.leave()
	}
}

func notRetained(x *trial) {
	c := x.join("c")
	c.exchange(publish{topic: x.topic("a"), payload: "kept", qos: 1, retain: true})
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("a"), payload: "passing", qos: qos})
		c.exchange(publish{topic: x.topic("a"), qos: qos})
		c.exchange(publish{topic: x.topic("b"), payload: "passing", qos: qos})
	}
	if got := payloads(replayed(x, 1, x.topic("#"))); !slices.Equal(got, []string{"kept"}) {
		x.Errorf("kept is %v", got)
	}
}

func topicFirst(x *trial) {
	x.hangsUpOn("PUBLISH without anything", frame(PUBLISH<<4))
	x.hangsUpOn("with half a length", frame(PUBLISH<<4, []byte{0}))
	x.hangsUpOn("with a topic that is too short", frame(PUBLISH<<4, []byte{0, 9, 'a'}))
	x.hangsUpOn("at QoS 1 without an id", frame(PUBLISH<<4|2, str("a"), []byte{1}))
	x.hangsUpOn("in Latin-1", publish{topic: "caf\xe9"}.bytes(4))
}

func noWildcardsInTopics(x *trial) {
	for _, topic := range []string{"#", "+", "a/#", "a/+/b", "a#", "a+b"} {
		for qos := range byte(3) {
			x.hangsUpOn("PUBLISH on "+topic, publish{topic: topic, qos: qos, id: 1}.bytes(4))
		}
	}
}

func topicMatchesFilter(x *trial) {
	c := x.join("c")
	for f, topics := range map[string][]string{
		"a": {"a"}, "a/+": {"a/b", "a/"}, "a/#": {"a", "a/", "a/b", "a/b/c"}, "+/b": {"a/b", "/b"}, "+/+": {"a/b", "/", "a/", "/b"},
	} {
		c.subscribe(filter{x.topic(f), 1})
		var want []string
		for _, topic := range []string{"a", "b", "A", "a/", "/", "a/b", "/b", "a/b/c", "aa/bb/c/d", "ab"} {
			c.publish(publish{topic: x.topic(topic), qos: 1})
			if slices.Contains(topics, topic) {
				want = append(want, x.topic(topic))
			}
		}
		var got []string
		for _, m := range c.mine(x.number + "-fence") {
			got = append(got, m.topic)
		}
		if !slices.Equal(got, want) {
			x.Errorf("%s: got %v, want %v", f, got, want)
		}
		c.unsubscribe(x.topic(f))
	}
}

func answers(x *trial) {
	c := x.join("c")
	c.send(publish{topic: x.topic("a")}.bytes(4), pingreq())
	c.want(PINGRESP)
	c.send(publish{topic: x.topic("a"), qos: 1, id: 7}.bytes(4), pingreq())
	c.want(PUBACK)
	c.want(PINGRESP)
	c.send(publish{topic: x.topic("a"), qos: 2, id: 7}.bytes(4), pingreq())
	c.want(PUBREC)
	c.want(PINGRESP)
	c.send(ack(PUBREL, 7), pingreq())
	c.want(PUBCOMP)
	c.want(PINGRESP)
}

func overlapping(x *trial) {
	c := x.join("c")
	c.subscribe(filter{x.topic("a/#"), 0}, filter{x.topic("a/+"), 2}, filter{x.topic("a/b"), 1})
	for qos := range byte(3) {
		c.exchange(publish{topic: x.topic("a/b"), payload: strings.Repeat("x", int(qos)+1), qos: qos})
		if m := c.message(); m.qos != qos || len(m.payload) != int(qos)+1 {
			x.Errorf("published at QoS %d, got %v", qos, m)
		}
	}
	if got := c.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("more came: %v", got)
	}
}

func notAllowed(x *trial) {
	watcher := x.join("watcher")
	watcher.subscribe(filter{"dominion/coordinator/state/#", 1})
	c := x.join("c")
	for qos := range byte(3) {
		c.exchange(publish{topic: "dominion/coordinator/state/presence", payload: "x", qos: qos, retain: true})
		c.exchange(publish{topic: "$SYS/broker/uptime", payload: "x", qos: qos})
		c.exchange(publish{topic: strings.Repeat("x/", 40), payload: "x", qos: qos})
	}
	c.alive()
	if got := watcher.mine(x.topic("fence")); len(got) > 0 {
		x.Errorf("published: %v", got)
	}
}

func pubrelFlags(x *trial) {
	for flags := range byte(16) {
		if flags != 2 {
			x.hangsUpOn(fmt.Sprintf("PUBREL with flags %04b", flags), frame(PUBREL<<4|flags, u16(1)))
		}
	}
}
