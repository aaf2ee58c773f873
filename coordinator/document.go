package coordinator

import (
	"fmt"
	"slices"

	"dominion/topics"
)

// keepOrphan leaves what a document says of an orphan as it is.
func (p *planner) keepOrphan(s topics.Service) (where []*Domain) {
	for _, d := range p.holders[s] {
		if w, ok := d.Document[s]; ok {
			p.plan.Documents[d.Name][s] = w
		}
		if p.occupied(d, s) || d.Document[s].Run {
			where = append(where, d)
		}
	}
	return where
}

// stop writes run:false where s is, after those that need it have stopped.
func (p *planner) stop(s topics.Service, why *topics.Why) (where []*Domain) {
	above, waiting := p.stillUp(s)
	for _, d := range p.holders[s] {
		was, desired := d.Document[s]
		switch {
		case waiting && desired && was.Run:
			was.Why = &topics.Why{Code: topics.WaitDependency, Text: fmt.Sprintf("stops after %s", above), Next: "dominion why " + string(above)}
			p.plan.Documents[d.Name][s] = was
			where = append(where, d)
		case p.occupied(d, s):
			p.off(d, s, why)
			where = append(where, d)
		case desired && (d.given(p.v) && was.Run || why.Code == topics.StoppedByPerson && p.catalogued(s)):
			p.off(d, s, why)
		case desired && !d.State.Reachable() && !p.settled(d, s):
			p.off(d, s, why) // it will hear so when it comes back
		}
	}
	return where
}

// remind keeps the word to stop s in the documents of domains that were gone
// when it was written. They still have the older word to run it, and a service
// that a document does not name runs on.
func (p *planner) remind(s topics.Service, e entry) {
	for _, d := range p.holders[s] {
		_, written := p.plan.Documents[d.Name][s]
		was, desired := d.Document[s]
		if !written && desired && !was.Run && !d.State.Reachable() && !p.settled(d, s) {
			p.off(d, s, p.leaves(d, s, e))
		}
	}
}

// remindOrphans does the same for services that nobody has any more.
func (p *planner) remindOrphans() {
	for s, holders := range p.holders {
		if _, placed := p.plan.Services[s]; placed {
			continue
		}
		for _, d := range holders {
			if w, ok := d.Document[s]; ok && !d.State.Reachable() && !p.settled(d, s) {
				p.plan.Documents[d.Name][s] = w
			}
		}
	}
}

// settled tells that d has heard the word to stop s, and that its last report
// leaves nothing to stop.
func (p *planner) settled(d *Domain, s topics.Service) bool {
	r, ok := d.Reports[s]
	return d.Acked && (!ok || r.Phase.Settled())
}

// stillUp names a service that needs s, is not wanted either, and has not
// stopped yet where that can be known.
func (p *planner) stillUp(s topics.Service) (topics.Service, bool) {
	for _, t := range p.needs[s] {
		if p.wishes[t].on {
			continue
		}
		for _, d := range p.holders[t] {
			if d.State.Reachable() && p.occupied(d, t) {
				return t, true
			}
		}
	}
	return "", false
}

// off writes run:false for s into d's document.
func (p *planner) off(d *Domain, s topics.Service, why *topics.Why) {
	w := p.entry(s).wanted
	if !p.catalogued(s) {
		w = d.Document[s]
	}
	w.Run, w.Why = false, why
	w.Endpoints = d.Document[s].Endpoints
	p.plan.Documents[d.Name][s] = w
}

// on writes s into d's document: run:true once its dependencies are there,
// and from then on, whatever becomes of them.
func (p *planner) on(d *Domain, s topics.Service, e entry) *topics.Why {
	was, desired := d.Document[s]
	r, reported := d.Reports[s]
	w := e.wanted
	w.Endpoints = p.targets(d, e, was)
	released := desired && was.Run || reported && !r.Phase.Settled()
	w.Run = released
	if !released {
		w.Why = p.unmet(e)
		w.Run = w.Why == nil
	}
	p.plan.Documents[d.Name][s] = w
	return w.Why
}

// unmet is the first dependency that s has to wait for.
func (p *planner) unmet(e entry) *topics.Why {
	for _, need := range e.dependencies {
		if p.satisfied(need) || need.soft && !p.comes(need.service) {
			continue
		}
		return &topics.Why{
			Code: topics.WaitDependency,
			Text: fmt.Sprintf("waits for %s: %s", need.service, p.status(need.service)),
			Next: "dominion why " + string(need.service),
		}
	}
	return nil
}

func (p *planner) satisfied(need dependency) bool {
	return len(p.endpoints[need.service]) > 0 || p.done[need.service] || need.started && p.started[need.service]
}

// comes tells that a service that is not ready may still become so by itself:
// who can do without it waits for that, and no longer. It is asked of what was
// placed already.
func (p *planner) comes(s topics.Service) bool {
	if known, ok := p.coming[s]; ok {
		return known
	}
	comes := p.wishes[s].on && p.mayStart(s) && slices.ContainsFunc(p.holders[s], func(d *Domain) bool { return p.comesOn(d, s) })
	if verdict := p.plan.Services[s]; p.wishes[s].on && len(verdict.Where) == 0 && verdict.Why != nil {
		switch verdict.Why.Code {
		case topics.WaitDomain, topics.WaitMove, topics.WaitHoldOff:
			comes = true
		}
	}
	p.coming[s] = comes
	return comes
}

// mayStart tells that nothing that s itself waits for is given up.
func (p *planner) mayStart(s topics.Service) bool {
	return !slices.ContainsFunc(p.entry(s).dependencies, func(need dependency) bool {
		return !need.soft && !p.satisfied(need) && !p.comes(need.service)
	})
}

// comesOn tells that s may become ready on d, where it is placed.
func (p *planner) comesOn(d *Domain, s topics.Service) bool {
	want, placed := p.plan.Documents[d.Name][s]
	if !placed || !want.Run && !waits(want) || d.given(p.v) || d.State == topics.JudgedConflict {
		return false
	}
	r, reported := d.Reports[s]
	switch {
	case !reported || !d.State.Reachable():
		return true
	case r.Phase == topics.PhaseCrashloop, r.Phase == topics.PhaseDone:
		return false
	}
	return r.Phase != topics.PhaseStopped || !d.Acked || !d.Document[s].Run
}

// status says in a few words where a dependency is.
func (p *planner) status(s topics.Service) string {
	if w := p.wishes[s]; !w.on {
		return w.why.Text
	}
	for _, d := range p.holders[s] {
		r, ok := d.Reports[s]
		switch {
		case !d.State.Reachable() && p.occupied(d, s):
			return fmt.Sprintf("%s is %s", d.Name, d.State)
		case ok && !r.Phase.Settled():
			return fmt.Sprintf("%s on %s", r.Phase, d.Name)
		}
	}
	if why := p.plan.Services[s].Why; why != nil {
		return why.Text
	}
	return "not started yet"
}

// targets are the addresses of a service's dependencies: the ones it was
// given while they are ready, else another ready one, else the last known.
func (p *planner) targets(d *Domain, e entry, was topics.Wanted) map[topics.Service]topics.Target {
	var all map[topics.Service]topics.Target
	for _, need := range e.dependencies {
		target, ok := was.Endpoints[need.service]
		ready := p.endpoints[need.service]
		same := func(at topics.Endpoint) bool { return ok && at.Host == target.Host && at.Port == target.Port }
		here := func(at topics.Endpoint) bool { return at.Domain == d.Name }
		if len(ready) > 0 && !slices.ContainsFunc(ready, same) {
			i := max(slices.IndexFunc(ready, here), 0)
			target, ok = topics.Target{Host: ready[i].Host, Port: ready[i].Port}, true
		}
		if ok {
			if all == nil {
				all = map[topics.Service]topics.Target{}
			}
			all[need.service] = target
		}
	}
	return all
}

// leaves says why s is taken from d.
func (p *planner) leaves(d *Domain, s topics.Service, e entry) *topics.Why {
	next := "dominion why " + string(s)
	switch {
	case d.Drain:
		return &topics.Why{Code: topics.NotWanted, Text: fmt.Sprintf("%s is drained", d.Name), Next: next}
	case d.Known && !hasTraits(d, e):
		return &topics.Why{Code: topics.NoDomain, Text: fmt.Sprintf("%s lacks trait %s", d.Name, joined(e.traits, ", ")), Next: next}
	}
	return &topics.Why{Code: topics.Duplicate, Text: "runs on another domain", Next: next}
}
