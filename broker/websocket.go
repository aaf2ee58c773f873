package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// errText is why a client that sends text is hung up on (6.0.0-1).
var errText = errors.New("it sends text over WebSocket, where MQTT is binary")

// WebSocket lets clients in that speak MQTT over WebSocket (MQTT 3.1.1, 6), at
// whatever path it answers. They are bounded, recognised and ended as those of
// a listener are: their address is that of the HTTP connection, their
// certificate the one they showed to the HTTP server.
//
// A browser says which page opens the WebSocket. That must be a page of the same
// host or of one of origins, as "https://house.example". Else a page from
// anywhere, in a browser on this machine, would be a client of this machine.
func (s *Server) WebSocket(origins []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remote := remoteOf(r)
		if !hasToken(r.Header, "Upgrade", "websocket") {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			http.Error(w, "Here is the house's MQTT broker, for clients that speak MQTT over WebSocket.", http.StatusUpgradeRequired)
			return
		}
		if why := misplaced(r, origins); why != "" {
			s.count.turnedAway.Add(1)
			s.refuseVisitor(Opening, remote, "", why)
			http.Error(w, "Not let in: "+why+".", http.StatusForbidden)
			return
		}
		if !hasToken(r.Header, "Sec-WebSocket-Protocol", "mqtt") { // 6.0.0-3
			http.Error(w, "This WebSocket speaks MQTT: ask for the subprotocol mqtt.", http.StatusBadRequest)
			return
		}
		p, ok := s.place(remote)
		if !ok {
			http.Error(w, "Too many connections.", http.StatusServiceUnavailable)
			return
		}
		k, err := upgrade(w, r)
		if err != nil {
			p.left()
			s.log.Debug().Err(err).Stringer("remote", remote).Msg("no WebSocket came about")
			return
		}
		awaitPeer(k.below)
		c := newConn(k, "websocket", s.opt)
		c.forwarded = Forwarded(r.Header)
		s.occupy(p, c)
	})
}

// upgrade answers the request of a WebSocket.
func upgrade(w http.ResponseWriter, r *http.Request) (*socket, error) {
	r.Header.Set("Sec-WebSocket-Protocol", "mqtt") // the name to be answered (6.0.0-4), whatever else it speaks
	h := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{"mqtt"},
		InsecureSkipVerify: true, // its own check, after misplaced
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // a packet may be in any number of frames, and a frame have any number of packets (6.0.0-2)
	return &socket{ws: ws, below: h.conn, tls: r.TLS}, nil
}

// hijacker keeps the connection that a WebSocket is made of: its deadlines are
// the WebSocket's.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack is called by websocket.Accept.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = c
	return c, rw, err
}

// misplaced says what is wrong with the page that opens a WebSocket. Who is no
// browser does not speak of one.
func misplaced(r *http.Request, origins []string) (why string) {
	named := r.Header.Values("Origin")
	if len(named) == 0 {
		return ""
	}
	origin := named[0]
	switch page, err := url.Parse(origin); {
	case len(named) > 1:
		return "it is of more than one origin"
	case slices.ContainsFunc(origins, func(o string) bool { return strings.EqualFold(o, origin) }):
		return ""
	case err == nil && page.Host != "" && strings.EqualFold(page.Host, r.Host) && (r.TLS != nil || unmistakable(page.Hostname())):
		return ""
	}
	return fmt.Sprintf("it is of %.100q, which is not among the origins", origin)
}

// unmistakable tells whether a host of a URL without TLS is certainly who it
// says: a name may be a stranger's, who lets it lead to this machine for a
// moment (DNS rebinding), and its page is then of the same host.
func unmistakable(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// refuseVisitor tells that somebody was refused over HTTP.
func (s *Server) refuseVisitor(what Deed, remote net.Addr, name, why string) {
	s.count.refused.Add(1)
	if unsaid, say := s.door.refused.say(time.Now()); say {
		s.log.Warn().Stringer("remote", remote).Str("why", why).Str("account", name).Int64("unsaid", unsaid).Msg("refused over HTTP")
	}
	if s.opt.Refused != nil {
		s.opt.Refused(Refusal{What: what, Account: name, Remote: remote.String(), Why: why})
	}
}

// Forwarded tells whether a request came through a proxy. One on this machine
// brings people from everywhere, who are no clients of this machine.
func Forwarded(h http.Header) bool {
	return slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"}, func(name string) bool {
		return h.Get(name) != ""
	})
}

// remoteOf is where a request came from.
func remoteOf(r *http.Request) net.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(a)
}

// hasToken tells whether a header has a word in its list.
func hasToken(h http.Header, name, token string) bool {
	for _, list := range h.Values(name) {
		for word := range strings.SplitSeq(list, ",") {
			if strings.TrimSpace(word) == token {
				return true
			}
		}
	}
	return false
}

// socket is a WebSocket as a stream of bytes. (websocket.NetConn is another; it
// ends the connection at a deadline that nobody waited for, and takes up to 5 s
// for Close.)
type socket struct {
	ws      *websocket.Conn
	below   net.Conn             // TCP, or TLS
	tls     *tls.ConnectionState // nil: without
	message io.Reader            // the one being read; nil: the next

	turn    sync.Mutex // one writer at a time
	mu      sync.Mutex // guards what follows
	writing bool
	writeBy time.Time
}

// Read reads what is in binary messages, wherever one ends.
func (k *socket) Read(b []byte) (int, error) {
	for {
		if k.message == nil {
			// The deadlines are those of the connection.
			kind, message, err := k.ws.Reader(context.Background())
			if err != nil {
				return 0, err
			}
			if kind != websocket.MessageBinary {
				k.hangUp(websocket.StatusUnsupportedData, "MQTT is binary")
				return 0, errText
			}
			k.message = message
		}
		n, err := k.message.Read(b)
		if errors.Is(err, io.EOF) {
			k.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write writes one message. Its deadline ends with it: a pong that answers a
// ping much later has one of its own.
func (k *socket) Write(b []byte) (int, error) {
	k.turn.Lock()
	defer k.turn.Unlock()
	if err := k.writes(true); err != nil {
		return 0, err
	}
	if err := k.ws.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		return 0, err
	}
	return len(b), k.writes(false)
}

func (k *socket) writes(now bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing = now
	if !now {
		return k.below.SetWriteDeadline(time.Time{})
	}
	return k.below.SetWriteDeadline(k.writeBy)
}

// CloseWrite says that no more comes, and waits for the client to say so too.
func (k *socket) CloseWrite() error {
	return k.ws.Close(websocket.StatusGoingAway, "the broker ends")
}

// hangUp says why, and gives the client a second to hear it.
func (k *socket) hangUp(code websocket.StatusCode, why string) {
	_ = k.below.SetReadDeadline(time.Now().Add(time.Second))
	_ = k.ws.Close(code, why)
}

// Close ends it without a word.
func (k *socket) Close() error { return k.below.Close() }

// NetConn is what is below WebSocket and TLS.
func (k *socket) NetConn() net.Conn { return lowest(k.below) }

// ConnectionState is that of TLS; without, it is empty.
func (k *socket) ConnectionState() tls.ConnectionState {
	if k.tls == nil {
		return tls.ConnectionState{}
	}
	return *k.tls
}

func (k *socket) LocalAddr() net.Addr               { return k.below.LocalAddr() }
func (k *socket) RemoteAddr() net.Addr              { return k.below.RemoteAddr() }
func (k *socket) SetReadDeadline(t time.Time) error { return k.below.SetReadDeadline(t) }

// SetWriteDeadline is for the write that is on its way, too.
func (k *socket) SetWriteDeadline(t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writeBy = t
	if !k.writing {
		return nil
	}
	return k.below.SetWriteDeadline(t)
}

func (k *socket) SetDeadline(t time.Time) error {
	return errors.Join(k.SetReadDeadline(t), k.SetWriteDeadline(t))
}

// lowest is the connection below TLS and whatever else is around it.
func lowest(c net.Conn) net.Conn {
	for {
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = around.NetConn()
	}
}
