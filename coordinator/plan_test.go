package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"dominion/coordinator"
	"dominion/topics"
	"dominion/topics/terms"

	"github.com/google/go-cmp/cmp"
)

// chain is the house of the demo.
func chain(t testing.TB) *coordinator.Catalogue {
	t.Helper()
	c, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{
		"npBar":             {Priority: "required", Traits: []string{"neoPixelLight"}, Dependencies: []string{"lightOrchestrator"}},
		"lightOrchestrator": {Priority: "dependency", Traits: []string{"compute"}, Dependencies: []string{"webServer"}},
		"webServer":         {Priority: "dependency", Traits: []string{"compute"}, Words: terms.Words{Ready: "tcp"}},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	return c
}

func domain(name string, trait string) coordinator.Domain {
	return coordinator.Domain{
		Name: topics.Node(name), State: topics.JudgedOnline, Since: epoch, Kept: true, Settled: true, Known: true, Acked: true,
		Traits: []topics.Trait{topics.Trait(trait)}, Memory: 1 << 30, Document: map[topics.Service]topics.Wanted{},
		Reports: map[topics.Service]topics.ServiceState{},
	}
}

func view(c *coordinator.Catalogue, domains ...coordinator.Domain) coordinator.View {
	return coordinator.View{
		Now: epoch, Stamp: topics.At(epoch), Timing: coordinator.DefaultTiming(), Catalogue: c, Domains: domains,
		Words: map[topics.Service]topics.ServiceWord{},
	}
}

// runs makes a domain run a service as its document says.
func runs(d coordinator.Domain, services ...string) coordinator.Domain {
	for i, s := range services {
		d.Document[topics.Service(s)] = topics.Wanted{Run: true}
		d.Reports[topics.Service(s)] = topics.ServiceState{Service: topics.Service(s), Phase: topics.PhaseRunning, Ready: true, Host: "10.0.0.1", Port: 8000 + i, Since: "2026-01-01T00:00:00Z"}
	}
	return d
}

func lost(d coordinator.Domain) coordinator.Domain {
	d.State, d.Since = topics.JudgedLost, epoch
	return d
}

// sketch is a plan in few words: service@domain, with ! where it is not to run.
func sketch(p coordinator.Plan) map[string]string {
	out := map[string]string{}
	for name, doc := range p.Documents {
		for s, w := range doc {
			mark := "run"
			if !w.Run {
				mark = w.Why.Code
			}
			out[string(s)+"@"+string(name)] = mark
		}
	}
	return out
}

func TestPlan(t *testing.T) {
	kitchen := func() coordinator.Domain { return domain("kitchen", "compute") }
	attic := func() coordinator.Domain { return domain("attic", "compute") }
	porch := func() coordinator.Domain { return domain("porch", "neoPixelLight") }
	later := func(v coordinator.View, d time.Duration) coordinator.View { v.Now = epoch.Add(d); return v }
	word := func(v coordinator.View, s string, run topics.RunWord) coordinator.View {
		v.Words[topics.Service(s)] = topics.ServiceWord{Run: run, Rev: 1}
		return v
	}
	with := func(d coordinator.Domain, change func(*coordinator.Domain)) coordinator.Domain { change(&d); return d }
	for name, c := range map[string]struct {
		view coordinator.View
		want map[string]string
	}{
		"it places a chain bottom up, on the domain with most room, ties by name": {
			view(chain(t), attic(), kitchen(), porch()),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@kitchen": "WAIT_DEPENDENCY", "npBar@porch": "WAIT_DEPENDENCY"},
		},
		"it keeps a lost domain's services during the hold-off": {
			later(view(chain(t), lost(runs(attic(), "webServer")), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")), 59*time.Second),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it moves them after the hold-off and takes them from the lost one": {
			later(view(chain(t), lost(runs(attic(), "webServer")), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")), time.Minute),
			map[string]string{"webServer@attic": "DUPLICATE", "webServer@kitchen": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it keeps the place of a lost domain when nobody else is fit": {
			later(view(chain(t), lost(runs(porch(), "npBar"))), time.Hour),
			map[string]string{"npBar@porch": "run"},
		},
		"it waits ten minutes for a domain that stopped and kept its services": {
			later(view(chain(t), with(runs(attic(), "webServer", "lightOrchestrator"), func(d *coordinator.Domain) { d.State = topics.JudgedStopped }), kitchen(), runs(porch(), "npBar")), 9*time.Minute),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@attic": "run", "npBar@porch": "run"},
		},
		"it waits for nobody who stopped his services": {
			view(chain(t), with(runs(attic(), "webServer"), func(d *coordinator.Domain) { d.State, d.Kept = topics.JudgedStopped, false }), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@attic": "DUPLICATE", "webServer@kitchen": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it never acts on a domain that is unknown": {
			later(view(chain(t), with(runs(attic(), "webServer"), func(d *coordinator.Domain) { d.State = topics.JudgedUnknown }), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")), time.Hour),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it places nothing anew while a domain is unknown that may run it": {
			view(chain(t), with(attic(), func(d *coordinator.Domain) { d.State, d.Known, d.Document = topics.JudgedUnknown, false, nil }), kitchen()),
			map[string]string{},
		},
		"it leaves a copy where it was found running, with no document known": {
			view(chain(t), with(runs(kitchen(), "webServer", "lightOrchestrator"), func(d *coordinator.Domain) { d.Document = nil }), attic(), runs(porch(), "npBar")),
			map[string]string{"webServer@kitchen": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it stops the copy that a returning domain brings, and keeps the desired one": {
			view(chain(t), with(runs(attic(), "webServer"), func(d *coordinator.Domain) { d.Document = map[topics.Service]topics.Wanted{} }), runs(kitchen(), "webServer", "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@attic": "DUPLICATE", "webServer@kitchen": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it moves from a drained domain only after that has stopped": {
			view(chain(t), with(runs(attic(), "webServer"), func(d *coordinator.Domain) { d.Drain = true }), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@attic": "NOT_WANTED", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it does not take a document for applied before the domain says so": {
			view(chain(t), with(attic(), func(d *coordinator.Domain) {
				d.Drain, d.Acked = true, false
				d.Document["webServer"] = topics.Wanted{Why: &topics.Why{Code: topics.NotWanted}}
			}), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@attic": "NOT_WANTED", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"it gives a service to the next domain once the drained one reports it stopped": {
			view(chain(t), with(attic(), func(d *coordinator.Domain) {
				d.Drain = true
				d.Document["webServer"] = topics.Wanted{Why: &topics.Why{Code: topics.NotWanted}}
				d.Reports["webServer"] = topics.ServiceState{Phase: topics.PhaseStopped}
			}), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@kitchen": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"a drained domain keeps what nobody else can run": {
			word(word(view(chain(t), with(runs(attic(), "webServer", "lightOrchestrator"), func(d *coordinator.Domain) { d.Drain = true })), "webServer", topics.RunOn), "lightOrchestrator", topics.RunOn),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@attic": "run"},
		},
		"a person's stop comes first, and dependents stop before what they need": {
			word(view(chain(t), runs(attic(), "webServer"), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")), "npBar", topics.RunOff),
			map[string]string{"npBar@porch": "STOPPED_BY_WORD", "lightOrchestrator@kitchen": "run", "webServer@attic": "run"},
		},
		"then what only it needed stops, in order": {
			word(view(chain(t), runs(attic(), "webServer"), runs(kitchen(), "lightOrchestrator"), with(porch(), func(d *coordinator.Domain) {
				d.Document["npBar"] = topics.Wanted{Why: &topics.Why{Code: topics.StoppedByPerson}}
				d.Reports["npBar"] = topics.ServiceState{Phase: topics.PhaseStopped}
			})), "npBar", topics.RunOff),
			map[string]string{"npBar@porch": "STOPPED_BY_WORD", "lightOrchestrator@kitchen": "NOT_NEEDED", "webServer@attic": "run"},
		},
		"a blip of a dependency stops nothing above it": {
			view(chain(t), with(runs(attic(), "webServer"), func(d *coordinator.Domain) {
				d.Reports["webServer"] = topics.ServiceState{Phase: topics.PhaseBackoff}
			}), runs(kitchen(), "lightOrchestrator"), runs(porch(), "npBar")),
			map[string]string{"webServer@attic": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"},
		},
		"nothing is placed while a domain has just joined": {
			view(chain(t), with(attic(), func(d *coordinator.Domain) { d.Joining, d.Settled = true, false }), kitchen()),
			map[string]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, sketch(coordinator.MakePlan(c.view))); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrphansKeepRunning(t *testing.T) {
	attic, kitchen, porch := runs(domain("attic", "compute"), "webServer"), runs(domain("kitchen", "compute"), "lightOrchestrator"), runs(domain("porch", "neoPixelLight"), "npBar")
	porch.Document["npBar"] = topics.Wanted{Run: true, Dependencies: []topics.Service{"lightOrchestrator"}}
	kitchen.Document["lightOrchestrator"] = topics.Wanted{Run: true, Dependencies: []topics.Service{"webServer"}}
	empty, _ := coordinator.NewCatalogue(nil)
	renamed, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{
		"npBarNew":          {Priority: "manual", Dependencies: []string{"lightOrchestrator"}},
		"lightOrchestrator": {Priority: "dependency", Dependencies: []string{"webServer"}},
		"webServer":         {Priority: "dependency"},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	want := map[string]string{"webServer@attic": "run", "lightOrchestrator@kitchen": "run", "npBar@porch": "run"}
	for name, c := range map[string]*coordinator.Catalogue{"empty": empty, "renamed": renamed} {
		v := view(c, attic, kitchen, porch)
		plan := coordinator.MakePlan(v)
		if diff := cmp.Diff(want, sketch(plan)); diff != "" {
			t.Errorf("catalogue %s: (-want +got):\n%s", name, diff)
		}
		report := coordinator.MakeReport(v, plan)
		if got := report.Summaries["npBar"].Phase; got != topics.SummaryOrphaned {
			t.Errorf("catalogue %s: npBar is %s, want orphaned", name, got)
		}
		if _, ok := report.Alerts["orphaned-npBar"]; !ok {
			t.Errorf("catalogue %s: no alert names the orphan: %v", name, report.Alerts)
		}
	}
	if plan := coordinator.MakePlan(view(nil, attic)); plan.Documents != nil {
		t.Errorf("a leader without a configuration file writes documents: %v", plan.Documents)
	}
}

func TestTheTargetFollowsTheEndpoint(t *testing.T) {
	kitchen := runs(domain("kitchen", "compute"), "webServer", "lightOrchestrator")
	was := map[topics.Service]topics.Target{"webServer": {Host: "10.0.0.9", Port: 1}}
	kitchen.Document["lightOrchestrator"] = topics.Wanted{Run: true, Endpoints: was}
	porch := runs(domain("porch", "neoPixelLight"), "npBar")
	got := coordinator.MakePlan(view(chain(t), kitchen, porch)).Documents["kitchen"]["lightOrchestrator"].Endpoints
	if diff := cmp.Diff(map[topics.Service]topics.Target{"webServer": {Host: "10.0.0.1", Port: 8000}}, got); diff != "" {
		t.Errorf("another endpoint is ready (-want +got):\n%s", diff)
	}
	kitchen.Reports["webServer"] = topics.ServiceState{Phase: topics.PhaseBackoff}
	got = coordinator.MakePlan(view(chain(t), kitchen, porch)).Documents["kitchen"]["lightOrchestrator"].Endpoints
	if diff := cmp.Diff(was, got); diff != "" {
		t.Errorf("none is ready, the last known stays (-want +got):\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	attic := lost(runs(domain("attic", "compute"), "webServer"))
	kitchen, porch := runs(domain("kitchen", "compute"), "lightOrchestrator"), runs(domain("porch", "neoPixelLight"), "npBar")
	v := view(chain(t), attic, kitchen, porch)
	r := coordinator.MakeReport(v, coordinator.MakePlan(v))
	want := topics.Summary{
		Service: "webServer", Phase: topics.SummaryUnknown, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"attic"},
		Since: topics.At(epoch), Because: "lightOrchestrator needs it",
		Why: &topics.Why{Code: topics.WaitHoldOff, Text: "attic lost, moves after 60 s unless it returns", Next: "dominion why attic"},
	}
	if diff := cmp.Diff(want, r.Summaries["webServer"]); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(topics.Lookup{Service: "webServer"}, r.Lookups["webServer"]); diff != "" {
		t.Errorf("lookup (-want +got):\n%s", diff)
	}
	if got := r.Summaries["npBar"]; got.Phase != topics.SummaryReady || got.Because != "required where trait neoPixelLight" || got.Since != "2026-01-01T00:00:00Z" {
		t.Errorf("npBar: %+v", got)
	}
	if got := r.Judgements["attic"]; got.State != topics.JudgedLost || got.Wanted != 1 || got.Ready != 0 || got.Why == nil {
		t.Errorf("attic: %+v", got)
	}
	if got := r.Alerts["lost-attic"].Text; got != "attic is lost, with webServer" {
		t.Errorf("alert: %q", got)
	}
	// A leader that starts again, with the same summaries on the bus, changes nothing.
	v.Before, v.Stamp = r.Summaries, topics.At(epoch.Add(time.Hour))
	if diff := cmp.Diff(r.Summaries, coordinator.MakeReport(v, coordinator.MakePlan(v)).Summaries); diff != "" {
		t.Errorf("summaries an hour later (-want +got):\n%s", diff)
	}
}

func TestCatalogueFaults(t *testing.T) {
	_, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{
		"a":     {Priority: "required", Dependencies: []string{"b"}},
		"b":     {Priority: "dependency", Dependencies: []string{"c:started"}},
		"c":     {Priority: "dependency", Dependencies: []string{"a"}},
		"d":     {Priority: "sometimes", Dependencies: []string{"aa", "b:eventually"}, Version: "^1.2", Port: 70000},
		"e":     {Priority: "manual", Version: "1.2.0 - 2.0.0", Words: terms.Words{Ready: "soon", ReadyDelay: "5"}, Env: map[string]string{"X": "$(shell reboot)", "1": "x", "LD_PRELOAD": "/tmp/x.so"}},
		"state": {Priority: "manual"},
		"A":     {Priority: "manual"},
	})
	var got []string
	for _, f := range faults {
		got = append(got, f.Error())
	}
	want := []string{
		"services.a: differs from \"A\" only in case (choose another name)",
		"services.d.priority: is \"sometimes\" (required, dependency, manual or external)",
		"services.d.dependencies: \"b:eventually\": condition \"eventually\" is none of ready, started and soft",
		"services.d.version: range \"^1.2\": ^ and ~ are not known (write >=1.2.0 <2.0.0)",
		"services.d.port: is 70000 (1 to 65535; leave it out and the domain finds a free one)",
		"services.d.dependencies: unknown service \"aa\" (A?)",
		"services.e.version: range \"1.2.0 - 2.0.0\" would match nothing (write >=1.2.0 <=2.0.0)",
		"services.e.env.1: is no name of a variable (letters, digits and _)",
		"services.e.env.LD_PRELOAD: steers a loader, a shell or make, and cannot come from the bus (set it in the Makefile or the env_file)",
		"services.e.env.X: is \"$(shell reboot)\" (letters, digits and ._:/@%+,=- are allowed; put others in the env_file)",
		"services.e.ready_delay: \"5\" is no duration (write 5s, 2m)",
		"services.e.ready: is \"soon\" (want tcp, http, file, notify, topic or delay)",
		"services.state: service name \"state\" is reserved (choose another)",
		"services.a.dependencies: goes in a circle: a -> b -> c -> a (take one of them out)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ domains, services int }{{50, 200}, {1000, 10000}} {
		b.Run(fmt.Sprintf("%dx%d", size.domains, size.services), func(b *testing.B) {
			entries := map[string]coordinator.Entry{}
			for i := range size.services {
				e := coordinator.Entry{Priority: "required", Instances: 1, Traits: []string{fmt.Sprintf("t%d", i%10)}}
				if i > 0 {
					e.Dependencies = []string{fmt.Sprintf("s%d", i/2)}
				}
				entries[fmt.Sprintf("s%d", i)] = e
			}
			c, faults := coordinator.NewCatalogue(entries)
			if faults != nil {
				b.Fatal(faults[0])
			}
			v := view(c)
			for i := range size.domains {
				v.Domains = append(v.Domains, domain(fmt.Sprintf("d%04d", i), fmt.Sprintf("t%d", i%10)))
			}
			for range 30 {
				plan := coordinator.MakePlan(v)
				for i := range v.Domains {
					d := &v.Domains[i]
					d.Document = plan.Documents[d.Name]
					for s, w := range d.Document {
						if w.Run {
							d.Reports[s] = topics.ServiceState{Service: s, Phase: topics.PhaseRunning, Ready: true, Host: "h", Port: 1}
						}
					}
				}
			}
			for b.Loop() {
				coordinator.MakePlan(v)
			}
		})
	}
}
