package broker_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
)

// inUse is how much memory is, in bytes.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A client that asks for what is retained again and again, faster than it takes
// it, does not fill the memory with what it is owed.
func TestWhatIsOwedIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		each int // filters of one SUBSCRIBE
		n    int
	}{{"many SUBSCRIBEs", 1, 3000}, {"many filters", 1000, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, nil)
			fill(t, s, 2000)
			p := tryWithRoom(t, dial(t, s), "greedy", nil, 20_000)
			p.silent.Store(true)
			before := inUse()
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}}
			for range c.each {
				pk.Filters = append(pk.Filters, packets.Subscription{Filter: "devices/#", Qos: 1})
			}
			var all bytes.Buffer
			for i := range c.n {
				pk.PacketID = uint16(i + 1)
				all.Write(encode(t, pk))
			}
			p.raw(all.Bytes())
			p.gone()
			if grown := inUse() - before; grown > 32<<20 {
				t.Errorf("%d MiB are kept for it", grown>>20)
			}
			join(t, dial(t, s), "other", nil).stays()
		})
	}
}

// Of sessions that wait for their clients, an account has only so many.
func TestSessionsOfAnAccountAreBounded(t *testing.T) {
	s := start(t, nil)
	other := join(t, s.Pipe(coordinator), "other", keep)
	other.disconnect()
	listener := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "listener", nil)
	listener.subscribe(1, "last/words")
	before := inUse()
	const n = 2000
	for i := range n {
		// Wills that wait end with their sessions.
		p := tryWithRoom(t, dial(t, s), fmt.Sprint("kept", i), with(version(5), keep, delayedWill("last/words", fmt.Sprint(i))), 10)
		p.is(0)
		_ = p.conn.Close()
		p.gone()
	}
	listener.message("last/words")
	if kept := s.Clients(); kept > 300 {
		t.Errorf("%d sessions are kept", kept)
	}
	if grown := inUse() - before; grown > 32<<20 {
		t.Errorf("%d MiB are kept for them", grown>>20)
	}
	if again := join(t, dial(t, s), fmt.Sprint("kept", n-1), with(version(5), keep)); !again.connack.SessionPresent {
		t.Error("the last session is not kept")
	}
	if again := join(t, s.Pipe(coordinator), "other", keep); !again.connack.SessionPresent {
		t.Error("another account's session is not kept")
	}
}

// What a client does not acknowledge, or does not come back for, is kept up to
// a bound; then its session ends, and it is told so when it comes.
func TestWhatWaitsForAClientIsBounded(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone: %v", gone), func(t *testing.T) {
			s := start(t, nil)
			p := tryWithRoom(t, dial(t, s), "late", keep, 1000)
			p.silent.Store(true)
			p.subscribe(1, "pictures")
			if gone {
				p.disconnect()
			} else {
				go func() {
					for range p.in {
					}
				}()
			}
			before := inUse()
			put, payload := s.Injector(), make([]byte, 100<<10)
			for range 2000 { // 200 MB
				if err := put("pictures", payload, false, 1); err != nil {
					t.Fatal(err)
				}
			}
			if grown := inUse() - before; grown > 64<<20 {
				t.Errorf("%d MiB are kept for it", grown>>20)
			}
			if !gone {
				eventually(t, "it is disconnected", func() bool { return s.Connections() == 0 })
			}
			if again := join(t, dial(t, s), "late", keep); again.connack.SessionPresent {
				t.Error("the session goes on, with messages lost")
			}
		})
	}
}

// delayedWill is one that waits for an hour, or the end of its session.
func delayedWill(topic, payload string) func(*packets.Packet) {
	return with(withWill(topic, payload, false), func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = 3600 })
}

// A filter is not kept with the packet that it came in.
func TestASubscribeIsNotKeptWithItsFilters(t *testing.T) {
	s := start(t, nil)
	p := tryWithRoom(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "long-winded", nil, 8)
	noFilter := "#" + strings.Repeat("x", 60_000)
	const n = 40
	before := inUse()
	for i := range n {
		codes := p.subscribe(0, fmt.Sprint("kept/", i), noFilter, noFilter, noFilter, noFilter, noFilter, noFilter, noFilter, noFilter)
		if codes[0] != 0 || codes[1] != 0x80 {
			t.Fatalf("SUBACK %x, want the first granted and the others refused", codes)
		}
	}
	if grown := inUse() - before; grown > 5<<20 {
		t.Errorf("%d MiB are kept of %d short filters", grown>>20, n)
	}
}

// What is remembered of filters that end in +/# ends with the subscription,
// however that ends.
func TestFiltersThatHaveEndedAreForgotten(t *testing.T) {
	s := start(t, nil)
	join := func(id string, change func(*packets.Packet)) *peer {
		return join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), id, change)
	}
	changing, leaving := join("changing", nil), join("leaving", nil)
	staying := join("staying", keep)
	for i := range 100 {
		filter := fmt.Sprintf("a/%d/+/#", i)
		changing.subscribe(0, filter)
		changing.unsubscribe(filter)
		leaving.subscribe(0, filter)
		staying.subscribe(0, filter)
	}
	leaving.disconnect()
	staying.disconnect()
	join("staying", keep).unsubscribe("a/7/+/#")
	eventually(t, "only one session's are remembered", func() bool { return s.Parents() == 99 })
}
