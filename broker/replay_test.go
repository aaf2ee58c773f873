package broker_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

func fill(t testing.TB, s *broker.Server, n int) {
	put := s.Injector()
	t.Helper()
	for i := range n {
		if err := put(fmt.Sprintf("devices/%05d/state", i), []byte(strconv.Itoa(i)), true, 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplayIsWholeAtASlowSubscriber(t *testing.T) {
	const n = 10_000
	for _, c := range []struct {
		name string
		qos  byte
		pipe bool
	}{{"QoS 0 over TCP", 0, false}, {"QoS 1 over TCP", 1, false}, {"QoS 1 over a pipe", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			fill(t, s, n)
			nc := dial(t, s)
			if c.pipe {
				nc = s.Pipe(topics.Identity{Role: topics.RoleOperator})
			}
			p := join(t, &slowReader{Conn: nc}, "slow", nil)
			p.subscribe(c.qos, "devices/#", "token/here")
			got := p.upTo("token/here")
			if len(got) != n {
				t.Errorf("%d messages before the token, want %d", len(got), n)
			}
			seen := map[string]bool{}
			for _, pk := range got {
				if !pk.FixedHeader.Retain || pk.FixedHeader.Qos != c.qos {
					t.Fatalf("%s: retain %v, QoS %d; want true, %d", pk.TopicName, pk.FixedHeader.Retain, pk.FixedHeader.Qos, c.qos)
				}
				seen[pk.TopicName] = true
			}
			if len(seen) != n {
				t.Errorf("%d topics, want %d", len(seen), n)
			}
		})
	}
}

func TestReplayGoesOnWhenAClientAcknowledgesLate(t *testing.T) {
	t.Parallel()
	const n = 1200 // more than go ahead
	s := start(t, nil)
	fill(t, s, n)
	p := join(t, dial(t, s), "late", nil)
	p.silent.Store(true)
	p.subscribe(1, "devices/#", "token/here")
	if got := len(p.upTo("token/here")); got != n {
		t.Errorf("%d messages before the token, want %d", got, n)
	}
}

// A client of MQTT 5 is never sent more than it says it takes, and goes on being sent.
func TestReceiveMaximumIsKept(t *testing.T) {
	const n, most = 120, 5
	for _, c := range []struct {
		name    string
		publish func(*testing.T, *broker.Server, *peer)
	}{
		{"in the replay", func(t *testing.T, s *broker.Server, p *peer) {
			fill(t, s, n)
			p.send(packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id(),
				Filters: packets.Subscriptions{{Filter: "devices/#", Qos: 1}},
			})
		}},
		{"in the news", func(t *testing.T, s *broker.Server, p *peer) {
			p.subscribe(1, "devices/#")
			fill(t, s, n)
		}},
		{"in both at once", func(t *testing.T, s *broker.Server, p *peer) {
			fill(t, s, n/2)
			p.send(packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id(),
				Filters: packets.Subscriptions{{Filter: "devices/#", Qos: 1}, {Filter: "others/#", Qos: 1}},
			})
			p.await("SUBACK", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Suback })
			put := s.Injector()
			for i := range n / 2 {
				if err := put("others/"+strconv.Itoa(i), []byte("v"), false, 1); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, nil)
			p := join(t, dial(t, s), "few", func(pk *packets.Packet) {
				pk.ProtocolVersion = 5
				pk.Properties.ReceiveMaximum = most
			})
			p.silent.Store(true)
			c.publish(t, s, p)
			isMessage := func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Publish }
			var unacknowledged []uint16
			for i := range n {
				unacknowledged = append(unacknowledged, p.await("message "+strconv.Itoa(i), isMessage).PacketID)
				if len(unacknowledged) < most && i < n-1 {
					continue
				}
				p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
				p.await("PINGRESP and no other message", func(pk packets.Packet) bool {
					if isMessage(pk) {
						t.Fatalf("message %d while %d are not acknowledged", i+2, most)
					}
					return pk.FixedHeader.Type == packets.Pingresp
				})
				for _, id := range unacknowledged {
					p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
				}
				unacknowledged = nil
			}
		})
	}
}

func TestReplay(t *testing.T) {
	s := start(t, nil)
	for _, topic := range []string{"x", "x/a", "x/a/b", "y/a", "x//b"} {
		if err := s.Inject(topic, []byte("v"), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		filter string
		want   []string
	}{
		{"x/#", []string{"x", "x/a", "x/a/b", "x//b"}},
		{"x", []string{"x"}},
		{"x/+", []string{"x/a"}},
		{"x/+/#", []string{"x/a", "x/a/b", "x//b"}},
		{"+", []string{"x"}},
		{"+/a", []string{"x/a", "y/a"}},
		{"x//b", []string{"x//b"}},
		{"#", []string{"x", "x/a", "x/a/b", "x//b", "y/a"}},
		{"nothing/#", nil},
	} {
		p := join(t, dial(t, s), "reads", nil)
		p.subscribe(1, c.filter, "token/here")
		var got []string
		for _, pk := range p.upTo("token/here") {
			got = append(got, pk.TopicName)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.filter, diff)
		}
		p.disconnect()
	}
}

func TestReplayIsNotSentAgainWhereMQTT5SaysSo(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 3)
	p := join(t, dial(t, s), "five", func(pk *packets.Packet) { pk.ProtocolVersion = 5 })
	p.subscribe(1, "token/here")
	for _, c := range []struct {
		handling byte
		want     int
	}{{2, 0}, {1, 0}, {0, 3}} { // in this order: 2 makes the subscription exist for 1
		p.send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id(),
			Filters: packets.Subscriptions{{Filter: "devices/#", Qos: 1, RetainHandling: c.handling}},
		})
		if got := len(p.upTo("token/here")); got != c.want {
			t.Errorf("retain handling %d replayed %d messages, want %d", c.handling, got, c.want)
		}
	}
}

func TestReplayedMessagesCarryTheSubscriptionsIdentifier(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 1)
	p := join(t, dial(t, s), "five", func(pk *packets.Packet) { pk.ProtocolVersion = 5 })
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id(),
		Properties: packets.Properties{SubscriptionIdentifier: []int{7}},
		Filters:    packets.Subscriptions{{Filter: "devices/#", Qos: 1, Identifier: 7}},
	})
	got := p.message("devices/00000/state").Properties.SubscriptionIdentifier
	if diff := cmp.Diff([]int{7}, got); diff != "" {
		t.Errorf("identifiers (-want +got):\n%s", diff)
	}
}

// The newest word on a topic is the last a subscriber hears, also when it
// overtakes the replay.
func TestReplayIsNotTheLastWordWhenNewsOvertookIt(t *testing.T) {
	const topic = "devices/overtaken"
	for _, news := range []string{"new", ""} {
		t.Run(strconv.Quote(news), func(t *testing.T) {
			s := start(t, nil)
			if err := s.Inject(topic, []byte("old"), true, 1); err != nil {
				t.Fatal(err)
			}
			heard := make(chan struct{})
			if err := s.AddHook(&encodeHook{before: func(pk packets.Packet) {
				if pk.TopicName != topic || string(pk.Payload) != "old" {
					return
				}
				if err := s.Inject(topic, []byte(news), true, 1); err != nil {
					t.Error(err)
				}
				<-heard
			}}); err != nil {
				t.Fatal(err)
			}
			p := join(t, dial(t, s), "reader", nil)
			p.subscribe(1, topic, "token/here")
			if got := string(p.message(topic).Payload); got != news {
				t.Fatalf("heard %q first, want the news %q to overtake the replay", got, news)
			}
			close(heard)
			var last string
			for _, pk := range p.upTo("token/here") {
				last = string(pk.Payload)
			}
			if last != news {
				t.Errorf("last heard %q, want %q", last, news)
			}
		})
	}
}

func TestReplayToAStuckSubscriberDoesNotHoldUpPublishers(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteTimeout = patience })
	put := s.Injector()
	for i := range 1000 {
		if err := put(fmt.Sprintf("devices/%05d/state", i), make([]byte, 1024), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	gate := &gatedReader{Conn: s.Pipe(topics.Identity{Role: topics.RoleOperator}), open: make(chan struct{})}
	stuck := join(t, gate, "stuck", nil)
	stuck.subscribe(1, "news")
	gate.shut.Store(true)
	stuck.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 100,
		Filters: packets.Subscriptions{{Filter: "devices/#", Qos: 1}},
	})
	publisher := join(t, dial(t, s), "publisher", nil)
	began := time.Now()
	for range 100 {
		publisher.publish("news", "v", 1, false)
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("100 messages took %v", took)
	}
	close(gate.open)
}

// The same, with many at once.
func TestReplayNeverBringsBackAnOlderMessage(t *testing.T) {
	t.Parallel()
	const topicsN, rounds = 400, 20
	s := start(t, nil)
	fill(t, s, topicsN)
	// All that a reader hears finds a place in its channel.
	const each = 150
	begin := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		v := topicsN
		for range begin {
			for range each {
				_ = s.Inject(fmt.Sprintf("devices/%05d/state", v%topicsN), []byte(strconv.Itoa(v)), true, 1)
				v++
			}
		}
	})
	var readers []*peer
	for i := range rounds {
		p := join(t, dial(t, s), "reader"+strconv.Itoa(i), nil)
		begin <- struct{}{}
		p.subscribe(1, "devices/#", "token/"+strconv.Itoa(i))
		readers = append(readers, p)
	}
	close(begin)
	writing.Wait()
	want := retained(t, s, "devices/#")
	for i, p := range readers {
		last := map[string]string{}
		for _, pk := range p.upTo("token/" + strconv.Itoa(i)) {
			last[pk.TopicName] = string(pk.Payload)
		}
		if diff := cmp.Diff(want, last); diff != "" {
			t.Fatalf("reader %d: last heard (-retained +heard):\n%s", i, diff)
		}
	}
}

// mochi refuses a SUBSCRIBE whose packet id happens to be that of one of its
// own messages in flight.
func TestSubscribeIsGrantedWhileItsPacketIDIsInFlight(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 20)
	p := join(t, dial(t, s), "collides", nil)
	p.silent.Store(true)
	p.subscribe(1, "devices/#")
	p.message("devices/00019/state")
	for range 10 {
		if got := p.subscribe(1, "more/"+strconv.Itoa(int(p.nextID))); !cmp.Equal(got, []byte{1}) {
			t.Fatalf("SUBSCRIBE with packet id %d got %v, want [1]", p.nextID, got)
		}
	}
}

func TestRetainedMessagesDoNotExpire(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	old := time.Now().Add(-48 * time.Hour).Unix()
	s.RetainAt("devices/old", "v", old)
	time.Sleep(2100 * time.Millisecond) // mochi looks once a second
	if diff := cmp.Diff(map[string]string{"devices/old": "v"}, retained(t, s, "devices/#")); diff != "" {
		t.Errorf("two days later (-want +got):\n%s", diff)
	}
}
