package client_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/topics"
)

func service(s topics.Space, n topics.Node, name topics.Service, text string) topics.Message {
	return topics.Message{Topic: s.ServiceState(n, name), Payload: []byte(text), QoS: 1, Retained: true}
}

// It tells the room of a session in order, and the house of the node in order:
// what it has, and its presence last; what it left before and has no more is
// emptied just before that.
func TestBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		w.publish(s.ServiceState("attic", "gone"), `{"old":1}`, true)
		w.publish(s.DesiredServices("attic"), `{"doc":1}`, true)
		w.await(s.All(), 2)
		w.forget()
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"new":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		w.awaitPresence("attic", topics.Online, sid)

		online := fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, sid)
		want := []string{
			s.ServiceState("attic", "lamp") + ` {"new":1}`,
			s.ServiceState("attic", "gone") + ` `,
			s.Presence("attic") + ` ` + online,
		}
		var got []string
		for _, m := range w.on(s.All()) {
			if !strings.Contains(m.Topic, "/event/sync/") {
				got = append(got, m.Topic+" "+string(m.Payload))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the birth (-want +got):\n%s", diff)
		}

		var told []string
		for _, in := range r.all() {
			if in.Sid != sid {
				t.Errorf("%+v is not of session %s", in, sid)
			}
			told = append(told, fmt.Sprint(in.Link, in.Message.Retained, in.Message.Topic))
		}
		wantTold := []string{
			fmt.Sprint(topics.LinkUp, false),
			fmt.Sprint(topics.LinkNone, true, s.ServiceState("attic", "gone")),
			fmt.Sprint(topics.LinkNone, true, s.DesiredServices("attic")),
			fmt.Sprint(topics.LinkSynced, false),
		}
		if told[1] > told[2] {
			told[1], told[2] = told[2], told[1] // brokers replay in any order
		}
		if wantTold[1] > wantTold[2] {
			wantTold[1], wantTold[2] = wantTold[2], wantTold[1]
		}
		if diff := cmp.Diff(wantTold, told); diff != "" {
			t.Errorf("what the room is told (-want +got):\n%s", diff)
		}
	})
}

// The last readings outlive a birth: the next are measured after it. What
// another writes there later does not.
func TestReadingsOutliveTheBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		w.publish(s.Host("attic"), `{"cpu":1}`, true)
		w.await(s.All(), 1)
		r := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		w.awaitPresence("attic", topics.Online, r.synced(1))
		time.Sleep(quick().Heal + 3*quick().Quiet)
		if diff := cmp.Diff(map[string]string{s.Host("attic"): `{"cpu":1}`}, retained(t, b, s, s.Host("attic"))); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
		w.publish(s.Host("attic"), `{"evil":1}`, true)
		w.await(s.Error("attic", topics.ErrState), 1)
		eventually(t, func() string {
			return cmp.Diff(map[string]string{}, retained(t, b, s, s.Host("attic")))
		})
	})
}

// It leaves a will of the same session, and comes back under another sid with
// all it has.
func TestWill(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"a":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		first := r.synced(1)
		w.awaitPresence("attic", topics.Online, first)
		r.cut()
		second := r.synced(2)
		w.awaitPresence("attic", topics.Online, second)
		if first == second {
			t.Errorf("both sessions have the sid %s", first)
		}
		var said []string
		for _, m := range w.on(s.Presence("attic")) {
			said = append(said, string(m.Payload))
		}
		want := []string{
			fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, first),
			fmt.Sprintf(`{"v":1,"state":"lost","sid":"%s","id":"m1"}`, first),
			fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, second),
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("presence (-want +got):\n%s", diff)
		}
		if n := len(w.on(s.ServiceState("attic", "lamp"))); n != 2 {
			t.Errorf("the service's state was published %d times, want once a session", n)
		}
		if downs, sid := r.links(topics.LinkDown); downs != 1 || sid != first {
			t.Errorf("%d LinkDown, the last of %s; want one of %s", downs, sid, first)
		}
	})
}

// It leaves no will when its end was planned.
func TestGoodbye(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		w.awaitPresence("attic", topics.Online, sid)
		r.publish(r.presence(topics.Stopped, sid))
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		w.awaitPresence("attic", topics.Stopped, sid)
		// What comes after this on the same connection came after any will.
		w.publish(s.Occurrence("attic", "test", "end"), "now", false)
		w.await(s.Occurrence("attic", "test", "end"), 1)
		w.awaitPresence("attic", topics.Stopped, sid)
	})
}

// It ends the replay only when all that was retained has been read.
func TestFence(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		const many = 2000
		s := newSpace()
		w := newWitness(t, b, s)
		for i := range many {
			w.publish(s.ServiceState("attic", topics.Service(fmt.Sprint("s", i))), fmt.Sprintf(`{"i":%d}`, i), true)
		}
		o := options(s, "", "")
		o.Filters = []string{s.Filter(topics.State)}
		r := (&room{}).start(t, b, o, quick())
		r.synced(1)
		replayed := map[string]bool{}
		for _, in := range r.all() {
			if in.Link == topics.LinkSynced {
				break
			}
			if in.Message.Retained {
				replayed[in.Message.Topic] = true
			}
		}
		if len(replayed) != many {
			t.Errorf("%d topics were replayed before LinkSynced, want %d", len(replayed), many)
		}
	})
}

// It reads everything again after the broker was killed and came back empty.
func TestBrokerRestart(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		if b.kill == nil {
			t.Skip("this broker is not ours to restart")
		}
		s := newSpace()
		r := (&room{has: []topics.Message{service(s, "attic", "lamp", `{"a":1}`)}}).start(t, b, options(s, "attic", "m1"), quick())
		first := r.synced(1)
		b.kill()
		eventually(t, func() string {
			if n, _ := r.links(topics.LinkDown); n == 0 {
				return "the room was not told that the link is down"
			}
			return ""
		})
		b.back()
		second := r.synced(2)
		if first == second {
			t.Errorf("both sessions have the sid %s", first)
		}
		eventually(t, func() string {
			want := map[string]string{
				s.Presence("attic"):             fmt.Sprintf(`{"v":1,"state":"online","sid":"%s","id":"m1"}`, second),
				s.ServiceState("attic", "lamp"): `{"a":1}`,
			}
			return cmp.Diff(want, retained(t, b, s, s.All()))
		})
	})
}

// It spares a slow room the sessions that are over before it has read of them.
func TestSessionUnread(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{halt: make(chan struct{})}).start(t, b, options(s, "attic", "m1"), quick())
		first := r.synced(1)
		tokens := s.Occurrence("attic", "sync", "+")
		for n := range 2 {
			time.Sleep(50 * time.Millisecond)
			r.cut()
			w.await(tokens, n+2)
		}
		close(r.halt)
		eventually(t, func() string {
			third := topics.Sid(strings.TrimPrefix(w.await(tokens, 3).Topic, strings.TrimSuffix(tokens, "+")))
			var got []topics.Inbound
			for _, in := range r.all() {
				if in.Link != topics.LinkNone {
					got = append(got, in)
				}
			}
			return cmp.Diff([]topics.Inbound{
				{Link: topics.LinkUp, Sid: first}, {Link: topics.LinkSynced, Sid: first}, {Link: topics.LinkDown, Sid: first},
				{Link: topics.LinkUp, Sid: third}, {Link: topics.LinkSynced, Sid: third},
			}, got)
		})
	})
}
