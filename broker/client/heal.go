package client

import (
	"bytes"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

// kept is a guarded topic: one that nobody but the node may write.
type kept struct {
	written *topics.Message // by the room in this session; nil when it did not
	echoes  []echo          // our publishes that have not come back yet
	foreign bool            // what was heard last is not ours
	full    bool            // what was heard last is not empty
	news    bool            // what was heard last was written while the node was there to see it, and no other of its name
	stale   bool            // a presence that every node puts right: no fault
	heard   time.Time       // when that was
	due     time.Time       // when it may be put right
	healed  time.Time
	held    int  // foreign messages since the last heal but one
	armed   bool // a check is on the agenda
}

// echo is a publish of ours that comes back, since we read what we write.
type echo struct {
	sum uint64 // of the payload
	at  time.Time
}

const (
	maxEchoes = 1024            // on their way for one topic; an older one is taken for foreign when it comes
	echoTime  = 5 * time.Second // an echo that has not come by then will not
)

func (k *kept) expect(sum uint64, now time.Time) {
	if len(k.echoes) == maxEchoes {
		k.echoes = slices.Delete(k.echoes, 0, 1)
	}
	k.echoes = append(k.echoes, echo{sum, now})
}

// returned takes a message for one of our own publishes come back, if it is: the
// broker keeps order, so those before it will not come any more. What was heard
// before we published it is overwritten then; of what was heard while it was on
// its way nobody can tell.
func (k *kept) returned(sum uint64) bool {
	i := slices.IndexFunc(k.echoes, func(e echo) bool { return e.sum == sum })
	if i < 0 {
		return false
	}
	if k.foreign && k.echoes[i].at.After(k.heard) {
		k.foreign = false
	}
	k.echoes = slices.Delete(k.echoes, 0, i+1)
	return true
}

// answered is until when an echo may come that settles what was heard.
func (k *kept) answered() time.Time {
	if n := len(k.echoes); n > 0 && k.echoes[n-1].at.After(k.heard) {
		return k.echoes[n-1].at.Add(echoTime)
	}
	return time.Time{}
}

// content is what the room wants on the topic.
func (k *kept) content() []byte {
	if k.written == nil {
		return nil
	}
	return k.written.Payload
}

func (l *life) sum(payload []byte) uint64 { return maphash.Bytes(l.seed, payload) }

func (l *life) keep(topic string) *kept {
	k := l.session.kept[topic]
	if k == nil {
		k = &kept{}
		l.session.kept[topic] = k
	}
	return k
}

// hearGuarded compares a message on a topic of ours with what we wrote. Until
// LinkSynced the room sees it too; afterwards only when another leads.
func (l *life) hearGuarded(m topics.Message) {
	s := l.session
	presence := m.Topic == l.Space.Presence(l.Node)
	if (s.phase != synced || s.yielded) && !presence {
		l.pass(m)
	}
	k := l.keep(m.Topic)
	switch {
	case k.returned(l.sum(m.Payload)):
	case k.written != nil && bytes.Equal(k.written.Payload, m.Payload):
		k.foreign = false
	default:
		k.hear(len(m.Payload) > 0, l.pace.quiet)
		k.news = s.born && !s.yielded && !m.Retained
		if s.born {
			k.held++
			l.arm(m.Topic, k, l.pace.quiet)
		}
	}
	l.tidy(m.Topic, k)
}

// hear notes a message that is not ours.
func (k *kept) hear(full bool, quiet time.Duration) {
	k.foreign, k.full, k.stale, k.news = true, full, false, false
	k.heard = time.Now()
	k.due = k.heard.Add(quiet)
}

// hearStale has the presence said again at once: it was an old will or an
// earlier word, which is nobody's fault, or another machine's.
func (l *life) hearStale(m topics.Message) {
	k := l.keep(m.Topic)
	if !k.returned(l.sum(m.Payload)) {
		k.hear(true, 0)
		k.stale = true
	}
	if k.foreign {
		l.check(m.Topic, k)
	}
}

// tidy forgets a topic on which there is, and should be, nothing.
func (l *life) tidy(topic string, k *kept) {
	empty := len(k.content()) == 0 && !(k.foreign && k.full)
	if empty && len(k.echoes) == 0 && !k.armed && time.Since(k.healed) > l.pace.heal {
		delete(l.session.kept, topic)
	}
}

func (l *life) arm(topic string, k *kept, wait time.Duration) {
	if k.armed {
		return
	}
	k.armed = true
	l.later(wait, l.session, func() {
		k.armed = false
		l.check(topic, k)
		l.tidy(topic, k)
	})
}

// armAll has all that was heard before the birth compared after it.
func (l *life) armAll() {
	for topic, k := range l.session.kept {
		l.arm(topic, k, l.pace.quiet)
	}
}

// check puts back what was overwritten or cleared, and empties what was never
// ours (of a shared name: what is below its state and no earlier leader's), when the topic has been quiet and was not healed a moment ago.
func (l *life) check(topic string, k *kept) {
	s := l.session
	if !s.born || s.yielded || !k.foreign {
		return
	}
	now := time.Now()
	wait := max(k.due.Sub(now), k.healed.Add(l.pace.heal).Sub(now), k.answered().Sub(now))
	switch {
	case wait > 0:
		l.arm(topic, k, wait)
	case len(k.content()) == 0 && !k.full, k.written == nil && l.Shared && !(k.news && matches(l.own()+"state/#", topic)):
		k.foreign, k.held = false, 0
	default:
		l.heal(topic, k, now)
	}
}

func (l *life) heal(topic string, k *kept, now time.Time) {
	put := topics.Message{Topic: topic, QoS: 1, Retained: true}
	if k.written != nil {
		put = *k.written
	}
	fault := topics.Fault{Code: topics.FaultForeign, Topic: topic, Count: max(0, k.held-1)}
	switch {
	case !k.full:
		fault.Code = topics.FaultCleared
		fault.Text = "this retained topic was cleared by another client: put back what " + string(l.Node) + " wrote"
	case len(put.Payload) == 0:
		fault.Text = "only " + string(l.Node) + " writes here, and it did not write this: emptied"
	default:
		fault.Text = "this was overwritten by another client: put back what " + string(l.Node) + " wrote"
	}
	fault.Next = "find who publishes there: mosquitto_sub -v -t " + topic
	quietly := k.stale
	k.foreign, k.stale, k.held, k.healed = false, false, 0, now
	if l.send(put) != nil || quietly {
		return
	}
	l.say(l.Space.Error(l.Node, topics.ErrState), fault)
	l.Log.Warn().Str("topic", topic).Str("code", fault.Code).Msg(fault.Text)
}

// emptyGhosts empties what earlier sessions left below our state and the room
// did not publish again. The readings stay: the first are measured after the
// birth, and until then the last ones say more than nothing.
func (l *life) emptyGhosts() {
	presence, readings := l.Space.Presence(l.Node), l.Space.Host(l.Node)
	for _, topic := range slices.Sorted(maps.Keys(l.session.kept)) {
		k := l.session.kept[topic]
		if topic == presence || k.written != nil || !k.full {
			continue
		}
		k.foreign = false
		if topic != readings {
			l.send(topics.Message{Topic: topic, QoS: 1, Retained: true})
		}
	}
}
