package device

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"dominion/topics"
)

// unit is one service on this machine, as Run knows it.
type unit struct {
	name  topics.Service
	phase topics.Phase
	ready bool
	why   *topics.Why
	since time.Time

	// The run, while there is one.
	run     *run // nil also while leftovers are ended
	start   string
	entry   entry
	running instance // nil until it is started
	adopted bool     // a former agent started it
	left    bool     // it ended while no agent was there

	own    topics.Wanted // the terms of its service.toml, once somebody has looked
	terms  topics.Wanted // the terms that hold
	table  *Timetable    // of its schedule; nil: it has none
	status string        // what it says of itself

	version  string
	restarts int
	exit     *topics.Exit
	history  History
	readyAt  time.Time
	failed   bool      // it ended by itself: the next start is a restart
	again    bool      // somebody asked for a restart
	anew     bool      // it is stopped for that
	seen     *sighting // of one that is only observed; nil: it is the house's
	missing  bool      // its directory or Makefile is not there, or no room on the disk
	next     time.Time // no start before
	deadline time.Time

	term, gen uint64   // of the document that last changed it
	answers   []answer // commands that wait for it to be ready
	sent      string   // the state as last published
}

// unit finds or makes the unit of a service.
func (a *Agent) unit(name topics.Service) *unit {
	u, ok := a.units[name]
	if !ok {
		u = &unit{name: name, phase: topics.PhaseStopped, since: time.Now(), term: a.term, gen: a.gen}
		a.units[name] = u
	}
	return u
}

// have is what Plan is told of a unit.
func (a *Agent) have(u *unit, now time.Time) Have {
	h := Have{
		Phase: u.phase, Ready: u.ready, Why: u.why, Host: a.host(), Next: u.next, Missing: u.missing, Deadline: u.deadline, Again: u.again,
		Due: u.due(now), Retry: u.failed,
	}
	if u.phase.Alive() {
		h.Rev, h.Endpoints, h.Dependencies = u.entry.Rev, u.entry.Endpoints, u.entry.Dependencies
	} else if o := a.over(u); o != nil {
		h.Over, h.Rev = true, o.Rev
	}
	return h
}

func (u *unit) become(phase topics.Phase, now time.Time) {
	if u.phase != phase {
		u.phase, u.since = phase, now
	}
}

// rest is for a unit without processes.
func (u *unit) rest(phase topics.Phase, why *topics.Why, now time.Time) {
	u.become(phase, now)
	u.ready, u.why, u.next, u.deadline, u.again, u.missing = false, why, time.Time{}, time.Time{}, false, false
	u.run, u.running, u.anew, u.left, u.status = nil, nil, false, false, ""
}

func (u *unit) begin(j job, r *run, now time.Time) {
	u.become(topics.PhaseStarting, now)
	u.run, u.start, u.restarts, u.failed, u.adopted = r, j.start, j.restarts, false, false
	u.entry = entry{Rev: j.want.Rev, Endpoints: j.want.Endpoints, Dependencies: j.want.Dependencies}
	u.ready, u.again, u.missing, u.next, u.deadline = false, false, false, time.Time{}, time.Time{}
	u.why = &topics.Why{Code: topics.Starting, Text: "starts"}
}

// adopt takes up the run of a former agent. One that was not ready yet is
// given the whole time anew.
func (u *unit) adopt(e entry, r *run, now time.Time) {
	u.run, u.start, u.entry, u.version, u.restarts, u.adopted = r, e.Start, e, e.Version, e.Restarts, true
	u.since = now
	if at := e.Since.Time(); !at.IsZero() {
		u.since = at // for people: what they see does not change with the agent
	}
	u.ready = e.Ready
	if e.Ready {
		u.phase, u.readyAt = topics.PhaseRunning, now
		return
	}
	u.phase = topics.PhaseStarting
	if e.Rule.By == topics.ReadyDone {
		u.phase = topics.PhaseRunning
	}
	u.why = waitsFor(e)
	if e.Rule.By != topics.ReadyTopic { // the time of those begins with the link
		u.deadline = deadline(e.Rule, now)
	}
}

// deadline is until when a service must be ready that was started now; zero:
// it has all the time.
func deadline(rule topics.Readiness, now time.Time) time.Time {
	if rule.Timeout == 0 {
		return time.Time{}
	}
	return now.Add(seconds(rule.Timeout))
}

// fold takes in what happened to a start.
func (a *Agent) fold(work context.Context, rep report) {
	u, ok := a.units[rep.name]
	if !ok || u.start != rep.start {
		return
	}
	now := time.Now()
	if rep.own != nil {
		a.learn(u, *rep.own, now)
	}
	switch rep.stage {
	case building:
		if u.phase != topics.PhaseStopping {
			u.become(topics.PhaseBuilding, now)
			u.why = &topics.Why{Code: topics.Starting, Text: "make build runs"}
			u.deadline = now.Add(a.cfg.Timing.Build)
		}
		u.version = rep.entry.Version
	case started:
		a.foldStarted(work, u, rep, now)
	case ready:
		if u.phase == topics.PhaseStopping {
			return
		}
		u.become(topics.PhaseRunning, now)
		u.ready, u.why, u.deadline, u.readyAt = true, nil, time.Time{}, now
		a.log(u.name).Int("pid", u.entry.PID).Int("port", u.entry.Port).Msg("ready")
		a.answer(work, u, topics.Done, nil)
	case unwell:
		a.foldUnwell(u, rep.why, now)
	case leaving:
		a.foldUnwell(u, &topics.Why{Code: topics.NotReady, Text: "says that it is about to end"}, now)
	case failing:
		if u.phase != topics.PhaseStopping {
			a.foldUnwell(u, rep.why, now)
			u.become(topics.PhaseStopping, now)
			u.again, u.deadline = false, time.Time{}
		}
	case status:
		u.status = rep.text
	case stuck:
		u.why = rep.why
		a.cfg.Log.Error().Str("service", string(u.name)).Str("why", rep.why.Text).Msg("cannot be stopped, is tried again")
	case ended:
		a.foldEnded(work, u, rep, now)
	}
}

// foldUnwell takes in that a service which runs is not ready any more.
func (a *Agent) foldUnwell(u *unit, why *topics.Why, now time.Time) {
	if u.phase != topics.PhaseRunning {
		return
	}
	if u.ready {
		u.history = a.cfg.Timing.Backoff.Ready(u.history, now.Sub(u.readyAt))
		a.cfg.Log.Warn().Str("service", string(u.name)).Str("why", why.Text).Msg("is not ready any more")
	}
	u.ready, u.why = false, why
}

func (a *Agent) foldStarted(work context.Context, u *unit, rep report, now time.Time) {
	u.entry, u.running, u.version = rep.entry, rep.running, rep.entry.Version
	if rep.note != nil {
		a.cfg.Log.Warn().Str("service", string(u.name)).Msg(rep.note.Text)
	}
	if u.phase == topics.PhaseStopping {
		return
	}
	u.become(topics.PhaseStarting, now)
	u.why = waitsFor(rep.entry)
	if rep.note != nil {
		u.why = rep.note
	}
	if rep.entry.Rule.By == topics.ReadyDone {
		u.become(topics.PhaseRunning, now)
		a.answer(work, u, topics.Done, nil)
	}
	if rep.entry.Rule.By == topics.ReadyTopic && !a.link.synced {
		u.deadline = time.Time{} // nobody could hear it: the time begins with the link
		return
	}
	u.deadline = deadline(rep.entry.Rule, now)
}

// haste begins or ends the time that services have which say by the bus that
// they are ready: without a bus none can.
func (a *Agent) haste(now time.Time) {
	for _, u := range a.units {
		if u.phase != topics.PhaseStarting || u.entry.Rule.By != topics.ReadyTopic {
			continue
		}
		u.deadline = time.Time{}
		if a.link.synced {
			u.deadline = now.Add(seconds(u.entry.Rule.Timeout))
		}
	}
}

// state is what is published of a unit.
func (a *Agent) state(u *unit) topics.ServiceState {
	s := topics.ServiceState{
		Sid: a.link.sid, Service: u.name, Phase: u.phase, Ready: u.ready, Version: u.version, Since: topics.At(u.since),
		Restarts: u.restarts, Exit: u.exit, Why: u.why, Term: u.term, Gen: u.gen,
	}
	s.Status = u.status
	if u.seen != nil {
		a.showObserved(&s, u)
		return s
	}
	if s.Version == "" && a.view.inventory != nil {
		s.Version = a.view.inventory.services[u.name]
	}
	if u.phase.Alive() {
		s.Runner = u.entry.Runner
		s.Rev, s.Start, s.PID, s.Port, s.Host = u.entry.Rev, u.start, u.entry.PID, u.entry.Port, a.host()
	}
	if due := u.due(time.Now()); !due.IsZero() && a.wanted[u.name].Run {
		s.NextRun = topics.At(due)
	}
	if s.Why == nil {
		_, kept := a.memory.Kept[u.name]
		switch refused := a.refused[u.name]; {
		case refused != nil:
			s.Why = refused
		case kept || u.phase.Alive() && !a.isWanted(u.name):
			s.Why = &topics.Why{Code: topics.Orphaned, Text: "runs, though no document names it any more", Next: "dominion remove " + string(u.name)}
		}
	}
	return s
}

func (a *Agent) isWanted(name topics.Service) bool {
	_, ok := a.wanted[name]
	return ok
}

// settle takes care of units that nobody speaks of: they are reported while
// they are on this machine, and forgotten after.
func (a *Agent) settle(work context.Context, now time.Time) {
	for name, u := range a.units {
		if u.seen != nil {
			continue
		}
		if len(u.answers) > 0 && u.phase != topics.PhaseBuilding && !now.Before(u.answers[0].deadline) {
			a.answer(work, u, topics.Failed, or(u.why, &topics.Why{Code: topics.NotReady, Text: "was not ready in time"}))
		}
		if a.ending && !u.phase.Alive() && u.phase != topics.PhaseStopped {
			u.rest(topics.PhaseStopped, &topics.Why{Code: topics.DomainStopped, Text: "the agent ends, and its services with it"}, now)
		}
		if u.phase.Alive() || a.isWanted(name) || a.ending {
			continue
		}
		if why := a.refused[name]; why != nil {
			u.rest(topics.PhaseStopped, why, now)
			continue
		}
		if a.view.inventory == nil || a.view.inventory.has(name) {
			if u.phase != topics.PhaseStopped || u.why == nil {
				u.rest(topics.PhaseStopped, &topics.Why{Code: topics.NotWanted, Text: "no document names it"}, now)
			}
			continue
		}
		a.drop(work, u)
	}
}

// drop forgets a unit that neither the document nor the disk knows.
func (a *Agent) drop(work context.Context, u *unit) {
	if a.link.born {
		if err := a.publish(work, topics.Message{Topic: a.cfg.Space.ServiceState(a.cfg.Name, u.name), QoS: 1, Retained: true}); err != nil {
			return // the next look tries again
		}
	}
	delete(a.units, u.name)
	a.forgetOver(u.name)
	if err := a.remember(); err != nil {
		a.cfg.Log.Error().Err(err).Msg("what should run here cannot be stored")
	}
}

func (a *Agent) log(name topics.Service) *zerolog.Event {
	return a.cfg.Log.Info().Str("service", string(name))
}
