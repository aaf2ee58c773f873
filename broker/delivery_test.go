package broker_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

// What a client may wait for is not held while the broker waits for the client:
// here for the rest of a packet that it sends only when it has heard.
func TestAnswersAreNotHeldWhileTheBrokerWaits(t *testing.T) {
	for _, size := range []int{10, 100, 1000, 100_000} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			s := start(t, nil)
			p := join(t, dial(t, s), "halves", nil)
			p.subscribe(0, "own/topic") // which it need not acknowledge in the middle of a packet
			message := func(id uint16) []byte {
				return encode(t, packets.Packet{
					FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: 4,
					TopicName: "own/topic", Payload: make([]byte, size), PacketID: id,
				})
			}
			rest := message(1)
			p.raw(rest[:size/2])
			for id := uint16(1); id < 50; id++ {
				next := message(id + 1)
				p.raw(append(rest[size/2:len(rest):len(rest)], next[:size/2]...))
				acked, heard := false, false
				p.await("PUBACK and the message", func(pk packets.Packet) bool {
					acked = acked || pk.FixedHeader.Type == packets.Puback && pk.PacketID == id
					heard = heard || pk.FixedHeader.Type == packets.Publish
					return acked && heard
				})
				rest = next
			}
		})
	}
}

// More than may wait for a subscriber that is slow but takes all is lost by
// nobody: publishers wait for it.
func TestABurstIsWholeAtASlowSubscriber(t *testing.T) {
	t.Parallel()
	const n = 50_000
	s := start(t, func(o *broker.Options) { o.MaxPending, o.WriteTimeout = 512<<10, patience })
	p := join(t, &pausingReader{Conn: s.Pipe(topics.Identity{Role: topics.RoleOperator})}, "slow", nil)
	p.subscribe(1, "burst")
	put := s.Injector()
	filler := strings.Repeat("x", 50)
	for i := range n {
		if err := put("burst", []byte(strconv.Itoa(i)+" "+filler), false, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		got, _, _ := strings.Cut(string(p.message("burst").Payload), " ")
		if got != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
}

// pausingReader pauses after every 64 KiB.
type pausingReader struct {
	net.Conn
	n int
}

func (r *pausingReader) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if r.n += n; r.n > 64<<10 {
		r.n = 0
		time.Sleep(5 * time.Millisecond)
	}
	return n, err
}

// When many publish on one topic at once, the last message that a subscriber
// hears is the one that is retained.
func TestTheLastMessageHeardIsTheOneRetained(t *testing.T) {
	t.Parallel()
	const publishers, rounds = 8, 50
	s := start(t, nil)
	p := join(t, dial(t, s), "hears", nil)
	p.subscribe(1, "contested", "token/here")
	for round := range rounds {
		var all sync.WaitGroup
		for i := range publishers {
			all.Go(func() {
				if err := s.Inject("contested", fmt.Appendf(nil, "%d of %d", i, round), true, 1); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		last := map[string]string{}
		for _, pk := range p.upTo("token/here") {
			last[pk.TopicName] = string(pk.Payload)
		}
		if diff := cmp.Diff(retained(t, s, "contested")["contested"], last["contested"]); diff != "" {
			t.Fatalf("round %d (-retained +last heard):\n%s", round, diff)
		}
	}
}

// A publisher remembers who listens only as long as that is so.
func TestWhoSubscribesAndUnsubscribesIsHeeded(t *testing.T) {
	s := start(t, nil)
	publisher := join(t, dial(t, s), "publisher", nil)
	publisher.publish("a/topic", "nobody hears", 1, false)
	for i := range 20 {
		listener := join(t, dial(t, s), "listener", nil)
		listener.subscribe(1, "a/+", "a/fence")
		heard := strconv.Itoa(i)
		publisher.publish("a/topic", heard, 1, false)
		if got := string(listener.message("a/topic").Payload); got != heard {
			t.Fatalf("heard %q, want %q", got, heard)
		}
		listener.send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: listener.id(),
			Filters: packets.Subscriptions{{Filter: "a/+"}},
		})
		listener.await("UNSUBACK", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Unsuback })
		publisher.publish("a/topic", "nobody hears", 1, false)
		if got := listener.upTo("a/fence"); len(got) > 0 {
			t.Fatalf("after UNSUBACK: %q", got[0].Payload)
		}
		listener.subscribe(1, "a/topic")
		listener.disconnect()
		publisher.publish("a/topic", "nobody hears", 1, false)
	}
}

// TestWhoAcknowledgesLateLosesNothing holds that publishers wait for a subscriber
// that reads all, and acknowledges when nothing comes any more: before the
// packet ids have run out.
func TestWhoAcknowledgesLateLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 110_000
	s := start(t, func(o *broker.Options) { o.WriteTimeout = patience })
	p := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "late", nil)
	p.subscribe(1, "burst")
	p.silent.Store(true)
	put, ended := s.Injector(), make(chan error, 1)
	go func() {
		for i := range n {
			if err := put("burst", []byte(strconv.Itoa(i)), false, 1); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	var owed []uint16
	for i := 0; i < n; {
		select {
		case m, there := <-p.in:
			if !there || string(m.Payload) != strconv.Itoa(i) {
				t.Fatalf("message %d is %q (connected: %v)", i, m.Payload, there)
			}
			owed = append(owed, m.PacketID)
			i++
		case <-time.After(200 * time.Millisecond):
			for _, id := range owed {
				p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
			}
			owed = nil
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
