package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/cmd/dominion/metrics"
	"dominion/identity"
	"dominion/topics"
)

// webOf is what a leader answers whose house has the user ann. With a broker of
// its own that is served, unless it is another's.
func webOf(t *testing.T, others bool) (*web, *identity.House) {
	t.Helper()
	accounts, err := identity.Create(t.TempDir(), "home")
	if err == nil {
		err = accounts.SetUser("ann", topics.RoleViewer, "a right password")
	}
	if err != nil {
		t.Fatal(err)
	}
	sources := metrics.Sources{Version: "1.2.3", House: func() metrics.House { return metrics.House{Leading: true} }}
	w := &web{name: "home", origins: []string{"https://house.example"}, still: func(time.Duration) string { return "" }}
	if !others {
		if w.broker, err = broker.Open(broker.Options{Accounts: accounts, Anonymous: []topics.Identity{{Role: topics.RoleViewer}}, Log: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		sources.Broker = w.broker.Figures
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- w.broker.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		for !w.broker.Serving() {
			time.Sleep(time.Millisecond)
		}
	}
	w.metrics = metrics.New(sources)
	return w, accounts
}

func TestWhatIsAnsweredOverHTTP(t *testing.T) {
	const there = "192.168.1.66:40000"
	own, _ := webOf(t, false)
	others, _ := webOf(t, true)
	login := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tt := range []struct {
		what   string
		web    *web
		method string // GET, if empty
		path   string
		from   string // this machine, if empty
		change func(*http.Request)
		want   int
		says   string
	}{
		{"the front", own, "", "/", there, nil, 200, `the Dominion house "home"`},
		{"nothing", own, "", "/nothing", "", nil, 404, ""},
		{"health", own, "", "/healthz", there, nil, 200, `{"status":"ok"}`},
		{"health on another's broker", others, "", "/healthz", there, nil, 200, `{"status":"ok"}`},
		{"health, to be changed", own, "POST", "/healthz", "", nil, 405, "to read only"},
		{"figures", own, "", "/metrics", "", nil, 200, "\ndominion_broker_connections 0\n"},
		{"figures on another's broker", others, "", "/metrics", "", nil, 200, "\ndominion_house_leading 1\n"},
		{"figures, head alone", own, "HEAD", "/metrics", "", nil, 200, ""},
		{"figures, to be changed", own, "DELETE", "/metrics", "", nil, 405, "to read only"},
		{"figures over IPv6", own, "", "/metrics", "[::1]:40000", nil, 200, "dominion_"},
		{"figures from elsewhere", own, "", "/metrics", there, nil, 401, "dominion user list"},
		{"figures of another's from elsewhere", others, "", "/metrics", there, nil, 403, "own machine only"},
		{"figures of another's with a login", others, "", "/metrics", there, login("ann", "a right password"), 403, "own machine only"},
		{"figures with a login", own, "", "/metrics", there, login("ann", "a right password"), 200, "dominion_"},
		{"figures with a wrong login", own, "", "/metrics", there, login("ann", "guess"), 401, ""},
		{"figures with nobody's login", own, "", "/metrics", there, login("bob", "a right password"), 401, ""},
		{"figures with a wrong login from here", own, "", "/metrics", "", login("ann", "guess"), 401, ""},
		{"figures through a proxy", own, "", "/metrics", "", header("X-Forwarded-For", "192.168.1.66"), 401, ""},
		{"figures for a page whose name leads here", own, "", "/metrics", "", func(r *http.Request) { r.Host = "evil.example:8080" }, 401, ""},
		{"figures by address", own, "", "/metrics", "", func(r *http.Request) { r.Host = "[::1]:8080" }, 200, "dominion_"},
		{"MQTT without WebSocket", own, "", "/mqtt", "", nil, 426, "MQTT over WebSocket"},
		{"MQTT, posted", own, "POST", "/mqtt", "", nil, 405, ""},
		{"MQTT on another's broker", others, "", "/mqtt", "", nil, 404, "ask that one"},
		{"MQTT for another page", own, "", "/mqtt", "", func(r *http.Request) {
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Origin", "http://evil.example")
		}, 403, "not among the origins"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://localhost:8080"+tt.path, nil)
			r.RemoteAddr = "127.0.0.1:40000"
			if tt.from != "" {
				r.RemoteAddr = tt.from
			}
			if tt.change != nil {
				tt.change(r)
			}
			out := httptest.NewRecorder()
			tt.web.routes().ServeHTTP(out, r)
			if out.Code != tt.want || !strings.Contains(out.Body.String(), tt.says) {
				t.Errorf("status %d, want %d with %q:\n%s", out.Code, tt.want, tt.says, out.Body)
			}
			if asks := out.Header().Get("WWW-Authenticate") != ""; asks != (tt.want == 401) {
				t.Errorf("asks for a login: %v", asks)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	w, _ := webOf(t, false)
	expect := func(when string, code int, body string) {
		t.Helper()
		out := httptest.NewRecorder()
		w.routes().ServeHTTP(out, httptest.NewRequest("GET", "/healthz", nil))
		if got := strings.TrimSpace(out.Body.String()); out.Code != code || got != body {
			t.Errorf("%s: %d %s, want %d %s", when, out.Code, got, code, body)
		}
	}
	expect("all is well", 200, `{"status":"ok"}`)
	w.still = func(limit time.Duration) string {
		if limit > time.Minute {
			t.Errorf("the planner may stand still for %v", limit)
		}
		return "planner"
	}
	expect("the planner hangs", 503, `{"status":"failing","why":["the planner stands still"]}`)
	if err := w.broker.Close(); err != nil {
		t.Error(err)
	}
	expect("and the broker ends", 503, `{"status":"failing","why":["the broker does not serve","the planner stands still"]}`)
}

// WebSockets live on in the server with the bounds of the door, and take none of
// the places of those that join.
func TestWebSocketsOverHTTPS(t *testing.T) {
	w, accounts := webOf(t, false)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounds := newBounded(listener)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- serveHTTP(ctx, tls.NewListener(bounds, accounts.TLS(func() []string { return []string{"127.0.0.1"} })), w.routes())
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	var sockets []*websocket.Conn
	for range mostFromOne + 4 {
		ws, _, err := websocket.Dial(t.Context(), "wss://"+listener.Addr().String()+"/mqtt", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		sockets = append(sockets, ws)
	}
	for i, ws := range sockets {
		id := fmt.Sprintf("page%02d", i)
		hello := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, byte(len(id))}, id...)
		if err := ws.Write(t.Context(), websocket.MessageBinary, hello); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(t.Context()); err != nil || string(got) != "\x20\x02\x00\x00" {
			t.Fatalf("CONNACK is %x (%v)", got, err)
		}
	}
	answer, err := client.Get("https://" + listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	if want := fmt.Sprintf("\ndominion_broker_connections %d\n", len(sockets)); !strings.Contains(string(body), want) {
		t.Errorf("the figures do not say %q:\n%s", want, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	bounds.mu.Lock()
	defer bounds.mu.Unlock()
	if bounds.all != 0 || len(bounds.from) != 0 {
		t.Errorf("%d connections are counted, from %v", bounds.all, bounds.from)
	}
}

func TestCensus(t *testing.T) {
	s := topics.Space{}
	c := newCensus(s)
	now := time.Now()
	say := func(topic, payload string) {
		c.fold(topics.Inbound{Message: topics.Message{Topic: topic, Payload: []byte(payload), Retained: true}}, now)
	}
	c.fold(topics.Inbound{Link: topics.LinkUp}, now)
	say(s.Presence(topics.Coordinator), `{"v":1,"state":"online","sid":"a","id":"m1","house":"7f3a9c","term":7,"role":"active"}`)
	say(s.Info(topics.Coordinator), `{"v":1,"kind":"coordinator","id":"m1","sid":"a","term":7}`)
	say(s.Judgement("attic"), `{"v":1,"state":"online"}`)
	say(s.Judgement("cellar"), `{"v":1,"state":"lost"}`)
	say(s.Summary("lamp"), `{"v":1,"service":"lamp","phase":"ready","run":"auto","wanted":1,"ready":1}`)
	say(s.Alert("x"), `{"v":1,"severity":"warning","text":"x"}`)
	say(s.Alert("y"), `{"v":1,"severity":"made up","text":"y"}`)
	c.fold(topics.Inbound{Link: topics.LinkSynced}, now)
	h := c.house(now)
	if !h.Leading || h.Term != 7 || h.Domains["online"] != 1 || h.Domains["lost"] != 1 || h.Services["ready"] != 1 || h.Alerts["warning"] != 1 {
		t.Errorf("counted %+v", h)
	}
	if _, there := h.Domains["sleeping"]; !there || len(h.Alerts) != 3 {
		t.Errorf("lines come and go: %+v", h)
	}
}
