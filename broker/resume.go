package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// resumption is what a client that comes back to its session is sent first.
// mochi sends what is in flight in no order, all of it as if it had been sent
// before, and while newer messages already go out. Here it is sent in the order
// of the first time (MQTT 3.1.1, 4.6.0-1), with DUP if it was sent (3.3.1-3),
// and newer messages wait. And what is published while mochi hands the session
// from one client to the next, and would be lost, is delivered to the next.
type resumption struct {
	predecessor *conn         // whose session it is, between its turn and CONNACK
	heir        *conn         // who takes this one's session over; guarded by news.mu
	known       chan struct{} // closed when what was in flight before is known
	kept        bool          // the session outlives the connection
	present     bool          // it had begun before; both are set before known is closed

	muted    atomic.Bool   // the next write is one of mochi's, and not to be
	caughtUp atomic.Bool   // newer messages may go out
	done     chan struct{} // closed with it

	mu       sync.Mutex       // guards all below
	owed     []packets.Packet // was in flight when the session was taken over, in the order to send it in
	place    map[uint16]int   // of those of them that are not acknowledged, in that order
	sent     packetIDs        // in flight, and written to some connection
	passedOn bool             // sent and place are the heir's
}

func newResumption() resumption {
	return resumption{known: make(chan struct{}), done: make(chan struct{})}
}

// resumeOrigin is the origin of what is sent again; see replayOrigin.
const resumeOrigin = "\x00resume"

// succeed is called in the turn of the client's id, when the older connection
// has ended. What is delivered to that from here on goes to c, and mochi tells
// in orphaned what it had in flight.
func (c *conn) succeed() {
	if old := c.resumption.predecessor; old != nil {
		old.news.mu.Lock()
		defer old.news.mu.Unlock()
		old.resumption.heir = c
	}
}

// toHeir delivers what was for a client whose session was taken over, unless the
// heir wants nothing of the older session.
func (s *Server) toHeir(heir *conn, sub packets.Subscription, pk packets.Packet) {
	if <-heir.resumption.known; heir.resumption.present {
		s.deliver(heir.client, sub, pk)
	}
}

// orphaned is called for each message that mochi takes out of what is in flight
// to a client: by the heir of its session, if there is one.
func (s *Server) orphaned(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	if c == nil || pk.PacketID == 0 { // see arrivals
		return
	}
	c.news.mu.Lock()
	heir := c.resumption.heir
	c.news.mu.Unlock()
	c.resumption.mu.Lock()
	sent := c.resumption.sent.has(pk.PacketID)
	c.resumption.mu.Unlock()
	if heir == nil || !sent && expired(pk, time.Now()) {
		return
	}
	r := &heir.resumption
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owed = append(r.owed, pk)
}

// inherit is called when CONNACK is about to be written: what the older
// connections knew of the session is known from here on.
func (c *conn) inherit(cl *mqtt.Client, present bool) {
	r := &c.resumption
	defer close(r.known)
	old := r.predecessor
	r.predecessor = nil
	r.kept, r.present = !expires(cl), present && old != nil
	if !r.present {
		r.owed = nil
		return
	}
	c.arrivals.unreleased = old.arrivals.unreleased
	next, _ := old.client.NextPacketID()
	o := &old.resumption
	o.mu.Lock()
	place := o.place
	r.sent = o.sent
	o.passedOn, o.sent, o.place = true, packetIDs{}, nil
	o.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	order(r.owed, place, uint16(next))
	r.place = map[uint16]int{}
	for i, pk := range r.owed {
		r.place[pk.PacketID] = i
	}
}

func (r *resumption) isKnown() bool { return isClosed(r.known) }

// order sorts what was in flight on a connection as it was sent, or would have
// been: first what that inherited, in its order, then the others by id. Ids are
// given one after another; next is the one after the last.
func order(all []packets.Packet, place map[uint16]int, next uint16) {
	slices.SortFunc(all, func(a, b packets.Packet) int {
		i, older := place[a.PacketID]
		j, olderToo := place[b.PacketID]
		switch {
		case older && olderToo:
			return i - j
		case older:
			return -1
		case olderToo:
			return 1
		}
		return int(a.PacketID-next) - int(b.PacketID-next) // in 16 bits
	})
}

// same tells whether two packets are the same step of the same delivery.
func same(a, b packets.Packet) bool {
	if a.FixedHeader.Type != b.FixedHeader.Type || a.TopicName != b.TopicName || len(a.Payload) != len(b.Payload) {
		return false
	}
	return len(a.Payload) == 0 || &a.Payload[0] == &b.Payload[0]
}

// resume is called after CONNACK, when acknowledgements are about to be read.
func (s *Server) resume(c *conn) {
	r := &c.resumption
	if len(r.owed) == 0 {
		s.catchUp(c)
		return
	}
	c.replay.workers.Go(func() {
		defer s.catchUp(c)
		s.contain(c, "resuming a session", func() {
			for _, pk := range r.owed {
				s.sendAgain(c, pk)
			}
			r.owed = nil
		})
	})
}

func (s *Server) catchUp(c *conn) {
	c.resumption.caughtUp.Store(true)
	close(c.resumption.done)
	s.release(c)
}

// sendAgain sends what is still not acknowledged.
func (s *Server) sendAgain(c *conn, pk packets.Packet) {
	cl, r := c.client, &c.resumption
	if now, ok := cl.State.Inflight.Get(pk.PacketID); !ok || !same(now, pk) || c.over() {
		return
	}
	pk.Origin = resumeOrigin
	if pk.FixedHeader.Type == packets.Publish {
		r.mu.Lock()
		pk.FixedHeader.Dup = r.sent.has(pk.PacketID)
		r.mu.Unlock()
	}
	s.write(cl, pk)
}

// await holds a replay back until the client has been sent what comes before it
// (news wait in delivery.go), or makes that a write of mochi's reaches nobody.
func (r *resumption) await(c *conn, pk packets.Packet) packets.Packet {
	switch {
	case r.caughtUp.Load() || pk.Origin == resumeOrigin:
	case !c.settled.Load() && (pk.FixedHeader.Dup || pk.FixedHeader.Type == packets.Pubrel):
		r.muted.Store(true)
		pk.Payload, pk.Mods.MaxSize = nil, 0 // it is never too large
	case pk.FixedHeader.Type == packets.Publish:
		select {
		case <-r.done:
		case <-c.closed:
		}
	}
	return pk
}

// mute tells whether a write is not to be.
func (r *resumption) mute() bool { return r.muted.Load() && r.muted.Swap(false) }

// written is called before a message at QoS 1 or 2 is written.
func (r *resumption) written(id uint16) {
	if !r.kept {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.passedOn {
		r.sent.add(id)
	}
}

// forget is called when a delivery is complete, while its id is still taken.
func (r *resumption) forget(id uint16) {
	if !r.kept {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent.remove(id)
	delete(r.place, id)
}
