package broker

import (
	"fmt"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

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
	s.farewell()
	var parting sync.WaitGroup // over TLS it may have to wait for a write
	s.each(func(c *conn) { parting.Go(c.part) })
	if !s.clientsEnd(hangUp) {
		s.each(func(c *conn) { _ = c.Close() })
	}
	parting.Wait()
	s.wills.close()
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

// lastTopic is of the message that nobody is sent: when it comes out of a
// client's queue, all before it is written, and the client is parted from.
const lastTopic = "$dominion/last"

// farewell returns when every client has been written what waited for it.
func (s *Server) farewell() {
	for id, cl := range s.mqtt.Clients.GetAll() {
		if c := connOf(cl); c != nil && !c.over() {
			s.mqtt.Topics.Subscribe(id, packets.Subscription{Filter: lastTopic})
		}
	}
	ghost := s.mqtt.NewClient(nil, mqtt.LocalListener, "farewell", true)
	last := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: lastTopic, Payload: []byte{0}}
	if err := s.mqtt.InjectPacket(ghost, last); err != nil {
		s.log.Error().Err(err).Msg("the clients are not waited for")
		return
	}
	look := time.NewTicker(lookEach)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < lastWords; <-look.C {
		waiting := false
		s.each(func(c *conn) { waiting = waiting || c.settled.Load() && !c.parted.Load() && !c.over() })
		if !waiting {
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
