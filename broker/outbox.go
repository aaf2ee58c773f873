package broker

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// outbox is what was written to a client and is on its way to its socket. mochi
// writes packet by packet, and a system call for each costs more than all the
// rest that is done for a message. So:
//
//   - Messages go at once, by a goroutine that lives as long as there is
//     something to write: what comes meanwhile goes out together after it.
//   - Answers (PUBACK and the like) go along, or when the client's own goroutine,
//     which writes them, is about to wait for the client: nothing is held while
//     it waits.
//   - What was written before Close is given to the socket if it takes it at
//     once; with DISCONNECT, the client has the time for it that a write has.
//
// Write never waits. How much may wait for a client is bounded in delivery.go
// and replay.go.
type outbox struct {
	mu       sync.Mutex     // guards all below, and writers.Go against its Wait
	waiting  []byte         // for the socket
	giving   []byte         // what the socket is being given
	left     int            // bytes of giving that it has not taken
	busy     bool           // somebody gives
	awaiting bool           // the client's own goroutine waits for the client
	mute     bool           // what is written from now on goes nowhere
	dead     bool           // nothing is given to the socket any more
	last     bool           // after what waits the connection is closed on our side
	over     bool           // after what waits the connection is closed
	moved    chan struct{}  // closed when the socket took something; nil: nobody wants to know
	writers  sync.WaitGroup // flush, in a goroutine of its own
	buffers  *sync.Pool     // of *[]byte
}

const (
	// mostAtOnce is what the socket is given with one deadline, in bytes: a slow
	// client is not taken for a stuck one because much waits for it.
	mostAtOnce = 64 << 10
	// smallBuffer is what is not worth to be kept, in bytes.
	smallBuffer = 512
)

// Write takes one packet. What cannot be written any more is no error: mochi's
// writers would do nothing about it, and its reader would miss what the client
// said last.
func (c *conn) Write(packet []byte) (int, error) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mute || o.dead || c.resumption.mute() {
		return len(packet), nil
	}
	c.wrote.Store(time.Now().UnixNano())
	if o.waiting == nil {
		o.waiting = o.buffer()
	}
	o.waiting = append(o.waiting, packet...)
	kind := packet[0] >> 4
	o.mute = kind == packets.Disconnect // MQTT 5, 3.14.4-1
	if o.awaiting || !isAnswer(kind) {
		c.startFlush()
	}
	return len(packet), nil
}

func isAnswer(kind byte) bool {
	switch kind {
	case packets.Connack, packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Suback, packets.Unsuback, packets.Pingresp:
		return true
	}
	return false
}

// startFlush is called with the lock, by the client's own goroutine or before
// the outbox is dead: flush is waited for after that.
func (c *conn) startFlush() {
	if !c.out.busy {
		c.out.busy = true
		c.out.writers.Go(c.flush)
	}
}

// flush gives the socket what waits until nothing does.
func (c *conn) flush() {
	for {
		batch, last, over := c.out.next()
		switch {
		case batch != nil:
			c.give(batch)
			continue
		case over:
			_ = c.raw.Close()
		case last:
			c.halfClose()
		}
		return
	}
}

// next is the next batch. When there is none, the turn is over, and perhaps the
// connection.
func (o *outbox) next() (batch []byte, last, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		o.rest()
		return nil, o.last, o.over
	}
	o.giving, o.waiting = o.waiting, o.giving[:0]
	o.left = len(o.giving)
	return o.giving, false, false
}

// rest is called with the lock by whoever was busy.
func (o *outbox) rest() {
	o.busy = false
	o.giving = o.giveBack(o.giving)
	if len(o.waiting) == 0 {
		o.waiting = o.giveBack(o.waiting)
	}
	o.tell()
}

// buffer is an empty one, perhaps of a client that has become idle.
func (o *outbox) buffer() []byte {
	if b, ok := o.buffers.Get().(*[]byte); ok {
		return *b
	}
	return nil
}

// giveBack leaves an idle client without a buffer.
func (o *outbox) giveBack(b []byte) []byte {
	if c := cap(b); c >= smallBuffer && c <= mostAtOnce {
		b = b[:0]
		o.buffers.Put(&b)
	}
	return nil
}

// tell is called with the lock when something has moved.
func (o *outbox) tell() {
	if o.moved != nil {
		close(o.moved)
		o.moved = nil
	}
}

// move lets those look again who wait.
func (o *outbox) move() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell()
}

func (o *outbox) ending() (last, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.over
}

// await is called by the client's own goroutine before it waits for the client.
// It writes the answers itself, once; what comes after has its own way.
func (c *conn) await() {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaiting = true
	if o.busy || o.dead || len(o.waiting) == 0 {
		return
	}
	o.busy = true
	o.mu.Unlock()
	if batch, _, _ := o.next(); batch != nil {
		c.give(batch)
	}
	o.mu.Lock()
	o.rest()
	if len(o.waiting) > 0 || o.last || o.over {
		c.startFlush()
	}
}

// awaited is called when the client has sent something.
func (o *outbox) awaited() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaiting = false
}

// awaitOut waits until it is as wanted, which is asked with the number of bytes
// that wait, and with the lock; false: the connection has ended, or it is late.
func (c *conn) awaitOut(wanted func(waiting int) bool, late <-chan time.Time) bool {
	o := &c.out
	for {
		o.mu.Lock()
		if wanted(len(o.waiting) + o.left) {
			o.mu.Unlock()
			return true
		}
		if o.moved == nil {
			o.moved = make(chan struct{})
		}
		moved := o.moved
		o.mu.Unlock()
		select {
		case <-moved:
		case <-c.closed:
			return false
		case <-late:
			return false
		}
	}
}

// waits is how many bytes the socket has not taken.
func (o *outbox) waits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) + o.left
}

// give writes to the socket.
func (c *conn) give(batch []byte) {
	for len(batch) > 0 {
		part := batch[:min(len(batch), mostAtOnce)]
		var err error
		if _, over := c.out.ending(); !over {
			err = c.SetWriteDeadline(time.Now().Add(c.writeTimeout))
		}
		if err == nil {
			_, err = c.Conn.Write(part)
		}
		if err != nil {
			c.unwritable(err)
			return
		}
		c.wrote.Store(time.Now().UnixNano())
		c.out.took(len(part))
		batch = batch[len(part):]
	}
}

func (o *outbox) took(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left -= n
	o.tell()
}

// unwritable ends a client that takes nothing: publishers wait for it. When the
// client has gone, what it said last (DISCONNECT, perhaps) is still to be read:
// the reader is given the time for that.
func (c *conn) unwritable(err error) {
	parting := c.out.discard()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.stuck.Store(true)
		_ = c.Close()
	case !parting:
		_ = c.SetReadDeadline(time.Now().Add(c.writeTimeout))
	}
}

// discard forgets what waits, and all that is still to come.
func (o *outbox) discard() (parting bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead, o.waiting, o.left = true, nil, 0
	o.tell()
	return o.last
}
