package broker

import (
	"io"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// How a connection ends on our side. Close ends it as a lost one; part lets the
// client read what was written for it; dismiss and goodbye say why before that.

// lastAnswers is how long Close tries to get rid of the last answers.
const lastAnswers = 100 * time.Millisecond

// dismiss tells a client of MQTT 5 why its connection ends, and writes nothing
// after that (3.14.4-1).
func (c *conn) dismiss(why packets.Code) {
	if c.inspection.level == 5 && c.settled.Load() && !c.over() {
		_ = c.client.WritePacket(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
			ReasonCode:  why.Code,
			Properties:  packets.Properties{ReasonString: why.Reason},
		})
		c.part()
	}
}

// goodbye does that without waiting, and parts from clients of MQTT 3.1.1 too.
func (c *conn) goodbye(why packets.Code) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead || o.over { // nobody waits for it any more
		c.parted.Store(true)
		return
	}
	o.writers.Go(func() {
		c.dismiss(why)
		c.part()
	})
}

// part says that no more comes, and leaves what was written to be read: a
// socket that is closed while the client still sends takes that away from it.
// The client is expected to close in its turn. It does not wait.
func (c *conn) part() {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mute, o.last = true, true
	if o.dead || o.over {
		c.parted.Store(true)
		return
	}
	c.startFlush()
}

// halfClose ends our side. TLS has its own word for that.
func (c *conn) halfClose() {
	defer c.parted.Store(true)
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = c.Close()
		return
	}
	if below, ok := c.raw.(interface{ CloseWrite() error }); ok && c.raw != c.Conn {
		_ = below.CloseWrite()
	}
}

// shut is called once, by Close. What the client is told at the end may take the
// time of one write, in flush's goroutine, which closes the connection then;
// other answers go if the socket takes them at once.
func (c *conn) shut() error {
	answers, told := c.out.end()
	if told {
		return c.SetWriteDeadline(time.Now().Add(c.writeTimeout))
	}
	if len(answers) > 0 && c.SetWriteDeadline(time.Now().Add(lastAnswers)) == nil {
		_, _ = c.Conn.Write(answers)
	}
	return c.raw.Close()
}

// end returns what waits, if nobody gives it to the socket and nobody will, or
// that flush is told to close the connection after it.
func (o *outbox) end() (answers []byte, told bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over = o.mute && o.busy && !o.dead; o.over {
		return nil, true
	}
	if !o.busy {
		answers = o.waiting
	}
	o.dead, o.waiting, o.left = true, nil, 0
	o.tell()
	return answers, false
}

// drain waits until the client has hung up, or for a moment: a socket that is
// closed with something unread in it may take back what was written.
func (c *conn) drain() {
	if last, _ := c.out.ending(); last {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c.Conn, 1<<20)
	}
}
