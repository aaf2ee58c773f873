package client_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/broker/client"
	"dominion/topics"
)

func leader(s topics.Space, id topics.MachineID) client.Options {
	o := options(s, topics.Coordinator, id)
	o.Shared = true
	o.Filters = []string{
		s.Filter(topics.State), s.Filter(topics.Desired), s.EventFilter("heartbeat"), s.Commands(topics.Coordinator),
	}
	return o
}

// heard are the messages on a filter that reached the room.
func (r *room) heard(filter string) []string {
	var all []string
	for _, in := range r.all() {
		if in.Link == topics.LinkNone && client.Matches(filter, in.Message.Topic) {
			all = append(all, string(in.Message.Payload))
		}
	}
	return all
}

// It leaves what stood there before it, asks nobody for its name, empties what
// others write below its state, heals what it wrote for the domains too, and hears everything of others.
func TestShared(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		summary, doc, other := s.Summary("lamp"), s.DesiredServices("attic"), s.DesiredServices("porch")
		before := `{"v":1,"state":"online","sid":"x","id":"m0","term":3}`
		w.publish(s.Presence(topics.Coordinator), before, true)
		w.publish(summary, "old", true)
		w.publish(other, "old", true)
		w.await(s.All(), 3)
		r := (&room{has: []topics.Message{{Topic: doc, Payload: []byte("doc"), QoS: 1, Retained: true}}}).
			start(t, b, leader(s, "m1"), quick())
		sid := r.synced(1)
		w.awaitPresence(topics.Coordinator, topics.Online, sid)
		if got := r.heard(s.Presence(topics.Coordinator)); len(got) != 1 || got[0] != before {
			t.Errorf("the room heard %q of its own presence, want the leader's before", got)
		}
		w.publish(doc, "evil", true)
		w.await(s.Error(topics.Coordinator, topics.ErrState), 1)
		if diff := cmp.Diff([]fault{{"FOREIGN_WRITE", doc, 0}}, w.faults(topics.Coordinator, topics.ErrState)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		time.Sleep(quick().Heal)
		w.forget()
		forged, word := s.Lookup("lamp"), s.ServiceWord("lamp")
		w.publish(word, "theirs", true)
		w.publish(forged, "evil", true)
		w.await(s.Error(topics.Coordinator, topics.ErrState), 1)
		if diff := cmp.Diff([]fault{{"FOREIGN_WRITE", forged, 0}}, w.faults(topics.Coordinator, topics.ErrState)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		w.publish(s.ServiceState("attic", "lamp"), "theirs", true)
		w.await(s.ServiceState("attic", "lamp"), 1)
		got := retained(t, b, s, s.All())
		delete(got, s.Presence(topics.Coordinator))
		want := map[string]string{summary: "old", other: "old", doc: "doc", word: "theirs", s.ServiceState("attic", "lamp"): "theirs"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
		eventually(t, func() string {
			return cmp.Diff([]string{"theirs"}, r.heard(s.ServiceState("attic", "lamp")))
		})
		if got := r.heard(doc); got != nil {
			t.Errorf("the room heard %q of its own document", got)
		}
	})
}

// It hands the room another leader, and puts nothing back while that stands;
// its will, and what it wrote, once the room leads again.
func TestAnotherLeader(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		doc, presence := s.DesiredServices("attic"), s.Presence(topics.Coordinator)
		r := (&room{has: []topics.Message{{Topic: doc, Payload: []byte("mine"), QoS: 1, Retained: true}}}).
			start(t, b, leader(s, "m1"), quick())
		sid := r.synced(1)
		w.awaitPresence(topics.Coordinator, topics.Online, sid)

		lost := `{"v":1,"state":"lost","sid":"z","id":"m0"}`
		w.publish(presence, lost, true)
		w.await(presence, 3)
		r.stands(b, topics.Online, sid)

		rival := `{"v":1,"state":"online","sid":"y","id":"m2","term":9}`
		w.publish(presence, rival, true)
		w.publish(doc, "theirs", true)
		w.publish(s.Lookup("lamp"), "theirs", true)
		w.publish(s.PlanHeartbeat(), `{"v":1,"sid":"y"}`, false)
		r.publish(topics.Message{Topic: s.PlanHeartbeat(), Payload: topics.Encode(topics.Heartbeat{Sid: sid})})
		w.await(s.PlanHeartbeat(), 2)
		time.Sleep(2*quick().Heal + 3*quick().Quiet)
		if diff := cmp.Diff(map[string]string{doc: "theirs", s.Lookup("lamp"): "theirs", presence: rival}, retained(t, b, s, s.All())); diff != "" {
			t.Errorf("while another leads (-want +got):\n%s", diff)
		}
		for filter, want := range map[string][]string{
			presence: {lost, rival}, doc: {"theirs"}, s.PlanHeartbeat(): {`{"v":1,"sid":"y"}`},
		} {
			if diff := cmp.Diff(want, r.heard(filter)); diff != "" {
				t.Errorf("the room heard on %s (-want +got):\n%s", filter, diff)
			}
		}
		r.publish(r.presence(topics.Online, sid))
		r.stands(b, topics.Online, sid)
		w.publish(doc, "theirs again", true)
		eventually(t, func() string {
			return cmp.Diff("mine", retained(t, b, s, doc)[doc])
		})
	})
}

// It stays a leader through a reconnect: the room sees what stands, and its own
// old will is no other leader.
func TestLeaderReturns(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{}).start(t, b, leader(s, "m1"), quick())
		first := r.synced(1)
		w.awaitPresence(topics.Coordinator, topics.Online, first)
		r.cut()
		second := r.synced(2)
		w.awaitPresence(topics.Coordinator, topics.Online, second)
		w.forget()
		w.publish(s.Presence(topics.Coordinator), string(topics.Encode(topics.Presence{State: topics.Lost, Sid: first, ID: "m1"})), true)
		w.await(s.Presence(topics.Coordinator), 2)
		r.stands(b, topics.Online, second)
	})
}
