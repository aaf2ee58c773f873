package client_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/topics"
)

// replies are what was answered, as status and the code of the why.
func (w *witness) replies(n topics.Node) []string {
	w.t.Helper()
	var all []string
	for _, m := range w.on(w.space.Reply(n, "+")) {
		r, err := topics.Decode[topics.Reply](m.Payload)
		if err != nil || !strings.HasSuffix(m.Topic, "/"+r.ID) {
			w.t.Errorf("reply %s %s: %v", m.Topic, m.Payload, err)
		}
		text := string(r.Status)
		if r.Why != nil {
			text += " " + r.Why.Code
		}
		all = append(all, text)
	}
	return all
}

func born(t *testing.T, b *testBroker, r *room) (topics.Space, *witness, *room) {
	t.Helper()
	s := newSpace()
	w := newWitness(t, b, s)
	r.start(t, b, options(s, "attic", "m1"), quick())
	w.awaitPresence("attic", topics.Online, r.synced(1))
	return s, w, r
}

// It hands the room commands of both kinds, with an id, and passes its answers on.
func TestCommand(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s, w, r := born(t, b, &room{answer: func(topics.Request) []topics.Reply {
			return []topics.Reply{{Status: topics.Accepted}, {Status: topics.Done, Result: "pong"}}
		}})
		ping := s.Command("attic", "ping", "host")
		w.publish(ping, "now", false)
		w.await(s.Reply("attic", "+"), 2)
		w.publish(ping, `{"v":1,"id":"q1","by":"me"}`, false)
		w.await(s.Reply("attic", "q1"), 2)

		got := r.requests()
		if len(got) != 2 || got[0].ID == "" {
			t.Fatalf("requests: %+v", got)
		}
		got[0].ID = ""
		want := []topics.Request{
			{Node: "attic", Method: "ping", Subject: "host", Word: "now", Topic: ping, Bare: true},
			{Node: "attic", Method: "ping", Subject: "host", ID: "q1", Topic: ping,
				Args: map[string]json.RawMessage{"v": []byte("1"), "id": []byte(`"q1"`), "by": []byte(`"me"`)}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// It answers, reports and survives what is no command.
func TestBadCommand(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s, w, r := born(t, b, &room{})
		for i, c := range []struct{ name, topic, payload, code string }{
			{"empty", "ping/host", "", "EMPTY"},
			{"blank", "ping/host", " ", "BAD_PAYLOAD"},
			{"broken JSON", "ping/host", `{"id":`, "BAD_PAYLOAD"},
			{"a list", "ping/host", `[1]`, "BAD_PAYLOAD"},
			{"two words", "ping/host", "now please", "BAD_PAYLOAD"},
			{"not UTF-8", "ping/host", "{\xff}", "BAD_PAYLOAD"},
			{"a bad id", "ping/host", `{"id":"a/b"}`, "BAD_PAYLOAD"},
			{"too long", "ping/host", `{"x":"` + strings.Repeat("x", topics.MaxCommand) + `"}`, "BAD_PAYLOAD"},
			{"a mebibyte", "ping/host", strings.Repeat("x", 1<<20), "BAD_PAYLOAD"},
			{"no subject", "ping", "now", "BAD_PAYLOAD"},
			{"too deep", "ping/host/now", "now", "BAD_PAYLOAD"},
			{"no name", "ping/..", "now", "BAD_PAYLOAD"},
		} {
			w.forget()
			// Each has a topic of its own: one topic is reported once a second.
			topic := strings.TrimSuffix(s.Commands("attic"), "#") + strings.Replace(c.topic, "ping", fmt.Sprint("ping", i), 1)
			w.publish(topic, c.payload, false)
			reply := w.await(s.Reply("attic", "+"), 1)
			if diff := cmp.Diff([]string{"refused " + c.code}, w.replies("attic")); diff != "" {
				t.Errorf("%d %s: replies (-want +got):\n%s", i, c.name, diff)
			}
			if a, _ := topics.Decode[topics.Reply](reply.Payload); a.Topic != topic || a.Why.Next == "" {
				t.Errorf("%s: reply %s names neither its topic nor what to do", c.name, reply.Payload)
			}
			w.await(s.Error("attic", topics.ErrCommand), 1)
			if diff := cmp.Diff([]fault{{c.code, topic, 0}}, w.faults("attic", topics.ErrCommand)); diff != "" {
				t.Errorf("%s: faults (-want +got):\n%s", c.name, diff)
			}
		}
		if got := r.requests(); got != nil {
			t.Errorf("the room was handed %+v", got)
		}
	})
}

// It answers each bad command, but reports one topic at most once a second,
// counting the rest.
func TestFaultsAreCounted(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		const many = 50
		s, w, _ := born(t, b, &room{})
		ping := s.Command("attic", "ping", "host")
		for range many {
			w.publish(ping, "", false)
		}
		w.await(s.Reply("attic", "+"), many)
		eventually(t, func() string {
			all := w.faults("attic", topics.ErrCommand)
			counted := len(all)
			for _, f := range all {
				counted += f.Count
			}
			if len(all) > 3 || counted != many {
				return fmt.Sprintf("faults count %d in %v, want %d in at most three", counted, all, many)
			}
			return ""
		})
	})
}

// It refuses and clears what is retained below its commands when it comes.
func TestRetainedCommandOnConnect(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		ping := s.Command("attic", "ping", "host")
		w := newWitness(t, b, s)
		w.publish(ping, `{"id":"old"}`, true)
		w.await(ping, 1)
		r := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		w.awaitPresence("attic", topics.Online, r.synced(1))
		w.await(s.Reply("attic", "old"), 1)
		w.await(ping, 2)
		time.Sleep(3 * quick().Recheck)
		if diff := cmp.Diff([]string{"refused RETAINED_COMMAND"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]fault{{"RETAINED_COMMAND", ping, 0}}, w.faults("attic", topics.ErrCommand)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{}, retained(t, b, s, s.Commands("attic"))); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
		if got := r.requests(); got != nil {
			t.Errorf("the room was handed %+v", got)
		}
	})
}

// It runs a command that somebody retains once, and clears it: a subscriber
// cannot see the flag on news, so it looks a second later.
func TestRetainedCommandAsNews(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s, w, r := born(t, b, &room{})
		ping := s.Command("attic", "ping", "host")
		w.publish(ping, "now", true)
		w.await(s.Error("attic", topics.ErrCommand), 1)
		w.await(ping, 2)
		time.Sleep(3 * quick().Recheck)
		if diff := cmp.Diff([]string{"done"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]fault{{"RETAINED_COMMAND", ping, 0}}, w.faults("attic", topics.ErrCommand)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{}, retained(t, b, s, s.Commands("attic"))); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
		if got := r.requests(); len(got) != 1 {
			t.Errorf("the room was handed %+v, want one request", got)
		}
	})
}

// It answers a known id again and does not run it twice, also over sessions.
func TestKnownID(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s, w, r := born(t, b, &room{answer: func(r topics.Request) []topics.Reply {
			if r.Subject == "slow" {
				return nil
			}
			return []topics.Reply{{Status: topics.Accepted}, {Status: topics.Failed, Why: &topics.Why{Code: "NO", Text: "no"}}}
		}})
		run, slow := s.Command("attic", "run", "it"), s.Command("attic", "run", "slow")
		w.publish(run, `{"id":"q1"}`, false)
		w.await(s.Reply("attic", "q1"), 2)
		w.publish(run, `{"id":"q1"}`, false)
		w.await(s.Reply("attic", "q1"), 3)
		w.publish(slow, `{"id":"q2"}`, false)
		w.publish(slow, `{"id":"q2"}`, false)
		w.await(s.Reply("attic", "q2"), 1)
		if diff := cmp.Diff([]string{"accepted", "failed NO", "failed NO", "accepted"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		r.cut()
		w.awaitPresence("attic", topics.Online, r.synced(2))
		w.forget()
		w.publish(run, `{"id":"q1"}`, false)
		w.await(s.Reply("attic", "q1"), 1)
		if diff := cmp.Diff([]string{"failed NO"}, w.replies("attic")); diff != "" {
			t.Errorf("replies in the next session (-want +got):\n%s", diff)
		}
		if got := r.requests(); len(got) != 2 {
			t.Errorf("the room was handed %d requests, want 2: %+v", len(got), got)
		}
	})
}

// It keeps the answer that the room gave while the link was down.
func TestAnswerWhileDown(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		halt := make(chan struct{})
		var r *room
		r = &room{answer: func(topics.Request) []topics.Reply {
			r.cut()
			<-halt
			return []topics.Reply{{Status: topics.Done, Result: "late"}}
		}}
		s, w, _ := born(t, b, r)
		w.publish(s.Command("attic", "run", "it"), `{"id":"q1"}`, false)
		eventually(t, func() string {
			if all := w.on(s.Presence("attic")); !strings.Contains(string(all[len(all)-1].Payload), "lost") {
				return "the link is not lost"
			}
			return ""
		})
		close(halt)
		w.awaitPresence("attic", topics.Online, r.synced(2))
		w.publish(s.Command("attic", "run", "it"), `{"id":"q1"}`, false)
		w.await(s.Reply("attic", "q1"), 1)
		if diff := cmp.Diff([]string{"done"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if got := r.requests(); len(got) != 1 {
			t.Errorf("the room was handed %d requests, want 1", len(got))
		}
	})
}

// It takes a second bare restart within two seconds for the first.
func TestBareRestart(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s, w, r := born(t, b, &room{})
		restart, other := s.Command("attic", "restart", "lamp"), s.Command("attic", "restart", "bell")
		w.publish(restart, "now", false)
		w.await(s.Reply("attic", "+"), 1)
		w.publish(restart, "now", false)
		w.publish(other, "now", false)
		w.publish(restart, `{"id":"q1"}`, false)
		w.await(s.Reply("attic", "+"), 4)
		time.Sleep(quick().Restart)
		w.publish(restart, "now", false)
		w.await(s.Reply("attic", "+"), 5)
		var subjects []string
		for _, q := range r.requests() {
			subjects = append(subjects, q.Subject)
		}
		if diff := cmp.Diff([]string{"lamp", "bell", "lamp", "lamp"}, subjects); diff != "" {
			t.Errorf("the room restarts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"done", "done", "done", "done", "done"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
	})
}

// It does not run what comes before its birth: the sender tries again.
func TestCommandBeforeTheBirth(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{unborn: true}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		ping := s.Command("attic", "ping", "host")
		w.publish(ping, `{"id":"early"}`, false)
		w.publish(ping, ``, false)
		w.await(ping, 2)
		time.Sleep(50 * time.Millisecond)
		r.publish(r.presence(topics.Online, sid))
		w.awaitPresence("attic", topics.Online, sid)
		w.publish(ping, `{"id":"late"}`, false)
		w.await(s.Reply("attic", "late"), 1)
		if diff := cmp.Diff([]string{"done"}, w.replies("attic")); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if got := r.requests(); len(got) != 1 || got[0].ID != "late" {
			t.Errorf("the room was handed %+v", got)
		}
	})
}
