package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

// requestForget ends a node's account, if the house has a gate, and empties
// all that the node left. Without a gate one that is online would be back at
// once, and is not forgotten.
func (c *Coordinator) requestForget(ctx context.Context, r topics.Request, name topics.Node) {
	if err := name.Check(); err != nil {
		c.refuse(ctx, r, topics.FaultBad, err.Error(), "dominion status")
		return
	}
	if c.cfg.Gate != nil {
		c.ask(ctx, r, func() error { return c.cfg.Gate.Forget(name) }, func(ctx context.Context, err error) {
			c.forgetAfter(ctx, r, name, err)
		})
		return
	}
	if why := c.unforgettable(name); why != nil {
		c.refuse(ctx, r, why.Code, why.Text, why.Next)
		return
	}
	c.reply(ctx, r, topics.Reply{Status: topics.Accepted})
	c.forget(ctx, r, name)
}

// forgetAfter forgets a node for which the gate has answered.
func (c *Coordinator) forgetAfter(ctx context.Context, r topics.Request, name topics.Node, err error) {
	if errors.Is(err, ErrNoAccount) {
		if why := c.unforgettable(name); why != nil {
			c.reply(ctx, r, topics.Reply{Status: topics.Failed, Why: why})
			return
		}
	} else if err != nil {
		c.failed(ctx, r, err)
		return
	}
	c.forget(ctx, r, name)
}

// unforgettable says why a node that has no account cannot be forgotten.
func (c *Coordinator) unforgettable(name topics.Node) *topics.Why {
	n := c.house.Node(name)
	if n == nil {
		if slices.Contains(c.memory.Domains, name) {
			return nil
		}
		return &topics.Why{Code: "UNKNOWN_DOMAIN", Text: fmt.Sprintf("the house knows no domain %q", name), Next: "dominion status"}
	}
	if state, _ := n.Judge(time.Now(), c.limits()); state.Reachable() {
		return &topics.Why{Code: "ONLINE", Text: fmt.Sprintf("%s is %s and would be back at once", name, state), Next: fmt.Sprintf("end the agent on %s first", name)}
	}
	return nil
}

// forget empties all that a node left on the bus, and plans without it at
// once: what it still runs there, it runs alone.
func (c *Coordinator) forget(ctx context.Context, r topics.Request, name topics.Node) {
	now := time.Now()
	result := c.epitaph(name, now)
	if err := c.strike(name); err != nil {
		c.reply(ctx, r, topics.Reply{Status: topics.Failed, Why: &topics.Why{Code: "NOT_KEPT", Text: err.Error(), Next: "free some space on the leader's disk, then forget it again"}})
		return
	}
	c.graves[name] = c.dig(name, now)
	for _, topic := range append(slices.Sorted(maps.Keys(c.left[name])), c.cfg.Space.DesiredServices(name)) {
		c.empty(ctx, topic)
	}
	c.emptyReadiness(ctx, name, now)
	for _, id := range slices.Sorted(maps.Keys(c.forwards)) {
		if c.forwards[id].domain == name {
			c.finish(ctx, id, &topics.Why{Code: "FORGOTTEN", Text: fmt.Sprintf("%s was forgotten", name), Next: "dominion status"})
		}
	}
	maps.DeleteFunc(c.notices, func(_ string, n notice) bool { return n.alert.About == string(name) })
	delete(c.left, name)
	delete(c.documents, name)
	delete(c.sent, name)
	delete(c.known, name)
	c.house.Forget(name)
	c.happened(ctx, "forgotten", string(name), topics.Happening{Domain: name, Text: result})
	c.done(ctx, r, result)
	c.dirty = true
}

// emptyReadiness empties what a node's services may have said of their
// readiness. The coordinator does not hear it: no filter for it would leave
// out the states of nodes.
func (c *Coordinator) emptyReadiness(ctx context.Context, name topics.Node, now time.Time) {
	n := c.house.Node(name)
	if n == nil {
		return
	}
	for _, s := range slices.Sorted(maps.Keys(n.Services(now))) {
		c.empty(ctx, c.cfg.Space.ServiceReady(s, name))
	}
}

// strike takes a node out of what the leader's disk remembers.
func (c *Coordinator) strike(name topics.Node) error {
	domains := c.memory.Domains
	drain, drained := c.memory.Drains[name]
	c.memory.Domains = slices.DeleteFunc(slices.Clone(domains), func(d topics.Node) bool { return d == name })
	delete(c.memory.Drains, name)
	err := c.keep()
	if err != nil {
		c.memory.Domains = domains
		if drained {
			c.memory.Drains[name] = drain
		}
	}
	return err
}

// epitaph says that a node is forgotten, and what it may go on running.
func (c *Coordinator) epitaph(name topics.Node, now time.Time) string {
	text := fmt.Sprintf("%s is forgotten", name)
	n := c.house.Node(name)
	if n == nil {
		return text + ": nothing of it was on the bus"
	}
	var alive []topics.Service
	for s, w := range n.Services(now) {
		if !w.Phase.Settled() {
			alive = append(alive, s)
		}
	}
	slices.Sort(alive)
	const named = 5
	list := joined(alive[:min(len(alive), named)], ", ")
	if more := len(alive) - named; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	state, _ := n.Judge(now, c.limits())
	switch {
	case len(alive) == 0 || n.Micro():
		return text
	case state.Reachable():
		return fmt.Sprintf("%s; there %s keeps running, alone, until somebody ends it on that machine", text, list)
	}
	return fmt.Sprintf("%s; if that machine lives, %s still runs there, alone", text, list)
}

func (c *Coordinator) empty(ctx context.Context, topic string) {
	c.send(ctx, topics.Message{Topic: topic, QoS: 1, Retained: true})
}

const (
	graveLasts = 30 * time.Second // a last will comes at most so late
	graveFresh = 2 * time.Second  // what names no session and comes so soon is of the old life
	graveLoud  = 6 * time.Second  // a heartbeat of the old life after this is no late one
)

// grave is what the house knows of a node that it has just forgotten, so that
// what was on its way, its last will above all, does not bring it back.
type grave struct {
	dug, until time.Time
	sids       map[topics.Sid]bool // of the life that ended
}

func (c *Coordinator) dig(name topics.Node, now time.Time) grave {
	g := grave{dug: now, until: now.Add(graveLasts), sids: map[topics.Sid]bool{}}
	if n := c.house.Node(name); n != nil {
		g.sids[n.Presence.Sid], g.sids[n.Info.Sid], g.sids[n.Beat.Sid] = true, true, true
		delete(g.sids, "")
	}
	return g
}

// keepGraves keeps the graves for the replay of a session that begins: what
// was emptied while the link broke is still there.
func (c *Coordinator) keepGraves(now time.Time) {
	for name, g := range c.graves {
		g.until = now.Add(graveLasts)
		c.graves[name] = g
	}
}

// holds tells whether a message is of the life that ended. A new one begins
// with a session that was not heard before; whoever joined again, and lost
// something to the zeal of this, puts it back.
func (g grave) holds(m topics.Message, presence bool, now time.Time) bool {
	var said struct {
		Sid topics.Sid `json:"sid"`
	}
	_ = json.Unmarshal(m.Payload, &said) // what cannot be read names no session
	online := false
	if presence {
		p, err := topics.DecodePresence(m.Payload)
		online = err == nil && p.State == topics.Online
	}
	switch {
	case now.After(g.until):
		return false
	case g.sids[said.Sid]:
		return true
	case presence && !online: // a will, of whatever session
		return true
	case m.Retained:
		return !online || said.Sid == ""
	}
	return said.Sid == "" && now.Sub(g.dug) < graveFresh
}

// bury keeps out what comes from a node that was just forgotten, and empties
// what that left.
func (c *Coordinator) bury(ctx context.Context, owner topics.Node, class topics.Class, m topics.Message, now time.Time) bool {
	g, forgotten := c.graves[owner]
	heartbeat := m.Topic == c.cfg.Space.Heartbeat(owner)
	switch {
	case !forgotten:
		return false
	case len(m.Payload) == 0, class == topics.Event && !heartbeat:
		return true
	case class == topics.Desired:
		if m.Retained { // the replay shows it: its emptying was lost with the link
			c.empty(ctx, m.Topic)
		}
		return true
	case !g.holds(m, m.Topic == c.cfg.Space.Presence(owner), now):
		delete(c.graves, owner)
		return false
	case !heartbeat:
		c.empty(ctx, m.Topic)
	case now.Sub(g.dug) > graveLoud:
		c.notice("forgotten-"+string(owner), topics.Alert{
			Severity: topics.SeverityWarning, About: string(owner),
			Text: fmt.Sprintf("%s was forgotten and is still connected to the broker", owner),
			Next: fmt.Sprintf("end the agent on %s, or its login at the broker", owner),
		}, now.Add(10*time.Minute))
	}
	return true
}
