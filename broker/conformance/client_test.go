// Package conformance_test holds the broker to the standards of MQTT: each
// statement that binds a server, by its number.
package conformance_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// patience is how long a test waits for what must happen. Nothing waits that
// long for what does, and nothing waits for what must not: a fence comes first.
const patience = 20 * time.Second

// operator is who these tests are to the broker, as a client on loopback is.
var operator = topics.Identity{Role: topics.RoleOperator}

// start runs a broker on a free port until the test ends. change, if there is
// one, alters its options.
func start(t testing.TB, change func(*broker.Options)) *broker.Server {
	t.Helper()
	o := broker.Options{
		Listen:    []string{"127.0.0.1:0"},
		Anonymous: []topics.Identity{operator, {Role: topics.RoleHomeAssistant}, {Role: topics.RoleNode}},
		Log:       zerolog.Nop(),
	}
	if change != nil {
		change(&o)
	}
	s, err := broker.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// client is one connection. It sends what it is told to and reads when it is
// asked; it never acknowledges by itself, but in message, messages and exchange.
type client struct {
	t        testing.TB
	conn     net.Conn
	in       *bufio.Reader
	level    byte
	lastID   uint16
	waiting  []packet      // read, while another was looked for
	present  bool          // what CONNACK said of a session
	patience time.Duration // for one read

	writing sync.Mutex
}

// dial connects over TCP and sends nothing.
func dial(t testing.TB, s *broker.Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// newClient takes a connection over: s.Pipe(operator), for a test in a bubble
// of testing/synctest.
func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, in: bufio.NewReader(conn), level: 4, patience: patience}
}

// join connects a client and fails the test if it is not let in.
func join(t testing.TB, s *broker.Server, c connect) *client {
	t.Helper()
	p := dial(t, s)
	p.join(c)
	return p
}

// join sends a CONNECT and expects to be let in.
func (c *client) join(with connect) packet {
	c.t.Helper()
	a := c.greet(with)
	if a.code != 0 {
		c.t.Fatalf("client %q got %v, want code 0", with.id, a)
	}
	return a
}

// greet sends a CONNECT and returns the CONNACK.
func (c *client) greet(with connect) packet {
	c.t.Helper()
	c.level = max(with.level, 4)
	c.send(with.bytes())
	a := c.want(CONNACK)
	c.present = a.present
	return a
}

// send writes bytes; if the connection is gone, the reader will see it.
func (c *client) send(parts ...[]byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(slices.Concat(parts...))
}

// newID is a packet id that this client has not used.
func (c *client) newID() uint16 { c.lastID++; return c.lastID }

// publish sends a PUBLISH, with an id of its own if it needs one and has none,
// and returns the id. It waits for nothing.
func (c *client) publish(p publish) uint16 {
	if p.qos > 0 && p.id == 0 {
		p.id = c.newID()
	}
	c.send(p.bytes(c.level))
	return p.id
}

// exchange publishes and goes through the acknowledgements of its QoS. When it
// returns the message is on its way to every subscriber: it may be acknowledged
// before, but the next packet is not looked at before.
func (c *client) exchange(p publish) {
	c.t.Helper()
	id := c.publish(p)
	switch p.qos {
	case 0:
		c.alive()
	case 1:
		c.acked(PUBACK, id)
		c.alive()
	case 2:
		c.acked(PUBREC, id)
		c.send(ack(PUBREL, id))
		c.acked(PUBCOMP, id)
	}
}

// acked waits for an acknowledgement with an id, past other packets.
func (c *client) acked(kind byte, id uint16) packet {
	c.t.Helper()
	return c.await(fmt.Sprintf("%s of %d", kindName(kind), id), func(p packet) bool { return p.kind == kind && p.id == id })
}

// subscribe returns the codes of SUBACK.
func (c *client) subscribe(filters ...filter) []byte {
	c.t.Helper()
	id := c.newID()
	c.send(subscribe(c.level, id, nil, filters...))
	return c.acked(SUBACK, id).codes
}

// unsubscribe returns the codes of UNSUBACK, which MQTT 3.1.1 has not.
func (c *client) unsubscribe(filters ...string) []byte {
	c.t.Helper()
	id := c.newID()
	c.send(unsubscribe(c.level, id, filters...))
	return c.acked(UNSUBACK, id).codes
}

// next returns the next packet, or why there is none.
func (c *client) next() (packet, error) {
	if len(c.waiting) > 0 {
		p := c.waiting[0]
		c.waiting = c.waiting[1:]
		return p, nil
	}
	return c.read()
}

func (c *client) read() (packet, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.patience))
	p, err := readPacket(c.in, c.level)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("nothing came within %v", c.patience)
	}
	return p, err
}

// want returns the next packet, which must be of a kind.
func (c *client) want(kind byte) packet {
	c.t.Helper()
	p, err := c.next()
	switch {
	case err != nil:
		c.t.Fatalf("connection ended (%v), want %s", err, kindName(kind))
	case p.kind != kind:
		c.t.Fatalf("got %v, want %s", p, kindName(kind))
	}
	return p
}

// await returns the first packet that is wanted; those before it stay.
func (c *client) await(what string, wanted func(packet) bool) packet {
	c.t.Helper()
	for i, p := range c.waiting {
		if wanted(p) {
			c.waiting = slices.Delete(c.waiting, i, i+1)
			return p
		}
	}
	for {
		p, err := c.read()
		if err != nil {
			c.t.Fatalf("connection ended (%v), want %s; before it came %v", err, what, c.waiting)
		}
		if wanted(p) {
			return p
		}
		c.waiting = append(c.waiting, p)
	}
}

// message returns the next PUBLISH, and acknowledges it whole.
func (c *client) message() packet {
	c.t.Helper()
	p := c.await("PUBLISH", func(p packet) bool { return p.kind == PUBLISH })
	c.acknowledge(p)
	return p
}

// acknowledge goes through the acknowledgements of a message.
func (c *client) acknowledge(p packet) {
	c.t.Helper()
	switch p.qos {
	case 1:
		c.send(ack(PUBACK, p.id))
	case 2:
		c.send(ack(PUBREC, p.id))
		c.acked(PUBREL, p.id)
		c.send(ack(PUBCOMP, p.id))
	}
}

// upTo acknowledges and returns every message up to that on the topic of a
// fence, which somebody published after what ought to come, or not to come.
func (c *client) upTo(fence string) []packet {
	c.t.Helper()
	var before []packet
	for {
		p := c.message()
		if p.topic == fence {
			return before
		}
		before = append(before, p)
	}
}

// mine publishes a fence to itself and returns what came before it. What others
// published before is among that only if it was acknowledged, or came, before.
func (c *client) mine(fence string) []packet {
	c.t.Helper()
	c.subscribe(filter{fence, 0})
	c.publish(publish{topic: fence})
	return c.upTo(fence)
}

// alive checks that the server still answers.
func (c *client) alive() {
	c.t.Helper()
	c.send(pingreq())
	c.await("PINGRESP", func(p packet) bool { return p.kind == PINGRESP })
}

// ended waits for the end of the connection and returns the packets before it.
func (c *client) ended() []packet {
	c.t.Helper()
	for {
		p, err := c.read()
		if err != nil {
			return c.waiting
		}
		c.waiting = append(c.waiting, p)
	}
}

// leave disconnects as one should and waits for the end.
func (c *client) leave() {
	c.t.Helper()
	c.send(disconnect())
	c.ended()
}

// drop ends the connection without a word.
func (c *client) drop() { _ = c.conn.Close() }
