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

	parents  parents
	changes  atomic.Uint64 // of subscriptions; see audience
	buffers  sync.Pool     // of outboxes
	store    *store        // nil: retained messages live in memory
	index    index
	takeover takeover
	door     door
	guesses  guesses
	wills    wills
	quota    quota
	count    counters

	began      atomic.Int64  // Unix nanoseconds; 0: not yet
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
	s.index.topics = map[string]int{}
	s.quota = newQuota(o)
	s.guesses = newGuesses()
	s.door.strangers = newStrangers(o)
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
		s.index.update(pk.TopicName, s.mqtt.Topics.Retained.Get)
		s.quota.set(pk.TopicName, retention{bytes: weight(pk)})
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
	s.began.Store(time.Now().UnixNano())
	s.forgetMochis()
	var running sync.WaitGroup
	running.Go(func() { s.tellFigures(s.done) })
	running.Go(func() { s.expire(s.done) })
	if s.store != nil {
		running.Go(func() { s.store.run(s.done) })
	}
	for _, e := range s.entrances {
		s.log.Info().Stringer("listener", e.Addr()).Bool("tls", e.tls != nil).Msg("broker listens")
		running.Go(func() { s.accept(ctx, e) })
	}
	select {
	case <-ctx.Done():
	case <-s.done:
	}
	err := s.Close()
	running.Wait()
	return err
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
	c.out.buffers = &s.buffers
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
