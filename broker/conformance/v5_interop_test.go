package conformance_test

import (
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

// The scenarios that Eclipse's interoperability suite for MQTT 5 goes through,
// with its topics, on a clock of its own: what one leaves behind the next one
// finds.
func TestEclipsesScenariosOfMQTT5(t *testing.T) {
	for _, scenario := range []struct {
		name string
		run  func(interop5)
	}{
		{"basic", interop5.basic},
		{"retained message", interop5.retained},
		{"will message", interop5.willMessage},
		{"zero length client id", interop5.zeroLengthID},
		{"offline message queueing", interop5.offlineQueueing},
		{"overlapping subscriptions", interop5.overlapping},
		{"keep-alive", interop5.keepAlive},
		{"redelivery on reconnect", interop5.redelivery},
		{"subscribe failure", interop5.subscribeFailure},
		{"dollar topics", interop5.dollar},
		{"unsubscribe", interop5.unsubscribe},
		{"session expiry", interop5.sessionExpiry},
		{"shared subscriptions", interop5.shared},
		{"user properties", interop5.userProperties},
		{"payload format", interop5.payloadFormat},
		{"publication expiry", interop5.publicationExpiry},
		{"subscribe options", interop5.subscribeOptions},
		{"assigned client id", interop5.assignedID},
		{"subscribe identifiers", interop5.identifiers},
		{"request and response", interop5.requestResponse},
		{"client topic alias", interop5.clientAlias},
		{"server topic alias", interop5.serverAlias},
		{"maximum packet size", interop5.maximumPacketSize},
		{"server keep-alive", interop5.serverKeepAlive},
		{"flow control of the server", interop5.flowControl1},
		{"flow control of the client", interop5.flowControl2},
		{"will delay", interop5.willDelay},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, func(o *broker.Options) { o.Listen, o.Log = nil, zerolog.Nop() })
				scenario.run(interop5{&bubble{T: t, s: s}})
			})
		})
	}
}

// interop5 are the suite's two clients.
type interop5 struct{ *bubble }

func (x interop5) first(with connect) *client  { with.id = firstID; return x.five(with) }
func (x interop5) second(with connect) *client { with.id = secondID; return x.five(with) }

// The suite's prefix, and one that the scenarios' fences have, who come after.
func eclipse(levels string) string { return "client_test5/" + levels }

func (x interop5) basic() {
	x.first(connect{}).leave()
	c := x.first(connect{})
	c.subscribe(filter{eclipse("TopicA"), 2})
	for qos := range byte(3) {
		c.exchange(publish{topic: eclipse("TopicA"), payload: fmt.Sprint("qos ", qos), qos: qos})
		if m := c.message(); m.qos != qos {
			x.Errorf("got %v", m)
		}
	}
	c.send(connect{level: 5, id: firstID}.bytes())
	c.dismissed("second CONNECT", protocolError)
	wrong := newClient(x, x.s.Pipe(operator))
	wrong.level = 5
	wrong.send(connect{level: 5, id: firstID, name: "hj"}.bytes())
	if p, err := wrong.next(); err == nil && (p.kind != CONNACK || p.code < 0x80) {
		x.Errorf("protocol name hj: got %v", p)
	}
}

func (x interop5) retained() {
	c := x.first(connect{})
	for qos, topic := range []string{"TopicA/B", "Topic/C", "TopicA/C"} {
		c.exchange(publish{topic: eclipse(topic), payload: "p", qos: byte(qos), retain: true, props: slices.Concat(user("a", "2"), user("c", "3"))})
	}
	c.subscribe(filter{eclipse("+/+"), 2})
	got := c.mine("fence")
	var qoss []byte
	for _, m := range got {
		qoss = append(qoss, m.qos)
		if !slices.Equal(m.texts(userProperty), []string{"a=2", "c=3"}) {
			x.Errorf("got %v with %v", m, m.props)
		}
	}
	if slices.Sort(qoss); !slices.Equal(qoss, []byte{0, 1, 2}) {
		x.Errorf("got %v", got)
	}
}

func (x interop5) willMessage() {
	x.first(connect{keepAlive: 2, will: &will{topic: eclipse("Topic/C"), payload: "will message", props: slices.Concat(prop(willDelay, u32(0)), user("a", "2"), user("c", "3"))}})
	b := x.second(connect{resume: true})
	b.subscribe(filter{eclipse("Topic/C"), 2})
	x.wait(10 * time.Second)
	if got := b.mine("fence"); len(got) != 1 || got[0].payload != "will message" || !slices.Equal(got[0].texts(userProperty), []string{"a=2", "c=3"}) {
		x.Errorf("got %v", got)
	}
}

func (x interop5) zeroLengthID() {
	x.five(connect{resume: true}).leave()
	x.five(connect{}).leave()
}

func (x interop5) offlineQueueing() {
	a := x.first(connect{props: lasts(99999)})
	a.subscribe(filter{eclipse("+/+"), 2})
	a.leave()
	x.wait(0)
	b := x.second(connect{})
	for qos, topic := range []string{"TopicA/B", "Topic/C", "TopicA/C"} {
		b.exchange(publish{topic: eclipse(topic), payload: fmt.Sprint("qos ", qos), qos: byte(qos)})
	}
	a = x.first(connect{resume: true})
	if got := payloads(a.mine("fence")); !slices.Equal(got, []string{"qos 1", "qos 2"}) {
		x.Errorf("got %q", got)
	}
}

func (x interop5) overlapping() {
	c := x.first(connect{})
	c.subscribe(filter{eclipse("TopicA/#"), 2}, filter{eclipse("TopicA/+"), 1})
	c.exchange(publish{topic: eclipse("TopicA/C"), payload: "overlapping topic filters", qos: 2})
	if got := c.mine("fence"); len(got) != 1 || got[0].qos != 2 {
		x.Errorf("got %v", got)
	}
}

func (x interop5) keepAlive() {
	x.first(connect{keepAlive: 5, will: &will{topic: eclipse("/TopicA"), payload: "keepalive expiry"}})
	b := x.second(connect{})
	b.subscribe(filter{eclipse("/TopicA"), 2})
	x.wait(15 * time.Second)
	if got := b.mine("fence"); len(got) != 1 {
		x.Errorf("got %v", got)
	}
}

func (x interop5) redelivery() {
	b := x.second(connect{resume: true, props: lasts(99999)})
	b.subscribe(filter{eclipse("TopicA/#"), 2})
	b.publish(publish{topic: eclipse("TopicA/B"), qos: 1})
	b.publish(publish{topic: eclipse("TopicA/C"), qos: 2})
	x.wait(time.Second)
	b.leave()
	x.wait(0)
	b = x.second(connect{resume: true, props: lasts(99999)})
	if got := b.mine("fence"); len(got) != 2 || !got[0].dup || !got[1].dup {
		x.Errorf("got %v", got)
	}
}

// The suite has a topic that nobody may subscribe to; here a role has.
func (x interop5) subscribeFailure() {
	c := newClient(x, x.s.Pipe(topics.Identity{Role: topics.RoleNode, Name: "attic"}))
	c.join(connect{level: 5, id: firstID})
	if got := c.subscribe(filter{"test/nosubscribe", 2}); len(got) != 1 || got[0] < 0x80 {
		x.Errorf("codes %x", got)
	}
}

func (x interop5) dollar() {
	b := x.second(connect{})
	b.subscribe(filter{"+/+", 2}, filter{"#", 2})
	b.exchange(publish{topic: "$" + eclipse("TopicA"), qos: 1})
	if got := b.mine("fence"); len(got) > 0 {
		x.Errorf("got %v", got)
	}
}

func (x interop5) unsubscribe() {
	b := x.second(connect{})
	for _, topic := range []string{"TopicA", "TopicA/B", "Topic/C"} {
		b.subscribe(filter{eclipse(topic), 2})
	}
	b.unsubscribe(eclipse("TopicA"))
	a := x.first(connect{})
	for _, topic := range []string{"TopicA", "TopicA/B", "Topic/C"} {
		a.exchange(publish{topic: eclipse(topic), payload: topic, qos: 1})
	}
	if got := payloads(b.mine("fence")); !slices.Equal(got, []string{"TopicA/B", "Topic/C"}) {
		x.Errorf("got %q", got)
	}
}

func (x interop5) sessionExpiry() {
	step := func(with connect, present bool, goodbye []byte) {
		x.Helper()
		c := x.first(with)
		if c.present != present {
			x.Errorf("session present %v, want %v", c.present, present)
		}
		c.subscribe(filter{eclipse("TopicA"), 2})
		c.send(goodbye)
		c.ended()
		x.wait(0)
	}
	step(connect{props: lasts(0)}, false, disconnect())
	step(connect{resume: true, props: lasts(0)}, false, disconnect())
	step(connect{props: lasts(5)}, false, disconnect())
	x.wait(2 * time.Second)
	step(connect{resume: true, props: lasts(5)}, true, disconnect())
	x.wait(6 * time.Second)
	step(connect{resume: true, props: lasts(5)}, false, disconnect())
	step(connect{props: lasts(1)}, false, disconnect5(0, lasts(5)))
	x.wait(3 * time.Second)
	step(connect{resume: true, props: lasts(1)}, true, disconnect5(0, lasts(0)))
	step(connect{resume: true, props: lasts(1)}, false, disconnect())
}

func (x interop5) shared() {
	a, b := x.first(connect{}), x.second(connect{})
	for _, c := range []*client{a, b} {
		c.subscribe(filter{"$share/sharename/" + eclipse("x"), 2}, filter{eclipse("TopicA"), 2})
	}
	const count = 10
	for range count {
		b.exchange(publish{topic: eclipse("TopicA"), qos: 1})
		b.exchange(publish{topic: eclipse("x"), qos: 1})
	}
	n := map[string]int{}
	for i, c := range []*client{a, b} {
		for _, m := range c.mine(fmt.Sprint("fence ", i)) {
			n[m.topic]++
		}
	}
	if n[eclipse("TopicA")] != 2*count || n[eclipse("x")] != count {
		x.Errorf("got %v", n)
	}
}

func (x interop5) userProperties() {
	x.props(slices.Concat(user("a", "2"), user("c", "3")), func(m packet) bool {
		return slices.Equal(m.texts(userProperty), []string{"a=2", "c=3"})
	})
}

func (x interop5) payloadFormat() {
	x.props(slices.Concat(prop(payloadFormat, []byte{1}), prop(contentType, str("My name"))), func(m packet) bool {
		return slices.Equal(m.texts(contentType), []string{"=My name"}) && slices.Equal(m.numbers(payloadFormat), []uint32{1})
	})
}

func (x interop5) props(props []byte, passed func(packet) bool) {
	x.Helper()
	c := x.first(connect{})
	c.subscribe(filter{eclipse("TopicA"), 2})
	for qos := range byte(3) {
		c.exchange(publish{topic: eclipse("TopicA"), qos: qos, props: props})
		if m := c.message(); m.qos != qos || !passed(m) {
			x.Errorf("got %v with %v", m, m.props)
		}
	}
}

func (x interop5) publicationExpiry() {
	b := x.second(connect{props: lasts(99999)})
	b.subscribe(filter{eclipse("TopicA"), 2})
	b.send(disconnect5(0, lasts(999999999)))
	b.ended()
	x.wait(0)
	a := x.first(connect{})
	for _, seconds := range []int{1, 6} {
		for qos := byte(1); qos < 3; qos++ {
			a.exchange(publish{topic: eclipse("TopicA"), payload: fmt.Sprint(seconds), qos: qos, props: prop(messageExpiry, u32(seconds))})
		}
	}
	x.wait(3 * time.Second)
	b = x.second(connect{resume: true})
	got := b.mine("fence")
	if !slices.Equal(payloads(got), []string{"6", "6"}) || got[0].numbers(messageExpiry)[0] >= 6 || got[1].numbers(messageExpiry)[0] >= 6 {
		x.Errorf("got %v", got)
	}
}

func (x interop5) subscribeOptions() {
	a, b := x.first(connect{}), x.second(connect{})
	a.subscribe(filter{eclipse("TopicA"), 2 | noLocal})
	b.subscribe(filter{eclipse("TopicA"), 2 | noLocal})
	a.exchange(publish{topic: eclipse("TopicA"), payload: "noLocal test", qos: 1})
	if b.message(); len(a.mine("fence")) > 0 {
		x.Error("a client got what it published")
	}
	a.leave()
	b.leave()
	a = x.first(connect{})
	a.subscribe(filter{eclipse("TopicA"), 2 | retainAsPublished})
	for _, retain := range []bool{false, true} {
		a.exchange(publish{topic: eclipse("TopicA"), payload: "p", qos: 1, retain: retain})
		if m := a.message(); m.retain != retain {
			x.Errorf("retain %v: got %v", retain, m)
		}
	}
	a.leave()
	for handling, want := range map[byte][]int{replayIfNew: {3, 0}, neverReplay: {0, 0}, 0: {3, 3}} {
		a = x.first(connect{})
		for qos, topic := range []string{"TopicA/B", "Topic/C", "TopicA/C"} {
			a.exchange(publish{topic: eclipse(topic), payload: "p", qos: byte(qos), retain: true})
		}
		var got []int
		for range want {
			a.subscribe(filter{eclipse("+/+"), 2 | handling})
			got = append(got, len(a.mine("fence")))
		}
		if !slices.Equal(got, want) {
			x.Errorf("retain handling %d: got %v messages, want %v", handling>>4, got, want)
		}
		a.leave()
	}
}

func (x interop5) assignedID() {
	c := newClient(x, x.s.Pipe(operator))
	a := c.join(connect{level: 5, props: lasts(60)})
	if id, ok := a.prop(assignedClientID); !ok || id.text == "" {
		x.Errorf("got %v", a.props)
	}
}

func (x interop5) identifiers() {
	a, b := x.first(connect{}), x.second(connect{})
	a.subscribe5(prop(subscriptionID, varint(456789)), filter{eclipse("TopicA"), 2})
	b.subscribe5(prop(subscriptionID, varint(2)), filter{eclipse("TopicA"), 2})
	b.subscribe5(prop(subscriptionID, varint(3)), filter{eclipse("TopicA/#"), 2})
	b.exchange(publish{topic: eclipse("TopicA"), payload: "sub identifier test", qos: 1})
	if m := a.message(); !slices.Equal(m.numbers(subscriptionID), []uint32{456789}) {
		x.Errorf("got %v", m.props)
	}
	got := b.mine("fence")
	if len(got) != 1 || len(got[0].numbers(subscriptionID)) != 2 {
		x.Errorf("got %v", got)
	}
}

func (x interop5) requestResponse() {
	a, b := x.first(connect{}), x.second(connect{})
	a.subscribe(filter{eclipse("TopicA"), 2 | noLocal})
	b.subscribe(filter{eclipse("TopicA"), 2 | noLocal})
	a.exchange(publish{topic: eclipse("TopicA"), payload: "request", qos: 1, props: slices.Concat(prop(responseTopic, str(eclipse("TopicA"))), prop(correlationData, str("334")))})
	m := b.message()
	if m.payload != "request" || !slices.Equal(m.texts(responseTopic), []string{"=" + eclipse("TopicA")}) || !slices.Equal(m.texts(correlationData), []string{"=334"}) {
		x.Errorf("got %v with %v", m, m.props)
	}
	b.exchange(publish{topic: eclipse("TopicA"), payload: "response", qos: 1, props: prop(correlationData, str("334"))})
	if m := a.message(); m.payload != "response" {
		x.Errorf("got %v", m)
	}
}

func (x interop5) clientAlias() {
	a := x.first(connect{})
	a.publish(publish{topic: eclipse("TopicA"), payload: "topic alias 0", qos: 1, props: prop(topicAlias, u16(0))})
	a.dismissed("alias 0", aliasInvalid)
	a = x.first(connect{props: slices.Concat(prop(topicAliasMaximum, u16(0)), lasts(99999))})
	a.subscribe(filter{eclipse("TopicA"), 2})
	for _, topic := range []string{eclipse("TopicA"), ""} {
		a.publish(publish{topic: topic, payload: "by alias", qos: 1, props: prop(topicAlias, u16(1))})
		if m := a.message(); m.topic != eclipse("TopicA") {
			x.Errorf("got %v", m)
		}
	}
	a.leave()
	x.wait(0)
	a = x.first(connect{resume: true})
	a.exchange(publish{topic: eclipse("TopicA"), payload: "topic alias 3", qos: 1})
	if m := a.message(); m.payload != "topic alias 3" {
		x.Errorf("got %v", m)
	}
	a.publish(publish{payload: "topic alias 4", qos: 1, props: prop(topicAlias, u16(1))})
	a.dismissed("an alias of another connection", aliasInvalid)
}

func (x interop5) serverAlias() {
	for _, most := range []int{1, 0} {
		c := x.first(connect{props: prop(topicAliasMaximum, u16(most))})
		c.subscribe(filter{eclipse("TopicA"), 2})
		for qos := range byte(3) {
			c.publish(publish{topic: eclipse("TopicA"), payload: "topic alias 1", qos: qos})
		}
		for i := range 3 {
			m := c.message()
			wantTopic, wantAlias := eclipse("TopicA"), []uint32(nil)
			if most > 0 {
				wantAlias = []uint32{1}
			}
			if most > 0 && i > 0 {
				wantTopic = ""
			}
			if m.topic != wantTopic || !slices.Equal(m.numbers(topicAlias), wantAlias) {
				x.Errorf("at most %d aliases, message %d: got %v with %v", most, i, m, m.props)
			}
		}
		c.leave()
	}
}

func (x interop5) maximumPacketSize() {
	c := x.first(connect{props: prop(maximumPacketSize, u32(64))})
	c.subscribe(filter{eclipse("TopicA"), 2})
	c.publish(publish{topic: eclipse("TopicA"), payload: strings.Repeat(".", 32)})
	c.exchange(publish{topic: eclipse("TopicA"), payload: strings.Repeat(".", 64), qos: 1})
	if got := c.mine("fence"); len(got) != 1 || len(got[0].payload) != 32 {
		x.Errorf("got %v", got)
	}
}

// The suite wants a server that cuts keep-alives to 60 s. This one does so at an
// hour: sloppy clients go on with what they wished, and would be thrown out.
func (x interop5) serverKeepAlive() {
	c := newClient(x, x.s.Pipe(operator))
	if a := c.join(connect{level: 5, id: firstID, keepAlive: 7200}); !slices.Equal(a.numbers(serverKeepAlive), []uint32{3600}) {
		x.Errorf("got %v", a.props)
	}
}

func (x interop5) flowControl1() {
	c := x.first(connect{props: slices.Concat(prop(receiveMaximum, u16(2)), lasts(0))})
	c.subscribe(filter{eclipse("TopicA"), 2})
	for range 3 {
		c.publish(publish{topic: eclipse("TopicA"), qos: 1})
	}
	isMessage := func(p packet) bool { return p.kind == PUBLISH }
	one, two := c.await("PUBLISH", isMessage), c.await("PUBLISH", isMessage)
	for id := range c.lastID {
		if id > 1 { // that of SUBSCRIBE
			c.acked(PUBACK, id)
		}
	}
	x.wait(10 * time.Second)
	c.alive()
	if slices.ContainsFunc(c.waiting, isMessage) {
		x.Error("a third message came before one was acknowledged")
	}
	c.send(ack(PUBACK, one.id))
	three := c.await("PUBLISH", isMessage)
	c.send(ack(PUBACK, two.id), ack(PUBACK, three.id))
	c.leave()
}

func (x interop5) flowControl2() {
	c := newClient(x, x.s.Pipe(operator))
	a := c.join(connect{level: 5, id: firstID})
	most, ok := a.prop(receiveMaximum)
	if !ok {
		x.Fatal("CONNACK does not say the Receive Maximum")
	}
	for id := range int(most.number) + 1 {
		c.publish(publish{topic: eclipse("TopicA"), qos: 2, id: uint16(id) + 1})
	}
	c.dismissed("one too many", tooManyAtOnce)
}

func (x interop5) willDelay() {
	for _, c := range []struct{ delay, lasts, want int }{{3, 5, 3}, {5, 0, 0}, {5, 2, 2}} {
		a := x.first(connect{props: lasts(c.lasts), will: &will{topic: eclipse("TopicA"), payload: "test_will_delay will message", props: prop(willDelay, u32(c.delay))}})
		b := x.second(connect{})
		b.subscribe(filter{eclipse("TopicA"), 2})
		began := time.Now()
		a.drop()
		if m := b.message(); m.payload != "test_will_delay will message" || time.Since(began) != time.Duration(c.want)*time.Second {
			x.Errorf("delay %d s, session %d s: got %v after %v", c.delay, c.lasts, m, time.Since(began))
		}
		b.leave()
	}
}
