package coordinator_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// village is a house in memory: domains that do what their documents say, a
// little at a time, and are lost and come back.
type village struct {
	entries map[string]coordinator.Entry
	view    coordinator.View
	random  *rand.Rand
	runs    map[topics.Node]map[topics.Service]bool // processes that really exist
	told    map[topics.Node]map[topics.Service]bool // what their documents last said of each service
	islands map[topics.Node]bool                    // cut off: lost to the house, and running on
}

func newVillage(t *testing.T, seed uint64) *village {
	r := rand.New(rand.NewPCG(seed, 7))
	traits := []string{"compute", "light", "usb"}
	entries := map[string]coordinator.Entry{}
	n := 1 + r.IntN(6)
	for i := range n {
		e := coordinator.Entry{Priority: []string{"required", "dependency", "dependency", "manual"}[r.IntN(4)]}
		if r.IntN(2) == 0 {
			e.Traits = []string{traits[r.IntN(len(traits))]}
		}
		if e.Priority == "required" && r.IntN(2) == 0 {
			e.Instances = 1 + r.IntN(2)
		}
		for j := range i {
			if r.IntN(3) == 0 {
				e.Dependencies = append(e.Dependencies, fmt.Sprintf("s%d%s", j, []string{"", ":started", ":soft"}[r.IntN(3)]))
			}
		}
		if r.IntN(4) == 0 {
			e.Type = topics.Oneshot
		}
		entries[fmt.Sprintf("s%d", i)] = e
	}
	catalogue, faults := coordinator.NewCatalogue(entries)
	if faults != nil {
		t.Fatal(faults)
	}
	v := &village{entries: entries, random: r, runs: map[topics.Node]map[topics.Service]bool{}, told: map[topics.Node]map[topics.Service]bool{}, islands: map[topics.Node]bool{}}
	v.view = coordinator.View{Now: epoch, Timing: coordinator.DefaultTiming(), Catalogue: catalogue, Words: map[topics.Service]topics.ServiceWord{}}
	for i := range 1 + r.IntN(4) {
		d := coordinator.Domain{
			Name: topics.Node(fmt.Sprintf("d%d", i)), State: topics.JudgedOnline, Since: epoch, Kept: true, Settled: true, Known: true,
			Memory: uint64(1+r.IntN(4)) << 30, Reports: map[topics.Service]topics.ServiceState{},
		}
		for _, trait := range traits {
			if r.IntN(2) == 0 {
				d.Traits = append(d.Traits, topics.Trait(trait))
			}
		}
		v.view.Domains = append(v.view.Domains, d)
		v.runs[d.Name], v.told[d.Name] = map[topics.Service]bool{}, map[topics.Service]bool{}
	}
	return v
}

// apply lets the documents of a plan stand.
func (v *village) apply(plan coordinator.Plan) {
	for i := range v.view.Domains {
		d := &v.view.Domains[i]
		if !reflect.DeepEqual(d.Document, plan.Documents[d.Name]) {
			d.Document, d.Acked = plan.Documents[d.Name], false
		}
	}
}

// work lets some of the domains that are there take a step towards their document.
func (v *village) work(all bool) {
	for i := range v.view.Domains {
		d := &v.view.Domains[i]
		if d.State != topics.JudgedOnline || !all && v.random.IntN(2) == 0 {
			continue
		}
		d.Acked = true
		for s, run := range v.told[d.Name] { // what a document does not name runs on
			if _, named := d.Document[s]; !named && run {
				v.runs[d.Name][s] = true
				d.Reports[s] = topics.ServiceState{Service: s, Phase: topics.PhaseRunning, Ready: true, Host: string(d.Name), Port: 80}
			}
		}
		for s, w := range d.Document {
			if d.Reports[s].Observed { // it is not the house's, whatever an older document says
				continue
			}
			v.told[d.Name][s] = w.Run
			v.runs[d.Name][s] = w.Run
			state := topics.ServiceState{Service: s, Phase: topics.PhaseStopped}
			switch {
			case w.Run && w.Ends():
				state.Phase, state.Ready = topics.PhaseDone, true
			case w.Run:
				state.Phase, state.Ready, state.Host, state.Port = topics.PhaseRunning, true, string(d.Name), 80
			}
			d.Reports[s] = state
		}
	}
}

// disturb changes the world: time, domains that go and come, words.
func (v *village) disturb() {
	v.view.Now = v.view.Now.Add(time.Duration(v.random.IntN(40)) * time.Second)
	d := &v.view.Domains[v.random.IntN(len(v.view.Domains))]
	switch v.random.IntN(7) {
	case 6:
		v.adopt(d)
	case 4: // the cable is pulled: what runs there runs on
		if d.State == topics.JudgedOnline {
			d.State, d.Since = topics.JudgedLost, v.view.Now
			v.islands[d.Name] = true
		}
	case 0: // the plug is pulled
		if d.State == topics.JudgedOnline {
			d.State, d.Since = topics.JudgedLost, v.view.Now
			clear(v.runs[d.Name])
		}
	case 1:
		v.comeBack(d)
	case 2:
		d.Drain = !d.Drain
	case 3:
		services := v.view.Catalogue.Services()
		s := services[v.random.IntN(len(services))]
		v.view.Words[s] = topics.ServiceWord{Run: []topics.RunWord{topics.RunOn, topics.RunOff, topics.RunAuto}[v.random.IntN(3)]}
	}
}

// adopt has a domain observe a service that it runs without the house, or let
// go of it.
func (v *village) adopt(d *coordinator.Domain) {
	services := v.view.Catalogue.Services()
	s := services[v.random.IntN(len(services))]
	switch r := d.Reports[s]; {
	case d.State != topics.JudgedOnline:
	case r.Observed:
		d.Reports[s] = topics.ServiceState{Service: s, Phase: topics.PhaseStopped}
	case !v.runs[d.Name][s] && !v.told[d.Name][s] && !d.Document[s].Run:
		up := v.random.IntN(3) > 0
		d.Reports[s] = topics.ServiceState{Service: s, Observed: true, Ready: up, Phase: topics.PhaseRunning, Host: string(d.Name), Port: 80}
	}
}

// comeBack lets a lost domain hear its document before it starts anything.
func (v *village) comeBack(d *coordinator.Domain) {
	if d.State != topics.JudgedLost {
		return
	}
	d.State, d.Since, d.Acked = topics.JudgedOnline, v.view.Now, false
	for s, r := range d.Reports {
		if !v.runs[d.Name][s] && !r.Observed {
			r.Phase, r.Ready = topics.PhaseStopped, false
			d.Reports[s] = r
		}
	}
}

// check holds a plan against the laws that hold for any house.
func (v *village) check(t *testing.T, plan coordinator.Plan) {
	t.Helper()
	count := map[topics.Service]int{}
	for name, doc := range plan.Documents {
		for s, w := range doc {
			if !w.Run {
				if w.Why == nil {
					t.Fatalf("%s on %s is not to run and has no why", s, name)
				}
				continue
			}
			count[s]++
			if d := v.domain(name); !d.Document[s].Run && !hasTraits(d, v.entries[string(s)].Traits) {
				t.Fatalf("%s was given to %s, which lacks its traits", s, name)
			}
		}
	}
	v.checkObserved(t, plan)
	for _, s := range v.view.Catalogue.Services() {
		want := v.limit(s)
		if want > 0 && count[s] > want {
			t.Fatalf("%s wants %d and is in %d documents: %v", s, want, count[s], plan.Services[s])
		}
		if running := v.running(s); want > 0 && running > want {
			t.Fatalf("%s wants %d and runs %d times", s, want, running)
		}
	}
}

// checkObserved holds that nobody is asked to run what runs without the house:
// no domain that observes it, and no other while the house has it nowhere.
func (v *village) checkObserved(t *testing.T, plan coordinator.Plan) {
	t.Helper()
	for _, s := range v.view.Catalogue.Services() {
		var observers, holders []topics.Node
		for i := range v.view.Domains {
			d := &v.view.Domains[i]
			r, w := d.Reports[s], d.Document[s]
			switch {
			case r.Observed && d.State == topics.JudgedOnline:
				observers = append(observers, d.Name)
			case !r.Observed && (w.Run || w.Why != nil || !r.Phase.Settled() && r.Phase != "" || len(d.Document) > 0 && !d.Acked):
				holders = append(holders, d.Name)
			}
			if _, named := plan.Documents[d.Name][s]; named && r.Observed {
				t.Fatalf("%s observes %s and is told what to do about it", d.Name, s)
			}
		}
		if len(observers) == 0 || len(holders) > 0 {
			continue
		}
		if verdict := plan.Services[s]; !verdict.Observed || verdict.Orphan {
			t.Fatalf("%s is observed on %v only: %+v", s, observers, verdict)
		}
		for name, doc := range plan.Documents {
			if doc[s].Run {
				t.Fatalf("%s is observed on %v, and %s is asked to run it", s, observers, name)
			}
		}
	}
}

func (v *village) domain(name topics.Node) *coordinator.Domain {
	for i := range v.view.Domains {
		if v.view.Domains[i].Name == name {
			return &v.view.Domains[i]
		}
	}
	return nil
}

// running counts the copies of s, without those on domains that were cut off:
// nobody can know of them before they are back and have heard their documents.
func (v *village) running(s topics.Service) (n int) {
	for name, runs := range v.runs {
		if runs[s] && !v.islands[name] {
			n++
		}
	}
	return n
}

func hasTraits(d *coordinator.Domain, traits []string) bool {
	for _, trait := range traits {
		if !slices.Contains(d.Traits, topics.Trait(trait)) {
			return false
		}
	}
	return true
}

// limit is how many copies a service may have; 0 is one on each domain.
func (v *village) limit(s topics.Service) int {
	e := v.entries[string(s)]
	if e.Instances == 0 && e.Priority != coordinator.Required {
		return 1
	}
	return e.Instances
}

func live(t *testing.T, seed uint64) {
	v := newVillage(t, seed)
	for range 60 {
		v.disturb()
		for range 3 {
			plan := coordinator.MakePlan(v.view)
			if again := coordinator.MakePlan(v.view); !reflect.DeepEqual(plan, again) {
				t.Fatalf("the same view gave two plans: %s", cmp.Diff(plan, again))
			}
			v.check(t, plan)
			v.apply(plan)
			v.work(false)
		}
	}
	for i := range v.view.Domains {
		v.comeBack(&v.view.Domains[i])
	}
	for range 20 { // left alone, with everybody back, the house comes to rest
		v.apply(coordinator.MakePlan(v.view))
		v.work(true)
	}
	clear(v.islands)
	plan := coordinator.MakePlan(v.view)
	v.check(t, plan)
	for i := range v.view.Domains {
		d := &v.view.Domains[i]
		if diff := cmp.Diff(d.Document, plan.Documents[d.Name]); diff != "" {
			t.Fatalf("applied, and planned again, %s gets another document:\n%s", d.Name, diff)
		}
		for s, w := range d.Document {
			for _, soft := range w.Soft {
				if w.Why != nil && w.Why.Code == topics.WaitDependency && w.Why.Next == "dominion why "+string(soft) {
					t.Fatalf("%s waits on %s for %s, which it can do without, and all that can come has come", s, d.Name, soft)
				}
			}
		}
	}
}

func TestLawsHoldForAnyHouse(t *testing.T) {
	for seed := range uint64(400) {
		live(t, seed)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { live(t, seed) })
}
