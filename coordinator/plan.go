package coordinator

import (
	"fmt"
	"maps"
	"slices"

	"dominion/topics"
)

// Plan is what should be: a document for every domain, and for every service
// why it is where it is.
type Plan struct {
	// Documents are empty when there is no catalogue: a leader that was given
	// none writes no desired document.
	Documents map[topics.Node]map[topics.Service]topics.Wanted
	Services  map[topics.Service]Verdict
}

// Verdict is the decision on one service.
type Verdict struct {
	Run     topics.RunWord // on or off
	Because string         // why the house wants it; "" when it does not
	Where   []topics.Node  // the domains it is placed on, by name
	Orphan  bool           // it runs or ran, and is not in the catalogue

	Observed bool // it runs without the house, which only looks at it

	Why *topics.Why // what stands between the wish and its documents
}

// MakePlan decides what every domain should run. It is pure: the same view
// gives the same plan, and once a plan's documents stand and are applied the
// next plan has the same documents. It never names two domains for a service
// that wants one, takes a service from a domain only if that is lost,
// stopped, draining or unfit, and stops nothing for what it does not know.
func MakePlan(v View) Plan {
	p := newPlanner(&v)
	p.wish()
	for _, name := range p.order {
		p.place(name)
	}
	p.remindOrphans()
	if v.Catalogue == nil {
		p.plan.Documents = nil
	}
	return p.plan
}

type planner struct {
	v         *View
	order     []topics.Service // catalogue by dependency, then orphans by name
	holders   map[topics.Service][]*Domain
	observers map[topics.Service][]*Domain         // where it runs without the house
	endpoints map[topics.Service][]topics.Endpoint // ready, on reachable domains, by domain
	started   map[topics.Service]bool              // running somewhere reachable
	done      map[topics.Service]bool              // a oneshot that succeeded, on a reachable domain
	coming    map[topics.Service]bool              // known already: it may still become ready
	wishes    map[topics.Service]wish
	needs     map[topics.Service][]topics.Service // who depends on it: catalogue and orphans
	held      map[topics.Node]int                 // services that a domain has, for room
	fitting   map[string][]*Domain                // by traits, for the whole plan
	mystery   *Domain                             // one that may run anything
	joining   *Domain                             // one that others wait for
	plan      Plan
}

// wish is whether the house wants a service at all.
type wish struct {
	on      bool
	because string
	why     *topics.Why
}

func newPlanner(v *View) *planner {
	p := &planner{
		v: v, holders: map[topics.Service][]*Domain{}, observers: map[topics.Service][]*Domain{}, endpoints: endpoints(v), started: map[topics.Service]bool{},
		done: map[topics.Service]bool{}, coming: map[topics.Service]bool{},
		wishes: map[topics.Service]wish{}, needs: map[topics.Service][]topics.Service{},
		held: map[topics.Node]int{}, fitting: map[string][]*Domain{},
		plan: Plan{map[topics.Node]map[topics.Service]topics.Wanted{}, map[topics.Service]Verdict{}},
	}
	for i := range v.Domains {
		p.look(&v.Domains[i])
	}
	p.order = v.Catalogue.Services()
	p.order = append(p.order, p.orphans()...)
	return p
}

func (p *planner) look(d *Domain) {
	if d.Micro {
		return
	}
	p.plan.Documents[d.Name] = map[topics.Service]topics.Wanted{}
	if d.State == topics.JudgedUnknown && d.Document == nil && p.mystery == nil {
		p.mystery = d
	}
	if d.Joining && p.joining == nil {
		p.joining = d
	}
	for s, w := range d.Document {
		if d.observes(s) { // it was the house's once
			continue
		}
		p.holders[s] = append(p.holders[s], d)
		if w.Run || waits(w) {
			p.held[d.Name]++
		}
	}
	for s, r := range d.Reports {
		if _, also := d.Document[s]; r.Observed {
			p.observers[s] = append(p.observers[s], d)
		} else if !also {
			p.holders[s] = append(p.holders[s], d)
		}
		if d.State.Reachable() && (r.Phase == topics.PhaseRunning || r.Ready) {
			p.started[s] = true
			p.done[s] = p.done[s] || r.Complete()
		}
	}
}

// orphans are the services that do not stand in the catalogue and that a
// domain runs, still reports or observes, by name. One that was removed is shown only
// while it runs.
func (p *planner) orphans() []topics.Service {
	var all []topics.Service
	for s, holders := range p.holders {
		if p.catalogued(s) || p.v.Removed[s] && !p.lives(s) {
			continue
		}
		reported := func(d *Domain) bool { _, ok := d.Reports[s]; return ok }
		if p.lives(s) || slices.ContainsFunc(holders, reported) {
			all = append(all, s)
		}
	}
	for s := range p.observers {
		if !p.catalogued(s) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// lives tells that a domain runs s, or has been told to.
func (p *planner) lives(s topics.Service) bool {
	return slices.ContainsFunc(p.holders[s], func(d *Domain) bool { return p.occupied(d, s) || d.Document[s].Run })
}

func (p *planner) entry(s topics.Service) entry {
	if p.v.Catalogue == nil {
		return entry{}
	}
	return p.v.Catalogue.entries[s]
}

func (p *planner) catalogued(s topics.Service) bool {
	if p.v.Catalogue == nil {
		return false
	}
	_, ok := p.v.Catalogue.entries[s]
	return ok
}

// occupied tells that s may be running on d now, so that it may not be
// started elsewhere.
func (p *planner) occupied(d *Domain, s topics.Service) bool {
	if d.given(p.v) {
		return false
	}
	w, desired := d.Document[s]
	if desired && (w.Run || !d.Acked) {
		return true
	}
	r, reported := d.Reports[s]
	return reported && !r.Observed && !r.Phase.Settled()
}

// waits tells a document's entry that keeps a place although it does not run.
func waits(w topics.Wanted) bool {
	if w.Run || w.Why == nil {
		return false
	}
	switch w.Why.Code {
	case topics.WaitDependency, topics.StoppedByPerson:
		return true
	}
	return false
}

// wish settles which services the house wants: the operator's word first,
// then the catalogue, then who needs them.
func (p *planner) wish() {
	for _, s := range slices.Backward(p.order) { // dependents before what they need; orphans first
		w := p.wishFor(s)
		p.wishes[s] = w
		for _, d := range p.dependencies(s) {
			p.needs[d] = append(p.needs[d], s)
		}
	}
}

// dependencies are those of the catalogue, or for an orphan those that its
// last document named.
func (p *planner) dependencies(s topics.Service) []topics.Service {
	if p.catalogued(s) {
		return p.entry(s).wanted.Dependencies
	}
	for _, d := range p.holders[s] {
		if w, ok := d.Document[s]; ok {
			return w.Dependencies
		}
	}
	return nil
}

func (p *planner) wishFor(s topics.Service) wish {
	word := p.v.Words[s]
	if p.observedOnly(s) {
		return wish{on: true, because: "observed, runs without the house"}
	}
	if word.Run == topics.RunOff {
		return wish{why: &topics.Why{Code: topics.StoppedByPerson, Text: "stopped" + by(word.By), Next: "dominion start " + string(s)}}
	}
	switch {
	case p.catalogued(s):
	case p.lives(s):
		return wish{on: true, because: "left the catalogue, keeps running"}
	default:
		return wish{why: &topics.Why{Code: topics.Orphaned, Text: "stopped, and not in the catalogue", Next: "dominion remove " + string(s)}}
	}
	e := p.entry(s)
	switch {
	case e.priority == Required:
		return wish{on: true, because: e.because}
	case word.Run == topics.RunOn:
		return wish{on: true, because: "started" + by(word.By)}
	case e.priority == External:
		return wish{on: true, because: "a microdomain offers it"}
	case e.priority == Manual:
		return wish{why: &topics.Why{Code: topics.NotWanted, Text: "starts only when somebody says so", Next: "dominion start " + string(s)}}
	}
	var needers []topics.Service
	for _, t := range p.needs[s] {
		if p.wishes[t].on {
			needers = append(needers, t)
		}
	}
	slices.Sort(needers)
	switch len(needers) {
	case 0:
		return wish{why: &topics.Why{Code: topics.NotNeeded, Text: "nothing that runs needs it", Next: "dominion why " + string(s)}}
	case 1:
		return wish{on: true, because: string(needers[0]) + " needs it"}
	case 2:
		return wish{on: true, because: joined(needers, " and ") + " need it"}
	}
	return wish{on: true, because: fmt.Sprintf("%s and %d others need it", needers[0], len(needers)-1)}
}

func by(who string) string {
	if who == "" {
		return " by hand"
	}
	return " by " + who
}

// endpoints are the ready instances of every service on domains that can be
// heard. One that is done is found nowhere.
func endpoints(v *View) map[topics.Service][]topics.Endpoint {
	all := map[topics.Service][]topics.Endpoint{}
	for i := range v.Domains {
		d := &v.Domains[i]
		if !d.State.Reachable() {
			continue
		}
		for _, s := range slices.Sorted(maps.Keys(d.Reports)) {
			if r := d.Reports[s]; r.Ready && !r.Complete() {
				all[s] = append(all[s], topics.Endpoint{Domain: d.Name, Sid: d.Sid, Host: r.Host, Port: r.Port, Version: r.Version})
			}
		}
		if d.Micro {
			for s, version := range d.OnDisk {
				if _, said := d.Reports[s]; !said {
					all[s] = append(all[s], topics.Endpoint{Domain: d.Name, Sid: d.Sid, Host: d.Address, Version: version})
				}
			}
		}
	}
	return all
}

func first(whys ...*topics.Why) *topics.Why {
	for _, w := range whys {
		if w != nil {
			return w
		}
	}
	return nil
}
