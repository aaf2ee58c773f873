package coordinator

import (
	"fmt"
	"slices"
	"time"

	"dominion/topics"
)

// observes tells that s runs on d without the house, which only looks at it.
func (d *Domain) observes(s topics.Service) bool {
	r, reported := d.Reports[s]
	return reported && r.Observed
}

// observedOnly tells that s is observed, and that the house has it nowhere of
// its own. Like one that a microdomain offers, it is never asked to start or
// to stop: neither where it is observed, nor elsewhere beside that. An entry
// of the catalogue takes over once its domains are given up.
func (p *planner) observedOnly(s topics.Service) bool {
	observers := p.observers[s]
	if len(observers) == 0 {
		return false
	}
	for _, d := range p.holders[s] {
		if w := d.Document[s]; w.Run || waits(w) || p.occupied(d, s) {
			return false
		}
	}
	return !p.catalogued(s) || p.entry(s).priority == External ||
		slices.ContainsFunc(observers, func(d *Domain) bool { return !d.given(p.v) })
}

// observed is the verdict on a service that is observed only.
func (p *planner) observed(s topics.Service) Verdict {
	verdict := Verdict{Run: topics.RunOn, Because: p.wishes[s].because, Observed: true}
	for _, d := range p.observers[s] {
		verdict.Where = append(verdict.Where, d.Name)
	}
	for _, at := range p.endpoints[s] { // a microdomain may offer it too
		if !slices.Contains(verdict.Where, at.Domain) {
			verdict.Where = append(verdict.Where, at.Domain)
		}
	}
	slices.Sort(verdict.Where)
	return verdict
}

// countObserved counts an instance that the house only looks at.
func (t *tally) countObserved(d *Domain, r topics.ServiceState) {
	switch {
	case r.Ready:
		t.ready++
		if t.since == "" {
			t.since = r.Since
		}
	case r.Phase == topics.PhaseBackoff, r.Phase == topics.PhaseRunning, r.Phase == topics.PhaseStopped && r.Why != nil && r.Why.Code == topics.Exited:
		t.failing++
		t.blame(d, r)
	case r.Phase == topics.PhaseStopping:
		t.stopping++
		t.blame(d, r)
	case r.Phase == topics.PhaseStopped:
		t.down++
		t.blame(d, r)
	default:
		t.starting++
		t.blame(d, r)
	}
}

// hands tells why a command must leave a service alone that runs without the
// house, or nil.
func (c *Coordinator) hands(s topics.Service) *topics.Why {
	sum := c.report.Summaries[s]
	if !sum.Observed {
		return nil
	}
	why := &topics.Why{Code: topics.Observed, Text: fmt.Sprintf("%s is only observed on %s: the house does not start or stop it", s, joined(sum.Where, ", "))}
	why.Next = "dominion why " + string(s)
	for _, name := range sum.Where {
		n := c.house.Node(name)
		if n == nil {
			continue
		}
		switch r, _ := n.Service(s, time.Now()); {
		case !r.Observed: // a microdomain offers it too
		case r.Runner == "pid":
			why.Text += "; nobody knows how to start that process (a unit or a Makefile would say)"
		default:
			why.Next = fmt.Sprintf("on %s: sudo domain adopt %s --own", name, s)
		}
	}
	return why
}
