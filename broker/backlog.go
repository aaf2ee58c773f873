package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// backlog is what of QoS 1 and 2 a client has not acknowledged. mochi keeps
// 65,535 messages of any size for each, also for one that is not there. Past a
// bound of bytes a client that is there is disconnected, and the session of one
// that is gone ends, which it is told when it comes. Until somebody has ended
// it (expiry.go: a publisher, which may hold locks, does not) nothing more is
// kept for it.
//
// Acknowledgements are not counted: when it may be too much, all of it is.
type backlog struct {
	bytes    atomic.Int64 // at most
	enough   atomic.Int64 // when to count; 0: at the bound
	counting atomic.Bool
	tooMuch  atomic.Bool // the client is gone, and its session is to end
}

// waits follows each message that is to be acknowledged, in its publisher's
// goroutine.
func (s *Server) waits(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	if c == nil || pk.FixedHeader.Type != packets.Publish {
		return
	}
	b, most := &c.backlog, int64(s.opt.MaxBacklog)
	if b.tooMuch.Load() {
		if cl.State.Inflight.Delete(pk.PacketID) {
			atomic.AddInt64(&s.mqtt.Info.Inflight, -1)
		}
		return
	}
	if bytes := b.bytes.Add(int64(weight(pk))); bytes <= most || bytes <= b.enough.Load() || b.counting.Swap(true) {
		return
	}
	defer b.counting.Store(false)
	bytes := int64(0)
	for _, waiting := range cl.State.Inflight.GetAll(false) {
		bytes += int64(weight(waiting))
	}
	b.bytes.Store(bytes)
	b.enough.Store(bytes + most/8)
	if bytes > most {
		s.giveUp(cl, c, "more waits for it than is kept")
	}
}

// giveUp disconnects a client or, if it is not there, ends its session.
func (s *Server) giveUp(cl *mqtt.Client, c *conn, why string) {
	if !c.tooSlow.Swap(true) {
		s.log.Warn().Str("client", cl.ID).Str("why", why).Msg("client is too slow, its connection or session ends")
	}
	_ = c.Close()
	if c.hasEnded() {
		c.backlog.tooMuch.Store(true)
	}
}
