package main

import (
	"net"
	"net/http"
	"sync"
)

// bounded is a listener that has so many connections at once, and from one
// network fewer: a stranger must not take the memory that the broker needs.
// What is more is closed at once.
type bounded struct {
	net.Listener

	mu   sync.Mutex // guards what follows
	from map[string]int
	all  int
}

const (
	mostConnections = 256
	mostFromOne     = 16
)

func newBounded(l net.Listener) *bounded { return &bounded{Listener: l, from: map[string]int{}} }

// Accept waits for a connection that is within the bounds.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(conn.RemoteAddr().String())
		if b.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		conn.Close()
	}
}

func (b *bounded) enter(from string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= mostConnections || b.from[from] >= mostFromOne {
		return false
	}
	b.all++
	b.from[from]++
	return true
}

func (b *bounded) leave(from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[from]--; b.from[from] == 0 {
		delete(b.from, from)
	}
}

// counted is a connection that makes room when it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// NetConn is the connection itself.
func (c *counted) NetConn() net.Conn { return c.Conn }

// leaves makes room when a connection has become a WebSocket: the broker counts
// those.
func leaves(c net.Conn, is http.ConnState) {
	for is == http.StateHijacked {
		if counted, ok := c.(*counted); ok {
			counted.leave()
			return
		}
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		c = around.NetConn()
	}
}
