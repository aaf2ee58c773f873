package broker

import (
	"math"
	"slices"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi ends a session that has waited long enough for its client, and takes
// whoever has the client id by then out of the list of clients: a client that
// comes back in that moment hears nothing from then on. And a client of MQTT 5
// that says so in DISCONNECT keeps its session for 136 years. So mochi is told
// that all sessions last for ever, and they are ended here, in their id's turn.

// never is how long mochi keeps sessions, in seconds.
const never = math.MaxUint32

// lookForExpired is how often it is looked for sessions that have ended.
const lookForExpired = time.Second

// boundExpiry is called at CONNECT. Without its flag mochi does not look at a
// client's own time.
func (s *Server) boundExpiry(c *conn, cl *mqtt.Client) {
	p := &cl.Properties.Props
	c.lastsLess = p.SessionExpiryInterval > s.longestExpiry()
	p.SessionExpiryInterval = min(p.SessionExpiryInterval, s.longestExpiry())
	p.SessionExpiryIntervalFlag = false
}

func (s *Server) longestExpiry() uint32 {
	return uint32(min(max(s.opt.SessionExpiry/time.Second, 1), never-1))
}

// tellExpiry puts into CONNACK what the client does not get.
func tellExpiry(c *conn, pk *packets.Packet) {
	if c.lastsLess {
		pk.Properties.SessionExpiryInterval = c.client.Properties.Props.SessionExpiryInterval
		pk.Properties.SessionExpiryIntervalFlag = true
	}
}

// changeExpiry does what a DISCONNECT of MQTT 5 wants, unless it is wrong
// (3.14.2.2.2), which mochi says.
func (s *Server) changeExpiry(cl *mqtt.Client, pk *packets.Packet) {
	is, wanted := &cl.Properties.Props.SessionExpiryInterval, pk.Properties.SessionExpiryInterval
	if !pk.Properties.SessionExpiryIntervalFlag || *is == 0 && wanted > 0 {
		return
	}
	*is = min(wanted, s.longestExpiry())
	pk.Properties.SessionExpiryIntervalFlag = false
}

// expire ends sessions until done is closed.
func (s *Server) expire(done <-chan struct{}) {
	look := time.NewTicker(lookForExpired)
	defer look.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-look.C:
			s.endSessions(func(left session) bool { return left.over(now) })
		}
	}
}

// session is one that waits for its client.
type session struct {
	client *mqtt.Client
	conn   *conn // its last
	left   int64 // when the client left, Unix seconds
	lasts  int64 // seconds
}

func (x session) over(now time.Time) bool {
	return x.left+x.lasts < now.Unix() || x.conn.backlog.tooMuch.Load()
}

// waiting are the sessions whose clients have gone, who left first first.
func (s *Server) waiting() []session {
	var all []session
	for _, cl := range s.mqtt.Clients.GetAll() {
		c := connOf(cl)
		if c == nil || !c.hasEnded() {
			continue
		}
		all = append(all, s.sessionOf(cl, c))
	}
	slices.SortFunc(all, func(a, b session) int { return int(a.left - b.left) })
	return all
}

func (s *Server) sessionOf(cl *mqtt.Client, c *conn) session {
	lasts := int64(s.longestExpiry())
	if cl.Properties.ProtocolVersion == 5 {
		lasts = int64(cl.Properties.Props.SessionExpiryInterval)
	}
	return session{cl, c, cl.StopTime(), lasts}
}

func (s *Server) endSessions(which func(session) bool) {
	for _, x := range s.waiting() {
		if which(x) {
			s.endSession(x.client)
		}
	}
}

// endSession ends a session that waits for its client, unless somebody is about
// to take it over.
func (s *Server) endSession(cl *mqtt.Client) {
	s.takeover.whileFree(cl.ID, func() {
		if known, _ := s.mqtt.Clients.Get(cl.ID); known == cl {
			s.contain(connOf(cl), "ending a session", func() {
				s.forget(cl)
				s.settleWill(cl.ID, true)
			})
		}
	})
}

// boundSessions is called when nothing of a session runs any more. Each takes
// some 40 KB: of those that wait for clients of one account only so many are
// kept, those whose clients left last.
func (s *Server) boundSessions(c *conn) {
	if c.client == nil || c.heldBy == "" || expires(c.client) {
		return
	}
	of := s.waiting()
	of = slices.DeleteFunc(of, func(x session) bool { return x.conn.heldBy != c.heldBy })
	for _, x := range of[:max(0, len(of)-s.opt.MaxSessions)] {
		s.endSession(x.client)
	}
}
