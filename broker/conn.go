package broker

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"dominion/topics"
)

// conn is one client's connection. Where mochi waits for ever, or for the
// keep-alive, it has deadlines of its own: one for the whole CONNECT, and one
// for each write, so that a subscriber that stops reading costs a publisher
// that much, once, and is then gone.
type conn struct {
	net.Conn
	raw          net.Conn // what is below TLS and WebSocket; else the same
	writeTimeout time.Duration
	listener     string // what mochi calls its listener
	inside       bool   // a pipe
	forwarded    bool   // its address is a proxy's
	known        func() // called when it is let in; see strangers

	// Set at CONNECT under Server.mu, and fixed once mochi knows the client.
	who     []topics.Identity // all that the client may be; empty: it may not come in
	account topics.Account    // zero: it has none

	closeOnce sync.Once
	closed    chan struct{} // closed with the connection
	ended     chan struct{} // closed when nothing of the session runs any more, its will included

	replay     replay
	resumption resumption
	flow       flow
	backlog    backlog
	settled    atomic.Bool                     // CONNACK and what was in flight before are sent
	refusing   atomic.Pointer[map[string]bool] // filters of the SUBSCRIBE being processed that are refused
	tooSlow    atomic.Bool                     // it was said that the client is too slow
	wrote      atomic.Int64                    // when something was last written: nanoseconds of the clock
	parting    atomic.Bool                     // nothing more is written: see part

	// What follows belongs to the connection's own goroutine.
	ahead      []byte        // read already, for mochi to read again
	silence    time.Duration // how long it may say nothing
	arrivals   arrivals
	answers    answers
	inspection inspection
	client     *mqtt.Client // once CONNECT was read
	claimed    string       // the name it logs in with
	turn       bool         // it has the turn of its client id
	finished   bool         // mochi ended the session, will and all
	lastsLess  bool         // its session lasts less than it wished: see expiry.go
	verdicts   verdicts
	will       *will // nil: none, or no more
	emptyWill  bool
	heldBy     string // see holder
	subscribe  uint16 // packet id of the SUBSCRIBE being processed
	wishes     []wish // its filters, for the retained replay
}

func newConn(c net.Conn, listener string, o Options) *conn {
	n := &conn{
		Conn:         c,
		raw:          lowest(c),
		listener:     listener,
		writeTimeout: o.WriteTimeout,
		known:        func() {},
		closed:       make(chan struct{}),
		ended:        make(chan struct{}),
		inspection:   inspection{most: o.MaxPacket},
		resumption:   resumption{done: make(chan struct{})},
	}
	// mochi sets the next deadline for reading when CONNECT is read. That for
	// writing is for the TLS handshake.
	_ = c.SetDeadline(time.Now().Add(o.ConnectTimeout))
	return n
}

// connOf is the connection of a client; nil for those mochi has inside itself.
func connOf(cl *mqtt.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// SetDeadline is what mochi calls for the keep-alive: only reading waits that
// long. mochi rounds: a keep-alive of 1 s would end after just that.
func (c *conn) SetDeadline(t time.Time) error {
	if c.silence > 0 {
		t = time.Now().Add(c.silence)
	}
	return c.SetReadDeadline(t)
}

// Read begins with what was read to look at it, and passes on what is as it
// should be: malformed.go.
func (c *conn) Read(b []byte) (int, error) {
	if c.inspection.fault != nil {
		return c.inspect(nil, nil)
	}
	if c.ahead == nil {
		n, err := c.Conn.Read(b)
		return c.inspect(b[:n], err)
	}
	n := copy(b, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return c.inspect(b[:n], nil)
}

// Write closes the connection when the client takes nothing: mochi's writers go
// on after an error, and only its reader ends the client. When the client has
// gone, what it said last (DISCONNECT, perhaps) is still to be read: the reader
// is given the time for that.
func (c *conn) Write(b []byte) (int, error) {
	if c.parting.Load() || c.resumption.mute() {
		return len(b), nil
	}
	c.wrote.Store(time.Now().UnixNano())
	if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		_ = c.Close()
		return 0, err
	}
	n, err := c.Conn.Write(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = c.Close()
	case err != nil && !c.parting.Load():
		_ = c.SetReadDeadline(time.Now().Add(c.writeTimeout))
	}
	return n, err
}

// part says that no more comes, and leaves what was written to be read: a
// socket that is closed while the client still sends takes that away from it.
// The client is expected to close in its turn. TLS has its own word for that;
// it may take as long as the writes of a client that is stuck.
func (c *conn) part() {
	if c.parting.Swap(true) {
		return
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = c.Close()
		return
	}
	if below, ok := c.raw.(interface{ CloseWrite() error }); ok && c.raw != c.Conn {
		_ = below.CloseWrite()
	}
}

// Close ends the connection, and so the client, as a lost one: its will is
// published. It is called by publishers, who do not wait: TLS would say
// goodbye, for up to 5 s, to a client that takes nothing.
func (c *conn) Close() error {
	var err error
	c.closeOnce.Do(func() {
		close(c.closed)
		err = c.raw.Close()
	})
	return err
}

// name is the client's account or, before it is let in, the name it gave.
func (c *conn) name() string {
	if c.account.Name != "" {
		return c.account.Name
	}
	return c.claimed
}

// over tells whether the connection is closed. mochi says so of its client only
// a moment after the other side can know.
func (c *conn) over() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// hasEnded tells whether nothing of the session runs any more.
func (c *conn) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
