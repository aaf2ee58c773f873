package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// entrance is where clients come in.
type entrance struct {
	net.Listener
	tls *tls.Config // nil: a plain one
}

func (s *Server) listenAll() error {
	if len(s.opt.ListenTLS) > 0 && s.opt.TLS == nil {
		return fmt.Errorf("listen on %s: TLS needs a certificate, and there is none (the house's is made by: dominion init)", s.opt.ListenTLS[0])
	}
	for i, address := range slices.Concat(s.opt.Listen, s.opt.ListenTLS) {
		e, scheme := entrance{}, "mqtt"
		if i >= len(s.opt.Listen) {
			e.tls, scheme = s.opt.TLS, "mqtts"
		}
		l, err := listen(address, scheme)
		if err != nil {
			return err
		}
		e.Listener = l
		s.entrances = append(s.entrances, e)
	}
	return nil
}

// listen binds a TCP address; its errors say what to do about them.
func listen(address, scheme string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	_, port, _ := net.SplitHostPort(address)
	remedy := `want "127.0.0.1:1883" or ":1883"`
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("port %s is in use: stop the broker that has it (mosquitto, another dominion), listen on another port, or join it with --broker %s://127.0.0.1:%s", port, scheme, port)
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

	strangers strangers

	refused seldom // clients that were turned away
	garbled seldom // clients that spoke something else, or TLS without success
	crowded seldom // connections of which too many were not let in yet
}

// seldom lets one line in ten seconds into the log of what anybody can repeat
// by connecting again.
type seldom struct {
	last   atomic.Int64 // Unix nanoseconds
	unsaid atomic.Int64 // since then
}

func (s *seldom) say(now time.Time) (unsaid int64, say bool) {
	const pause = 10 * time.Second
	last := s.last.Load()
	if now.UnixNano()-last < int64(pause) || !s.last.CompareAndSwap(last, now.UnixNano()) {
		s.unsaid.Add(1)
		return 0, false
	}
	return s.unsaid.Swap(0), true
}

// turnedAway tells the log, seldom, why a client was not let in.
func (s *Server) turnedAway(c *conn, when *seldom, why string) {
	unsaid, say := when.say(time.Now())
	if !say {
		return
	}
	e := s.log.Warn().Stringer("remote", c.RemoteAddr()).Str("why", why)
	if c.client != nil {
		e = e.Str("client", c.client.ID)
	}
	if name := c.name(); name != "" {
		e = e.Str("account", name)
	}
	if unsaid > 0 {
		e = e.Int64("unsaid", unsaid)
	}
	e.Msg("client turned away")
}

// accept lets clients in until ctx ends. An error, as when the process has no
// file descriptor left, makes it wait and try again: nobody restarts a listener.
func (s *Server) accept(ctx context.Context, e entrance) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := time.Duration(0)
	for {
		c, err := e.Accept()
		switch {
		case err == nil:
			wait = 0
			s.letIn(c, e.tls)
			continue
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case wait == 0:
			s.log.Warn().Err(err).Stringer("listener", e.Addr()).Msg("no new connections for now, trying again")
		}
		wait = min(max(2*wait, shortest), longest)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// place is what a connection takes up.
type place struct {
	known func() // to be called once it is let in
	left  func() // to be called at its end
}

// place finds one for a connection, unless there are too many.
func (s *Server) place(remote net.Addr) (p place, ok bool) {
	known, ok := s.door.strangers.enter(remote)
	if !ok {
		s.count.turnedAway.Add(1)
		if unsaid, say := s.door.crowded.say(time.Now()); say {
			s.log.Warn().Stringer("remote", remote).Int64("unsaid", unsaid).
				Msg("too many connections that have not logged in, new ones are turned away")
		}
		return place{}, false
	}
	if s.door.open.Add(1) > int64(s.opt.MaxConnections) {
		s.door.open.Add(-1)
		known()
		s.count.turnedAway.Add(1)
		if !s.door.full.Swap(true) {
			s.log.Warn().Int("connections", s.opt.MaxConnections).Msg("too many connections, new ones are turned away")
		}
		return place{}, false
	}
	return place{known, func() { known(); s.door.open.Add(-1); s.door.full.Store(false) }}, true
}

// letIn serves a connection if there is a place for it. Those that are still at
// their TLS handshake take one too.
func (s *Server) letIn(c net.Conn, secure *tls.Config) {
	p, ok := s.place(c.RemoteAddr())
	if !ok {
		_ = c.Close()
		return
	}
	awaitPeer(c)
	kind := "tcp"
	if secure != nil {
		kind, c = "tls", tls.Server(c, secure)
	}
	s.occupy(p, newConn(c, kind, s.opt))
}

// awaitPeer makes that a peer that vanished without a word is known after half a
// minute, whatever its keep-alive says.
func awaitPeer(c net.Conn) {
	if t, ok := lowest(c).(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
}

// occupy serves a connection that has a place, unless the server is closed.
func (s *Server) occupy(p place, c *conn) {
	s.count.accepted.Add(1)
	c.known = p.known
	if !s.serve(c, p.left) {
		p.left()
		_ = c.Close()
	}
}
