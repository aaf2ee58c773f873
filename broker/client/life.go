package client

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"dominion/topics"
)

// life is all state of a client that runs. Only Run's goroutine touches it.
type life struct {
	*Client
	session  *session // nil while the link is down
	ledger   ledger
	faults   faults
	troubles troubles
	asked    map[string]*question // by the command's id
	seed     maphash.Seed

	waiting []topics.Inbound // for the room
	bytes   int              // cost of waiting
	slow    bool             // the room let waiting grow too long: connect when it is empty

	agenda   agenda
	attempts chan attempt // buffered: one is under way at a time
	trying   bool
	running  sync.WaitGroup // the links' goroutines
	end      error          // why Run must return
	met      bool           // there was a link once
	born     bool           // there was a birth once
	trouble  error          // why there is none now
}

// attempt is how a connect ended.
type attempt struct {
	sid  topics.Sid
	link *link
	err  error
}

func newLife(c *Client) *life {
	return &life{
		Client: c, ledger: newLedger(), faults: faults{}, asked: map[string]*question{},
		attempts: make(chan attempt, 1), seed: maphash.MakeSeed(),
	}
}

func (l *life) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.running.Wait()
	defer l.leave(cancel)
	l.try(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.end == nil {
		timer.Reset(l.agenda.next(time.Now()))
		mail, lost := l.wires()
		room, head := l.door()
		select {
		case <-ctx.Done():
			return nil
		case room <- head:
			l.taken(ctx, head)
		case <-mail:
			l.read()
		case err := <-lost:
			l.session.link.dead = true
			l.read()
			l.down(ctx, err)
		case out := <-l.publishes:
			out.result <- l.fromRoom(out.message)
		case q := <-l.questions:
			l.ask(q)
		case q := <-l.withdrawn:
			l.forget(q)
		case a := <-l.attempts:
			l.trying = false
			l.up(ctx, a)
		case <-timer.C:
			l.work()
		}
	}
	return l.end
}

// wires are the session's channels, nil while there is none.
func (l *life) wires() (mail <-chan struct{}, lost <-chan error) {
	if l.session == nil {
		return nil, nil
	}
	return l.session.link.mail.wake, l.session.link.lost
}

// door is the room's channel and what to hand it, nil when nothing waits.
func (l *life) door() (chan<- topics.Inbound, topics.Inbound) {
	if len(l.waiting) == 0 {
		return nil, topics.Inbound{}
	}
	return l.inbound, l.waiting[0]
}

func (l *life) work() {
	for {
		do, due := l.agenda.pop(time.Now())
		if !due {
			return
		}
		do()
	}
}

// later does something after d, unless the session s has ended by then.
func (l *life) later(d time.Duration, s *session, do func()) {
	l.agenda.add(time.Now().Add(d), func() {
		if l.session == s {
			do()
		}
	})
}

// try connects in the background.
func (l *life) try(ctx context.Context) {
	if l.trying || l.session != nil || ctx.Err() != nil {
		return
	}
	l.trying = true
	go func() {
		sid := topics.NewSid()
		link, err := l.connect(ctx, sid, &l.running)
		l.attempts <- attempt{sid, link, err}
	}()
}

// again connects after 1 to 3 s, so that a broker that comes back is not run over.
func (l *life) again(ctx context.Context) {
	if l.slow && len(l.waiting) > 0 {
		return // taken connects when the room has caught up
	}
	l.slow = false
	wait := l.pace.retry + time.Duration(rand.Int64N(int64(l.pace.spread)+1))
	l.later(wait, nil, func() { l.try(ctx) })
}

func (l *life) up(ctx context.Context, a attempt) {
	if a.err != nil {
		if ctx.Err() == nil {
			l.complain(a.err)
			l.disappoint()
		}
		l.again(ctx)
		return
	}
	s := newSession(a.sid, a.link)
	l.session, l.met, l.trouble = s, true, nil
	l.deliver(topics.Inbound{Link: topics.LinkUp, Sid: s.sid})
	l.later(l.pace.fence, s, l.fenceDue)
	l.Log.Debug().Str("sid", string(s.sid)).Msg("connected")
}

// complain logs why there is no link: at once when it is new, then seldom.
func (l *life) complain(err error) {
	l.trouble = err
	if l.troubles.failed(time.Now(), err.Error()) {
		l.Log.Warn().Stringer("broker", l.broker).Msg("no link, still trying: " + err.Error())
	}
}

// down ends the session after its connection was lost.
func (l *life) down(ctx context.Context, err error) {
	s := l.session
	if s == nil {
		return
	}
	l.session = nil
	s.link.end()
	l.retract(s)
	l.complain(fmt.Errorf("the link to the broker at %s was lost: %w", l.broker, plain(err)))
	l.again(ctx)
}

// retract tells the room that a session is over; a session that the room has
// not begun to read is taken back whole, its commands as if never received:
// their senders try again.
func (l *life) retract(s *session) {
	for i, in := range l.waiting {
		if in.Link == topics.LinkUp && in.Sid == s.sid {
			for _, gone := range l.waiting[i:] {
				l.drop(gone)
			}
			clear(l.waiting[i:])
			l.waiting = l.waiting[:i]
			return
		}
	}
	l.deliver(topics.Inbound{Link: topics.LinkDown, Sid: s.sid})
}

func (l *life) drop(in topics.Inbound) {
	l.bytes -= cost(in.Message)
	if in.Request != nil {
		l.ledger.forget(in.Request.ID)
	}
}

// deliver puts something into the room's stream.
func (l *life) deliver(in topics.Inbound) {
	l.waiting = append(l.waiting, in)
	l.bytes += cost(in.Message)
	if l.bytes > l.pace.limit && l.session != nil {
		l.overflow()
	}
}

// overflow gives the session up: what the room has not read of it is dropped
// with the link, and the next session begins when the room has caught up. A
// LinkSynced it has not read goes too: what it would read before is not whole.
func (l *life) overflow() {
	l.Log.Error().Int("bytes", l.bytes).Int("messages", len(l.waiting)).
		Msg("the room does not keep up with its messages: the link is dropped, all is read again when it has caught up")
	kept := l.waiting[:0]
	for _, in := range l.waiting {
		if in.Link == topics.LinkUp || in.Link == topics.LinkDown {
			kept = append(kept, in)
		} else {
			l.drop(in)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
	l.slow = true
	l.session.link.abort()
	l.session.deaf = true
}

// taken notes what the room has read.
func (l *life) taken(ctx context.Context, in topics.Inbound) {
	l.waiting[0] = topics.Inbound{}
	l.waiting = l.waiting[1:]
	l.bytes -= cost(in.Message)
	if in.Link == topics.LinkSynced && l.session != nil && l.session.sid == in.Sid {
		l.session.open = true
	}
	if l.slow && len(l.waiting) == 0 && l.session == nil {
		l.again(ctx)
	}
}

// read takes what the broker sent.
func (l *life) read() {
	s := l.session
	mail, full := s.link.mail.take()
	if full {
		if !s.deaf {
			l.overflow()
		}
		return
	}
	if s.link.acknowledge(mail) != nil {
		s.link.abort()
	}
	for _, letter := range mail {
		if s.deaf || l.end != nil {
			return
		}
		l.hear(letter.message)
	}
}

// leave says goodbye, whatever the state of the link.
func (l *life) leave(cancel context.CancelFunc) {
	cancel()
	if l.trying {
		if a := <-l.attempts; a.link != nil {
			a.link.goodbye(l.pace.goodbye)
		}
	}
	if l.session != nil {
		l.session.link.goodbye(l.pace.goodbye)
		l.session = nil
	}
	for _, q := range l.asked {
		l.settle(q, topics.Reply{}, ErrDown)
	}
}
