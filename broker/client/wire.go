package client

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is a connection that makes up for what the network library does not.
// Each write has its own deadline: the library has none for acknowledgements
// and pings, and a frozen broker would hold it for ever. A Close at this end is
// told to the reader: the library takes net.ErrClosed for its own doing and
// would not say that the link is lost. And a parting wire is closed by the
// broker: closed at this end with something unread, or while the broker writes,
// it might be reset before the broker has read the DISCONNECT, and the will of
// a node that said goodbye be sent.
type wire struct {
	net.Conn
	raw     net.Conn      // what is below TLS, else the same: closed without a word that could have to wait
	heard   bool          // something was read
	parting atomic.Int64  // how long Close waits for the broker's, in nanoseconds
	ended   chan struct{} // closed when nothing more can be read

	endOnce, closeOnce sync.Once
}

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, raw: c, ended: make(chan struct{})}
	if t, ok := c.(*tls.Conn); ok {
		w.raw = t.NetConn()
	}
	return w
}

var (
	errClosed = errors.New("closed at this end")
	errTLS    = errors.New("TLS is spoken there")
	errSilent = errors.New("it ended the connection before it answered")
)

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.endOnce.Do(func() { close(w.ended) })
	}
	if errors.Is(err, net.ErrClosed) {
		err = errClosed
	}
	if !w.heard {
		w.heard = true
		return w.first(b[:n], err)
	}
	return n, err
}

// first tells by the first thing that comes whether a broker is there at all.
func (w *wire) first(b []byte, err error) (int, error) {
	const alert = 21
	switch {
	case len(b) > 0 && b[0] == alert:
		return 0, errTLS
	case len(b) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return 0, errSilent
	}
	return len(b), err
}

func (w *wire) Write(b []byte) (int, error) {
	if err := w.Conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return w.Conn.Write(b)
}

// SetWriteDeadline is the library's, which would lift that of another write.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// partWithin has Close wait for the broker to close first, so long.
func (w *wire) partWithin(d time.Duration) { w.parting.Store(int64(d)) }

// Close ends the connection. Only the first call does, and may wait; all others
// wait for it.
func (w *wire) Close() error {
	var err error
	w.closeOnce.Do(func() {
		if d := time.Duration(w.parting.Load()); d > 0 {
			select {
			case <-w.ended:
			case <-time.After(d):
			}
		}
		err = w.raw.Close()
	})
	return err
}
