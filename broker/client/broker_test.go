package client_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/broker/client"
	"dominion/topics"
)

// testBroker is a broker that the rules are tested on.
type testBroker struct {
	url  string                                      // of its TCP door
	dial func(ctx context.Context) (net.Conn, error) // what the node under test connects by
	kill func()                                      // ends it as a power cut does; nil when it is not ours
	back func()                                      // starts it again, empty
}

// eachBroker runs a test on the embedded broker over a pipe, on one named by
// DOMINION_TEST_BROKER (a URL), and with -tags e2e on mosquitto.
func eachBroker(t *testing.T, test func(t *testing.T, b *testBroker)) {
	t.Helper()
	t.Parallel()
	kinds := map[string]func(t *testing.T) *testBroker{"embedded": embedded}
	if address := os.Getenv("DOMINION_TEST_BROKER"); address != "" {
		kinds["named"] = func(t *testing.T) *testBroker { return named(t, address) }
	}
	if mosquitto := installed(); mosquitto != nil {
		kinds["mosquitto"] = mosquitto
	}
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

func named(t *testing.T, address string) *testBroker {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &testBroker{url: address, dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", u.Host)
	}}
}

// embeddedServer is our broker, in this process; it can be killed and started.
type embeddedServer struct {
	t    *testing.T
	addr string
	rule broker.Rules

	mu      sync.Mutex // guards server, which dials and kills meet at
	server  *broker.Server
	refused []broker.Refusal
}

func embedded(t *testing.T) *testBroker {
	e := &embeddedServer{t: t, addr: "127.0.0.1:0", rule: lenient{}}
	e.start()
	t.Cleanup(e.kill)
	return &testBroker{url: "mqtt://" + e.addr, dial: e.pipe(topics.RoleNode, ""), kill: e.kill, back: e.start}
}

func (e *embeddedServer) start() {
	server, err := broker.Open(broker.Options{
		Listen: []string{e.addr}, Rules: e.rule, Log: zerolog.Nop(),
		Anonymous: []topics.Identity{{Role: topics.RoleOperator}},
		Refused: func(r broker.Refusal) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.refused = append(e.refused, r)
		},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(context.Background()) }()
	e.t.Cleanup(func() {
		server.Close()
		if err := <-ended; err != nil {
			e.t.Errorf("broker: %v", err)
		}
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addr, e.server = server.Addrs()[0].String(), server
}

func (e *embeddedServer) kill() {
	e.mu.Lock()
	server := e.server
	e.server = nil
	e.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// pipe connects through memory, as the leader's own rooms do.
func (e *embeddedServer) pipe(role topics.Role, name string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.server == nil {
			return nil, errors.New("the broker is down")
		}
		return e.server.Pipe(topics.Identity{Role: role, Name: name}), nil
	}
}

// lenient makes the embedded broker one of any maker: everybody may do
// everything, and it keeps what is retained, commands too.
type lenient struct{}

func (lenient) MayWrite(topics.Identity, string) bool         { return true }
func (lenient) MayEmpty(topics.Identity, string) bool         { return true }
func (lenient) MayRead(_ topics.Identity, filter string) bool { return filter != "test/secret/#" }
func (lenient) Retainable(string) bool                        { return true }
func (lenient) Durable(string) bool                           { return false }

// Under the house's own access rules no room is refused anything that the
// client does for it, and a command is never retained.
func TestAccessRules(t *testing.T) {
	t.Parallel()
	s := newSpace()
	e := &embeddedServer{t: t, addr: "127.0.0.1:0", rule: s}
	e.start()
	t.Cleanup(e.kill)
	b := &testBroker{url: "mqtt://" + e.addr}

	node := options(s, "attic", "m1")
	node.Dial = e.pipe(topics.RoleNode, "attic")
	first := (&room{has: []topics.Message{service(s, "attic", "lamp", "1")}}).start(t, b, node, quick())
	first.stands(b, topics.Online, first.synced(1))
	first.stop()
	attic := (&room{}).start(t, b, node, quick()) // empties what the first left
	sid := attic.synced(1)
	attic.stands(b, topics.Online, sid)

	lead := leader(s, "m1")
	lead.Dial = e.pipe(topics.RoleCoordinator, "")
	coordinator := (&room{}).start(t, b, lead, quick())
	coordinator.stands(b, topics.Online, coordinator.synced(1))

	home := options(s, "", "")
	home.Dial, home.Filters = e.pipe(topics.RoleHomeAssistant, ""), []string{s.HADevices(), s.Filter(topics.State)}
	(&room{}).start(t, b, home, quick()).synced(1)

	c := asker(t, b, s, nil)
	if _, err := c.Ask(t.Context(), client.Command{Node: "attic", Method: "ping", Subject: "host"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Ask(t.Context(), client.Command{Node: topics.Coordinator, Method: "ping", Subject: "host"}); err != nil {
		t.Error(err)
	}
	w := newWitness(t, b, s)
	w.publish(s.Command("attic", "ping", "host"), "", false)
	w.await(s.Error("attic", topics.ErrCommand), 1)
	w.publish(s.Command("attic", "ping", "host"), `{"id":"q1"}`, true)
	w.await(s.Reply("attic", "q1"), 1)
	time.Sleep(2 * quick().Recheck)
	if got := w.on(s.Reply("attic", "q1")); len(got) != 1 {
		t.Errorf("%d replies to a retained command, want one", len(got))
	}
	want := []string{s.Presence("attic"), s.Presence(topics.Coordinator)}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(retained(t, b, s, s.All())))); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	attic.cut()
	attic.stands(b, topics.Online, attic.synced(2))
	eventually(t, func() string {
		if len(w.on(s.Presence("attic"))) < 3 {
			return "no will was published"
		}
		return ""
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.refused {
		if r.Topic != s.Command("attic", "ping", "host") { // the retained flag
			t.Errorf("refused: %+v", r)
		}
	}
}
