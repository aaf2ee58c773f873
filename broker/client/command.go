package client

import (
	"errors"
	"time"

	"dominion/topics"
)

// retained is a command that came with the retained flag.
type retained struct {
	topic string
	id    string // "" when it has none
}

// ran is a command that was handed to the room.
type ran struct {
	sum uint64 // of the payload
	at  time.Time
}

// hearCommand reads a message below our command/: what is no command is
// refused, what was asked before is answered again, the rest is the room's.
func (l *life) hearCommand(m topics.Message) {
	s := l.session
	if len(m.Payload) == 0 && l.ownClearing(m.Topic) {
		return
	}
	if m.Retained {
		l.hearRetained(m)
		return
	}
	if !s.born {
		return // the sender tries again
	}
	r, err := l.Space.DecodeRequest(m)
	if err != nil {
		l.refuse(m.Topic, r.ID, faultOf(m, err))
		return
	}
	now := time.Now()
	if e := l.ledger.known(r, now, l.pace.restart); e != nil {
		l.answerAgain(e)
		return
	}
	if r.Bare {
		r.ID = topics.NewID(10)
	}
	l.ledger.add(r, now)
	s.ran[m.Topic] = ran{l.sum(m.Payload), now}
	l.deliver(topics.Inbound{Sid: s.sid, Message: m, Request: &r})
	l.lookForRetained()
}

// ownClearing tells, once and for five seconds, that an empty payload is the
// echo of our emptying a retained command.
func (l *life) ownClearing(topic string) bool {
	at, ok := l.session.cleared[topic]
	delete(l.session.cleared, topic)
	return ok && time.Since(at) < echoTime
}

// answerAgain repeats the last reply. A command that the room has not answered
// yet is accepted as far as anybody can say.
func (l *life) answerAgain(e *entry) {
	if e.reply != nil {
		l.send(*e.reply)
		return
	}
	l.say(l.Space.Reply(l.Node, e.id), topics.Reply{ID: e.id, Status: topics.Accepted, Topic: e.topic})
}

func faultOf(m topics.Message, err error) topics.Fault {
	f := topics.Fault{Code: topics.FaultBad, Text: err.Error(), Topic: m.Topic, Next: "send a JSON object or one bare word: mosquitto_pub -t " + m.Topic + " -m now"}
	if len(m.Payload) == 0 {
		f.Code = topics.FaultEmpty
	}
	var field *topics.FieldError
	if errors.As(err, &field) {
		f.Field = field.Field
	}
	return f
}

// refuse answers a command that was not handed to the room, and reports it.
func (l *life) refuse(topic, id string, f topics.Fault) {
	if id == "" {
		id = topics.NewID(10)
	}
	l.say(l.Space.Reply(l.Node, id), topics.Reply{
		ID: id, Status: topics.Refused, Topic: topic,
		Why: &topics.Why{Code: f.Code, Text: f.Text, Next: f.Next},
	})
	l.report(topics.ErrCommand, f)
}

// hearRetained refuses a command that a broker kept, after our birth.
func (l *life) hearRetained(m topics.Message) {
	r, _ := l.Space.DecodeRequest(m)
	left := retained{m.Topic, r.ID}
	if !l.session.born {
		l.session.leftover = append(l.session.leftover, left)
		return
	}
	l.refuseRetained(left, l.session.ran[m.Topic].sum == l.sum(m.Payload))
}

func (l *life) refuseLeftovers() {
	for _, left := range l.session.leftover {
		l.refuseRetained(left, false)
	}
	l.session.leftover = nil
}

// refuseRetained clears a retained command. One that ran when it came as news
// was answered then.
func (l *life) refuseRetained(left retained, ran bool) {
	l.session.cleared[left.topic] = time.Now()
	l.send(topics.Message{Topic: left.topic, QoS: 1, Retained: true})
	f := topics.Fault{
		Code: topics.FaultRetained, Topic: left.topic,
		Text: "a command must not be retained: it was cleared, and will not run again",
		Next: "send it without the retained flag (mosquitto_pub without -r)",
	}
	if ran || left.id != "" && l.ledger.entries[left.id] != nil {
		l.report(topics.ErrCommand, f)
		return
	}
	l.refuse(left.topic, left.id, f)
}

// lookForRetained subscribes to our commands once more, a while after one ran:
// a 3.1.1 subscriber sees only then that a command was retained.
func (l *life) lookForRetained() {
	s := l.session
	if s.recheck {
		return
	}
	s.recheck = true
	l.later(l.pace.recheck, s, func() {
		s.recheck = false
		for topic, r := range s.ran {
			if time.Since(r.at) > echoTime+l.pace.recheck {
				delete(s.ran, topic)
			}
		}
		if s.link.subscribe(l.commands()) != nil {
			s.link.abort()
		}
	})
}
