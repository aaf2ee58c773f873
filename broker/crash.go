package broker

import (
	"fmt"
	"runtime/debug"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// attend serves one connection from its first byte until nothing is left of
// it. A panic in mochi, as a truncated SUBSCRIBE of MQTT 5 brings about, ends
// this client like any lost one: its will is published, its session is gone and
// its id free when attend returns.
func (s *Server) attend(c *conn) {
	defer s.boundSessions(c)
	defer close(c.ended)
	defer c.out.writers.Wait()
	defer c.replay.wait()
	defer func() { _ = c.Close() }()
	s.contain(c, "serving a client", func() {
		if s.secure(c) && s.greet(c) {
			_ = s.mqtt.EstablishConnection(c.listener, c)
		}
	})
	if !c.settled.Load() {
		s.count.turnedAway.Add(1)
	}
	if c.stuck.Load() && c.client != nil {
		s.giveUp(c.client, c, "it takes nothing")
	}
	s.contain(c, "ending a client", func() { s.finish(c) })
}

// contain runs f and turns its panic into a line in the log.
func (s *Server) contain(c *conn, doing string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			s.count.panics.Add(1)
			s.log.Error().
				Str("panic", fmt.Sprint(p)).
				Stringer("remote", c.RemoteAddr()).
				Bytes("stack", debug.Stack()).
				Msg("panic while " + doing + ", the client is disconnected")
			_ = c.Close()
		}
	}()
	f()
}

// finish does what mochi leaves undone when it panicked, or when CONNACK could
// not be written.
func (s *Server) finish(c *conn) {
	cl := c.client
	if cl == nil {
		return
	}
	defer s.takeover.pass(c)
	known, ok := s.mqtt.Clients.Get(cl.ID)
	if !c.resumption.isKnown() { // CONNACK was not even tried
		c.inherit(cl, ok && known == cl && !cl.Properties.Clean)
	}
	if !ok || known != cl {
		return
	}
	cl.Stop(packets.ErrUnspecifiedError)
	if !c.finished {
		s.lost(c)
	}
	if expires(cl) {
		s.forget(cl)
	}
}

// expires tells whether a session ends with its connection.
func expires(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval == 0
	}
	return cl.Properties.Clean
}

// forget removes a session whose connection has ended.
func (s *Server) forget(cl *mqtt.Client) {
	cl.ClearInflights()
	s.mqtt.UnsubscribeClient(cl)
	s.mqtt.Clients.Delete(cl.ID)
}
