package coordinator

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"dominion/topics"
)

const (
	heartbeatEvery = 5 * time.Second
	reviewEvery    = time.Second
	burst          = 50 * time.Millisecond // messages within it are planned for once
	rivalSilence   = 12 * time.Second      // an online presence of another leader that does not beat
	firstListen    = 5 * time.Second       // a leader that knows no house listens so long for one
	goodbye        = 2 * time.Second
	strangeAfter   = 5 * time.Second // a presence of another house's lasts
)

// Run leads the house over bus until ctx ends, then says that the coordinator
// stopped. It returns nil.
func (c *Coordinator) Run(ctx context.Context, bus Bus) error {
	c.bus, c.began = bus, time.Now()
	for _, d := range c.memory.Domains {
		c.house.Remember(d, c.began)
	}
	beat, tick := time.NewTicker(heartbeatEvery), time.NewTicker(reviewEvery)
	defer beat.Stop()
	defer tick.Stop()
	var gate sync.WaitGroup
	defer gate.Wait() // a call takes two seconds at most
	gate.Go(func() { c.serveGate(ctx) })
	notices := c.cfg.Notices
	var settled <-chan time.Time
	wake := func() {
		if c.dirty && settled == nil {
			settled = time.After(burst)
		}
	}
	for {
		if c.cfg.Turned != nil {
			c.cfg.Turned()
		}
		select {
		case <-ctx.Done():
			c.farewell(ctx)
			return nil
		case in := <-bus.Inbound():
			c.receive(ctx, in, time.Now())
			wake()
		case n, open := <-notices:
			if !open {
				notices = nil
				break
			}
			c.noticed(ctx, n, time.Now())
			wake()
		case g := <-c.gateDone:
			g.then(ctx, g.err)
			wake()
		case <-settled:
			settled = nil
			c.review(ctx, time.Now())
		case <-c.joined:
			c.joined = nil
			c.review(ctx, time.Now())
		case <-tick.C:
			c.review(ctx, time.Now())
		case <-beat.C:
			c.beat(ctx)
		}
	}
}

func (c *Coordinator) enter(s stage, now time.Time) {
	c.stage, c.staged, c.dirty = s, now, true
}

// receive folds one thing that came in. It decides nothing but its own stage.
func (c *Coordinator) receive(ctx context.Context, in topics.Inbound, now time.Time) {
	switch in.Link {
	case topics.LinkUp:
		c.sid = in.Sid
		c.house.Began(now)
		c.keepGraves(now)
		c.replayed = map[string]bool{}
		c.enter(replay, now)
		return
	case topics.LinkSynced:
		c.synced(ctx, now)
		return
	case topics.LinkDown:
		c.enter(offline, now)
		return
	}
	if in.Request != nil {
		c.request(ctx, *in.Request)
		return
	}
	c.fold(ctx, in.Message, now)
}

func (c *Coordinator) fold(ctx context.Context, m topics.Message, now time.Time) {
	owner, class := c.cfg.Space.Owner(m.Topic)
	if c.bury(ctx, owner, class, m, now) {
		return
	}
	if owner != topics.Coordinator && class == topics.State {
		c.keepTrack(owner, m)
	}
	if err := c.house.Apply(m, now); err != nil {
		c.unreadable(ctx, m.Topic, err, now)
	}
	a, err := c.cfg.Space.Parse(m.Topic)
	if err != nil {
		return
	}
	c.dirty = c.dirty || a.Class != topics.Event || a.Kind != "heartbeat"
	switch {
	case a.Node == topics.Coordinator && a.Class == topics.State && c.stage == replay && len(m.Payload) > 0:
		c.replayed[m.Topic] = true
	case a.Node == topics.Coordinator && a.Kind == "presence", a.Node == topics.Coordinator && a.Kind == "heartbeat":
		c.rivalSpoke(now)
	case a.Class == topics.Event && a.Kind == "reply":
		c.answered(m, a, now)
	case a.Class == topics.Event && a.Kind == "error":
		c.complaint(m, a, now)
	}
}

// unreadable counts the messages of one topic that nobody can read.
type unreadable struct {
	said  time.Time
	count int
}

const (
	faultEvery = time.Second
	maxFaults  = 1000 // topics that are counted at once
)

// unreadable reports a message that cannot be read, at most once a second for
// each topic.
func (c *Coordinator) unreadable(ctx context.Context, topic string, err error, now time.Time) {
	u := c.faults[topic]
	if u == nil {
		if len(c.faults) >= maxFaults {
			clear(c.faults)
		}
		u = &unreadable{}
		c.faults[topic] = u
	}
	if now.Sub(u.said) < faultEvery {
		u.count++
		return
	}
	fault := topics.Fault{Code: topics.FaultBad, Text: err.Error(), Topic: topic, Count: u.count}
	var field *topics.FieldError
	if errors.As(err, &field) {
		fault.Field = field.Field
	}
	u.said, u.count = now, 0
	c.log.Warn().Err(err).Msg("a message was ignored")
	c.send(ctx, topics.Message{Topic: c.cfg.Space.Error(topics.Coordinator, topics.ErrState), Payload: topics.Encode(fault), QoS: 1})
}

// keepTrack remembers which retained topics a node has, for when it is forgotten.
func (c *Coordinator) keepTrack(n topics.Node, m topics.Message) {
	if len(m.Payload) == 0 {
		delete(c.left[n], m.Topic)
		return
	}
	if c.left[n] == nil {
		c.left[n] = map[string]bool{}
	}
	c.left[n][m.Topic] = true
}

// synced decides, once the whole replay was read, whether to lead.
func (c *Coordinator) synced(ctx context.Context, now time.Time) {
	l := c.house.Leader()
	if l == nil || l.Presence.State != topics.Online || l.Presence.ID == "" || l.Presence.ID == c.cfg.ID {
		c.lead(ctx, now)
		return
	}
	c.rival = l.Presence.Sid
	c.enter(contend, now)
}

// rivalSpoke is called for each presence and heartbeat on the coordinator's
// topics that is not our own.
func (c *Coordinator) rivalSpoke(now time.Time) {
	l := c.house.Leader()
	if l == nil || l.Presence.Sid == c.sid || l.Presence.State != topics.Online {
		return
	}
	switch c.stage {
	case contend:
		c.log.Warn().Str("leader", string(l.Presence.Sid)).Msg("another coordinator leads; standing by")
		c.enter(standby, now)
	case settle, active:
		sid, term := l.Presence.Sid, l.Presence.Term
		if l.Beat.Sid == sid && l.Beat.Term != 0 {
			term = l.Beat.Term // a heartbeat takes over the sid, the presence's term is another's
		}
		if term > c.term || term == c.term && sid > c.sid {
			c.log.Error().Uint64("term", term).Msg("another coordinator has taken the lead; standing by")
			c.enter(standby, now)
		}
	}
}

// lead takes a term higher than any that was seen, keeps it, and says so.
func (c *Coordinator) lead(ctx context.Context, now time.Time) {
	highest := c.memory.Term
	if l := c.house.Leader(); l != nil {
		highest = max(highest, l.Presence.Term, l.Info.Term)
	}
	for _, d := range c.house.Domains() {
		highest = max(highest, d.Info.Term, d.Beat.Term)
	}
	if !c.led || highest > c.term {
		c.led, c.term, c.gen = true, highest+1, 0
		c.memory.Term = c.term
		c.keep()
	}
	c.sent = map[topics.Node]bool{}
	c.published = map[string]string{}
	c.enter(settle, now)
	c.sayPresence(ctx, topics.Settling)
	c.beat(ctx)
}

func (c *Coordinator) sayPresence(ctx context.Context, role topics.LeadRole) {
	id := cmp.Or(c.memory.House, c.houseOnBus()) // what the bus knows is not overwritten with nothing
	c.publish(ctx, c.cfg.Space.Info(topics.Coordinator), topics.Info{
		Kind: topics.KindCoordinator, ID: c.cfg.ID, Sid: c.sid, House: id, Name: c.cfg.Name,
		Version: c.cfg.Version, Protocol: topics.Protocol, OS: runtime.GOOS, Arch: runtime.GOARCH,
		Term: c.term, Gen: c.gen, Role: role,
		Methods: []string{"ping", "run", "start", "stop", "reset", "restart", "remove", "forget", "accept", "reject", "join", "reload"},
	})
	c.publish(ctx, c.cfg.Space.Presence(topics.Coordinator), topics.Presence{
		State: topics.Online, Sid: c.sid, ID: c.cfg.ID, House: id, Term: c.term, Role: role,
	})
}

// publish writes a retained document of the coordinator's own.
func (c *Coordinator) publish(ctx context.Context, topic string, payload any) {
	c.send(ctx, topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1, Retained: true})
}

// send hands a message over. When the link is down there is nothing to do:
// all that is retained is written again once it is back.
func (c *Coordinator) send(ctx context.Context, m topics.Message) {
	if err := c.bus.Publish(ctx, m); err != nil {
		c.log.Debug().Err(err).Str("topic", m.Topic).Msg("not published")
	}
}

func (c *Coordinator) beat(ctx context.Context) {
	if c.stage != settle && c.stage != active {
		return
	}
	c.seq++
	c.send(ctx, topics.Message{Topic: c.cfg.Space.PlanHeartbeat(), Payload: topics.Encode(topics.Heartbeat{
		Sid: c.sid, Seq: c.seq, Term: c.term, Gen: c.gen, Uptime: int64(time.Since(c.began).Seconds()),
	})})
}

// farewell says that the coordinator stops on purpose.
func (c *Coordinator) farewell(ctx context.Context) {
	if c.stage != settle && c.stage != active {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	c.publish(ctx, c.cfg.Space.Presence(topics.Coordinator), topics.Presence{
		State: topics.Stopped, Sid: c.sid, ID: c.cfg.ID, House: cmp.Or(c.memory.House, c.houseOnBus()), Term: c.term,
	})
}

// review looks again: at its own stage, and when it leads at the whole house.
func (c *Coordinator) review(ctx context.Context, now time.Time) {
	switch c.stage {
	case contend:
		if now.Sub(c.staged) >= rivalSilence {
			c.log.Warn().Str("leader", string(c.rival)).Msg("the presence of another coordinator is silent; taking the lead")
			c.lead(ctx, now)
		}
	case standby:
		if l := c.house.Leader(); l == nil || l.Presence.State != topics.Online || now.Sub(l.Heard()) >= c.cfg.Timing.Lost {
			c.log.Warn().Msg("the leading coordinator is gone; taking the lead")
			c.lead(ctx, now)
		}
	case settle:
		if c.hasSettled(now) {
			c.activate(ctx, now)
		}
	case active:
		c.act(ctx, now)
	}
}

// hasSettled tells whether the view is whole enough to plan from: every
// domain that is online has spoken, or had its time. A leader that knows no
// house, or whose broker has forgotten domains that it knows, listens first
// for those who come back: they need some seconds to reconnect.
func (c *Coordinator) hasSettled(now time.Time) bool {
	waited := now.Sub(c.staged)
	switch {
	case waited >= c.cfg.Timing.SettleAtMost:
		return true
	case c.memory.House == "" && waited < firstListen:
		return false
	}
	for _, d := range c.house.Domains() {
		switch {
		case d.Spoke() || d.Micro():
		case d.Presence.State == topics.Online, d.Presence.State == "" && waited < firstListen:
			return false
		}
	}
	return true
}

// houseOnBus is the identity that the bus knows: the last coordinator's, or
// the one that most domains have.
func (c *Coordinator) houseOnBus() topics.HouseID {
	if l := c.house.Leader(); l != nil {
		if l.Info.House != "" {
			return l.Info.House
		}
		if l.Presence.House != "" {
			return l.Presence.House
		}
	}
	votes := map[topics.HouseID]int{}
	for _, d := range c.house.Domains() {
		if d.Presence.House != "" {
			votes[d.Presence.House]++
		}
	}
	var best topics.HouseID
	for _, id := range slices.Sorted(maps.Keys(votes)) {
		if votes[id] > votes[best] {
			best = id
		}
	}
	return best
}

// activate begins to lead: the identity and the words are settled, and all
// that is retained is written, whatever stood before.
func (c *Coordinator) activate(ctx context.Context, now time.Time) {
	changed := c.mergeWords()
	if c.memory.House == "" {
		changed = true
		c.memory.House = c.houseOnBus()
		if c.memory.House == "" {
			c.memory.House = topics.HouseID(topics.NewID(6))
			c.log.Info().Str("house", string(c.memory.House)).Msg("a new house")
		}
	}
	if changed {
		c.keep()
	}
	if c.fresh && c.houseOnBus() == c.memory.House {
		c.log.Warn().Str("house", string(c.memory.House)).Msg("the data directory was empty; the house was rebuilt from the bus")
		c.notice("rebuilt", topics.Alert{
			Severity: topics.SeverityWarning,
			Text:     "the leader's data directory was empty; the house was rebuilt from what its domains say",
			Next:     "check what you had stopped or started by hand: dominion status",
		}, time.Time{})
	}
	c.fresh = false
	c.log.Info().Str("house", string(c.memory.House)).Uint64("term", c.term).Msg("the coordinator leads")
	c.known, c.placed = nil, nil
	c.enter(active, now)
	c.sayPresence(ctx, topics.Active)
	c.act(ctx, now)
}

// mergeWords settles the operator's words: of the bus's and the disk's, the
// higher rev holds.
func (c *Coordinator) mergeWords() (changed bool) {
	for s, w := range c.house.ServiceWords() {
		if w.Rev > c.memory.Services[s].Rev {
			c.memory.Services[s], changed = w, true
		}
	}
	for d, w := range c.house.DomainWords() {
		if w.Rev > c.memory.Drains[d].Rev {
			c.memory.Drains[d], changed = w, true
		}
	}
	return changed
}
