package device

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"dominion/device/journal"
	"dominion/device/outside"
	"dominion/topics"
)

// charge is a service of this machine that a keeper keeps, as its service.toml
// has it.
type charge struct {
	kind string
	name string // as its keeper calls it
	own  bool   // the house starts and stops it; else it is only observed
	port int
	rule topics.Readiness // By "": its keeper's word
}

// charge is what a manifest says of a service that a keeper keeps; false: it
// is none.
func (m Manifest) charge() (charge, bool) {
	c := charge{own: m.Own, port: m.Port}
	if m.Terms.Ready != nil {
		c.rule = *m.Terms.Ready
	}
	switch {
	case m.Unit != "":
		c.kind, c.name = kindSystemd, m.Unit
	case m.Container != "":
		c.kind, c.name = kindDocker, m.Container
	case m.PIDOf != "":
		c.kind, c.name = kindPid, m.PIDOf
	default:
		return charge{}, false
	}
	return c, true
}

// sighting is what was seen of a charge.
type sighting struct {
	service topics.Service
	charge  charge
	state   outside.State
	ready   bool
	lines   []string // the last it printed, of one that failed
	err     error    // its keeper cannot be asked
}

// observe tells what becomes of a charge until ctx ends.
func (w *worker) observe(ctx context.Context, service topics.Service, c charge, host string, tell func(sighting)) {
	states := make(chan sighting)
	w.probes.Go(func() {
		w.keepers[c.kind].watch(ctx, c.name, patiently(func(s outside.State, err error) {
			select {
			case states <- sighting{state: s, err: err}:
			case <-ctx.Done():
			}
		}))
	})
	now := sighting{service: service, charge: c}
	var ready <-chan struct{}
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ready:
			ready, now.ready = nil, true
		case s := <-states:
			if up := s.state.Stage == outside.Up; up != (now.state.Stage == outside.Up) {
				stop()
				ready, now.ready = nil, up && rulesOutside(c.rule).By == ""
				if up && !now.ready {
					probing, cancel := context.WithCancel(ctx)
					stop = cancel
					ready = w.probe(probing, service, c, or(c.port, s.state.Port), host)
				}
			}
			now.state, now.err, now.lines = s.state, s.err, nil
			if s.state.Stage == outside.Failed || s.state.Stage == outside.Again {
				now.lines = printed(ctx, w.keepers[c.kind], c.name, lastLines, statusWidth)
			}
		}
		tell(now)
	}
}

// probe tells once that what its keeper calls well is ready by its own rule,
// of which there is one.
func (w *worker) probe(ctx context.Context, service topics.Service, c charge, port int, host string) <-chan struct{} {
	rule := rulesOutside(c.rule)
	return w.readiness(ctx, prepared{
		job: job{name: service, host: host}, place: place{dir: filepath.Join(w.cfg.ServicesDir, string(service))},
		entry: entry{Service: service, Port: port, Host: host, Rule: w.rule(topics.Wanted{Ready: &rule})},
	}, newRun())
}

// rulesOutside is a rule as far as it can be followed by what the house did
// not start: such a thing knows no START_ID and no NOTIFY_SOCKET.
func rulesOutside(rule topics.Readiness) topics.Readiness {
	if rule.By == topics.ReadyTopic || rule.By == topics.ReadyNotify {
		return topics.Readiness{}
	}
	return rule
}

// watched is a charge that is being looked at.
type watched struct {
	charge charge
	end    context.CancelFunc
}

// watchCharges looks at what the inventory has, and at nothing else.
func (a *Agent) watchCharges(work context.Context) {
	now := time.Now()
	for name, w := range a.watched {
		c, still := a.view.inventory.charges[name]
		if still && c == w.charge {
			continue
		}
		w.end()
		delete(a.watched, name)
		if u := a.units[name]; u != nil && (!still || !c.own || u.seen != nil) {
			a.release(work, u, now)
		}
	}
	for name, c := range a.view.inventory.charges {
		if _, already := a.watched[name]; already {
			continue
		}
		if !c.own {
			a.observed(work, name, c, now)
		}
		ctx, cancel := context.WithCancel(work)
		a.watched[name] = &watched{c, cancel}
		host := a.host()
		a.running.Go(func() {
			a.work.observe(ctx, name, c, host, func(s sighting) {
				select {
				case a.sightings <- s:
				case <-ctx.Done():
				}
			})
		})
	}
}

// observed makes a unit one that is only looked at. What the house started
// itself goes on, and is not the house's any more.
func (a *Agent) observed(work context.Context, name topics.Service, c charge, now time.Time) {
	u := a.unit(name)
	a.release(work, u, now)
	u.seen = &sighting{service: name, charge: c, state: outside.State{Says: "was not looked at yet"}}
}

// release has the house let go of a unit, as it is.
func (a *Agent) release(work context.Context, u *unit, now time.Time) {
	a.answer(work, u, topics.Failed, &topics.Why{Code: topics.Observed, Text: "the house has let go of it meanwhile", Next: "dominion why " + string(u.name)})
	if u.run != nil {
		close(u.run.leave)
	}
	u.seen, u.start, u.sent = nil, "", ""
	u.rest(topics.PhaseStopped, nil, now)
}

// sighted takes in what was seen of a charge.
func (a *Agent) sighted(work context.Context, s sighting) {
	w, u := a.watched[s.service], a.unit(s.service)
	switch now := time.Now(); {
	case w == nil || w.charge != s.charge:
	case s.charge.own:
		a.takeUp(work, u, s, now)
	default:
		before := u.phase.Alive()
		u.observe(s, now)
		if before && !u.phase.Alive() && s.err == nil {
			a.tellExit(work, u, report{exit: told(s.state.Exit), lines: s.lines}, false)
		}
	}
}

// observe makes a unit what was seen of it.
func (u *unit) observe(s sighting, now time.Time) {
	phase, why := appearance(s)
	u.become(phase, now)
	if at := s.state.Since; !at.IsZero() && phase == topics.PhaseRunning {
		u.since = at
	}
	u.seen, u.ready, u.why, u.missing = &s, s.ready, why, false
	if exit := told(s.state.Exit); exit != nil && !s.state.Alive() {
		u.exit = exit
	}
}

// appearance is how an observed service looks to the house.
func appearance(s sighting) (topics.Phase, *topics.Why) {
	why := &topics.Why{Code: topics.Exited, Text: s.state.Says + quoted(s.lines), Next: logsOf(s.charge)}
	if s.err != nil {
		why = cannot(s.charge.name, s.err)
		return topics.PhaseWaiting, why
	}
	switch s.state.Stage {
	case outside.Up:
		if s.ready {
			return topics.PhaseRunning, nil
		}
		return topics.PhaseStarting, waitsFor(entry{Rule: rulesOutside(s.charge.rule), Port: or(s.charge.port, s.state.Port)})
	case outside.Unwell:
		why.Code = topics.NotReady
		return topics.PhaseRunning, why
	case outside.Starting:
		why.Code = topics.Starting
		return topics.PhaseStarting, why
	case outside.Stopping:
		return topics.PhaseStopping, why
	case outside.Again:
		return topics.PhaseBackoff, why
	case outside.Missing:
		why.Code, why.Text, why.Next = topics.NotThere, fmt.Sprintf("%s %s", s.charge.name, s.state.Says), "domain adopt --list"
	case outside.Down:
		why.Code = topics.NotWanted
	}
	return topics.PhaseStopped, why
}

func logsOf(c charge) string {
	if k, ok := newKeepers()[c.kind]; ok {
		return k.logs(c.name)
	}
	return ""
}

// takeUp makes a run of what somebody else, or its keeper, has started: the
// house knows it now, and has its word on it.
func (a *Agent) takeUp(work context.Context, u *unit, s sighting, now time.Time) {
	if a.ending || u.phase.Alive() || !s.state.Alive() || s.state.Stage == outside.Stopping {
		return
	}
	want := a.wanted[u.name]
	e := entry{
		Service: u.name, Start: topics.NewID(10), Runner: s.charge.kind, Outside: s.charge.name, Step: stepStart,
		Port: or(want.Port, or(s.charge.port, s.state.Port)), Dependencies: want.Dependencies, Restarts: u.restarts,
		Rule: a.work.ruleOutside(want, s.charge), Since: topics.At(or(s.state.Since, now)),
	}
	if u.failed {
		e.Restarts++
	}
	a.log(u.name).Str("keeper", e.Outside).Msg("runs already: taken up")
	r := newRun()
	u.adopt(e, r, now)
	a.running.Go(func() { a.work.takeUp(work, e, want, r) })
}

// takeUp watches what runs already.
func (w *worker) takeUp(ctx context.Context, e entry, want topics.Wanted, r *run) {
	if err := w.ledger.put(e); err != nil {
		w.cfg.Log.Error().Err(err).Str("service", string(e.Service)).Msg("the ledger does not know that it runs")
	}
	running, ok := w.runnerOf(e).adopt(ctx, e)
	if !ok {
		w.forget(e.Service)
		w.tell(ctx, report{stage: ended, name: e.Service, start: e.Start, missed: true})
		return
	}
	w.tell(ctx, report{stage: started, name: e.Service, start: e.Start, entry: e, running: running})
	w.resume(ctx, e, want, r, running)
}

// ruleOutside is when what a keeper keeps is ready: once its keeper says so,
// and the catalogue's rule, else its own, is met.
func (w *worker) ruleOutside(want topics.Wanted, c charge) topics.Readiness {
	rule := c.rule
	if want.Ready != nil {
		rule = *want.Ready
	}
	timeout := rule.Timeout
	if rule = rulesOutside(rule); rule.By != "" {
		return w.rule(topics.Wanted{Ready: &rule})
	}
	rule.Timeout = or(timeout, patienceOutside.Seconds())
	return rule
}

// patienceOutside is how long a keeper may take to call well what it was told
// to start: it has limits of its own.
const patienceOutside = 5 * time.Minute

// prepareOutside finds what it takes to start what a keeper keeps. The second
// result says why it cannot be started.
func (w *worker) prepareOutside(ctx context.Context, j job, manifest Manifest, c charge) (prepared, *report) {
	fail := func(why *topics.Why) (prepared, *report) { return prepared{}, &report{why: why} }
	switch {
	case !c.own:
		return fail(&topics.Why{Code: topics.Observed, Text: "is only observed here: the house does not start or stop it", Next: "sudo domain adopt " + string(j.name) + " --own"})
	case c.kind == kindPid:
		return fail(&topics.Why{Code: topics.StartFailed, Text: errNobodyKnows.Error(), Next: "domain adopt --undo " + string(j.name)})
	}
	if err := w.keepers[c.kind].available(ctx); err != nil {
		return fail(cannot(c.name, err))
	}
	return prepared{job: j, runner: w.runners[c.kind], began: time.Now(), entry: entry{
		Service: j.name, Start: j.start, Runner: c.kind, Outside: c.name, Step: stepStart, Port: or(j.want.Port, c.port),
		Rev: j.want.Rev, Version: manifest.Version, Dependencies: j.want.Dependencies, Rule: w.ruleOutside(j.want, c),
		Since: topics.At(time.Now()), Restarts: j.restarts,
	}}, nil
}

// whenReady tells once that a service is ready: what a keeper keeps is so by
// its keeper's word, and then by its rule.
func (w *worker) whenReady(ctx context.Context, running instance, p prepared, r *run) <-chan struct{} {
	ward, ok := running.(*ward)
	switch {
	case !ok:
		return w.readiness(ctx, p, r)
	case p.entry.Rule.By == "":
		return ward.up
	}
	done := make(chan struct{}, 1)
	w.probes.Go(func() {
		select {
		case <-ward.up:
		case <-ctx.Done():
			return
		}
		select {
		case <-w.readiness(ctx, p, r):
			done <- struct{}{}
		case <-ctx.Done():
		}
	})
	return done
}

// showObserved writes into a state what is particular to an observed service.
func (a *Agent) showObserved(s *topics.ServiceState, u *unit) {
	c, seen := u.seen.charge, u.seen.state
	s.Observed, s.Runner, s.Status = true, c.kind, seen.Said
	if a.view.inventory != nil {
		s.Version = a.view.inventory.services[u.name]
	}
	s.Rev, s.Start, s.PID, s.Port, s.Host = "", "", 0, 0, ""
	if u.phase.Alive() {
		s.PID, s.Port, s.Host = seen.PID, or(c.port, seen.Port), a.host()
	}
	if want := a.wanted[u.name]; want.Run && u.phase.Settled() {
		s.Why = &topics.Why{Code: topics.Observed, Text: "is wanted, but only observed here: the house does not start it", Next: a.wayToOwn(u)}
	}
}

// tailOutside answers with the last lines that a keeper has of its own. They
// are not followed.
func (a *Agent) tailOutside(work context.Context, req topics.Request, t stream, c charge) {
	k := a.work.keepers[c.kind]
	if k.logs(c.name) == "" {
		a.refuse(work, req, topics.NotThere, fmt.Sprintf("nobody keeps what %s prints", c.name), "dominion why "+req.Subject)
		return
	}
	t.lease = 0
	last := printed(work, k, c.name, t.lines, wide)
	a.sayLines(work, &t, journal.Batch{Lines: last})
	a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Topic: req.Topic,
		Result: fmt.Sprintf("%s, kept by %s (on %s: %s)", many(len(last), "line", "s"), c.kind, a.cfg.Name, k.logs(c.name))})
}

// opinions are what the keeper of an instance thinks of it; nil: it has none.
func opinions(running instance) <-chan *topics.Why {
	if ward, ok := running.(*ward); ok {
		return ward.opinions
	}
	return nil
}

// thinks takes in what a keeper thinks of what was ready once.
func (f *following) thinks(ctx context.Context, why *topics.Why) {
	switch {
	case !f.p.entry.Ready:
	case why == nil:
		f.say(ctx, report{stage: ready})
	default:
		f.say(ctx, report{stage: unwell, why: why})
	}
}

// wayToOwn is what a person types so that the house starts and stops what it
// only observes.
func (a *Agent) wayToOwn(u *unit) string {
	if u.seen.charge.kind == kindPid {
		return "dominion why " + string(u.name) // nobody knows how to start it
	}
	return fmt.Sprintf("on %s: sudo domain adopt %s --own", a.cfg.Name, u.name)
}
