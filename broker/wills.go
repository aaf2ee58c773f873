package broker

import (
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi lets anybody have any will, sends it without most of its properties,
// and, when it is delayed and its session has ended by then, does not retain
// it, or sends it after the client has come back. So wills are sent here; mochi
// only says when a client is lost.

// will is a message that is to be published when its client is lost.
type will struct {
	packet packets.Packet
	delay  time.Duration // unless its session ends first
}

// takeWill holds the will of a CONNECT to the rules of any message, and keeps
// it. What is left of an allowed will needs no look when it is sent.
func (s *Server) takeWill(c *conn, cl *mqtt.Client, pk packets.Packet) (refusal string) {
	if !pk.Connect.WillFlag {
		return ""
	}
	w := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: pk.Connect.WillRetain, Qos: pk.Connect.WillQos},
		TopicName:   strings.Clone(pk.Connect.WillTopic),
		Payload:     pk.Connect.WillPayload,
		Properties:  pk.Connect.WillProperties,
		PacketID:    uint16(pk.Connect.WillQos),
	}
	if c.emptyWill {
		w.Payload = nil
	}
	switch empty := len(w.Payload) == 0; {
	case !validTopic(w.TopicName):
		return "not a topic"
	case levels(w.TopicName) > s.opt.MaxLevels:
		return "too many levels"
	case !s.mayWrite(c.who, w.TopicName, w.FixedHeader.Retain && empty):
		return "may not write there"
	case !s.opt.Rules.Retainable(w.TopicName):
		w.FixedHeader.Retain = false
	}
	c.will = &will{packet: w, delay: time.Duration(pk.Connect.WillProperties.WillDelayInterval) * time.Second}
	c.will.packet.Properties.WillDelayInterval = 0
	cl.Properties.Will = mqtt.Will{Flag: 1} // for mochi to ask lastWill
	return ""
}

// allowEmpty keeps mochi from refusing a CONNECT with an empty will (3.1.3.3) or
// an empty password (3.1.3.5).
func allowEmpty(c *conn, pk packets.Packet) packets.Packet {
	if pk.Connect.WillFlag && len(pk.Connect.WillPayload) == 0 {
		c.emptyWill, pk.Connect.WillPayload = true, []byte{0}
	}
	if pk.Connect.UsernameFlag && len(pk.Connect.Password) == 0 {
		pk.Connect.PasswordFlag = false
	}
	return pk
}

// lastWill is asked by mochi when a client is lost. Without topic and retain
// flag mochi's own will reaches nobody.
func (s *Server) lastWill(cl *mqtt.Client) mqtt.Will {
	if c := connOf(cl); c != nil {
		s.lost(c)
	}
	return mqtt.Will{}
}

// lost sends a client's will if it still has one, or lets it wait for its
// session's end: MQTT 5, 3.1.3.2.2. A planned shutdown sends none: the house
// restarts its broker and is not lost.
func (s *Server) lost(c *conn) {
	w := c.will
	if c.will = nil; w == nil || s.stopping.Load() {
		return
	}
	lasts := time.Duration(c.client.Properties.Props.SessionExpiryInterval) * time.Second
	if delay := min(w.delay, lasts); delay > 0 {
		s.wills.add(c.client.ID, &waitingWill{conn: c, packet: w.packet}, delay, s.sendDelayed)
		return
	}
	s.sendWill(c, w.packet)
}

// sendWill publishes a will. One that is too much to be retained is sent all
// the same: who listens must know that a client was lost.
func (s *Server) sendWill(c *conn, pk packets.Packet) {
	if s.stopping.Load() {
		return
	}
	if pk.FixedHeader.Retain && len(pk.Payload) > 0 {
		if why := s.mayRetain(c, pk); why != "" {
			pk.FixedHeader.Retain = false
			s.log.Warn().Str("client", c.client.ID).Str("topic", shorten(pk.TopicName)).Str("why", why).Msg("will is not retained")
			s.refused(c, Publishing, pk.TopicName, "its will is not retained: "+why)
		}
	}
	// An inline client with the same id may publish as the client did.
	ghost := s.mqtt.NewClient(nil, mqtt.LocalListener, c.client.ID, true)
	ghost.Properties.ProtocolVersion = c.client.Properties.ProtocolVersion
	if err := s.mqtt.InjectPacket(ghost, pk); err != nil {
		s.log.Error().Err(err).Str("client", c.client.ID).Str("topic", shorten(pk.TopicName)).Msg("will not published")
	}
}

// settleWill is called in the turn of a client's id before its session begins. A
// will that waits is not sent when its session goes on (3.1.3-9); when the
// session has ended, or is ended by the client, it is sent now.
func (s *Server) settleWill(id string, clean bool) {
	w := s.wills.take(id, nil)
	if w == nil {
		return
	}
	if _, goesOn := s.mqtt.Clients.Get(id); !goesOn || clean {
		s.sendWill(w.conn, w.packet)
	}
}

// sendDelayed sends a will whose time has come, unless its client is just
// coming back: then that settles it, or it is tried again.
func (s *Server) sendDelayed(id string, w *waitingWill) {
	const again = 100 * time.Millisecond
	tried := false
	s.takeover.whileFree(id, func() {
		tried = true
		if s.wills.take(id, w) != nil {
			s.contain(w.conn, "sending a will", func() { s.sendWill(w.conn, w.packet) })
		}
	})
	if !tried {
		s.wills.again(id, w, again)
	}
}

// waitingWill is one whose client is lost.
type waitingWill struct {
	conn   *conn // its client's last
	packet packets.Packet
	timer  *time.Timer
}

// wills are those that wait.
type wills struct {
	mu      sync.Mutex // guards waiting and closed
	waiting map[string]*waitingWill
	closed  bool
	sending sync.WaitGroup
}

func (ws *wills) add(id string, w *waitingWill, delay time.Duration, due func(string, *waitingWill)) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return
	}
	if ws.waiting == nil {
		ws.waiting = map[string]*waitingWill{}
	}
	ws.waiting[id] = w
	w.timer = time.AfterFunc(delay, func() {
		if ws.begin() {
			defer ws.sending.Done()
			due(id, w)
		}
	})
}

func (ws *wills) begin() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !ws.closed {
		ws.sending.Add(1)
	}
	return !ws.closed
}

// again lets a will that waits wait longer.
func (ws *wills) again(id string, w *waitingWill, delay time.Duration) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.waiting[id] == w && !ws.closed {
		w.timer.Reset(delay)
	}
}

// take is the will that waits under an id and waits no more; if it is that, or
// that is nil.
func (ws *wills) take(id string, that *waitingWill) *waitingWill {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.waiting[id]
	if w == nil || that != nil && w != that {
		return nil
	}
	w.timer.Stop()
	delete(ws.waiting, id)
	return w
}

// close forgets those that wait, and returns when none is being sent.
func (ws *wills) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, w := range ws.waiting {
		w.timer.Stop()
	}
	ws.waiting = nil
	ws.mu.Unlock()
	ws.sending.Wait()
}
