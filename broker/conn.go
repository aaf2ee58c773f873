package broker

import (
	"net"
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
//
// Its goroutines: attend, in which mochi reads and handles packets, and mochi's
// WriteLoop, which has nothing to do, live as long as it; a replay and a flush of
// the outbox as long as they have something to do. attend ends last.
//
// Of its locks news.mu is taken first and mochi's of the client next; those of
// the outbox, the flow, the replay and the resumption are taken last and never
// two at once. Server.mu is held around the outbox's alone.
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

	out        outbox
	news       news
	aliases    aliases
	replay     replay
	resumption resumption
	flow       flow
	backlog    backlog
	settled    atomic.Bool                     // CONNACK and what was in flight before are sent
	refusing   atomic.Pointer[map[string]bool] // filters of the SUBSCRIBE being processed that are refused
	tooSlow    atomic.Bool                     // it was said that the client is too slow
	stuck      atomic.Bool                     // it took nothing for as long as a write may take
	wrote      atomic.Int64                    // when something was last written: nanoseconds of the clock
	parted     atomic.Bool                     // all was written, and our side is closed: see part

	// What follows belongs to the connection's own goroutine.
	ahead      []byte        // read already, for mochi to read
	block      []byte        // what a busy client's ahead is part of
	gathered   gathered      // of a large packet
	readBy     time.Time     // deadline of the next read
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
		resumption:   newResumption(),
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

// SetDeadline is what mochi calls for the keep-alive, before each packet: only
// reading waits that long, and only what is not there yet is waited for. mochi
// rounds: a keep-alive of 1 s would end after just that.
func (c *conn) SetDeadline(t time.Time) error {
	if c.silence > 0 {
		t = time.Now().Add(c.silence)
	}
	c.readBy = t
	return nil
}

// busyBlock is how much is read at once from a client that fills mochi's buffer,
// in bytes.
const busyBlock = 16 << 10

// Read passes on what is as it should be, malformed.go, and a large packet only
// as a whole: gather.go.
func (c *conn) Read(b []byte) (int, error) {
	switch {
	case len(c.gathered.bytes) > 0:
		return c.gather(b)
	case c.inspection.fault != nil:
		return c.inspect(nil, nil)
	}
	n, err := c.read(b)
	n, err = c.inspect(b[:n], err)
	if err != nil || c.inspection.fault != nil {
		return n, err
	}
	if n = c.gathered.setAside(b[:n], &c.inspection); n == 0 && len(c.gathered.bytes) > 0 {
		return c.gather(b)
	}
	return n, nil
}

// read begins with what was read ahead. Before it waits for the client, the
// client is sent what it may wait for.
func (c *conn) read(b []byte) (int, error) {
	if len(c.ahead) == 0 {
		c.await()
		n, err := c.fetch(b)
		c.out.awaited()
		if n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(b, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// fetch reads from the socket: into b, or ahead while the client is busy.
func (c *conn) fetch(b []byte) (int, error) {
	if !c.readBy.IsZero() {
		_ = c.SetReadDeadline(c.readBy)
		c.readBy = time.Time{}
	}
	if c.block == nil {
		n, err := c.Conn.Read(b)
		if n == len(b) {
			c.block = make([]byte, busyBlock)
		}
		return n, err
	}
	n, err := c.Conn.Read(c.block)
	c.ahead = c.block[:n]
	if n <= len(b) {
		c.block = nil // no longer busy
	}
	if n > 0 {
		err = nil // it comes again
	}
	return 0, err
}

// Close ends the connection, and so the client, as a lost one: its will is
// published. It is called by publishers, who do not wait: TLS would say
// goodbye, for up to 5 s, to a client that takes nothing.
func (c *conn) Close() error {
	var err error
	c.closeOnce.Do(func() {
		close(c.closed)
		err = c.shut()
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
func (c *conn) over() bool { return isClosed(c.closed) }

// hasEnded tells whether nothing of the session runs any more.
func (c *conn) hasEnded() bool { return isClosed(c.ended) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
