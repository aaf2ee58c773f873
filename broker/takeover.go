package broker

import (
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
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

// awaitTurn returns once the turn of the client's id is c's and no older session
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
	if !sameOwner(old, c) && !old.over() {
		if claim(c, cl.ID) <= claim(old, cl.ID) {
			s.refused(c, Connecting, "", "its client id is in use by "+old.called())
			return packets.ErrClientIdentifierNotValid, false
		}
		s.refused(old, Connecting, "", "its client id belongs to "+c.called()+", which has come: disconnected")
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
		switch {
		case !sameOwner(old, c) || old.account != c.account:
			s.forget(older) // the name is free, but not what was subscribed to under another login
		case s.sessionOf(older, old).over(time.Now()):
			s.forget(older) // it would be within a second
		default:
			c.resumption.predecessor = old
		}
		return packets.CodeSuccess, true
	case <-patience.C:
		s.log.Warn().Str("client", cl.ID).Msg("older session does not end, the new one is turned away")
	case <-s.done:
	}
	return packets.ErrServerUnavailable, false
}

// sameOwner tells whether two clients are of one account or, without accounts,
// may be the same.
func sameOwner(a, b *conn) bool {
	if a.inside != b.inside || a.account.Name != b.account.Name {
		return false
	}
	return a.account.Name != "" || slices.Equal(a.who, b.who)
}

// claim is how much right a client has to a client id while another holds it:
// the most has who is inside this process, then whom the id names. A node's id
// is <base>.<node>.<letters of the machine>, others may be called as their
// account is. So a client that takes the id of a node while that is away does
// not keep it out.
func claim(c *conn, id string) int {
	name := c.account.Who.Name
	levels := strings.Split(id, ".")
	switch {
	case c.inside:
		return 2
	case name == "":
		return 0
	case id == name, c.account.Who.Role == topics.RoleNode && len(levels) > 2 && levels[len(levels)-2] == name:
		return 1
	}
	return 0
}

func (t *takeover) take(c *conn, id string, late <-chan time.Time, done <-chan struct{}) bool {
	t.mu.Lock()
	mine := t.turns[id]
	if mine == nil {
		mine = &turn{held: make(chan struct{}, 1)}
		t.add(id, mine)
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

// add is called with the lock.
func (t *takeover) add(id string, x *turn) {
	if t.turns == nil {
		t.turns = map[string]*turn{}
	}
	t.turns[id] = x
}

// whileFree does something in the turn of a client id that nobody has or wants.
func (t *takeover) whileFree(id string, do func()) {
	t.mu.Lock()
	if t.turns[id] != nil {
		t.mu.Unlock()
		return
	}
	mine := &turn{held: make(chan struct{}, 1), wanting: 1}
	mine.held <- struct{}{}
	t.add(id, mine)
	t.mu.Unlock()
	defer func() {
		<-mine.held
		t.leave(id, mine)
	}()
	do()
}

func (t *takeover) leave(id string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.wanting--; mine.wanting == 0 {
		delete(t.turns, id)
	}
}
