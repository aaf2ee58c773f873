package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"dominion/topics"
)

// ErrUnanswered is returned by Ask when no reply came to any of its tries.
var ErrUnanswered = errors.New("nobody answered")

// Refused is returned by Ask when the node refused the command or failed at
// it; Reply says which, and why.
type Refused struct {
	Topic string
	Reply topics.Reply
}

func (e *Refused) Error() string {
	text := fmt.Sprintf("%s: %s", e.Topic, e.Reply.Status)
	if w := e.Reply.Why; w != nil {
		text += ": " + w.Text
		if w.Next != "" {
			text += " (next: " + w.Next + ")"
		}
	}
	return text
}

// Command is what Ask sends: <Node>/command/<Method>/<Subject> with Fields as
// its JSON object; Ask adds the id.
type Command struct {
	Node            topics.Node
	Method, Subject string
	Fields          map[string]any
}

// Tries of a command: those without any answer, and all when it was accepted
// and its end is waited for. Each has the same id, so that it runs once.
const (
	tries         = 3
	triesAccepted = 6
)

// question is a command that waits for its final reply.
type question struct {
	id          string
	message     topics.Message // the command
	reply       string         // the topic of its replies
	own         bool           // reply is subscribed to for this question alone
	session     *session       // the one it was last sent in
	sent, turns int
	accepted    bool
	result      chan result // buffered
}

type result struct {
	reply topics.Reply
	err   error
}

func (q *question) answer(r topics.Reply, err error) {
	select {
	case q.result <- result{r, err}:
	default:
	}
}

// Ask sends a command and waits for its final reply: 10 s for each of 3 tries,
// or for a minute in all once it was accepted. It needs Run to run, but nobody
// who reads Inbound. Errors are *Refused, ErrUnanswered, ErrDown when the
// first connect failed or there was no link for 10 s, and ctx's.
func (c *Client) Ask(ctx context.Context, cmd Command) (topics.Reply, error) {
	q, err := c.newQuestion(cmd)
	if err != nil {
		return topics.Reply{}, err
	}
	reply, err := c.await(ctx, q)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		err = fmt.Errorf("ask %s: %w", q.message.Topic, err)
	}
	return reply, err
}

func (c *Client) newQuestion(cmd Command) (*question, error) {
	topic := c.Space.Command(cmd.Node, cmd.Method, cmd.Subject)
	if _, err := c.Space.Parse(topic); err != nil {
		return nil, err
	}
	id := topics.NewID(12)
	fields := map[string]any{"v": 1}
	maps.Copy(fields, cmd.Fields)
	fields["id"] = id
	payload, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("command %s: %w", topic, err)
	}
	if len(payload) > topics.MaxCommand {
		return nil, fmt.Errorf("command %s has %d bytes (at most %d)", topic, len(payload), topics.MaxCommand)
	}
	reply := c.Space.Reply(cmd.Node, id)
	return &question{
		id: id, reply: reply, own: !c.covered(reply), result: make(chan result, 1),
		message: topics.Message{Topic: topic, Payload: payload, QoS: 1},
	}, nil
}

func (c *Client) await(ctx context.Context, q *question) (topics.Reply, error) {
	select {
	case c.questions <- q:
	case <-c.ended:
		return topics.Reply{}, ErrDown
	case <-ctx.Done():
		return topics.Reply{}, ctx.Err()
	}
	select {
	case r := <-q.result:
		return r.reply, r.err
	case <-ctx.Done():
		select {
		case c.withdrawn <- q:
		case <-c.ended:
		}
		return topics.Reply{}, ctx.Err()
	}
}

// ask takes a question on.
func (l *life) ask(q *question) {
	l.asked[q.id] = q
	l.turn(q)
	l.disappoint()
}

// disappoint ends the questions of a client whose first connect failed: a
// person at a command line need not wait to hear that the address is wrong.
func (l *life) disappoint() {
	if l.met || l.trouble == nil {
		return
	}
	for _, q := range l.asked {
		l.settle(q, topics.Reply{}, l.noLink())
	}
}

// noLink is ErrDown with its reason.
func (l *life) noLink() error {
	if l.trouble == nil {
		return ErrDown
	}
	return fmt.Errorf("%w: %w", ErrDown, l.trouble)
}

// turn is one try, each ten seconds.
func (l *life) turn(q *question) {
	if l.asked[q.id] != q {
		return
	}
	switch {
	case q.turns > 0 && q.sent == 0:
		l.settle(q, topics.Reply{}, l.noLink())
		return
	case q.accepted && q.turns >= triesAccepted:
		l.settle(q, topics.Reply{}, fmt.Errorf("it was accepted, but no word of its end came in %s", triesAccepted*l.pace.try))
		return
	case !q.accepted && q.turns >= tries:
		l.settle(q, topics.Reply{}, fmt.Errorf("%w in %s (%d tries): is it there? (dominion status)", ErrUnanswered, tries*l.pace.try, q.sent))
		return
	}
	q.turns++
	if l.session != nil && l.session.phase == synced {
		l.put(q)
	}
	l.agenda.add(time.Now().Add(l.pace.try), func() { l.turn(q) })
}

// put sends the command in this session, after the subscription to its replies.
func (l *life) put(q *question) {
	s := l.session
	if q.own && q.session != s {
		if s.link.subscribe(q.reply) != nil {
			s.link.abort()
			return
		}
	}
	q.session = s
	if l.send(q.message) == nil {
		q.sent++
	}
}

// askAgain puts what waits to a new session.
func (l *life) askAgain() {
	for _, q := range l.asked {
		l.put(q)
	}
}

// hearAnswer takes replies that Ask waits for. It tells whether the message is
// nobody else's.
func (l *life) hearAnswer(m topics.Message) bool {
	if len(l.asked) == 0 {
		return false
	}
	for _, q := range l.asked {
		if q.reply != m.Topic || m.Retained {
			continue
		}
		r, err := topics.Decode[topics.Reply](m.Payload)
		switch {
		case err != nil:
			l.settle(q, r, fmt.Errorf("its answer cannot be read: %w", err))
		case !r.Status.Final():
			q.accepted = true
		case r.Status == topics.Done:
			l.settle(q, r, nil)
		default:
			l.settle(q, r, &Refused{q.message.Topic, r})
		}
		return q.own
	}
	return false
}

func (l *life) settle(q *question, r topics.Reply, err error) {
	q.answer(r, err)
	l.forget(q)
}

// forget ends a question.
func (l *life) forget(q *question) {
	delete(l.asked, q.id)
	if q.own && l.session != nil && q.session == l.session {
		if l.session.link.unsubscribe(q.reply) != nil {
			l.session.link.abort()
		}
	}
}
