package coordinator_test

import (
	"testing"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

// observes lets a domain report a service that runs there without the house.
func observes(d coordinator.Domain, s topics.Service, phase topics.Phase, why *topics.Why) coordinator.Domain {
	d.Reports[s] = topics.ServiceState{
		Service: s, Observed: true, Runner: "systemd", Phase: phase, Ready: why == nil, Why: why,
		Host: "10.0.0.9", Port: 1883, Since: "2026-01-01T00:00:00Z",
	}
	return d
}

func TestAnObservedServiceIsShownAndLeftAlone(t *testing.T) {
	exited := &topics.Why{Code: topics.Exited, Text: "failed: it exited with code 1", Next: "journalctl -n 50 -u mosquitto.service"}
	for _, tt := range []struct {
		name  string
		attic coordinator.Domain
		want  topics.SummaryPhase
		alert bool
	}{
		{"it runs", observes(domain("attic", "compute"), "mosquitto", topics.PhaseRunning, nil), topics.SummaryReady, false},
		{"it failed", observes(domain("attic", "compute"), "mosquitto", topics.PhaseStopped, exited), topics.SummaryFailing, true},
		{"somebody stopped it", observes(domain("attic", "compute"), "mosquitto", topics.PhaseStopped, &topics.Why{Code: topics.NotWanted, Text: "does not run"}), topics.SummaryStopped, false},
		{"its domain is lost", lost(observes(domain("attic", "compute"), "mosquitto", topics.PhaseRunning, nil)), topics.SummaryUnknown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := view(chain(t), tt.attic, domain("porch", "neoPixelLight"))
			plan := coordinator.MakePlan(v)
			r := coordinator.MakeReport(v, plan)
			got := r.Summaries["mosquitto"]
			if got.Phase != tt.want || !got.Observed || got.Wanted != 1 || !cmp.Equal(got.Where, []topics.Node{"attic"}) {
				t.Errorf("summary %+v, want the phase %s", got, tt.want)
			}
			if (got.Phase == topics.SummaryReady) != (got.Why == nil) {
				t.Errorf("why %+v", got.Why)
			}
			for name, doc := range plan.Documents {
				if _, named := doc["mosquitto"]; named {
					t.Errorf("%s is told what to do about it: %+v", name, doc)
				}
			}
			if _, orphaned := r.Alerts["orphaned-mosquitto"]; orphaned || len(r.Alerts) > 0 && !tt.alert {
				t.Errorf("alerts %v", r.Alerts)
			}
			if l := r.Lookups["mosquitto"]; (l.Ready == 1 && l.Port == 1883) != (tt.want == topics.SummaryReady) {
				t.Errorf("lookup %+v", l)
			}
		})
	}
}

func TestAnObservedServiceSatisfiesADependency(t *testing.T) {
	v := view(chain(t), observes(domain("attic", "compute"), "webServer", topics.PhaseRunning, nil), domain("porch", "neoPixelLight"))
	plan := coordinator.MakePlan(v)
	if w := plan.Documents["attic"]["lightOrchestrator"]; !w.Run || w.Endpoints["webServer"] != (topics.Target{Host: "10.0.0.9", Port: 1883}) {
		t.Errorf("lightOrchestrator %+v", w)
	}
	for name, doc := range plan.Documents {
		if _, named := doc["webServer"]; named {
			t.Errorf("%s is asked to run what runs already", name)
		}
	}
}

// One that the house has started itself elsewhere is none the less kept there.
func TestObservingStopsNothing(t *testing.T) {
	kitchen := runs(domain("kitchen", "compute"), "webServer")
	v := view(chain(t), observes(domain("attic", "compute"), "webServer", topics.PhaseRunning, nil), kitchen, domain("porch", "neoPixelLight"))
	plan := coordinator.MakePlan(v)
	if w := plan.Documents["kitchen"]["webServer"]; !w.Run {
		t.Errorf("kitchen is told %+v", w)
	}
	if _, named := plan.Documents["attic"]["webServer"]; named {
		t.Error("attic is told what to do about what it only observes")
	}
}
