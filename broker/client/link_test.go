package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// It refuses what cannot work, and says what to write.
func TestNew(t *testing.T) {
	good := client.Options{Node: "attic", ID: "m1", Broker: "mqtt://127.0.0.1"}
	for _, c := range []struct {
		name   string
		change func(*client.Options)
		want   string // part of the error; empty when it is good
	}{
		{"a host alone", func(o *client.Options) {}, ""},
		{"tcp, a login, a port, a slash", func(o *client.Options) { o.Broker = "tcp://u:p%2Fw@[::1]:1884/" }, ""},
		{"no broker", func(o *client.Options) { o.Broker = "" }, "want mqtt://host:1883"},
		{"a host without a scheme", func(o *client.Options) { o.Broker = "127.0.0.1:1883" }, "want mqtt://host:1883"},
		{"a name without a scheme", func(o *client.Options) { o.Broker = "nas:1883" }, "want mqtt://host:1883"},
		{"http", func(o *client.Options) { o.Broker = "http://nas" }, "want mqtt://host:1883"},
		{"a port that there is not", func(o *client.Options) { o.Broker = "mqtt://nas:70000" }, "no port 70000"},
		{"TLS", func(o *client.Options) { o.Broker = "mqtts://nas" }, ""},
		{"TLS without a host", func(o *client.Options) { o.Broker = "mqtts://" }, "mqtts://host:8883"},
		{"a path", func(o *client.Options) { o.Broker = "mqtt://nas/house" }, "more than a host and a port"},
		{"a password alone", func(o *client.Options) { o.Broker = "mqtt://:secret@nas" }, "password without a user"},
		{"a bad password", func(o *client.Options) { o.Broker = "mqtt://u:secret%@nas" }, "%XX"},
		{"a reserved name", func(o *client.Options) { o.Node = "Coordinator" }, "reserved"},
		{"a name with a slash", func(o *client.Options) { o.Node = "a/b" }, `has '/'`},
		{"a base with a wildcard", func(o *client.Options) { o.Space.Base = "a/+" }, "base topic"},
		{"no machine id", func(o *client.Options) { o.ID = "" }, "no machine id"},
		{"nobody's shared name", func(o *client.Options) { o.Node, o.Shared = "", true }, "needs a node"},
		{"the coordinator", func(o *client.Options) {
			o.Node, o.Shared, o.Filters = topics.Coordinator, true, []string{"dominion/+/state/#"}
		}, ""},
		{"a coordinator that hears nothing", func(o *client.Options) { o.Node, o.Shared = topics.Coordinator, true }, "needs filters"},
		{"filters that overlap", func(o *client.Options) { o.Filters = []string{"a/+/c", "a/b/#"} }, "overlap"},
		{"filters beside each other", func(o *client.Options) { o.Filters = []string{"a/+/c", "a/b/d/#"} }, ""},
		{"a filter over the commands", func(o *client.Options) { o.Filters = []string{"dominion/#"} }, `subscribe to "dominion/attic/command/#" by itself`},
		{"no node, everything", func(o *client.Options) { o.Node, o.ID, o.Filters = "", "", []string{"#"} }, ""},
		{"a filter that is none", func(o *client.Options) { o.Filters = []string{"a/#/b"} }, "last level"},
		{"a wildcard in a level", func(o *client.Options) { o.Filters = []string{"a/b+"} }, "whole levels"},
	} {
		o := good
		c.change(&o)
		_, err := client.New(o)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error shows the password: %v", c.name, err)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"+/b", "a/b", true},
		{"a/#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "ab", false}, {"#", "a/b", true},
		{"a/+/#", "a", false}, {"a/+/#", "a/b", true}, {"a/+", "a/", true},
	} {
		if got := client.Matches(c.filter, c.topic); got != c.want {
			t.Errorf("Matches(%q, %q) = %v", c.filter, c.topic, got)
		}
		if got := client.Overlap(c.filter, c.topic); got != c.want {
			t.Errorf("Overlap(%q, %q) = %v", c.filter, c.topic, got)
		}
	}
}

// It never swallows a message: without a session, or when it is none that this
// node may send, Publish says so.
func TestPublish(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		idle, err := client.New(client.Options{Space: s, Node: "attic", ID: "m1", Broker: b.url})
		if err != nil {
			t.Fatal(err)
		}
		event := topics.Message{Topic: s.Occurrence("attic", "test", "x"), Payload: []byte("1"), QoS: 1}
		if err := idle.Publish(t.Context(), event); !errors.Is(err, client.ErrDown) {
			t.Errorf("before Run: %v, want ErrDown", err)
		}
		r := &room{halt: make(chan struct{})}
		var once sync.Once
		t.Cleanup(func() { once.Do(func() { close(r.halt) }) })
		r.start(t, b, options(s, "attic", "m1"), quick())
		sid := r.synced(1)
		r.publish(event)
		w.await(event.Topic, 1)
		for name, m := range map[string]topics.Message{
			"a filter":                {Topic: s.Filter(topics.Event), QoS: 1},
			"no topic":                {},
			"QoS 2":                   {Topic: event.Topic, QoS: 2},
			"too long":                {Topic: event.Topic, Payload: make([]byte, topics.MaxPayload+1)},
			"a retained event":        {Topic: event.Topic, Retained: true},
			"a retained command":      {Topic: s.Command("porch", "ping", "host"), Retained: true},
			"a state that passes by":  {Topic: s.Info("attic"), Payload: []byte("{}")},
			"another session's birth": r.presence(topics.Online, "other"),
			"no presence":             {Topic: s.Presence("attic"), Payload: []byte("x"), Retained: true},
		} {
			if err := r.client.Publish(t.Context(), m); err == nil || errors.Is(err, client.ErrDown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.client.Publish(canceled, event); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		// The room has not read that the next session is there: what it
		// publishes is about the last one.
		r.cut()
		eventually(t, func() string {
			if err := r.client.Publish(t.Context(), event); !errors.Is(err, client.ErrDown) {
				return fmt.Sprint("after the link was cut: ", err)
			}
			return ""
		})
		w.awaitPresence("attic", topics.Lost, sid)
		time.Sleep(5 * quick().Retry)
		if err := r.client.Publish(t.Context(), r.presence(topics.Online, sid)); !errors.Is(err, client.ErrDown) {
			t.Errorf("in a session that the room does not know of: %v, want ErrDown", err)
		}
		once.Do(func() { close(r.halt) })
		w.awaitPresence("attic", topics.Online, r.synced(2))
		r.stop()
		if err := r.client.Publish(t.Context(), event); !errors.Is(err, client.ErrDown) {
			t.Errorf("after Run: %v, want ErrDown", err)
		}
		if n := len(w.on(event.Topic)); n < 1 {
			t.Errorf("%d events", n)
		}
	})
}

// It keeps the link while the room is slow, drops it when too much waits, and
// reads everything again when the room has caught up. A command that was
// dropped so runs when its sender repeats it.
func TestSlowRoom(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		logged := &logBook{}
		o := options(s, "attic", "m1")
		o.Log = zerolog.New(logged)
		o.Filters = append(s.NodeFilters("attic"), "other/"+string(s.Base))
		times := quick()
		times.Limit = 1 << 20
		busy := make(chan struct{})
		r := (&room{answer: func(q topics.Request) []topics.Reply {
			<-busy
			return []topics.Reply{{Status: topics.Done}}
		}}).start(t, b, o, times)
		first := r.synced(1)
		w.awaitPresence("attic", topics.Online, first)
		ping := s.Command("attic", "ping", "host")
		w.publish(ping, `{"id":"q1"}`, false)
		w.publish(ping, `{"id":"q2"}`, false)
		flood := func(bytes int) {
			for range bytes / 1000 {
				w.publish("other/"+string(s.Base), strings.Repeat("x", 1000), false)
			}
		}
		flood(times.Limit / 2)
		if n := len(w.on(s.Presence("attic"))); n != 1 {
			t.Fatal("the link was lost while half of what may wait did")
		}
		flood(times.Limit)
		w.awaitPresence("attic", topics.Lost, first)
		if !strings.Contains(logged.String(), "does not keep up") {
			t.Errorf("the log does not say why the link was dropped:\n%s", logged)
		}
		time.Sleep(10 * quick().Retry)
		if lines := logged.messages(t); len(lines) > 2 {
			t.Errorf("the log while the room stands still: %q", lines)
		}
		close(busy)
		w.awaitPresence("attic", topics.Online, r.synced(2))
		w.publish(ping, `{"id":"q2"}`, false)
		w.await(s.Reply("attic", "q2"), 1)
		if got := r.requests(); len(got) != 2 {
			t.Errorf("the room was handed %d requests, want q1 and q2", len(got))
		}
	})
}

// It does not tell a room that a replay is whole of which it dropped a part.
func TestSlowInTheReplay(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		s := newSpace()
		w := newWitness(t, b, s)
		w.publish(s.Summary("lamp"), "{}", true)
		logged := &logBook{}
		times := quick()
		times.Limit = 1 << 20
		c, err := client.NewTimed(client.Options{
			Space: s, Broker: b.url, Filters: []string{s.All()}, Log: zerolog.New(logged),
		}, times)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		if in := <-c.Inbound(); in.Link != topics.LinkUp {
			t.Errorf("told %+v, want LinkUp", in)
		}
		for !strings.Contains(logged.String(), "does not keep up") {
			w.publish(s.Summary("bell"), strings.Repeat("x", 100_000), false)
		}
		if in := <-c.Inbound(); in.Link != topics.LinkDown {
			t.Errorf("told %.100v, want LinkDown", in)
		}
		var again []topics.Link
		for len(again) < 3 {
			again = append(again, (<-c.Inbound()).Link)
		}
		if diff := cmp.Diff([]topics.Link{topics.LinkUp, topics.LinkNone, topics.LinkSynced}, again); diff != "" {
			t.Errorf("told in the next session (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// It says in plain words that a login or a filter is refused.
func TestRefusedByTheBroker(t *testing.T) {
	t.Parallel()
	b := embedded(t)
	refuses := func(code byte) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				packets.ReadPacket(there)
				ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
				ack.ReturnCode = code
				ack.Write(there)
			}()
			return here, nil
		}
	}
	for name, c := range map[string]struct {
		broker, filter string
		dial           func(context.Context) (net.Conn, error)
		want           string
	}{
		"a wrong password": {"mqtt://me:secret@nas", "a", refuses(4), `nas:1883 refused the login (as user "me"): check user and password`},
		"no login":         {"mqtt://nas", "a", refuses(5), `nas:1883 refused the login (no login was given): a machine gets one by joining the house (dominion invite there, domain join CODE here)`},
		"a certificate":    {"mqtts://nas", "a", refuses(5), "refused the login (by this machine's certificate): if its house has forgotten this machine, join it again"},
		"a dial": {"mqtts://nas", "a", func(context.Context) (net.Conn, error) { return nil, errors.New("the cat has the cable") },
			"no connection to the broker: the cat has the cable"},
		"a client id":   {"mqtt://nas", "a", refuses(2), `refused the client id "dominion.reader.`},
		"an old broker": {"mqtt://nas", "a", refuses(1), "does not speak MQTT 3.1.1"},
		"a busy broker": {"mqtt://nas", "a", refuses(3), "says it is unavailable"},
		"a filter":      {b.url, "test/secret/#", nil, `does not let this client read "test/secret/#"`},
	} {
		asks := asker(t, b, topics.Space{}, func(o *client.Options) {
			o.Broker, o.Filters, o.Dial = c.broker, []string{c.filter}, c.dial
		})
		_, err := asks.Ask(t.Context(), client.Command{Node: "attic", Method: "ping", Subject: "host"})
		if !errors.Is(err, client.ErrDown) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// logBook is a log that may be read while it is written.
type logBook struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// messages are the logged lines above debug as level and message.
func (l *logBook) messages(t *testing.T) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(l.String()) {
		var e struct{ Level, Message string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Level != "debug" {
			all = append(all, e.Level+" "+e.Message)
		}
	}
	return all
}
