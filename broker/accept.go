package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"dominion/topics"
)

// listen binds a TCP address; its errors say what to do about them.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	_, port, _ := net.SplitHostPort(address)
	remedy := `want "127.0.0.1:1883" or ":1883"`
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("port %s is in use: stop the broker that has it (mosquitto, another dominion), listen on another port, or join it with --broker mqtt://127.0.0.1:%s", port, port)
	case errors.Is(err, syscall.EACCES):
		remedy = fmt.Sprintf("port %s needs root: listen on a port above 1023", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "this machine has no such address: name one of its own, or none as in \":" + port + "\""
	}
	return nil, fmt.Errorf("listen on %s: %w (%s)", address, err, remedy)
}

// door counts the connections that came over listeners.
type door struct {
	open atomic.Int64
	full atomic.Bool // it was said that the limit is reached

	complained atomic.Int64 // when the log last told of a client turned away, Unix nanoseconds
}

// accept lets clients in until ctx ends. An error, as when the process has no
// file descriptor left, makes it wait and try again: nobody restarts a listener.
func (s *Server) accept(ctx context.Context, l net.Listener) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := time.Duration(0)
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.letIn(c)
			continue
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case wait == 0:
			s.log.Warn().Err(err).Stringer("listener", l.Addr()).Msg("no new connections for now, trying again")
		}
		wait = min(max(2*wait, shortest), longest)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// letIn serves a connection, unless there are too many.
func (s *Server) letIn(c net.Conn) {
	if s.door.open.Add(1) > int64(s.opt.MaxConnections) {
		s.door.open.Add(-1)
		_ = c.Close()
		if !s.door.full.Swap(true) {
			s.log.Warn().Int("connections", s.opt.MaxConnections).Msg("too many connections, new ones are turned away")
		}
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		// A peer that vanished without a word is known after half a minute,
		// whatever its keep-alive says.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
	n := newConn(c, s.anonymous(c), "tcp", s.opt)
	left := func() { s.door.open.Add(-1); s.door.full.Store(false) }
	if !s.serve(n, left) {
		left()
		_ = n.Close()
	}
}

// anonymous is what a client without credentials may be, by where it comes from.
func (s *Server) anonymous(c net.Conn) []topics.Identity {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); s.opt.AllowInsecure || ok && a.IP.IsLoopback() {
		return s.opt.Anonymous
	}
	return nil
}
