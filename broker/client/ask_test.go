package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/broker/client"
	"dominion/topics"
)

// asker is a command line: a client that is no node, and nobody reads Inbound.
func asker(t *testing.T, b *testBroker, s topics.Space, change func(*client.Options)) *client.Client {
	t.Helper()
	o := client.Options{Space: s, Broker: b.url, Log: testLog()}
	if change != nil {
		change(&o)
	}
	c, err := client.NewTimed(o, quick())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// It asks until there is an answer, with one id, and returns the last word.
func TestAsk(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		r := (&room{unborn: true, answer: func(q topics.Request) []topics.Reply {
			switch q.Subject {
			case "no":
				return []topics.Reply{{Status: topics.Refused, Why: &topics.Why{Code: "NO", Text: "not today", Next: "ask tomorrow"}}}
			case "bad":
				return []topics.Reply{{Status: topics.Accepted}, {Status: topics.Failed, Why: &topics.Why{Code: "BAD", Text: "it broke"}}}
			case "silent":
				return nil
			case "forgotten":
				return []topics.Reply{{Status: topics.Accepted}}
			}
			return []topics.Reply{{Status: topics.Accepted}, {Status: topics.Done, Result: q.Arg("word")}}
		}}).start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		go func() {
			for len(w.on(s.Command("attic", "run", "it"))) < 2 {
				time.Sleep(time.Millisecond)
			}
			r.client.Publish(context.Background(), r.presence(topics.Online, sid))
		}()
		c := asker(t, b, s, nil)

		reply, err := c.Ask(t.Context(), client.Command{Node: "attic", Method: "run", Subject: "it", Fields: map[string]any{"word": "hello"}})
		if err != nil || reply.Status != topics.Done || reply.Result != "hello" {
			t.Errorf("Ask: %+v, %v", reply, err)
		}
		if n := len(w.on(s.Command("attic", "run", "it"))); n < 2 {
			t.Errorf("asked %d times, want again until the birth", n)
		}
		if got := r.requests(); len(got) != 1 {
			t.Errorf("it ran %d times", len(got))
		}

		var refused *client.Refused
		for subject, want := range map[string][]string{"no": {"refused", "not today", "ask tomorrow"}, "bad": {"failed", "it broke"}} {
			_, err = c.Ask(t.Context(), client.Command{Node: "attic", Method: "run", Subject: subject})
			if !errors.As(err, &refused) {
				t.Fatalf("%s: %v, want Refused", subject, err)
			}
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not say %q", subject, err, part)
				}
			}
		}

		if _, err = c.Ask(t.Context(), client.Command{Node: "attic", Method: "run", Subject: "silent"}); !errors.Is(err, client.ErrUnanswered) {
			// A known id in flight is accepted again on the second try.
			if err == nil || !strings.Contains(err.Error(), "accepted") {
				t.Errorf("silent: %v", err)
			}
		}
		_, err = c.Ask(t.Context(), client.Command{Node: "attic", Method: "run", Subject: "forgotten"})
		if err == nil || !strings.Contains(err.Error(), "accepted") || errors.Is(err, client.ErrUnanswered) {
			t.Errorf("forgotten: %v, want that it was accepted", err)
		}
		_, err = c.Ask(t.Context(), client.Command{Node: "nobody", Method: "ping", Subject: "host"})
		if !errors.Is(err, client.ErrUnanswered) {
			t.Errorf("nobody: %v, want ErrUnanswered", err)
		}
		if n := len(w.on(s.Command("nobody", "ping", "host"))); n != 3 {
			t.Errorf("nobody was asked %d times, want 3", n)
		}
	})
}

// It says at once that there is no broker, and why; a canceled question ends.
func TestAskWithoutLink(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := asker(t, &testBroker{url: "mqtt://" + l.Addr().String()}, newSpace(), nil)
	_, err = c.Ask(t.Context(), client.Command{Node: "attic", Method: "ping", Subject: "host"})
	if !errors.Is(err, client.ErrDown) || !strings.Contains(err.Error(), "no broker answers at "+l.Addr().String()) {
		t.Errorf("Ask: %v, want ErrDown and why", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Ask(ctx, client.Command{Node: "attic", Method: "ping", Subject: "host"}); !errors.Is(err, context.Canceled) && !errors.Is(err, client.ErrDown) {
		t.Errorf("canceled: %v", err)
	}
	for _, bad := range []client.Command{
		{Node: "at/tic", Method: "ping", Subject: "host"},
		{Node: "attic", Method: "ping", Subject: ""},
		{Node: "attic", Method: "ping", Subject: "host", Fields: map[string]any{"f": func() {}}},
		{Node: "attic", Method: "ping", Subject: "host", Fields: map[string]any{"f": strings.Repeat("x", topics.MaxCommand)}},
	} {
		if _, err := c.Ask(t.Context(), bad); err == nil {
			t.Errorf("asked %.80v", bad)
		}
	}
}

// It asks on a client whose room reads the replies too.
func TestAskBesideARoom(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		node := (&room{}).start(t, b, options(s, "attic", "m1"), quick())
		w.awaitPresence("attic", topics.Online, node.synced(1))
		o := options(s, "", "")
		o.Filters = []string{s.EventFilter("reply")}
		r := (&room{}).start(t, b, o, quick())
		r.synced(1)
		reply, err := r.client.Ask(t.Context(), client.Command{Node: "attic", Method: "ping", Subject: "host"})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			return cmp.Diff([]string{string(topics.Encode(reply))}, r.heard(s.EventFilter("reply")))
		})
	})
}
