package client_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// quick is the pace of most tests.
func quick() client.Times {
	return client.Times{
		Retry: 20 * time.Millisecond, Fence: 2 * time.Second, Listen: 700 * time.Millisecond,
		Quiet: 60 * time.Millisecond, Heal: 400 * time.Millisecond, Recheck: 150 * time.Millisecond,
		Restart: time.Second, Try: 300 * time.Millisecond,
	}
}

const patience = 10 * time.Second

// eventually waits until check says nothing more is wrong.
func eventually(t testing.TB, check func() (wrong string)) {
	t.Helper()
	var wrong string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if wrong = check(); wrong == "" {
			return
		}
	}
	t.Fatal(wrong)
}

// newSpace is a house of its own for each test, also on a broker they share.
func newSpace() topics.Space { return topics.Space{Base: topics.Base("test/" + topics.NewID(8))} }

// room is a room as the contract wants it: it reads Inbound in one goroutine,
// publishes what it has on LinkSynced, its presence last, and answers.
type room struct {
	t      testing.TB
	space  topics.Space
	node   topics.Node
	id     topics.MachineID
	client *client.Client

	has    []topics.Message                      // published before the presence, at each birth
	answer func(r topics.Request) []topics.Reply // nil: done at once
	unborn bool                                  // it publishes no presence
	halt   chan struct{}                         // when not nil, reading waits for it after LinkSynced

	stop  context.CancelFunc
	ended chan error // Run's error

	mu   sync.Mutex // guards seen and conn, which the test looks at
	seen []topics.Inbound
	conn net.Conn
}

// start runs a client and its room on a broker until the test ends.
func (r *room) start(t testing.TB, b *testBroker, o client.Options, times client.Times) *room {
	t.Helper()
	r.t, r.space, r.node, r.id = t, o.Space, o.Node, o.ID
	dial := o.Dial
	if dial == nil {
		dial = b.dial
	}
	if o.Broker == "" {
		o.Broker = b.url
	}
	if dial != nil { // else the client's own
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.conn = conn
			return conn, err
		}
	}
	var err error
	if r.client, err = client.NewTimed(o, times); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.ended = make(chan error, 1)
	var both sync.WaitGroup
	both.Go(func() { r.ended <- r.client.Run(ctx); close(r.ended) })
	both.Go(func() { r.read(ctx) })
	r.stop = func() { cancel(); both.Wait() }
	t.Cleanup(r.stop)
	return r
}

// options are those of a node.
func options(s topics.Space, node topics.Node, id topics.MachineID) client.Options {
	return client.Options{Space: s, Node: node, ID: id, Log: testLog()}
}

func (r *room) read(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case in := <-r.client.Inbound():
			r.mu.Lock()
			r.seen = append(r.seen, in)
			r.mu.Unlock()
			if in.Link == topics.LinkSynced {
				r.birth(ctx, in.Sid)
			}
			if in.Request != nil {
				r.reply(ctx, *in.Request)
			}
		}
	}
}

func (r *room) birth(ctx context.Context, sid topics.Sid) {
	if r.halt != nil {
		select {
		case <-r.halt:
		case <-ctx.Done():
		}
	}
	for _, m := range r.has {
		r.client.Publish(ctx, m)
	}
	if r.node != "" && !r.unborn {
		r.client.Publish(ctx, r.presence(topics.Online, sid))
	}
}

func (r *room) presence(state topics.PresenceState, sid topics.Sid) topics.Message {
	return topics.Message{
		Topic: r.space.Presence(r.node), QoS: 1, Retained: true,
		Payload: topics.Encode(topics.Presence{State: state, Sid: sid, ID: r.id}),
	}
}

func (r *room) reply(ctx context.Context, q topics.Request) {
	replies := []topics.Reply{{Status: topics.Done}}
	if r.answer != nil {
		replies = r.answer(q)
	}
	for _, reply := range replies {
		reply.ID, reply.Topic = q.ID, q.Topic
		r.client.Publish(ctx, topics.Message{Topic: r.space.Reply(r.node, q.ID), Payload: topics.Encode(reply), QoS: 1})
	}
}

// all is what the room has read.
func (r *room) all() []topics.Inbound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]topics.Inbound(nil), r.seen...)
}

// links counts the link changes of one kind and gives the sid of the last.
func (r *room) links(l topics.Link) (n int, last topics.Sid) {
	for _, in := range r.all() {
		if in.Link == l {
			n, last = n+1, in.Sid
		}
	}
	return n, last
}

// synced waits for the n-th LinkSynced and returns its sid.
func (r *room) synced(n int) topics.Sid {
	r.t.Helper()
	var sid topics.Sid
	eventually(r.t, func() string {
		got, last := r.links(topics.LinkSynced)
		if sid = last; got < n {
			return "the room was not synced"
		}
		return ""
	})
	return sid
}

// requests are those that reached the room.
func (r *room) requests() []topics.Request {
	var all []topics.Request
	for _, in := range r.all() {
		if in.Request != nil {
			all = append(all, *in.Request)
		}
	}
	return all
}

// cut breaks the connection as a pulled plug does.
func (r *room) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn.Close()
}

// publish sends for the room from the test.
func (r *room) publish(m topics.Message) {
	r.t.Helper()
	if err := r.client.Publish(context.Background(), m); err != nil {
		r.t.Fatal(err)
	}
}

// witness is a plain MQTT client beside the house: it hears all of it, and
// publishes what nobody should.
type witness struct {
	t     testing.TB
	space topics.Space
	mqtt  mqtt.Client

	mu    sync.Mutex // guards heard, which the network library's goroutine fills
	heard []topics.Message
}

func newWitness(t testing.TB, b *testBroker, s topics.Space) *witness {
	t.Helper()
	w := &witness{t: t, space: s}
	o := mqtt.NewClientOptions().AddBroker(b.url).SetClientID("witness-" + topics.NewID(8)).
		SetProtocolVersion(4).SetAutoReconnect(false)
	w.mqtt = mqtt.NewClient(o)
	w.wait(w.mqtt.Connect())
	w.wait(w.mqtt.Subscribe(s.All(), 1, func(_ mqtt.Client, m mqtt.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.heard = append(w.heard, topics.Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retained: m.Retained()})
	}))
	t.Cleanup(func() { w.mqtt.Disconnect(100) })
	return w
}

func (w *witness) wait(token mqtt.Token) {
	w.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		w.t.Fatalf("witness: %v", token.Error())
	}
}

func (w *witness) publish(topic, payload string, retained bool) {
	w.t.Helper()
	w.wait(w.mqtt.Publish(topic, 1, retained, payload))
}

// on is what was heard on the topics that match a filter, in order.
func (w *witness) on(filter string) []topics.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []topics.Message
	for _, m := range w.heard {
		if client.Matches(filter, m.Topic) {
			all = append(all, m)
		}
	}
	return all
}

// forget drops what was heard so far.
func (w *witness) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = nil
}

// await waits for the n-th message on a filter and returns it.
func (w *witness) await(filter string, n int) topics.Message {
	w.t.Helper()
	var m topics.Message
	eventually(w.t, func() string {
		all := w.on(filter)
		if len(all) < n {
			return "nothing was heard on " + filter
		}
		m = all[n-1]
		return ""
	})
	return m
}

// awaitPresence waits until the last word on a node's presence is this.
func (w *witness) awaitPresence(n topics.Node, state topics.PresenceState, sid topics.Sid) {
	w.t.Helper()
	eventually(w.t, func() string {
		all := w.on(w.space.Presence(n))
		if len(all) == 0 {
			return string(n) + " has no presence"
		}
		last := all[len(all)-1]
		p, err := topics.DecodePresence(last.Payload)
		if err != nil || p.State != state || p.Sid != sid {
			return "presence of " + string(n) + " is " + string(last.Payload) + ", want " + string(state) + " of " + string(sid)
		}
		return ""
	})
}

// stands waits until this is retained on a node's presence. Of what two clients
// publish at once the embedded broker may tell a third in either order, so that
// the last word heard need not be the one that stands.
func (r *room) stands(b *testBroker, state topics.PresenceState, sid topics.Sid) {
	r.t.Helper()
	topic := r.space.Presence(r.node)
	eventually(r.t, func() string {
		shown := retained(r.t, b, r.space, topic)[topic]
		if p, err := topics.DecodePresence([]byte(shown)); err != nil || p.State != state || p.Sid != sid {
			return "presence of " + string(r.node) + " stands as " + shown + ", want " + string(state) + " of " + string(sid)
		}
		return ""
	})
}

// retained is what a client that comes now is shown below a filter.
func retained(t testing.TB, b *testBroker, s topics.Space, filter string) map[string]string {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(b.url).SetClientID("reader-" + topics.NewID(8)).SetProtocolVersion(4)
	m := mqtt.NewClient(o)
	shown := map[string]string{}
	done := make(chan struct{})
	token := "fence/" + topics.NewID(8)
	handler := func(_ mqtt.Client, m mqtt.Message) {
		if m.Topic() == token {
			close(done)
		} else if m.Retained() {
			shown[m.Topic()] = string(m.Payload())
		}
	}
	for _, step := range []func() mqtt.Token{
		m.Connect,
		func() mqtt.Token { return m.SubscribeMultiple(map[string]byte{filter: 1, token: 1}, handler) },
		func() mqtt.Token { return m.Publish(token, 1, false, "now") },
	} {
		if token := step(); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatalf("read what is retained: %v", token.Error())
		}
	}
	<-done
	m.Disconnect(100)
	return shown
}

func testLog() zerolog.Logger {
	if os.Getenv("DOMINION_TEST_LOG") == "" {
		return zerolog.Nop()
	}
	return zerolog.New(os.Stderr).With().Timestamp().Logger()
}
