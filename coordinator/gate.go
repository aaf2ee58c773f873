package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dominion/topics"
)

// Gate is who decides which machines belong to the house. A call may take up
// to two seconds; they come one after the other, beside the planning.
type Gate interface {
	// Forget ends a node's account at once, its connections with it, and so
	// that their wills are published before it returns. For a name that has no
	// account it returns nil or, better, an error that is ErrNoAccount.
	Forget(topics.Node) error
	// Accept lets a machine in that asks in the join window.
	Accept(topics.Node) error
	// Reject turns such a machine away.
	Reject(topics.Node) error
	// Window opens the join window for so long; 0 closes it.
	Window(time.Duration) error
}

// ErrNoAccount is what a Gate says of a node that it never let in.
var ErrNoAccount = errors.New("no such node was ever let into this house")

const (
	maxGateCalls = 32             // that wait for their turn
	maxWindow    = 24 * time.Hour // the join window is open at most so long
	minWindow    = time.Second
)

// gateCall is one call of the gate that a command asked for.
type gateCall struct {
	call func() error
	then func(ctx context.Context, err error) // in the coordinator's goroutine
	err  error
}

// serveGate makes the calls of the gate until ctx ends, so that a slow disk
// stops no heartbeat.
func (c *Coordinator) serveGate(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-c.gateCalls:
			g.err = g.call()
			select {
			case c.gateDone <- g:
			case <-ctx.Done():
				return
			}
		}
	}
}

// ask accepts a command that the gate must answer, and has it answered.
func (c *Coordinator) ask(ctx context.Context, r topics.Request, call func() error, then func(ctx context.Context, err error)) {
	select {
	case c.gateCalls <- gateCall{call: call, then: then}:
		c.reply(ctx, r, topics.Reply{Status: topics.Accepted})
	default:
		c.refuse(ctx, r, "BUSY", fmt.Sprintf("%d commands wait for their turn", maxGateCalls), "try again in some seconds")
	}
}

// requestGate answers the commands of joining: accept, reject and join.
func (c *Coordinator) requestGate(ctx context.Context, r topics.Request) {
	if c.cfg.Gate == nil {
		c.refuse(ctx, r, "NO_IDENTITY", "this house has no identity yet that a machine could join", "dominion init")
		return
	}
	if r.Method == "join" {
		c.requestWindow(ctx, r)
		return
	}
	node := topics.Node(r.Subject)
	if err := node.Check(); err != nil {
		c.refuse(ctx, r, topics.FaultBad, err.Error(), "dominion status")
		return
	}
	call, result := c.cfg.Gate.Accept, "is let in"
	if r.Method == "reject" {
		call, result = c.cfg.Gate.Reject, "is turned away"
	}
	c.ask(ctx, r, func() error { return call(node) }, func(ctx context.Context, err error) {
		if err != nil {
			c.failed(ctx, r, err)
			return
		}
		delete(c.notices, nameFrom("join-"+string(node)))
		c.done(ctx, r, fmt.Sprintf("%s %s", node, result))
	})
}

func (c *Coordinator) requestWindow(ctx context.Context, r topics.Request) {
	if r.Subject != "window" {
		c.refuse(ctx, r, topics.FaultUnknown, fmt.Sprintf("no method join/%s", r.Subject),
			"mosquitto_pub -t "+c.cfg.Space.Command(topics.Coordinator, "join", "window")+" -m 10m")
		return
	}
	lasts, err := windowOf(r)
	if err != nil {
		c.refuse(ctx, r, topics.FaultBad, err.Error(), fmt.Sprintf("mosquitto_pub -t %s -m 10m", r.Topic))
		return
	}
	result := "the join window is closed"
	if lasts > 0 {
		result = fmt.Sprintf("the join window is open for %s", words(lasts))
	}
	c.ask(ctx, r, func() error { return c.cfg.Gate.Window(lasts) }, func(ctx context.Context, err error) {
		if err != nil {
			c.failed(ctx, r, err)
			return
		}
		c.done(ctx, r, result)
	})
}

// windowOf is how long a command wants the join window open: 0 is closed.
func windowOf(r topics.Request) (time.Duration, error) {
	text := r.Word
	if text == "" {
		text = r.Arg("for")
	}
	if (topics.Request{Word: text}).Switch() == topics.RunOff {
		return 0, nil
	}
	lasts, err := time.ParseDuration(text)
	switch {
	case text == "":
		return 0, errors.New(`it does not say for how long (send 10m, off or {"for":"10m"})`)
	case err != nil:
		return 0, fmt.Errorf("%.40q is no duration (send 10m, 1h30m or off)", text)
	case lasts < minWindow:
		return 0, fmt.Errorf("%.40q is too short (send 10m, or off to close the window)", text)
	case lasts > maxWindow:
		return 0, fmt.Errorf("%.40q is too long (24h at most: machines that are not yours may ask too)", text)
	}
	return lasts, nil
}

// failed answers a command that was accepted and could not be done.
func (c *Coordinator) failed(ctx context.Context, r topics.Request, err error) {
	c.reply(ctx, r, topics.Reply{Status: topics.Failed, Why: &topics.Why{Code: "GATE", Text: err.Error(), Next: "dominion status"}})
}
