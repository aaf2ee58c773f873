package coordinator

import (
	"cmp"
	"fmt"
	"slices"

	"dominion/topics"

	"github.com/blang/semver/v4"
)

// place decides on one service and writes it into the documents.
func (p *planner) place(s topics.Service) {
	w, e := p.wishes[s], p.entry(s)
	verdict := Verdict{Run: topics.RunOff, Because: w.because, Orphan: !p.catalogued(s)}
	if w.on {
		verdict.Run = topics.RunOn
	}
	var where []*Domain
	switch {
	case p.observedOnly(s):
		p.plan.Services[s] = p.observed(s)
		return
	case e.priority == External:
		for _, at := range p.endpoints[s] {
			verdict.Where = append(verdict.Where, at.Domain)
		}
		if len(verdict.Where) == 0 {
			verdict.Why = &topics.Why{Code: topics.NoDomain, Text: "no microdomain that is online offers it", Next: "dominion status"}
		}
		p.plan.Services[s] = verdict
		return
	case !w.on:
		verdict.Why = w.why
		where = p.stop(s, w.why)
	case verdict.Orphan:
		where = p.keepOrphan(s)
		verdict.Why = &topics.Why{Code: topics.Orphaned, Text: "runs, but is not in the catalogue", Next: "dominion remove " + string(s)}
	case e.priority == Required && e.instances == 0:
		where, verdict.Why = p.everywhere(s, e)
		p.remind(s, e)
	default:
		where, verdict.Why = p.some(s, e)
		p.remind(s, e)
	}
	for _, d := range where {
		verdict.Where = append(verdict.Where, d.Name)
	}
	slices.Sort(verdict.Where)
	p.plan.Services[s] = verdict
}

// everywhere places a required service on every domain that is fit for it.
func (p *planner) everywhere(s topics.Service, e entry) (where []*Domain, why *topics.Why) {
	holds := map[*Domain]bool{}
	for _, d := range p.holders[s] {
		w := d.Document[s]
		holds[d] = w.Run || waits(w) || p.occupied(d, s)
	}
	fits := p.fits(e)
	for _, d := range fits {
		if d.observes(s) {
			continue
		}
		wrong := p.wrongVersion(d, s, e)
		if d.Drain || wrong != nil && !holds[d] {
			why = first(why, wrong)
			continue
		}
		if holds[d] || d.State.Reachable() && d.Settled {
			where = append(where, d)
			why = first(p.on(d, s, e), wrong, why)
		} else if d.State.Reachable() {
			why = first(why, settles(d))
		}
	}
	for _, d := range p.holders[s] {
		switch {
		case slices.Contains(where, d):
		case !d.Known && holds[d]: // it has not said what it is yet: nothing changes
			where = append(where, d)
			p.on(d, s, e)
		case p.occupied(d, s) || d.Document[s].Run:
			p.off(d, s, p.leaves(d, s, e))
		}
	}
	if len(where) == 0 && why == nil {
		why = p.nowhere(e)
	}
	return where, why
}

// some places a service on as many domains as it wants: where it is desired
// already, else where it runs already, else where there is most room.
func (p *planner) some(s topics.Service, e entry) (where []*Domain, why *topics.Why) {
	var usable, others []*Domain
	for _, d := range p.holders[s] {
		w, desired := d.Document[s]
		switch {
		case !w.Run && !waits(w) && !p.occupied(d, s):
		case d.given(p.v) || d.Drain || d.Known && !hasTraits(d, e) || desired && !w.Run && !waits(w):
			others = append(others, d) // the last of them was told to stop it
		default:
			usable = append(usable, d)
		}
	}
	slices.SortFunc(usable, func(a, b *Domain) int { return p.preferred(s, a, b) })
	slices.SortFunc(others, func(a, b *Domain) int { return p.preferred(s, a, b) })
	keep := usable[:min(len(usable), e.instances)]
	surplus := usable[len(keep):]
	if len(surplus) > 0 && !slices.ContainsFunc(keep, func(d *Domain) bool { return d.State.Reachable() }) {
		// Nobody of those to keep can be heard: stop nothing, and start nothing.
		runs := func(d *Domain) bool { return d.Document[s].Run || p.occupied(d, s) }
		keep, surplus = usable[:len(keep)], nil
		for _, d := range usable[len(keep):] {
			if runs(d) {
				keep = append(slices.Clip(keep), d)
			}
		}
	}
	missing := e.instances - len(keep)
	var candidates []*Domain
	if missing > 0 {
		candidates, why = p.candidates(s, e, p.holders[s])
	}
	if short := missing - len(candidates); short > 0 { // nowhere else to go: they stay
		short = min(short, len(others))
		keep, others = append(slices.Clone(keep), others[:short]...), others[short:]
		missing -= short
	}
	var waitMove *topics.Why
	for _, d := range append(surplus, others...) {
		if p.occupied(d, s) {
			missing--
			waitMove = &topics.Why{Code: topics.WaitMove, Text: fmt.Sprintf("stops on %s first", d.Name), Next: "dominion why " + string(s)}
		}
		if p.occupied(d, s) || d.Document[s].Run {
			p.off(d, s, p.leaves(d, s, e))
		}
	}
	for _, d := range keep {
		where = append(where, d)
		why = first(p.on(d, s, e), p.absent(d, s), p.wrongVersion(d, s, e), why)
	}
	for _, d := range candidates[:max(min(missing, len(candidates)), 0)] {
		where = append(where, d)
		p.held[d.Name]++
		why = first(p.on(d, s, e), why)
	}
	return where, first(why, waitMove)
}

// preferred orders the domains that have s already: desired and reachable,
// running and ready, running, desired, then by name.
func (p *planner) preferred(s topics.Service, a, b *Domain) int {
	rank := func(d *Domain) int {
		w, r := d.Document[s], d.Reports[s]
		switch up := d.State.Reachable(); {
		case w.Run && up:
			return 0
		case up && r.Ready:
			return 1
		case up && p.occupied(d, s):
			return 2
		case w.Run:
			return 3
		case p.occupied(d, s):
			return 4
		case up:
			return 5
		}
		return 6
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
}

// candidates are the domains that s may be placed on anew, the one with most
// room first, or why there is none now.
func (p *planner) candidates(s topics.Service, e entry, holders []*Domain) ([]*Domain, *topics.Why) {
	if p.mystery != nil {
		return nil, &topics.Why{Code: topics.WaitDomain, Text: fmt.Sprintf("%s has not been heard yet and may run it", p.mystery.Name), Next: "dominion why " + string(p.mystery.Name)}
	}
	var all []*Domain
	var why *topics.Why
	for _, d := range p.fits(e) {
		switch wrong := p.wrongVersion(d, s, e); {
		case d.State != topics.JudgedOnline || d.Drain || d.observes(s):
		case p.occupied(d, s):
		case wrong != nil:
			why = first(why, wrong)
		case p.joining != nil:
			why = settles(p.joining)
		case !d.Settled:
			why = settles(d)
		default:
			all = append(all, d)
		}
	}
	if len(all) == 0 && why == nil {
		why = p.nowhere(e)
	}
	slices.SortFunc(all, func(a, b *Domain) int {
		_, onA := a.OnDisk[s]
		_, onB := b.OnDisk[s]
		return cmp.Or(compareBool(onB, onA), cmp.Compare(p.room(b), p.room(a)), cmp.Compare(a.Name, b.Name))
	})
	return all, why
}

// room is the memory that a domain has for each of its services and one more.
func (p *planner) room(d *Domain) uint64 {
	memory := d.Memory
	if memory == 0 {
		memory = 1 << 30
	}
	return memory / uint64(p.held[d.Name]+1)
}

// fits are the domains that have all traits of a service, by name.
func (p *planner) fits(e entry) []*Domain {
	key := joined(e.traits, ",")
	if fits, ok := p.fitting[key]; ok {
		return fits
	}
	var fits []*Domain
	for i := range p.v.Domains {
		if d := &p.v.Domains[i]; !d.Micro && d.Known && hasTraits(d, e) {
			fits = append(fits, d)
		}
	}
	p.fitting[key] = fits
	return fits
}

func hasTraits(d *Domain, e entry) bool {
	for _, t := range e.traits {
		if !slices.Contains(d.Traits, t) {
			return false
		}
	}
	return true
}

// wrongVersion says why the version of s on d's disk is out of range. A
// domain that has no such directory is told so by the domain itself.
func (p *planner) wrongVersion(d *Domain, s topics.Service, e entry) *topics.Why {
	text, there := d.OnDisk[s]
	if e.versions == nil || !there {
		return nil
	}
	version, err := semver.ParseTolerant(text)
	if err == nil && e.versions(version) {
		return nil
	}
	if text == "" {
		text = "no version"
	}
	return &topics.Why{Code: topics.VersionMismatch, Text: fmt.Sprintf("%s has %s, the catalogue wants %s", d.Name, text, e.rangeText), Next: "dominion why " + string(d.Name)}
}

// absent says why a place that is kept cannot be seen to run s now.
func (p *planner) absent(d *Domain, s topics.Service) *topics.Why {
	if d.State.Reachable() {
		return nil
	}
	why := &topics.Why{Code: topics.DomainUnknown, Text: fmt.Sprintf("%s has not been heard yet", d.Name), Next: "dominion why " + string(d.Name)}
	switch d.State {
	case topics.JudgedLost, topics.JudgedStopped:
		why.Code = topics.WaitHoldOff
		at, _ := d.free(p.v.Timing)
		if d.given(p.v) {
			why.Code, why.Text = topics.DomainLost, fmt.Sprintf("%s is %s, and no other domain is fit for it", d.Name, d.State)
		} else {
			why.Text = fmt.Sprintf("%s %s, moves after %s unless it returns", d.Name, d.State, words(at.Sub(d.Since)))
		}
	case topics.JudgedSleeping:
		why.Text = fmt.Sprintf("%s sleeps", d.Name)
	}
	return why
}

// nowhere says why no domain is fit for a service.
func (p *planner) nowhere(e entry) *topics.Why {
	why := &topics.Why{Code: topics.NoDomain, Text: "no domain is there", Next: "dominion status"}
	for i := range p.v.Domains {
		if d := &p.v.Domains[i]; !d.Micro && d.State.Reachable() {
			why.Text = "no domain that is online has trait " + joined(e.traits, ", ")
			if len(e.traits) == 0 {
				why.Text = "no domain can take it now"
			}
		}
	}
	return why
}

func settles(d *Domain) *topics.Why {
	return &topics.Why{Code: topics.WaitDomain, Text: fmt.Sprintf("%s has just joined", d.Name), Next: "dominion why " + string(d.Name)}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
