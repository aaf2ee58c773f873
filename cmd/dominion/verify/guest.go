package verify

import (
	"context"
	"fmt"
	"net"
	"time"

	"dominion/topics"
)

// Guest looks at a node in somebody's house: it reads what the node says, and
// sends it commands that do no harm.
type Guest struct {
	Options
	Login
	// Dial opens a connection to the house's broker.
	Dial func(ctx context.Context) (net.Conn, error)
}

// replayTime is how long a broker has to tell what is retained.
const replayTime = 2 * time.Second

// Run takes the steps, and returns what was seen. The error is ErrAbsent when
// nothing of the node is retained.
func (g *Guest) Run(ctx context.Context) (Seen, error) {
	g.Options = g.Options.withDefaults()
	r := newRecord(g.Space, g.Node, false)
	v := &visit{Guest: g, record: r}
	defer v.end()
	own := r.seen.own()
	saying := []string{own + "state/#", own + "event/#"}
	v.begin(StepBirth, fmt.Sprintf("reading what %s says", g.Node))
	reader, err := v.connect(ctx, saying)
	if err != nil {
		return Seen{}, err
	}
	r.rest(ctx, replayTime)
	if s, _ := r.look(); len(said(s.Events, own)) == 0 {
		return s, ErrAbsent
	}
	tell := func(m topics.Message) { _ = reader.publish(m) } // a broker that has gone answers nothing
	stages := append(commandStages(r, tell),
		stage{StepBeats, "listening for heartbeats", true, func(ctx context.Context) { listenForBeats(ctx, r) }},
		stage{StepFlag, "a command with the retained flag", true, func(ctx context.Context) { v.flag(ctx, tell, own+"command/#") }},
	)
	s, _ := r.look()
	for _, stage := range stages {
		if stage.domain && !s.Domain() {
			continue
		}
		v.begin(stage.step, stage.doing)
		stage.take(ctx)
	}
	g.Say("looking at what is retained")
	if _, err := v.connect(ctx, saying); err != nil {
		return Seen{}, err
	}
	r.rest(ctx, replayTime)
	s, _ = r.look()
	return s, ctx.Err()
}

// visit is one look, with the connections that it needs.
type visit struct {
	*Guest
	record *record
	hands  []*hand
}

func (v *visit) begin(step Step, doing string) {
	v.Say(doing)
	v.record.add(Event{What: Marked, Step: step})
}

// connect takes down what is heard under the filters.
func (v *visit) connect(ctx context.Context, filters []string) (*hand, error) {
	conn, err := v.Dial(ctx)
	if err != nil {
		return nil, err
	}
	number := len(v.hands) + 1
	h, err := connectHand(conn, v.Login, filters, func(m topics.Message) {
		v.record.add(Event{What: Said, Conn: number, Message: m})
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	v.hands = append(v.hands, h)
	return h, nil
}

func (v *visit) end() {
	for _, h := range v.hands {
		h.leave()
	}
}

// flag sends a ping that is retained, looks whether that stays, and takes it
// away.
func (v *visit) flag(ctx context.Context, tell func(topics.Message), commands string) {
	m := topics.Message{Topic: v.Space.Command(v.Node, "ping", "host"), QoS: 1, Retained: true, Payload: fmt.Appendf(nil, `{"id":%q}`, idRetained)}
	tell(m)
	v.record.rest(ctx, 3*settleTime) // it looks again a second after a command
	if h, err := v.connect(ctx, []string{commands}); err == nil {
		v.record.rest(ctx, replayTime)
		h.leave()
	}
	m.Payload = nil
	tell(m)
}
