package coordinator_test

import (
	"testing"
	"time"

	"dominion/coordinator"
	"dominion/topics"
)

// A domain whose services moved while it was lost comes back with the old
// word to run them: it must find the word to stop them, until it says that it
// has.
func TestALostDomainFindsTheWordToStopWhenItComesBack(t *testing.T) {
	attic := runs(domain("attic", "compute"), "webServer")
	kitchen := runs(domain("kitchen", "compute"), "lightOrchestrator")
	porch := runs(domain("porch", "neoPixelLight"), "npBar")
	attic = lost(attic)
	v := view(chain(t), attic, kitchen, porch)
	v.Now = epoch.Add(time.Hour)
	for turn := range 3 {
		plan := coordinator.MakePlan(v)
		if !plan.Documents["kitchen"]["webServer"].Run {
			t.Fatalf("turn %d: webServer did not move: %v", turn, sketch(plan))
		}
		if w, ok := plan.Documents["attic"]["webServer"]; !ok || w.Run {
			t.Fatalf("turn %d: attic would start webServer again: %v", turn, sketch(plan))
		}
		for i := range v.Domains {
			v.Domains[i].Document = plan.Documents[v.Domains[i].Name]
		}
		v.Domains[1] = runs(v.Domains[1], "webServer", "lightOrchestrator")
		v.Domains[1].Document = plan.Documents["kitchen"]
	}
	v.Domains[0].State = topics.JudgedOnline
	v.Domains[0].Acked = true
	v.Domains[0].Reports["webServer"] = topics.ServiceState{Service: "webServer", Phase: topics.PhaseStopped}
	if w, ok := coordinator.MakePlan(v).Documents["attic"]["webServer"]; ok {
		t.Errorf("attic has stopped it, and is still told: %+v", w)
	}
}
