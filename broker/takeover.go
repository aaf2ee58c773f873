package broker

import (
	"slices"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// takeover lets one client at a time begin a session under a client id, and
// only after the older session has ended whole. mochi lets the two overlap: the
// old goroutine then takes the new client out of the list of clients (it hears
// nothing from then on), publishes the old will after the new birth, or is left
// alive beside the new one.
type takeover struct {
	mu    sync.Mutex       // guards turns
	turns map[string]*turn // by client id
}

// turn is the right to begin a session under one client id.
type turn struct {
	held    chan struct{} // has one element while somebody has the turn
	wanting int           // who has it and who waits; guarded by takeover.mu
}

// wait returns once the turn of the client's id is c's and no older session
// with the id is left, or with the code to refuse the client with.
func (s *Server) awaitTurn(c *conn, cl *mqtt.Client) (refusal packets.Code, ok bool) {
	patience := time.NewTimer(s.opt.TakeoverWait)
	defer patience.Stop()
	if !s.takeover.take(c, cl.ID, patience.C, s.done) {
		return packets.ErrServerUnavailable, false
	}
	older, found := s.mqtt.Clients.Get(cl.ID)
	if !found {
		return packets.CodeSuccess, true
	}
	old := connOf(older)
	foreign := !slices.Equal(old.who, c.who)
	if foreign && !old.over() {
		return packets.ErrClientIdentifierNotValid, false
	}
	if older.Properties.ProtocolVersion == 5 && !old.over() {
		_ = older.WritePacket(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
			ReasonCode:  packets.ErrSessionTakenOver.Code,
		})
	}
	// Only the connection: a client that is stopped by mochi's own means while
	// it handles a packet loses its will.
	_ = old.Close()
	select {
	case <-old.ended:
		if foreign { // the name is free, but not what somebody else subscribed to
			s.forget(older)
		}
		return packets.CodeSuccess, true
	case <-patience.C:
		s.log.Warn().Str("client", cl.ID).Msg("older session does not end, the new one is turned away")
	case <-s.done:
	}
	return packets.ErrServerUnavailable, false
}

func (t *takeover) take(c *conn, id string, late <-chan time.Time, done <-chan struct{}) bool {
	t.mu.Lock()
	if t.turns == nil {
		t.turns = map[string]*turn{}
	}
	mine := t.turns[id]
	if mine == nil {
		mine = &turn{held: make(chan struct{}, 1)}
		t.turns[id] = mine
	}
	mine.wanting++
	t.mu.Unlock()

	select {
	case mine.held <- struct{}{}:
		c.turn = true
		return true
	case <-late:
	case <-done:
	}
	t.leave(id, mine)
	return false
}

// pass gives the turn to the next, if c has it.
func (t *takeover) pass(c *conn) {
	if !c.turn {
		return
	}
	c.turn = false
	t.mu.Lock()
	mine := t.turns[c.client.ID]
	t.mu.Unlock()
	<-mine.held
	t.leave(c.client.ID, mine)
}

func (t *takeover) leave(id string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.wanting--; mine.wanting == 0 {
		delete(t.turns, id)
	}
}
