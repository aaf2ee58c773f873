package broker_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

// A DISCONNECT of MQTT 5 may ask for the will (3.14.4-3), with and without
// properties after it.
func TestADisconnectWithWill(t *testing.T) {
	s := start(t, nil)
	watcher := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "watcher", nil)
	watcher.subscribe(1, "will", "no/will", "token/here")
	for _, bye := range []string{"\xe0\x01\x04", "\xe0\x02\x04\x00"} {
		p := join(t, dial(t, s), "leaving", with(version(5), withWill("will", "sent", false)))
		p.raw([]byte(bye))
		p.gone()
		if got := string(watcher.message("will").Payload); got != "sent" {
			t.Errorf("after %x: %q", bye, got)
		}
	}
	for _, bye := range []string{"\xe0\x00", "\xe0\x01\x00", "\xe0\x02\x00\x00"} {
		p := join(t, dial(t, s), "leaving", with(version(5), withWill("no/will", "sent", false)))
		p.raw([]byte(bye))
		p.gone()
	}
	eventually(t, "all have gone", func() bool { return s.Connections() == 1 })
	if got := watcher.upTo("token/here"); len(got) != 0 {
		t.Errorf("a will was sent after a normal disconnect: %v", got)
	}
}

// PUBACK and PUBREC of MQTT 5 carry no property of the publisher's.
func TestAnAcknowledgementIsTheBrokersOwn(t *testing.T) {
	s := start(t, nil)
	p := join(t, dial(t, s), "five", version(5))
	for qos := range byte(3) {
		p.send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, PacketID: uint16(qos), TopicName: "a/topic",
			Properties: packets.Properties{User: []packets.UserProperty{{Key: "whose", Val: "the publisher's"}}},
		})
		if qos == 1 {
			ack := p.await("PUBACK", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Puback })
			if len(ack.Properties.User) > 0 {
				t.Errorf("PUBACK with %v", ack.Properties.User)
			}
		}
	}
}

// MQTT 3.1.1 has no DISCONNECT from a server.
func TestATakeoverSaysNothingToMQTT3(t *testing.T) {
	s := start(t, nil)
	for _, v := range []byte{4, 5} {
		old := join(t, dial(t, s), "same", version(v))
		old.stays()
		next := join(t, dial(t, s), "same", version(v))
		said := 0
		for pk := range old.in { // until it is hung up on
			if pk.FixedHeader.Type == packets.Disconnect {
				said++
			}
		}
		if want := int(v) - 4; said != want {
			t.Errorf("MQTT %d: %d DISCONNECTs, want %d", v, said, want)
		}
		next.disconnect()
	}
}

// A client may acknowledge very late: nothing is lost meanwhile.
func TestUnacknowledgedMessagesAreNotLost(t *testing.T) {
	t.Parallel()
	const n = 20_000
	s := start(t, nil)
	p := join(t, dial(t, s), "late", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	p.silent.Store(true)
	p.subscribe(1, "numbers")
	put := s.Injector()
	for i := range n {
		if err := put("numbers", []byte(strconv.Itoa(i)), false, 1); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 { // it reads as fast as they come, or they wait
			for next := i - 999; next <= i; next++ {
				if got := string(p.message("numbers").Payload); got != strconv.Itoa(next) {
					t.Fatalf("message %s, want %d", got, next)
				}
			}
		}
	}
}

// A client that does not read is gone after one deadline, whatever it says
// itself meanwhile.
func TestAStuckSubscriberThatSpeaksIsGoneToo(t *testing.T) {
	for _, keepAlive := range []uint16{1, 60} {
		t.Run(fmt.Sprint("keep-alive ", keepAlive), func(t *testing.T) {
			const deadline = 300 * time.Millisecond
			s := start(t, func(o *broker.Options) { o.WriteTimeout = deadline })
			gate := &gatedReader{Conn: s.Pipe(topics.Identity{Role: topics.RoleOperator}), open: make(chan struct{})}
			stuck := join(t, gate, "stuck", func(pk *packets.Packet) { pk.Connect.Keepalive = keepAlive })
			stuck.subscribe(0, "much/data")
			gate.shut.Store(true)
			done := make(chan struct{})
			go func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(deadline / 20):
						stuck.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: 9})
					}
				}
			}()
			defer close(done)
			defer close(gate.open)
			payload := []byte(strings.Repeat("x", 64<<10))
			for range 20 {
				if err := s.Inject("much/data", payload, false, 0); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			eventually(t, "it is gone", func() bool { return s.Connections() == 0 })
			if took := time.Since(began); took > 10*deadline {
				t.Errorf("it was gone after %v", took)
			}
		})
	}
}
