package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
)

// longestClientID is far above what any client makes up for itself, in bytes.
const longestClientID = 256

// admit decides about a CONNECT: who it is, its will, its turn. A refused
// client gets a CONNACK that says so, and the error ends the connection.
func (s *Server) admit(cl *mqtt.Client, pk packets.Packet) error {
	c := connOf(cl)
	if c == nil {
		return packets.ErrNotAuthorized
	}
	c.client = cl
	cl.ID = strings.Clone(cl.ID)
	clampKeepAlive(c, cl, s.opt.MaxKeepAlive)
	s.boundExpiry(c, cl)
	c.flow.takeOver(cl)
	c.aliases.takeOver(cl)
	if len(cl.ID) > longestClientID {
		return s.turnAway(cl, packets.ErrClientIdentifierNotValid)
	}
	if no := s.recognise(c, pk); no != nil {
		s.refused(c, Connecting, "", no.why)
		return s.turnAway(cl, no.code)
	}
	c.holder() // from here on anybody may ask
	if why := s.takeWill(c, cl, pk); why != "" {
		s.refused(c, Willing, pk.Connect.WillTopic, why)
		return s.turnAway(cl, packets.ErrNotAuthorized)
	}
	if code, ok := s.awaitTurn(c, cl); !ok {
		return s.turnAway(cl, code)
	}
	s.settleWill(cl.ID, pk.Connect.Clean)
	c.succeed() // after the will, which may be for this client
	return nil
}

// turnAway answers CONNECT with a refusal. MQTT 3.1.1 has fewer codes, and
// mochi translates not all of them, or into the wrong ones.
func (s *Server) turnAway(cl *mqtt.Client, code packets.Code) error {
	answer := code
	if cl.Properties.ProtocolVersion < 5 {
		switch code {
		case packets.ErrNotAuthorized:
			answer = packets.ErrBadUsernameOrPassword // becomes 5, not authorized
		case packets.ErrBadUsernameOrPassword:
			answer = packets.ErrMalformedUsername // becomes 4, bad user name or password
		case packets.ErrConnectionRateExceeded:
			answer = packets.ErrServerUnavailable // becomes 3
		}
	}
	_ = s.mqtt.SendConnack(cl, answer, false, nil)
	return code
}

// connackCode mends what mochi answers by itself to a CONNECT that it finds
// wrong. To a version of MQTT that there is not: 1 (3.1.2-2). To a client of MQTT
// 3.1.1 without an id that wants a session to be kept: 2 (3.1.3-8). To others of
// its kind never what that does not know: they are hung up on (3.1.4-1).
func connackCode(c *conn, cl *mqtt.Client, pk packets.Packet) byte {
	const known = 5 // the highest of MQTT 3.1.1
	switch v, p := pk.ProtocolVersion, cl.Properties; {
	case v == 5 || pk.ReasonCode <= known:
	case v != 4:
		return packets.Err3UnsupportedProtocolVersion.Code
	case p.Props.AssignedClientID != "" && !p.Clean && pk.ReasonCode == packets.ErrUnspecifiedError.Code:
		return packets.Err3ClientIdentifierNotValid.Code
	default:
		_ = c.Close()
	}
	return pk.ReasonCode
}

func (s *Server) mayWrite(who []topics.Identity, topic string, emptying bool) bool {
	for _, w := range who {
		if emptying && s.opt.Rules.MayEmpty(w, topic) || s.opt.Rules.MayWrite(w, topic) {
			return true
		}
	}
	return false
}

func (s *Server) mayRead(who []topics.Identity, filter string) bool {
	for _, w := range who {
		if s.opt.Rules.MayRead(w, filter) {
			return true
		}
	}
	return false
}

// verdicts remembers what the rules said about a client's topics: a client has
// few, and publishes on them again and again.
type verdicts struct {
	writing, emptying map[string]*verdict
	said              int // log lines about this client
}

type verdict struct {
	refusal  string // why it is refused; "" for allowed
	unkept   bool   // must not be retained
	saidOnce bool   // the log has it
	audience audience
}

// Bounds for a client that makes up topics.
const (
	mostVerdicts = 512
	longestKnown = 1 << 10 // bytes of a topic that is remembered
	mostSaid     = 20
)

// say tells whether the log shall have a line about v, the first time.
func (vs *verdicts) say(v *verdict) bool {
	if v.saidOnce || !vs.sayMore() {
		return false
	}
	v.saidOnce = true
	return true
}

// sayMore tells whether the log shall have another line about the client.
func (vs *verdicts) sayMore() bool {
	vs.said++
	return vs.said <= mostSaid
}

// published decides about a PUBLISH, and publishes what is allowed. All that is
// left for mochi is to acknowledge it. What is refused is acknowledged too and
// goes nowhere: mochi would disconnect a client of MQTT 3.1.1, which then comes
// back and does the same again.
func (s *Server) published(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c == nil { // the broker itself
		s.publish(nil, &audience{}, pk)
		pk.Ignore = true
		return pk, nil
	}
	c.arrivals.restore(&pk)
	emptying := pk.FixedHeader.Retain && len(pk.Payload) == 0
	v := s.verdict(c, pk.TopicName, emptying)
	if v.refusal != "" {
		return s.ignore(c, pk, v, v.refusal, s.refusalOf(pk.TopicName))
	}
	switch {
	case !pk.FixedHeader.Retain, emptying:
	case v.unkept:
		// A command that is found later would be run later.
		pk.FixedHeader.Retain = false
		if c.verdicts.say(v) {
			s.log.Warn().Str("client", cl.ID).Str("topic", shorten(pk.TopicName)).Msg("retain flag taken off: commands and events are never kept")
		}
	default:
		// mochi's topic is a piece of the packet it came in, which would be kept
		// with it.
		pk.TopicName = strings.Clone(pk.TopicName)
		if why := s.mayRetain(c, pk); why != "" {
			return s.ignore(c, pk, v, why, packets.ErrQuotaExceeded)
		}
	}
	s.publish(c, &v.audience, pk)
	pk.Ignore = true
	return pk, nil
}

// ignore refuses a PUBLISH.
func (s *Server) ignore(c *conn, pk packets.Packet, v *verdict, why string, reason packets.Code) (packets.Packet, error) {
	c.answers.refuse(pk, reason)
	topic := pk.TopicName
	if strings.HasPrefix(topic, shield+"$") {
		topic = topic[len(shield):]
	}
	if c.verdicts.say(v) {
		s.log.Warn().Str("client", c.client.ID).Str("topic", shorten(topic)).Str("why", why).Msg("message refused: acknowledged and ignored")
	}
	s.refused(c, Publishing, topic, why)
	pk.Ignore = true
	return pk, nil
}

func (s *Server) verdict(c *conn, topic string, emptying bool) *verdict {
	known := &c.verdicts.writing
	if emptying {
		known = &c.verdicts.emptying
	}
	if v := (*known)[topic]; v != nil {
		return v
	}
	v := &verdict{refusal: s.judge(c, topic, emptying), unkept: !s.opt.Rules.Retainable(topic)}
	if len(topic) > longestKnown {
		return v
	}
	if *known == nil || len(*known) >= mostVerdicts {
		*known = map[string]*verdict{}
	}
	(*known)[strings.Clone(topic)] = v
	return v
}

func (s *Server) judge(c *conn, topic string, emptying bool) (refusal string) {
	switch {
	case isOwn(topic):
		return "topics that begin with $ are the broker's own"
	case levels(topic) > s.opt.MaxLevels:
		return "too many levels"
	case !s.mayWrite(c.who, topic, emptying):
		return "may not write there"
	}
	return ""
}

// shield is put before the topics that mochi drops without acknowledging them.
const shield = "$"

// received sees every packet before mochi handles it.
func (s *Server) received(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch c := connOf(cl); {
	case c == nil:
	case pk.FixedHeader.Type == packets.Connect:
		pk = allowEmpty(c, pk)
	case pk.FixedHeader.Type == packets.Publish:
		pk = s.arrived(&c.arrivals, cl, pk)
	case pk.FixedHeader.Type == packets.Puback, pk.FixedHeader.Type == packets.Pubcomp,
		pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode >= packets.ErrUnspecifiedError.Code:
		c.resumption.forget(pk.PacketID)
	case pk.FixedHeader.Type == packets.Pubrel:
		pk = c.arrivals.released(pk)
	case pk.FixedHeader.Type == packets.Disconnect:
		s.changeExpiry(cl, &pk)
		if c.inspection.reason != 0 { // the will is sent (3.14.4-3)
			pk.ReasonCode = packets.CodeDisconnectWillMessage.Code
		}
	}
	if t := pk.TopicName; pk.FixedHeader.Type == packets.Publish &&
		len(t) >= len(mqtt.SysPrefix) && strings.EqualFold(t[:len(mqtt.SysPrefix)], mqtt.SysPrefix) {
		pk.TopicName = shield + t
	}
	return pk
}

// processed sees every packet after mochi handled it.
func (s *Server) processed(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	if c == nil {
		return
	}
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
		s.startReplay(c)
	case packets.Publish:
		s.arrivalSettled(&c.arrivals, cl)
	case packets.Puback, packets.Pubcomp:
		c.flow.free(pk.PacketID)
		c.replay.acknowledged(pk.PacketID)
		c.acknowledged()
		s.release(c)
	case packets.Pubrec:
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code { // the end of it
			c.flow.free(pk.PacketID)
			s.release(c)
		}
		s.admitArrivals(cl, true) // mochi took it for one
	}
}

// encoding sees every packet before it is written.
func (s *Server) encoding(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	if pk.FixedHeader.Type != packets.Publish {
		answered(&pk)
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		tellExpiry(c, &pk)
		s.announce(&pk)
		if pk.ReasonCode = connackCode(c, cl, pk); pk.ReasonCode == packets.CodeSuccess.Code {
			c.inherit(cl, pk.SessionPresent)
			c.known()
		}
	case packets.Suback:
		pk.PacketID = c.subscribe
	case packets.Unsuback:
		pk.ReasonCodes = c.answers.unsubscribed
	case packets.Puback, packets.Pubrec:
		c.answers.acknowledge(&pk)
		c.arrivals.acknowledge(&pk)
	case packets.Pubrel:
		pk = c.resumption.await(c, pk)
	case packets.Pingresp:
		pk = c.arrivals.answered(pk)
	case packets.Publish:
		if pk = c.resumption.await(c, pk); c.resumption.muted.Load() {
			return pk
		}
		if pk.FixedHeader.Qos > 0 {
			c.flow.take(pk.PacketID, c.closed) // news have their place already
			c.resumption.written(pk.PacketID)
		}
	}
	return pk
}

// refused tells of a refusal. The log has one line in ten seconds at most of
// those that a client can repeat by connecting again.
func (s *Server) refused(c *conn, what Deed, topic, why string) {
	s.count.refused.Add(1)
	switch what {
	case Connecting:
		s.turnedAway(c, &s.door.refused, why)
	case Willing:
		s.turnedAway(c, &s.door.refused, "its will on "+shorten(topic)+": "+why)
	}
	if s.opt.Refused == nil {
		return
	}
	s.opt.Refused(Refusal{
		What:    what,
		Client:  c.client.ID,
		Account: c.name(),
		Remote:  c.RemoteAddr().String(),
		Who:     c.who,
		Topic:   strings.Clone(topic),
		Why:     why,
	})
}
