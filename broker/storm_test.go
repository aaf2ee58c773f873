package broker_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// Sixteen connections with one client id at once, again and again: one is left
// each time, it hears, and the house knows it is there.
func TestATakeoverStormHasOneSurvivor(t *testing.T) {
	t.Parallel()
	rounds := 3
	if heavy {
		rounds = 200
	}
	for _, c := range []struct {
		name string
		kept bool
		late bool // the moment is widened in which an old session could take the new one along
	}{{"clean", false, false}, {"clean, widened", false, true}, {"kept", true, false}, {"kept, widened", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, func(o *broker.Options) { o.TakeoverWait, o.ConnectTimeout = 2*patience, 2*patience })
			if c.late {
				if err := s.AddHook(&lateHook{}); err != nil {
					t.Fatal(err)
				}
			}
			defer keepBusy()()
			watcher := join(t, s.Pipe(coordinator), "watcher", nil)
			watcher.subscribe(1, presence)
			before := s.Clients()
			for round := range rounds {
				survivor := compete(t, s, round, c.kept)
				hears(t, s, survivor.peer, fmt.Sprint("round ", round))
				want := map[string]string{presence: "online " + survivor.sid}
				if diff := cmp.Diff(want, retained(t, s, presence)); diff != "" {
					t.Fatalf("round %d: presence (-want +got):\n%s", round, diff)
				}
				follow(t, watcher, survivor.sid)
				survivor.disconnect()
				eventually(t, "nobody is left", func() bool {
					if c.kept {
						s.ForgetSessions()
					}
					return s.Clients() == before
				})
			}
		})
	}
}

// keepBusy leaves no core idle until it is told to.
func keepBusy() (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := 0; !done.Load(); i++ {
				if i%(1<<16) == 0 {
					runtime.Gosched() // others want a turn sooner than in 10 ms
				}
			}
		})
	}
	return func() { done.Store(true); all.Wait() }
}

// rival is one of those that want the same client id.
type rival struct {
	*peer
	sid string
}

func compete(t *testing.T, s *broker.Server, round int, kept bool) rival {
	t.Helper()
	const n = 16
	rivals := make([]rival, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			sid := fmt.Sprintf("%d-%d", round, i)
			nc, err := net.Dial("tcp", s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			change := with(version(byte(4+i%2)), withWill(presence, "lost "+sid, true))
			if kept {
				change = with(change, keep)
			}
			p := tryWithRoom(t, nc, "attic", change, 1000)
			rivals[i] = rival{p, sid}
			if p.connack.FixedHeader.Type != packets.Connack {
				return // taken over before it could read its CONNACK
			}
			p.send(packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id(),
				Filters: packets.Subscriptions{{Filter: "dominion/attic/desired/#", Qos: 1}},
			})
			p.sendRetained(presence, "online "+sid, p.id())
		})
	}
	all.Wait()
	survivor := -1
	eventually(t, "one connection is left", func() bool {
		alive := 0
		for i, r := range rivals {
			if r.peer != nil && !ended(r.peer) {
				alive, survivor = alive+1, i
			}
		}
		return alive == 1
	})
	rivals[survivor].stays()
	return rivals[survivor]
}

// ended tells whether the connection of a peer was closed, dropping what came.
func ended(p *peer) bool {
	for {
		select {
		case _, open := <-p.in:
			if !open {
				return true
			}
		default:
			return false
		}
	}
}

// follow reads presence up to the survivor's birth: nobody is born before the
// last one is lost, and nobody comes back.
func follow(t *testing.T, watcher *peer, survivor string) {
	t.Helper()
	lost := map[string]bool{}
	online := ""
	for online != survivor {
		word := string(watcher.message(presence).Payload)
		state, sid, _ := strings.Cut(word, " ")
		switch {
		case lost[sid]:
			t.Fatalf("%q after its will", word)
		case state == "lost":
			lost[sid] = true
			if online != "" && online != sid {
				t.Fatalf("%q while %s is online", word, online)
			}
			online = ""
		case online != "":
			t.Fatalf("%q before the will of %s", word, online)
		default:
			online = sid
		}
	}
}

func (p *peer) sendRetained(topic, payload string, id uint16) {
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true},
		TopicName:   topic, Payload: []byte(payload), PacketID: id,
	})
}
