package broker_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// web is a broker that is reached over HTTP alone, from anywhere.
type web struct {
	*doors
	plain, secure *fakeListener
}

func startWeb(t testing.TB, change func(*broker.Options), origins ...string) *web {
	t.Helper()
	w := &web{doors: lan(t, ours(), change), plain: newFakeListener(), secure: newFakeListener()}
	server := &http.Server{Handler: w.WebSocket(origins), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(w.plain)
	go server.Serve(tls.NewListener(w.secure, serverTLS(t)))
	t.Cleanup(func() { _ = server.Close() })
	return w
}

// request is how somebody asks for a WebSocket.
type request struct {
	remote   string // 127.0.0.1, if empty
	secure   bool
	shown    []tls.Certificate
	host     string
	header   http.Header
	protocol []string // mqtt, if nil
}

func (w *web) open(t testing.TB, r request) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	if r.remote == "" {
		r.remote = "127.0.0.1"
	}
	if r.protocol == nil {
		r.protocol = []string{"mqtt"}
	}
	url, listener := "ws://localhost:8080/mqtt", w.plain
	if r.secure {
		url, listener = "wss://localhost:8443/mqtt", w.secure
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return listener.dial(r.remote), nil },
		TLSClientConfig:   clientTLS(r.shown...),
	}
	ws, answer, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Host: r.host, HTTPHeader: r.header, Subprotocols: r.protocol,
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err == nil {
		ws.SetReadLimit(-1)
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, answer, err
}

func (w *web) dial(t testing.TB, r request) net.Conn {
	t.Helper()
	ws, _, err := w.open(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
}

func TestMQTTOverWebSocket(t *testing.T) {
	w := startWeb(t, nil)
	for _, r := range []request{{}, {secure: true}} {
		t.Run(fmt.Sprint("secure ", r.secure), func(t *testing.T) {
			r.remote, r.protocol = elsewhere, []string{"MQTT", "mqttv3.1", "mqtt"}
			ws, answer, err := w.open(t, r)
			if err != nil {
				t.Fatal(err)
			}
			if got := answer.Header.Get("Sec-WebSocket-Protocol"); got != "mqtt" {
				t.Errorf("subprotocol is %q, want mqtt", got)
			}
			if got := answer.Header.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("extensions are %q, want none", got)
			}
			p := join(t, websocket.NetConn(t.Context(), ws, websocket.MessageBinary), "page", as("ann", "right"))
			p.subscribe(1, "echo/#")
			want := strings.Repeat("x", 200<<10)
			for i := range 5 {
				p.publish(fmt.Sprint("echo/", i), want, 0, false)
				if got := string(p.message(fmt.Sprint("echo/", i)).Payload); got != want {
					t.Fatalf("message has %d bytes, want %d", len(got), len(want))
				}
			}
			p.disconnect()
		})
	}
}

// Where frames end has nothing to do with where packets end.
func TestPacketsInFrames(t *testing.T) {
	w := startWeb(t, nil)
	hello := encode(t, connect("framed", as("ann", "right")))
	ask := encode(t, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	begin := append(append(append([]byte{}, hello...), ask...), ask...)
	whole := func(t *testing.T, ws *websocket.Conn, b []byte) {
		if err := ws.Write(t.Context(), websocket.MessageBinary, b); err != nil {
			t.Error(err)
		}
	}
	for name, send := range map[string]func(t *testing.T, ws *websocket.Conn){
		"several packets in one frame": func(t *testing.T, ws *websocket.Conn) { whole(t, ws, begin) },
		"a message for each byte": func(t *testing.T, ws *websocket.Conn) {
			for i := range begin {
				whole(t, ws, begin[i:i+1])
			}
		},
		"a frame for each byte, with empty ones between": func(t *testing.T, ws *websocket.Conn) {
			m, err := ws.Writer(t.Context(), websocket.MessageBinary)
			for i := range begin {
				if err == nil {
					_, err = m.Write(begin[i : i+1])
				}
				if err == nil {
					_, err = m.Write(nil)
				}
			}
			if err == nil {
				err = m.Close()
			}
			if err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ws, _, err := w.open(t, request{})
			if err != nil {
				t.Fatal(err)
			}
			go send(t, ws)
			got := make([]byte, 8)
			if _, err := io.ReadFull(websocket.NetConn(t.Context(), ws, websocket.MessageBinary), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]byte{0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0}, got); diff != "" {
				t.Errorf("CONNACK and two PINGRESP (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTextOverWebSocketEndsTheConnection(t *testing.T) {
	w := startWeb(t, nil)
	watcher := join(t, w.dial(t, request{}), "watcher", as("ann", "right"))
	watcher.subscribe(1, "#")
	for _, begin := range [][]byte{nil, encode(t, connect("texter", with(as("ann", "right"), withWill("will/texter", "lost", false))))} {
		ws, _, err := w.open(t, request{})
		if err != nil {
			t.Fatal(err)
		}
		if begin != nil {
			_ = ws.Write(t.Context(), websocket.MessageBinary, begin)
			if _, _, err := ws.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_ = ws.Write(t.Context(), websocket.MessageText, encode(t, connect("texter", nil)))
		if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
			t.Errorf("the connection ended with %v, want status %d", err, websocket.StatusUnsupportedData)
		}
	}
	watcher.message("will/texter")
}

// A page from anywhere, in a browser on this machine, is no client of this
// machine.
func TestWhoMayOpenAWebSocket(t *testing.T) {
	w := startWeb(t, nil, "https://house.example")
	from := func(origin ...string) http.Header { return http.Header{"Origin": origin} }
	for _, c := range []struct {
		name string
		r    request
		want int
	}{
		{"no browser", request{}, 101},
		{"a page of this host", request{header: from("http://localhost:8080")}, 101},
		{"a page of this address", request{host: "[::1]:8080", header: from("http://[::1]:8080")}, 101},
		{"a page of this host, over TLS", request{secure: true, host: "pi.local:8443", header: from("https://pi.local:8443")}, 101},
		{"a page that was named", request{header: from("https://house.example")}, 101},
		{"a page that was named, in capitals", request{header: from("https://House.example")}, 101},
		{"another page", request{header: from("http://evil.example")}, 403},
		{"another page, over TLS", request{secure: true, header: from("https://evil.example")}, 403},
		{"another port of this host", request{header: from("http://localhost:9090")}, 403},
		{"another scheme of what was named", request{header: from("http://house.example")}, 403},
		{"a page whose name leads here for a moment", request{host: "evil.example:8080", header: from("http://evil.example:8080")}, 403},
		{"a page of nowhere", request{header: from("null")}, 403},
		{"an empty origin", request{header: from("")}, 403},
		{"no URL", request{header: from("://%")}, 403},
		{"two pages", request{header: from("https://house.example", "http://evil.example")}, 403},
		{"no subprotocol", request{protocol: []string{}}, 400},
		{"another subprotocol", request{protocol: []string{"MQTT", "mqttv3.1"}}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.refused.count()
			ws, answer, err := w.open(t, c.r)
			if answer == nil || answer.StatusCode != c.want {
				t.Fatalf("answer is %+v (%v), want status %d", answer, err, c.want)
			}
			if told := w.refused.count() - before; told != 0 && c.want != 403 || told != 1 && c.want == 403 {
				t.Errorf("%d refusals were told", told)
			}
			if ws != nil {
				_ = ws.CloseNow()
			}
		})
	}
	answer, err := (&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return w.plain.dial(elsewhere), nil },
	}}).Get("http://localhost/mqtt")
	if err != nil || answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %v, %v; want status 426", answer, err)
	}
}

func TestWhoAWebSocketClientIs(t *testing.T) {
	w := startWeb(t, nil)
	node := []tls.Certificate{certificate(t, "attic", "our house")}
	proxy := http.Header{"X-Forwarded-For": {elsewhere}}
	for _, c := range []struct {
		name  string
		r     request
		login func(*packets.Packet)
		code  byte
		topic string // that it may write and nobody else of these
	}{
		{"this machine", request{}, nil, 0, ""},
		{"another", request{remote: elsewhere}, nil, 5, ""},
		{"another, with a login", request{remote: elsewhere}, as("ann", "right"), 0, "dominion/attic/command/ping/host"},
		{"another, with a wrong one", request{remote: elsewhere}, as("ann", "guess"), 4, ""},
		{"a node", request{remote: elsewhere, secure: true, shown: node}, nil, 0, "dominion/attic/state/info"},
		{"somebody behind a proxy on this machine", request{header: proxy}, nil, 5, ""},
		{"somebody behind a proxy on this machine, with a login", request{header: proxy}, as("ann", "right"), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := try(t, w.dial(t, c.r), c.name, c.login)
			p.is(c.code)
			if c.topic != "" {
				before := w.refused.count()
				p.publish(c.topic, "{}", 1, false)
				if w.refused.count() != before {
					t.Errorf("it may not write to %s", c.topic)
				}
			}
		})
	}
}

func TestWebSocketsHaveTheSameBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWeb(t, func(o *broker.Options) { o.MaxConnections, o.MaxStrangers = 8, 1 })
		for range 9 { // what becomes no WebSocket takes no place
			nc := w.plain.dial("192.168.1.9")
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
			if got, _ := io.ReadAll(nc); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
				t.Fatalf("a WebSocket without a version: %q", got)
			}
		}
		first := w.dial(t, request{remote: elsewhere})
		if _, answer, _ := w.open(t, request{remote: elsewhere}); answer == nil || answer.StatusCode != 503 {
			t.Errorf("a second stranger of one address: %+v, want status 503", answer)
		}
		w.dial(t, request{remote: "192.168.1.7"}) // of another address
		// Who says nothing is gone when CONNECT was due, whatever bounds the HTTP server.
		began := time.Now()
		_, _ = io.Copy(io.Discard, first)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("gone after %v, want 5s", took)
		}
		synctest.Wait()
		for i := range 8 {
			join(t, w.dial(t, request{remote: elsewhere}), fmt.Sprint(i), as("ann", "right"))
		}
		if _, answer, _ := w.open(t, request{}); answer == nil || answer.StatusCode != 503 {
			t.Errorf("one more than there may be: %+v, want status 503", answer)
		}
		if f := w.Figures(); f.Accepted != 10 || f.TurnedAway != 4 || f.Connections != 8 {
			t.Errorf("figures: %+v", f)
		}
	})
}

// The HTTP server's write timeout, and deadlines of writes that are long over,
// do not end a connection.
func TestAQuietWebSocketStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWeb(t, nil)
		ws, _, err := w.open(t, request{})
		if err != nil {
			t.Fatal(err)
		}
		p := join(t, websocket.NetConn(t.Context(), ws, websocket.MessageBinary), "quiet", as("ann", "right"))
		for range 10 {
			time.Sleep(20 * time.Second)
			if err := ws.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.stays()
		}
		// Pings of WebSocket are no life of an MQTT client.
		began := time.Now()
		pinging, done := context.WithCancel(t.Context())
		go func() {
			for ws.Ping(pinging) == nil {
				time.Sleep(10 * time.Second)
			}
		}()
		p.goneWithin(2 * time.Minute)
		done()
		if took := time.Since(began); took != 90*time.Second {
			t.Errorf("gone after %v, want one and a half keep-alives", took)
		}
	})
}

// goneWithin waits for the end of the connection for longer than patience.
func (p *peer) goneWithin(patience time.Duration) {
	p.t.Helper()
	select {
	case _, ok := <-p.in:
		if ok {
			p.t.Error("something came")
		}
	case <-time.After(patience):
		p.t.Errorf("still open after %v", patience)
	}
}

func TestALostWebSocketLeavesItsWill(t *testing.T) {
	for name, lose := range map[string]func(p *peer, ws *websocket.Conn){
		"the connection breaks": func(_ *peer, ws *websocket.Conn) { _ = ws.CloseNow() },
		"the page is closed":    func(_ *peer, ws *websocket.Conn) { _ = ws.Close(websocket.StatusGoingAway, "") },
		"a packet that panics":  func(p *peer, _ *websocket.Conn) { p.sendPublish("panic", "now", 7) },
		"a malformed packet":    func(p *peer, _ *websocket.Conn) { p.raw(truncatedSubscribe()) },
		"text": func(_ *peer, ws *websocket.Conn) {
			_ = ws.Write(context.Background(), websocket.MessageText, []byte("hi"))
		},
		"a packet beyond all limit": func(p *peer, _ *websocket.Conn) { p.raw([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'x'}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := startWeb(t, nil)
			if err := w.AddHook(&packetPanics{}); err != nil {
				t.Fatal(err)
			}
			watcher := join(t, w.dial(t, request{}), "watcher", as("ann", "right"))
			watcher.subscribe(1, "will/#")
			ws, _, err := w.open(t, request{secure: true})
			if err != nil {
				t.Fatal(err)
			}
			p := join(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary), "loser", with(as("ann", "right"), version(5), withWill("will/loser", "lost", false)))
			p.subscribe(1, "x")
			go lose(p, ws)
			watcher.message("will/loser")
			p.gone()
			join(t, w.dial(t, request{}), "loser", as("ann", "right"))
			if f := w.Figures(); (f.Panics > 0) != (name == "a packet that panics") {
				t.Errorf("%d panics", f.Panics)
			}
		})
	}
}

func TestAWebSocketSubscriberThatStopsReading(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteTimeout = 200 * time.Millisecond })
	server := httptest.NewServer(s.WebSocket(nil))
	t.Cleanup(server.Close)
	ws, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, "will/#")
	gate := &gatedReader{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), open: make(chan struct{})}
	stuck := join(t, gate, "stuck", withWill("will/stuck", "lost", false))
	stuck.subscribe(1, "much")
	gate.shut.Store(true)
	publisher := join(t, dial(t, s), "publisher", nil)
	payload := strings.Repeat("x", 256<<10)
	for range 200 {
		publisher.publish("much", payload, 1, false)
	}
	watcher.message("will/stuck")
	close(gate.open)
	stuck.gone()
}

// Nobody waits for a WebSocket that takes nothing: not the client that takes its
// id over, and its publishers one deadline.
func TestAStuckWebSocketIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWeb(t, nil)
		watcher := join(t, w.dial(t, request{}), "watcher", as("ann", "right"))
		watcher.subscribe(1, "will/#")
		ws, _, err := w.open(t, request{})
		if err != nil {
			t.Fatal(err)
		}
		for _, pk := range []packets.Packet{
			connect("stuck", with(as("ann", "right"), withWill("will/stuck", "lost", false))),
			{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "much", Qos: 1}}},
		} {
			_ = ws.Write(t.Context(), websocket.MessageBinary, encode(t, pk))
		}
		synctest.Wait() // and it reads nothing
		for range 4 {
			watcher.publish("much", strings.Repeat("x", 200<<10), 1, false)
		}
		began := time.Now()
		join(t, w.dial(t, request{}), "stuck", as("ann", "right"))
		if took := time.Since(began); took > time.Second {
			t.Errorf("its successor waited %v", took)
		}
		watcher.message("will/stuck")
	})
}

func TestCloseEndsWebSockets(t *testing.T) {
	w := startWeb(t, nil)
	pages := map[string]*websocket.Conn{}
	ended := make(chan error)
	for name, r := range map[string]request{"plain": {}, "secure": {secure: true}} {
		ws, _, err := w.open(t, r)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = ws
		_ = ws.Write(t.Context(), websocket.MessageBinary, encode(t, connect(name, as("ann", "right"))))
		if _, _, err := ws.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _, err := ws.Read(context.Background())
			ended <- err
		}()
	}
	silent := w.dial(t, request{})
	began := time.Now()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for range pages {
		if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("ended with %v, want status %d", err, websocket.StatusGoingAway)
		}
	}
	_, _ = io.Copy(io.Discard, silent)
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
	if ws, _, err := w.open(t, request{}); err == nil {
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("a closed broker answers")
		}
	}
}

// Passwords that come over HTTP are tried with the same patience.
func TestALoginOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), nil)
		remote := &net.TCPAddr{IP: net.ParseIP(elsewhere), Port: 1}
		if a, err := d.Login(t.Context(), remote, "ann", "right"); err != nil || a.Name != "user ann" {
			t.Errorf("ann is %+v (%v)", a, err)
		}
		began := time.Now()
		for range 11 {
			if _, err := d.Login(t.Context(), remote, "ann", "guess"); err == nil {
				t.Fatal("a wrong password was right")
			}
		}
		if took := time.Since(began); took < time.Second {
			t.Errorf("eleven wrong passwords took %v", took)
		}
		if d.refused.count() != 11 {
			t.Errorf("%d refusals were told, want 11", d.refused.count())
		}
		began = time.Now()
		try(t, d.plain.dial(elsewhere), "guesser", as("ann", "guess")).is(4)
		if took := time.Since(began); took < time.Second {
			t.Errorf("the next one, over MQTT, took %v", took)
		}
	})
}
