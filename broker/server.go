package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/rs/zerolog"

	"dominion/topics"
)

// Server is the broker. Open makes one, Run serves it, Close ends it.
type Server struct {
	opt       Options
	log       zerolog.Logger
	mqtt      *mqtt.Server
	entrances []entrance
	recovered string

	store    *store // nil: retained messages live in memory
	index    index
	takeover takeover
	door     door
	guesses  guesses

	expulsions atomic.Int64  // calls of Expel
	stopping   atomic.Bool   // no will is published any more
	done       chan struct{} // closed when Close begins
	close      func() error

	mu      sync.Mutex // guards conns, their accounts and closed, and clients.Add against its Wait
	conns   map[*conn]struct{}
	closed  bool
	clients sync.WaitGroup
}

// Open binds the listeners and opens the store, so that what is wrong with
// them is known before anything is served: a port in use (the error wraps
// syscall.EADDRINUSE and names the remedy), a directory that cannot be written,
// a store that another process has open. A damaged store file is no error: see
// Recovered. Pipe works from here on; who does not Run the server must Close it.
func Open(o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{opt: o, log: o.Log, done: make(chan struct{}), conns: map[*conn]struct{}{}}
	s.index.topics = map[string]struct{}{}
	s.close = sync.OnceValue(s.shutDown)
	s.mqtt = mqtt.New(bounds(o, newLogBridge(o.Log)))
	if err := s.mqtt.AddHook(&hooks{s: s}, nil); err != nil {
		return nil, fmt.Errorf("prepare the broker: %w", err)
	}
	if err := s.listenAll(); err != nil {
		s.closeListeners()
		return nil, err
	}
	if err := s.load(); err != nil {
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

// load fills mochi with what the store holds.
func (s *Server) load() error {
	if s.opt.Data == "" {
		return nil
	}
	st, kept, moved, err := openStore(s.opt)
	if err != nil {
		return err
	}
	st.current = s.mqtt.Topics.Retained.Get
	s.store, s.recovered = st, moved
	now := time.Now()
	for _, pk := range kept {
		if expired(pk, now) || !s.opt.Rules.Durable(pk.TopicName) {
			st.touch(pk.TopicName)
			continue
		}
		s.mqtt.Topics.RetainMessage(pk)
		s.index.topics[pk.TopicName] = struct{}{}
	}
	atomic.StoreInt64(&s.mqtt.Info.Retained, int64(s.mqtt.Topics.Retained.Len()))
	return nil
}

// Run serves until ctx ends, then closes the server as Close does and returns
// its error. It is called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.mqtt.Serve(); err != nil {
		return errors.Join(fmt.Errorf("start the broker: %w", err), s.Close())
	}
	var running sync.WaitGroup
	for _, e := range s.entrances {
		s.log.Info().Stringer("listener", e.Addr()).Bool("tls", e.tls != nil).Msg("broker listens")
		running.Go(func() { s.accept(ctx, e) })
	}
	if s.store != nil {
		running.Go(func() { s.store.run(s.done) })
	}
	select {
	case <-ctx.Done():
	case <-s.done:
	}
	err := s.Close()
	running.Wait()
	return err
}

// Close ends the server: no new connections, no wills (a planned stop of the
// broker is not the loss of its clients), every connection closed and ended,
// retained messages on the disk. It returns when all that is done, and may be
// called again, by anybody.
func (s *Server) Close() error { return s.close() }

// How long Close waits: for the last messages to be written, for clients to
// hang up in their turn, and for connections that do not end.
const (
	quiet       = 50 * time.Millisecond // nothing was written for so long
	lastWords   = time.Second
	hangUp      = time.Second
	endPatience = 5 * time.Second
	lookEach    = 10 * time.Millisecond
)

func (s *Server) shutDown() error {
	s.stopping.Store(true)
	close(s.done)
	s.closeListeners()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.awaitQuiet()
	var parting sync.WaitGroup // over TLS it may have to wait for a write
	s.each(func(c *conn) { parting.Go(c.part) })
	if !s.clientsEnd(hangUp) {
		s.each(func(c *conn) { _ = c.Close() })
	}
	parting.Wait()
	if s.clientsEnd(endPatience) {
		_ = s.mqtt.Close() // always nil
	} else {
		s.log.Error().Msg("a connection does not end, closing without it")
	}
	if s.store == nil {
		return nil
	}
	if err := s.store.close(); err != nil {
		return fmt.Errorf("close the store of retained messages: %w", err)
	}
	return nil
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}

// awaitQuiet returns when what was published has been written to its
// subscribers: the rooms' goodbyes are among it.
func (s *Server) awaitQuiet() {
	look := time.NewTicker(lookEach)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < lastWords; <-look.C {
		latest := began.UnixNano() - int64(quiet)
		s.each(func(c *conn) { latest = max(latest, c.wrote.Load()) })
		if time.Now().UnixNano()-latest >= int64(quiet) {
			return
		}
	}
}

func (s *Server) clientsEnd(patience time.Duration) bool {
	ended := make(chan struct{})
	go func() { s.clients.Wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

func (s *Server) closeListeners() {
	for _, e := range s.entrances {
		_ = e.Close()
	}
}

// Addrs are the addresses that the server listens on, in the order of
// Options.Listen, with the real port where that was 0.
func (s *Server) Addrs() []net.Addr { return s.addrs(false) }

// TLSAddrs are the same for Options.ListenTLS.
func (s *Server) TLSAddrs() []net.Addr { return s.addrs(true) }

func (s *Server) addrs(secure bool) []net.Addr {
	var addrs []net.Addr
	for _, e := range s.entrances {
		if secure == (e.tls != nil) {
			addrs = append(addrs, e.Addr())
		}
	}
	return addrs
}

// Pipe connects a client inside this process, with this identity and no others:
// the caller speaks MQTT over its end. It is served from Open on. After Close it
// is an ended connection.
func (s *Server) Pipe(who topics.Identity) net.Conn {
	near, far := newPipe()
	c := newConn(far, "pipe", s.opt)
	c.inside, c.who = true, []topics.Identity{who}
	if !s.serve(c, func() {}) {
		_ = c.Close()
	}
	return near
}

// Recovered is the path to which a damaged store file was moved by Open; empty
// when the store was sound.
func (s *Server) Recovered() string { return s.recovered }

// serve attends to a connection in a goroutine of its own, and then calls left.
// It does nothing and returns false when the server is closed.
func (s *Server) serve(c *conn, left func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.clients.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			left()
		}()
		s.attend(c)
	})
	return true
}
