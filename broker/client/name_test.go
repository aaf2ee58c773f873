package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// inUse waits for Run to end with *NameInUse.
func (r *room) inUse() *client.NameInUse {
	r.t.Helper()
	select {
	case err := <-r.ended:
		var used *client.NameInUse
		if !errors.As(err, &used) {
			r.t.Fatalf("Run: %v, want NameInUse", err)
		}
		return used
	case <-time.After(patience):
		r.t.Fatal("Run goes on under a name in use")
	}
	return nil
}

func beat(s topics.Space, n topics.Node, sid topics.Sid) topics.Message {
	return topics.Message{Topic: s.Heartbeat(n), Payload: topics.Encode(topics.Heartbeat{Sid: sid})}
}

// It leaves a name to the machine that bears it and beats, and tells the house
// and that machine, but keeps nothing on the broker.
func TestNameInUse(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		log := &logBook{}
		o := options(s, "attic", "m2")
		o.Log = zerolog.New(log)
		first := (&room{}).start(t, b, o, quick())
		sid := first.synced(1)
		w.awaitPresence("attic", topics.Online, sid)
		second := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		time.Sleep(100 * time.Millisecond)
		first.publish(beat(s, "attic", sid))

		got := second.inUse()
		if diff := cmp.Diff(&client.NameInUse{Node: "attic", ID: "m2", Sid: sid}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if text := got.Error(); !strings.Contains(text, "m2") || !strings.Contains(text, "another name") {
			t.Errorf("the error names neither machine nor remedy: %s", text)
		}
		if n, _ := second.links(topics.LinkSynced); n != 0 {
			t.Error("the second machine's room was synced")
		}
		m := w.await(s.Error("attic", topics.ErrName), 1)
		if diff := cmp.Diff([]fault{{"NAME_IN_USE", s.Presence("attic"), 0}}, w.faults("attic", topics.ErrName)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		if f, _ := topics.Decode[topics.Fault](m.Payload); !strings.Contains(f.Text, "m1") || !strings.Contains(f.Text, "m2") || f.Next == "" {
			t.Errorf("the fault does not name both machines and a remedy: %+v", f)
		}
		eventually(t, func() string {
			said := slices.DeleteFunc(log.messages(t), func(line string) bool {
				return !strings.HasPrefix(line, "warn another machine uses our name: machine m2 has")
			})
			return cmp.Diff(1, len(said))
		})
		time.Sleep(3 * quick().Quiet)
		if n := len(w.on(s.Presence("attic"))); n != 1 {
			t.Errorf("%d presences, want the first machine's alone", n)
		}
		if n, _ := first.links(topics.LinkSynced); n != 1 {
			t.Error("the first machine was thrown out")
		}
	})
}

// It takes a name whose machine is silent, and says so.
func TestNameClaimed(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		w.publish(s.Presence("attic"), `{"v":1,"state":"online","sid":"dead","id":"m0"}`, true)
		w.publish(s.ServiceState("attic", "old"), `1`, true)
		w.await(s.All(), 2)
		began := time.Now()
		log := &logBook{}
		o := options(s, "attic", "m1")
		o.Log = zerolog.New(log)
		r := (&room{}).start(t, b, o, quick())
		time.Sleep(100 * time.Millisecond)
		w.publish(s.Heartbeat("attic"), string(topics.Encode(topics.Heartbeat{Sid: "another"})), false)
		w.publish(s.Heartbeat("attic"), `{`, false)
		sid := r.synced(1)
		w.awaitPresence("attic", topics.Online, sid)
		if waited := time.Since(began); waited < quick().Listen {
			t.Errorf("it took the name after %s", waited)
		}
		w.await(s.Error("attic", topics.ErrName), 1)
		if diff := cmp.Diff([]fault{{"NAME_IN_USE", s.Presence("attic"), 0}}, w.faults("attic", topics.ErrName)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		time.Sleep(quick().Quiet)
		if strings.Contains(log.String(), "another machine uses our name") {
			t.Errorf("it takes its own word for another's: %s", log)
		}
		want := map[string]string{s.Presence("attic"): fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, sid)}
		if diff := cmp.Diff(want, retained(t, b, s, s.All())); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
	})
}

// It takes at once, without complaint, a name that its bearer leaves meanwhile.
func TestNameLeft(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		w.publish(s.Presence("attic"), `{"v":1,"state":"online","sid":"x","id":"m0"}`, true)
		w.await(s.All(), 1)
		times := quick()
		times.Listen = time.Minute
		r := (&room{}).start(t, b, options(s, "attic", "m1"), times)
		time.Sleep(100 * time.Millisecond)
		if n, _ := r.links(topics.LinkSynced); n != 0 {
			t.Fatal("synced under a name in use")
		}
		w.publish(s.Presence("attic"), `{"v":1,"state":"stopped","sid":"x","id":"m0"}`, true)
		r.stands(b, topics.Online, r.synced(1))
		if got := w.faults("attic", topics.ErrName); got != nil {
			t.Errorf("faults: %v", got)
		}
	})
}

// Of two born at once under one name, the one that sees a smaller machine id
// leaves, the other stays on the bus.
func TestTwoBornAtOnce(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		ears := &gate{}
		small, large := &room{unborn: true}, &room{unborn: true}
		for id, r := range map[topics.MachineID]*room{"m1": small, "m2": large} {
			o := options(s, "attic", id)
			o.Dial = func(ctx context.Context) (net.Conn, error) {
				conn, err := b.dial(ctx)
				return &gated{conn, ears}, err
			}
			r.start(t, b, o, quick())
		}
		sid, other := small.synced(1), large.synced(1)
		ears.shut() // neither hears the other's birth before its own
		small.publish(small.presence(topics.Online, sid))
		large.publish(large.presence(topics.Online, other))
		ears.open()
		if diff := cmp.Diff(&client.NameInUse{Node: "attic", ID: "m1", Sid: sid, Born: true}, large.inUse()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		small.stands(b, topics.Online, sid)
	})
}

// It leaves a name that another machine is born under before it is itself.
func TestNameTakenBeforeTheBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{unborn: true}).start(t, b, options(s, "attic", "m1"), quick())
		r.synced(1)
		w.publish(s.Presence("attic"), `{"v":1,"state":"online","sid":"x","id":"m9"}`, true)
		if diff := cmp.Diff(&client.NameInUse{Node: "attic", ID: "m9", Sid: "x"}, r.inUse()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// gate holds back what gated connections read.
type gate struct{ mu sync.RWMutex } // held for writing while the gate is shut

func (g *gate) shut() { g.mu.Lock() }
func (g *gate) open() { g.mu.Unlock() }

type gated struct {
	net.Conn
	gate *gate
}

func (c *gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.mu.RLock()
	defer c.gate.mu.RUnlock()
	return n, err
}

// It tells a machine that took its name that it is here, or goes: by the ids.
func TestNameTakenFromTheBorn(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{}).start(t, b, options(s, "attic", "m5"), quick())
		sid := r.synced(1)
		w.awaitPresence("attic", topics.Online, sid)
		w.publish(s.Presence("attic"), `{"v":1,"state":"online","sid":"x","id":"m6"}`, true)
		w.await(s.Presence("attic"), 3)
		r.stands(b, topics.Online, sid)
		w.publish(s.Presence("attic"), `{"v":1,"state":"online","sid":"y","id":"m4"}`, true)
		if diff := cmp.Diff(&client.NameInUse{Node: "attic", ID: "m4", Sid: "y", Born: true}, r.inUse()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(3 * quick().Quiet)
		r.stands(b, topics.Online, "y") // no will followed
	})
}
