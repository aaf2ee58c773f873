package conformance_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// The scenarios that Eclipse's interoperability suite for MQTT 3.1.1 goes
// through, with its topics and client ids, in its order, on one broker: what one
// leaves behind the next one finds. Waiting is for packets here, not for time.

const firstID, secondID = "myclientid", "myclientid2"

// interop is one broker, and what the suite's two clients are called.
type interop struct {
	*testing.T
	s *broker.Server
}

func (x interop) first(with connect) *client  { with.id = firstID; return join(x, x.s, with) }
func (x interop) second(with connect) *client { with.id = secondID; return join(x, x.s, with) }

func TestEclipsesScenarios(t *testing.T) {
	s := start(t, nil)
	for _, scenario := range []struct {
		name string
		run  func(interop)
	}{
		{"clean up", interop.cleanUp},
		{"basic", interop.basic},
		{"retained messages", interop.retained},
		{"zero length client id", interop.zeroLengthID},
		{"offline message queueing", interop.offlineQueueing},
		{"will message", interop.willMessage},
		{"overlapping subscriptions", interop.overlappingSubscriptions},
		{"redelivery on reconnect", interop.redelivery},
		{"dollar topics", interop.dollar},
		{"unsubscribe", interop.unsubscribe},
		{"clean up again", interop.cleanUp},
	} {
		t.Run(scenario.name, func(t *testing.T) { scenario.run(interop{t, s}) })
	}
}

func (x interop) cleanUp() {
	x.first(connect{}).leave()
	x.second(connect{}).leave()
	c := join(x, x.s, connect{id: "clean retained"})
	c.subscribe(filter{"#", 0})
	for _, m := range c.mine("cleaned") {
		if !m.retain {
			x.Errorf("not retained: %v", m)
		}
		c.publish(publish{topic: m.topic, retain: true})
	}
	c.leave()
}

func (x interop) basic() {
	x.first(connect{}).leave()
	c := x.first(connect{})
	if c.present {
		x.Error("session present after a clean one")
	}
	c.subscribe(filter{"TopicA", 2})
	var got []string
	for qos, payload := range []string{"qos 0", "qos 1", "qos 2"} {
		c.exchange(publish{topic: "TopicA", payload: payload, qos: byte(qos)})
		m := c.message()
		got = append(got, m.payload)
		if m.qos != byte(qos) {
			x.Errorf("got %v, want QoS %d", m, qos)
		}
	}
	c.leave()
	if !slices.Equal(got, []string{"qos 0", "qos 1", "qos 2"}) {
		x.Errorf("got %v", got)
	}
	c = x.first(connect{})
	c.send(connect{id: firstID}.bytes())
	if got := c.ended(); len(got) > 0 {
		x.Errorf("a second CONNECT got %v", got)
	}
	c = dial(x, x.s)
	c.send(connect{name: "hj", id: firstID}.bytes())
	if got := c.ended(); len(got) > 0 {
		x.Errorf("protocol hj got %v", got)
	}
}

func (x interop) retained() {
	three := []string{"TopicA/B", "Topic/C", "TopicA/C"}
	c := x.first(connect{})
	for qos, topic := range three {
		c.exchange(publish{topic: topic, payload: "kept", qos: byte(qos), retain: true})
	}
	c.subscribe(filter{"+/+", 2})
	var got []string
	for range three {
		m := c.message()
		if got = append(got, m.topic); !m.retain {
			x.Errorf("%v has no retain flag", m)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"Topic/C", "TopicA/B", "TopicA/C"}) {
		x.Errorf("got %v", got)
	}
	c.leave()
	c = x.first(connect{})
	for qos, topic := range three {
		c.exchange(publish{topic: topic, qos: byte(qos), retain: true})
	}
	c.subscribe(filter{"+/+", 2})
	if got := c.mine("TopicA"); len(got) > 0 {
		x.Errorf("after emptying: %v", got)
	}
	c.leave()
}

func (x interop) zeroLengthID() {
	if a := dial(x, x.s).greet(connect{resume: true}); a.code != 2 {
		x.Errorf("got %v, want code 2", a)
	}
	join(x, x.s, connect{}).leave()
}

func (x interop) offlineQueueing() {
	c := x.first(connect{resume: true})
	c.subscribe(filter{"+/+", 2})
	c.leave()
	p := x.second(connect{})
	p.publish(publish{topic: "TopicA/B", payload: "qos 0"})
	p.exchange(publish{topic: "Topic/C", payload: "qos 1", qos: 1})
	p.exchange(publish{topic: "TopicA/C", payload: "qos 2", qos: 2})
	p.leave()
	c = x.first(connect{resume: true})
	if !c.present {
		x.Error("no session present")
	}
	if got := payloads(c.mine("TopicA")); !slices.Equal(got, []string{"qos 1", "qos 2"}) {
		x.Errorf("got %v, want what was published at QoS 1 and 2", got)
	}
	c.leave()
}

func (x interop) willMessage() {
	c := x.first(connect{keepAlive: 2, will: &will{topic: "Topic/C", payload: "client not disconnected", qos: 2}})
	if c.present {
		x.Error("session present after CleanSession 1")
	}
	watcher := x.second(connect{resume: true})
	watcher.subscribe(filter{"Topic/C", 2})
	c.drop()
	if m := watcher.message(); m.payload != "client not disconnected" || m.qos != 2 {
		x.Errorf("got %v", m)
	}
	watcher.leave()
}

func (x interop) overlappingSubscriptions() {
	c := x.first(connect{})
	c.subscribe(filter{"TopicA/#", 2}, filter{"TopicA/+", 1})
	c.exchange(publish{topic: "TopicA/C", payload: "overlapping topic filters", qos: 2})
	if got := c.mine("fence"); len(got) != 1 || got[0].qos != 2 {
		x.Errorf("got %v, want one message at QoS 2", got)
	}
	c.leave()
}

func (x interop) redelivery() {
	c := x.second(connect{resume: true})
	c.subscribe(filter{"TopicA/#", 2})
	// The suite's client does not answer PUBLISH for a while, but goes on with
	// its own messages, under the ids that the server uses as well.
	c.exchange(publish{topic: "TopicA/B", qos: 1, id: 2})
	c.exchange(publish{topic: "TopicA/C", qos: 2, id: 3})
	c.leave()
	c = x.second(connect{resume: true})
	var got []string
	for range 2 {
		got = append(got, c.message().topic)
	}
	if !slices.Equal(got, []string{"TopicA/B", "TopicA/C"}) {
		x.Errorf("got %v", got)
	}
	c.leave()
}

func (x interop) dollar() {
	c := x.second(connect{})
	c.subscribe(filter{"+/+", 2})
	c.exchange(publish{topic: "$TopicA/B", qos: 1})
	if got := c.mine("fence"); len(got) > 0 {
		x.Errorf("got %v", got)
	}
	c.leave()
}

func (x interop) unsubscribe() {
	b := x.second(connect{})
	b.subscribe(filter{"TopicA", 2})
	b.subscribe(filter{"TopicA/B", 2})
	b.subscribe(filter{"Topic/C", 2})
	b.unsubscribe("TopicA")
	a := x.first(connect{})
	for _, topic := range []string{"TopicA", "TopicA/B", "Topic/C"} {
		a.exchange(publish{topic: topic, qos: 1})
	}
	b.subscribe(filter{"fence", 1})
	a.exchange(publish{topic: "fence", qos: 1})
	if got := b.upTo("fence"); len(got) != 2 || got[0].topic != "TopicA/B" || got[1].topic != "Topic/C" {
		x.Errorf("got %v", got)
	}
	a.leave()
	b.leave()
}

// A client with a keep-alive of 5 s that says nothing is lost within 15 s. One
// with a keep-alive of 0 is still there.
func TestEclipsesKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := broker.Open(broker.Options{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		silent, watcher := newClient(t, s.Pipe(operator)), newClient(t, s.Pipe(operator))
		silent.join(connect{id: firstID, keepAlive: 5, will: &will{topic: "/TopicA", payload: "keepalive expiry", qos: 2}})
		watcher.join(connect{id: secondID})
		watcher.subscribe(filter{"/TopicA", 2})
		began := time.Now()
		if m := watcher.message(); m.payload != "keepalive expiry" || time.Since(began) > 15*time.Second {
			t.Errorf("after %v came %v", time.Since(began), m)
		}
		watcher.leave()
	})
}

// Subscribing to what one may not read fails with 0x80, as the suite wants of a
// filter that it is told: here of a broker whose anonymous clients are nodes.
func TestEclipsesSubscribeFailure(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *broker.Options) { o.Anonymous = []topics.Identity{{Role: topics.RoleNode, Name: "attic"}} })
	c := join(t, s, connect{id: firstID})
	if codes := c.subscribe(filter{"nosubscribe", 2}); !slices.Equal(codes, []byte{0x80}) {
		t.Errorf("got %x, want 80", codes)
	}
}
