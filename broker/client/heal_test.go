package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/topics"
)

// fault is an error event's code, topic and count.
type fault struct {
	Code, Topic string
	Count       int
}

func (w *witness) faults(n topics.Node, subject string) []fault {
	w.t.Helper()
	var all []fault
	for _, m := range w.on(w.space.Error(n, subject)) {
		f, err := topics.Decode[topics.Fault](m.Payload)
		if err != nil || f.Text == "" {
			w.t.Errorf("fault %s: %v", m.Payload, err)
		}
		all = append(all, fault{f.Code, f.Topic, f.Count})
	}
	return all
}

// It puts back what it wrote, empties what it did not, and reports each.
func TestHeal(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		lamp, ghost, presence := s.ServiceState("attic", "lamp"), s.ServiceState("attic", "ghost"), s.Presence("attic")
		w := newWitness(t, b, s)
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"a":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		online := fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, sid)
		whole := map[string]string{presence: online, lamp: `{"a":1}`}
		w.awaitPresence("attic", topics.Online, sid)

		for _, c := range []struct {
			name, topic, payload string
			fault                fault
		}{
			{"a cleared state", lamp, "", fault{"CLEARED", lamp, 0}},
			{"an overwritten state", lamp, `{"evil":1}`, fault{"FOREIGN_WRITE", lamp, 0}},
			{"a state it never wrote", ghost, `{"evil":1}`, fault{"FOREIGN_WRITE", ghost, 0}},
			{"a state deeper than any name", lamp + "/x/y", `1`, fault{"FOREIGN_WRITE", lamp + "/x/y", 0}},
			{"a state that is no topic of the house", s.ServiceState("attic", "x") + " y", `1`, fault{"FOREIGN_WRITE", s.ServiceState("attic", "x") + " y", 0}},
			{"a cleared presence", presence, "", fault{"CLEARED", presence, 0}},
			{"an unreadable presence", presence, `{{`, fault{"FOREIGN_WRITE", presence, 0}},
			{"a bare offline", presence, `offline`, fault{"FOREIGN_WRITE", presence, 0}},
		} {
			w.forget()
			w.publish(c.topic, c.payload, true)
			w.await(s.Error("attic", topics.ErrState), 1)
			if diff := cmp.Diff([]fault{c.fault}, w.faults("attic", topics.ErrState)); diff != "" {
				t.Errorf("%s: faults (-want +got):\n%s", c.name, diff)
			}
			if diff := cmp.Diff(whole, retained(t, b, s, s.All())); diff != "" {
				t.Errorf("%s: retained (-want +got):\n%s", c.name, diff)
			}
			time.Sleep(quick().Heal) // the next one is a second later
		}
		for _, in := range r.all() {
			if in.Link == topics.LinkNone {
				t.Errorf("the room was told of %s %s, which is the node's own business", in.Message.Topic, in.Message.Payload)
			}
		}
	})
}

// It heals a topic at most once a second, however often it is overwritten, and
// counts.
func TestHealSeldom(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		lamp := s.ServiceState("attic", "lamp")
		w := newWitness(t, b, s)
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"a":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		w.awaitPresence("attic", topics.Online, r.synced(1))
		began := time.Now()
		var wars int
		for ; time.Since(began) < 3*quick().Heal; wars++ {
			w.publish(lamp, `{"evil":1}`, true)
			time.Sleep(quick().Quiet + quick().Quiet/2)
		}
		eventually(t, func() string {
			return cmp.Diff(`{"a":1}`, retained(t, b, s, lamp)[lamp])
		})
		most := int(time.Since(began)/quick().Heal) + 1
		eventually(t, func() string {
			all := w.faults("attic", topics.ErrState)
			counted := len(all)
			for _, f := range all {
				counted += f.Count
			}
			if len(all) < 2 || len(all) > most || counted != wars {
				return fmt.Sprintf("%d heals that count %d foreign messages, want 2 to %d that count %d", len(all), counted, most, wars)
			}
			return ""
		})
	})
}

// It knows its own words when they come back, also its own clearing, in
// whatever haste they were written.
func TestOwnEchoes(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		lamp := s.ServiceState("attic", "lamp")
		w := newWitness(t, b, s)
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"a":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		w.awaitPresence("attic", topics.Online, r.synced(1))
		for i := range 200 {
			r.publish(service(s, "attic", "lamp", fmt.Sprint(i%3)))
			r.publish(service(s, "attic", "lamp", ""))
		}
		r.publish(service(s, "attic", "lamp", "last"))
		r.publish(service(s, "attic", "bell", "rings"))
		r.publish(service(s, "attic", "bell", ""))
		w.await(s.ServiceState("attic", "bell"), 2)
		time.Sleep(3 * quick().Quiet)
		if got := w.faults("attic", topics.ErrState); got != nil {
			t.Errorf("faults: %v", got)
		}
		if got := len(w.on(lamp)); got != 402 {
			t.Errorf("%d messages on %s, want the room's 402", got, lamp)
		}
	})
}

// It says its birth again, at once and without complaint, when an old will or
// another machine's word of leaving stands on its presence.
func TestStaleWill(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		w.awaitPresence("attic", topics.Online, sid)
		for _, stale := range []string{
			`{"v":1,"state":"lost","sid":"old","id":"m1"}`,
			`{"v":1,"state":"online","sid":"old","id":"m1"}`,
			`{"v":1,"state":"lost","sid":"other","id":"m0"}`,
			`{"v":1,"state":"stopped","sid":"other","id":"m2"}`,
		} {
			time.Sleep(quick().Heal)
			w.forget()
			w.publish(s.Presence("attic"), stale, true)
			w.await(s.Presence("attic"), 2)
			r.stands(b, topics.Online, sid)
		}
		if got := w.faults("attic", topics.ErrState); got != nil {
			t.Errorf("faults: %v", got)
		}
	})
}

// It leaves alone, before its birth, what others wrote on its topics, and puts
// it right with the birth.
func TestNoHealingBeforeTheBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		lamp, ghost := s.ServiceState("attic", "lamp"), s.ServiceState("attic", "ghost")
		w := newWitness(t, b, s)
		r := (&room{unborn: true}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		r.publish(service(s, "attic", "lamp", "mine"))
		w.await(lamp, 1)
		w.publish(lamp, "theirs", true)
		w.publish(ghost, "theirs", true)
		w.await(ghost, 1)
		time.Sleep(3 * quick().Quiet)
		if diff := cmp.Diff(map[string]string{lamp: "theirs", ghost: "theirs"}, retained(t, b, s, s.All())); diff != "" {
			t.Errorf("before the birth (-want +got):\n%s", diff)
		}
		r.publish(r.presence(topics.Online, sid))
		eventually(t, func() string {
			got := retained(t, b, s, s.All())
			delete(got, s.Presence("attic"))
			return cmp.Diff(map[string]string{lamp: "mine"}, got)
		})
	})
}
