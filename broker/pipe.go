package broker

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how much one side of a pipe may have written that the other
// has not read, about what a kernel gives a loopback socket. (net.Pipe has
// none: a reader that is late for one write deadline would be thrown out.)
const pipeBuffer = 256 << 10

// newPipe returns the two ends of a connection in memory.
func newPipe() (net.Conn, net.Conn) {
	there, back := newHalf(), newHalf()
	return &pipeEnd{in: back, out: there}, &pipeEnd{in: there, out: back}
}

// pipeEnd is one end: it reads one half and writes the other.
type pipeEnd struct{ in, out *half }

func (p *pipeEnd) Read(b []byte) (int, error)         { return p.in.read(b) }
func (p *pipeEnd) Write(b []byte) (int, error)        { return p.out.write(b) }
func (p *pipeEnd) LocalAddr() net.Addr                { return pipeAddr{} }
func (p *pipeEnd) RemoteAddr() net.Addr               { return pipeAddr{} }
func (p *pipeEnd) SetReadDeadline(t time.Time) error  { p.in.deadline(&p.in.readBy, t); return nil }
func (p *pipeEnd) SetWriteDeadline(t time.Time) error { p.out.deadline(&p.out.writeBy, t); return nil }

func (p *pipeEnd) SetDeadline(t time.Time) error {
	_ = p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}

// Close ends both directions. What was written before can still be read at the
// other end.
func (p *pipeEnd) Close() error {
	p.in.end(true)
	p.out.end(false)
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// half is one direction of a pipe.
type half struct {
	mu      sync.Mutex // guards all below
	changed *sync.Cond
	data    []byte // written and not yet read
	ended   bool   // one end is closed: nothing more is written
	dropped bool   // the reading end is closed
	readBy  mark
	writeBy mark
}

// mark is a deadline and the timer that wakes who waits for it.
type mark struct {
	t     time.Time
	timer *time.Timer
}

func (m *mark) past() bool { return !m.t.IsZero() && !time.Now().Before(m.t) }

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.dropped:
			return 0, net.ErrClosed
		case h.readBy.past():
			return 0, os.ErrDeadlineExceeded
		case len(h.data) > 0:
			n := copy(b, h.data)
			h.data = h.data[n:]
			if len(h.data) == 0 {
				h.data = nil
			}
			h.changed.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	written := 0
	for {
		switch {
		case h.ended:
			return written, io.ErrClosedPipe
		case h.writeBy.past():
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(b)-written, pipeBuffer-len(h.data))
		if n > 0 {
			h.data = append(h.data, b[written:written+n]...)
			written += n
			h.changed.Broadcast()
		}
		if written == len(b) {
			return written, nil
		}
		h.changed.Wait()
	}
}

func (h *half) deadline(m *mark, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.t = t
	switch {
	case t.IsZero():
		if m.timer != nil {
			m.timer.Stop()
		}
	case m.timer == nil:
		m.timer = time.AfterFunc(time.Until(t), h.wake)
	default:
		m.timer.Reset(time.Until(t))
	}
}

func (h *half) wake() {
	h.mu.Lock()
	h.changed.Broadcast()
	h.mu.Unlock()
}

func (h *half) end(reader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	if reader {
		h.dropped, h.data = true, nil
	}
	for _, m := range []*mark{&h.readBy, &h.writeBy} {
		if m.timer != nil {
			m.timer.Stop()
		}
	}
	h.changed.Broadcast()
}
