package coordinator_test

import (
	"testing"

	"dominion/coordinator"
	"dominion/topics"
)

// What a domain says of a service that waited is no failure to start it: the
// word to start it has only just been written.
func TestAServiceThatIsToldToStartHasNotFailedYet(t *testing.T) {
	waited := topics.ServiceState{
		Service: "lightOrchestrator", Phase: topics.PhaseWaiting,
		Why: &topics.Why{Code: topics.WaitDependency, Text: "waits for webServer: starting on attic"},
	}
	told := func(run, acked bool) topics.SummaryPhase {
		kitchen := domain("kitchen", "compute")
		kitchen.Document["lightOrchestrator"] = topics.Wanted{Run: run, Why: waited.Why}
		kitchen.Reports["lightOrchestrator"] = waited
		kitchen.Acked = acked
		v := view(chain(t), runs(domain("attic", "compute"), "webServer"), kitchen, domain("porch", "neoPixelLight"))
		return coordinator.MakeReport(v, coordinator.MakePlan(v)).Summaries["lightOrchestrator"].Phase
	}
	for _, tt := range []struct {
		name       string
		run, acked bool
		want       topics.SummaryPhase
	}{
		{"it is being told", false, true, topics.SummaryStarting},
		{"it was told, and has not answered", true, false, topics.SummaryStarting},
		{"it was told, and cannot", true, true, topics.SummaryFailing},
	} {
		if got := told(tt.run, tt.acked); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestAShortfallIsNotReady(t *testing.T) {
	c, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{"web": {Priority: "required", Instances: 3}})
	if faults != nil {
		t.Fatal(faults)
	}
	v := view(c, runs(domain("attic", "compute"), "web"), runs(domain("kitchen", "compute"), "web"))
	r := coordinator.MakeReport(v, coordinator.MakePlan(v))
	if got := r.Summaries["web"]; got.Phase != topics.SummaryDegraded || got.Why == nil {
		t.Errorf("two of three: %+v", got)
	}
	if _, ok := r.Alerts["unplaced-web"]; !ok {
		t.Errorf("no alert: %v", r.Alerts)
	}
}

func TestAStoppedServiceThatLeftTheCatalogueIsStillShown(t *testing.T) {
	empty, _ := coordinator.NewCatalogue(nil)
	attic := domain("attic", "compute")
	attic.Reports["npBar"] = topics.ServiceState{Service: "npBar", Phase: topics.PhaseStopped}
	v := view(empty, attic)
	r := coordinator.MakeReport(v, coordinator.MakePlan(v))
	if got := r.Summaries["npBar"]; got.Phase != topics.SummaryStopped || got.Why == nil || got.Why.Code != topics.Orphaned {
		t.Errorf("%+v", got)
	}
	if len(r.Alerts) > 0 {
		t.Errorf("a stopped one alarms nobody: %v", r.Alerts)
	}
	v.Removed = map[topics.Service]bool{"npBar": true}
	if r := coordinator.MakeReport(v, coordinator.MakePlan(v)); len(r.Summaries) > 0 {
		t.Errorf("removed, and still shown: %v", r.Summaries)
	}
}
