package broker_test

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"dominion/broker"
)

// fakeListener accepts connections in memory that claim to come from anywhere.
type fakeListener struct {
	conns  chan net.Conn
	fail   atomic.Int64 // this many accepts fail first
	failed atomic.Int64
	once   sync.Once
	closed chan struct{}
}

func newFakeListener() *fakeListener {
	return &fakeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *fakeListener) dial(remote string) net.Conn {
	near, far := broker.NewPipe()
	select {
	case l.conns <- remoteConn{far, remote}:
	case <-l.closed:
		_ = near.Close()
	}
	return near
}

func (l *fakeListener) Accept() (net.Conn, error) {
	if l.fail.Add(-1) >= 0 {
		l.failed.Add(1)
		return nil, errors.New("accept: too many open files")
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 1883} }

type remoteConn struct {
	net.Conn
	ip string
}

func (c remoteConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.ip), Port: 40000} }
