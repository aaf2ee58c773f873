package broker_test

import (
	"net"
	"sync/atomic"
	"time"
)

// slowReader reads little, and stops now and then.
type slowReader struct {
	net.Conn
	n int
}

func (r *slowReader) Read(b []byte) (int, error) {
	if r.n++; r.n%64 == 0 {
		time.Sleep(time.Millisecond)
	}
	return r.Conn.Read(b[:min(len(b), 64)])
}

// gatedReader reads nothing while it is shut, until open is closed.
type gatedReader struct {
	net.Conn
	shut atomic.Bool
	open chan struct{}
}

func (r *gatedReader) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if r.shut.Load() {
		<-r.open
	}
	return n, err
}
