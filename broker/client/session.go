package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// session is one connection of the node, from LinkUp to LinkDown.
type session struct {
	sid   topics.Sid
	link  *link
	phase phase
	open  bool // the room has taken LinkSynced: it may publish
	deaf  bool // given up; what still comes is dropped
	born  bool // the room's presence of this session is online

	replayed time.Time            // when the last message of the replay came
	rival    *topics.Presence     // what our presence topic says of another machine, online
	yielded  bool                 // shared: another leader stands there, until our presence is published again
	kept     map[string]*kept     // by guarded topic
	leftover []retained           // commands that were retained before our birth
	cleared  map[string]time.Time // commands' topics we emptied, whose echo is to come
	ran      map[string]ran       // by topic, the command that ran last
	recheck  bool                 // a look for retained commands is due
	named    []uint64             // sums of what we said of our name, whose echo is to come
	warned   time.Time            // when another's word on our name was logged
}

// phase is how far a session came.
type phase int

const (
	replaying phase = iota // until the token is back
	listening              // whether the machine that has our name is alive
	synced
)

func newSession(sid topics.Sid, l *link) *session {
	return &session{
		sid: sid, link: l, replayed: time.Now(),
		kept: map[string]*kept{}, cleared: map[string]time.Time{}, ran: map[string]ran{},
	}
}

// hear sorts a message of the broker: what is the node's own business stays
// here, the rest is the room's.
func (l *life) hear(m topics.Message) {
	s := l.session
	if m.Retained {
		s.replayed = time.Now()
	}
	if m.Topic == l.Space.Sync(l.speaker(), s.sid) {
		l.fenced()
		return
	}
	if l.hearAnswer(m) {
		return
	}
	switch {
	case l.Node == "":
		l.pass(m)
	case m.Topic == l.Space.Presence(l.Node):
		l.hearPresence(m)
	case l.guarded(m.Topic):
		l.hearGuarded(m)
	case matches(l.commands(), m.Topic):
		l.hearCommand(m)
	case matches(l.own()+"event/#", m.Topic):
		l.hearOwnEvent(m)
	default:
		l.pass(m)
	}
}

// pass hands a message to the room.
func (l *life) pass(m topics.Message) {
	l.deliver(topics.Inbound{Sid: l.session.sid, Message: m})
}

// fenceDue goes on without the token when the broker has been silent for the
// whole fence; while retained messages still come, the replay is not over.
func (l *life) fenceDue() {
	s := l.session
	if s.phase != replaying {
		return
	}
	if left := l.pace.fence - time.Since(s.replayed); left > 0 {
		l.later(left, s, l.fenceDue)
		return
	}
	l.Log.Warn().Stringer("broker", l.broker).Str("topic", l.Space.Sync(l.speaker(), s.sid)).
		Msg("the broker did not return our sync token: taking the replay for whole (may this client write and read that topic?)")
	l.fenced()
}

// fenced ends the replay. A node whose name is borne by another machine then
// listens for it first.
func (l *life) fenced() {
	s := l.session
	switch {
	case s.phase != replaying:
	case s.rival == nil:
		l.sync()
	default:
		s.phase = listening
		l.Log.Warn().Str("node", string(l.Node)).Str("machine", string(s.rival.ID)).Stringer("for", l.pace.listen).
			Msg("the name is borne by another machine: listening whether it is alive")
		l.later(l.pace.listen, s, l.claim)
	}
}

// claim takes a name whose bearer is silent.
func (l *life) claim() {
	s := l.session
	if s.phase != listening {
		return
	}
	text := fmt.Sprintf("machine %s had the name %s and was silent for %s: machine %s has taken it", s.rival.ID, l.Node, l.pace.listen, l.ID)
	l.Log.Warn().Msg(text)
	l.sayName(topics.Fault{
		Code: topics.FaultName, Text: text, Topic: l.Space.Presence(l.Node),
		Next: "give the other machine another name before it comes back",
	})
	l.sync()
}

func (l *life) sync() {
	s := l.session
	s.phase = synced
	l.deliver(topics.Inbound{Link: topics.LinkSynced, Sid: s.sid})
	if away, say := l.troubles.recovered(time.Now()); say {
		l.Log.Info().Stringer("broker", l.broker).Stringer("away", away.Round(time.Second)).Msg("the link to the broker is back")
	}
	l.askAgain()
}

// hearOwnEvent hears another bearer of our name: its heartbeat decides for a
// node whether the name is in use, and is news for a coordinator; that it
// left the name to us, or took it, is for the log. Our own events are no news,
// and nobody else may write there.
func (l *life) hearOwnEvent(m topics.Message) {
	s := l.session
	if m.Topic == l.Space.Error(l.Node, topics.ErrName) {
		l.hearName(m)
		return
	}
	agent := m.Topic == l.Space.Heartbeat(l.Node)
	if m.Retained || !agent && m.Topic != l.Space.PlanHeartbeat() {
		return
	}
	beat, err := topics.Decode[topics.Heartbeat](m.Payload)
	switch {
	case err != nil || beat.Sid == s.sid:
	case l.Shared:
		l.pass(m)
	case agent && s.phase != synced && s.rival != nil && (beat.Sid == s.rival.Sid || s.rival.Sid == ""):
		l.yieldName(*s.rival)
	}
}

// hearName logs what another machine says of our name, at most once a second.
func (l *life) hearName(m topics.Message) {
	s := l.session
	if i := slices.Index(s.named, l.sum(m.Payload)); i >= 0 {
		s.named = slices.Delete(s.named, i, i+1)
		return
	}
	fault, err := topics.Decode[topics.Fault](m.Payload)
	if err != nil || m.Retained || l.Shared || time.Since(s.warned) < l.pace.heal {
		return
	}
	s.warned = time.Now()
	l.Log.Warn().Str("node", string(l.Node)).Str("code", fault.Code).Str("next", fault.Next).
		Msg("another machine uses our name: " + fault.Text)
}

// yieldName ends Run: the name is another machine's. The house hears it from
// us, and so does the machine that has the name: nobody looks at our log.
func (l *life) yieldName(p topics.Presence) {
	l.end = &NameInUse{l.Node, p.ID, p.Sid, l.born}
	l.sayName(topics.Fault{
		Code: topics.FaultName, Topic: l.Space.Presence(l.Node),
		Text: fmt.Sprintf("machine %s has the name %s: machine %s wanted it too and has left", p.ID, l.Node, l.ID),
		Next: fmt.Sprintf("give machine %s another name, and a machine id of its own if it is a copy of %s", l.ID, p.ID),
	})
}

// sayName says something of our name, and knows it again when it comes back.
func (l *life) sayName(f topics.Fault) {
	l.session.named = append(l.session.named, l.sum(topics.Encode(f)))
	l.say(l.Space.Error(l.Node, topics.ErrName), f)
}

// hearPresence hears our own presence topic: another bearer of the name, a
// stale will, or our own words.
func (l *life) hearPresence(m topics.Message) {
	s := l.session
	p, err := topics.DecodePresence(m.Payload)
	other := err == nil && p.ID != "" && p.ID != l.ID
	switch {
	case !s.born:
		l.hearPresenceUnborn(m, p, other)
	case other && p.State == topics.Online && l.Shared:
		s.yielded = true
		l.pass(m)
	case other && p.State == topics.Online:
		l.twoBorn(m, p)
	case err != nil || p.ID == "":
		l.hearGuarded(m)
	default:
		if other && l.Shared {
			l.pass(m)
		}
		l.hearStale(m)
	}
}

// hearPresenceUnborn notes who bears the name before we do. The room sees it
// until LinkSynced; the coordinator's room always: it may be another leader.
func (l *life) hearPresenceUnborn(m topics.Message, p topics.Presence, other bool) {
	s := l.session
	if s.phase != synced || l.Shared {
		l.pass(m)
	}
	l.hearGuarded(m)
	s.rival = nil
	switch {
	case l.Shared:
	case other && p.State == topics.Online && !m.Retained:
		l.yieldName(p) // it was born, or said so again, while we looked
	case other && p.State == topics.Online:
		s.rival = &p
	case s.phase == listening:
		l.sync() // it has left
	}
}

// twoBorn decides between two machines that were born under one name: who sees
// a smaller machine id leaves, the other says its birth again.
func (l *life) twoBorn(m topics.Message, p topics.Presence) {
	if p.ID < l.ID {
		l.yieldName(p)
		return
	}
	l.Log.Warn().Str("node", string(l.Node)).Str("machine", string(p.ID)).Msg("another machine took our name: it is told that we are here")
	l.hearStale(m)
}

// fromRoom publishes for the room.
func (l *life) fromRoom(m topics.Message) error {
	if id, ok := strings.CutPrefix(m.Topic, l.own()+"event/reply/"); ok {
		l.ledger.answer(id, m) // also when it cannot be sent: the sender asks again
	}
	s := l.session
	if s == nil || !s.open || s.deaf {
		return ErrDown
	}
	if l.Node != "" && m.Topic == l.Space.Presence(l.Node) {
		return l.fromRoomPresence(m)
	}
	return l.write(m)
}

// fromRoomPresence publishes the room's presence. The first online of a
// session is its birth: just before it, what an earlier session left is
// emptied; just after it, commands that were retained are refused.
func (l *life) fromRoomPresence(m topics.Message) error {
	s := l.session
	p, err := topics.Decode[topics.Presence](m.Payload)
	switch {
	case err != nil:
		return err
	case p.Sid != s.sid:
		return fmt.Errorf("presence is of session %q, but this is %q", p.Sid, s.sid)
	case p.ID != l.ID:
		return fmt.Errorf("presence is of machine %q, but this is %q", p.ID, l.ID)
	}
	there := p.State == topics.Online || p.State == topics.Sleeping
	birth := there && !s.born
	if birth && !l.Shared {
		l.emptyGhosts()
	}
	if err := l.write(m); err != nil {
		return err
	}
	s.born = there
	s.yielded = s.yielded && !there
	if birth {
		l.born = true
		l.armAll()
		l.refuseLeftovers()
	}
	return nil
}

// write remembers what the room keeps on the broker, and sends it.
func (l *life) write(m topics.Message) error {
	if l.guarded(m.Topic) {
		l.keep(m.Topic).written = &m
	}
	return l.send(m)
}

// send hands a message to the link; a link that does not take it is broken.
func (l *life) send(m topics.Message) error {
	s := l.session
	if l.guarded(m.Topic) && l.covered(m.Topic) {
		l.keep(m.Topic).expect(l.sum(m.Payload), time.Now())
	}
	if err := s.link.publish(m); err != nil {
		l.Log.Debug().Err(err).Str("topic", m.Topic).Msg("publish")
		s.link.abort()
		return ErrDown
	}
	return nil
}

// say sends an event of the node's own.
func (l *life) say(topic string, payload any) {
	l.send(topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1})
}
