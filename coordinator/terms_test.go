package coordinator_test

import (
	"testing"

	"dominion/coordinator"
	"dominion/topics"
	"dominion/topics/terms"
)

// job is a house of a page that needs a oneshot first.
func job(t *testing.T, condition string) *coordinator.Catalogue {
	t.Helper()
	c, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{
		"migrate": {Priority: "dependency", Words: terms.Words{Type: "oneshot"}},
		"page":    {Priority: "required", Instances: 1, Dependencies: []string{"migrate" + condition}},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	return c
}

// attic is a domain that was told to run the oneshot, and says that of it.
func attic(says topics.ServiceState) coordinator.Domain {
	d := domain("attic", "")
	says.Service = "migrate"
	d.Document = map[topics.Service]topics.Wanted{"migrate": {Run: true, Type: "oneshot"}}
	d.Reports["migrate"], d.Acked = says, true
	return d
}

func TestWhatIsDoneIsAllThatADependentWaitsFor(t *testing.T) {
	running := topics.ServiceState{Phase: topics.PhaseRunning, Why: &topics.Why{Code: topics.Starting, Text: "runs"}}
	plan := coordinator.MakePlan(view(job(t, ""), attic(running)))
	if w := plan.Documents["attic"]["page"]; w.Run || w.Why.Text != "waits for migrate: running on attic" {
		t.Errorf("while the oneshot runs, the page has %+v", w)
	}
	v := view(job(t, ""), attic(topics.ServiceState{Phase: topics.PhaseDone, Ready: true}))
	plan = coordinator.MakePlan(v)
	if w := plan.Documents["attic"]["page"]; !w.Run {
		t.Errorf("once it is done, the page has %+v", w)
	}
	report := coordinator.MakeReport(v, plan)
	if s := report.Summaries["migrate"]; s.Phase != topics.SummaryDone || s.Ready != 1 || s.Why != nil {
		t.Errorf("summary %+v", s)
	}
	if l := report.Lookups["migrate"]; l.Ready != 0 || len(l.Endpoints) != 0 {
		t.Errorf("what is done is found at %+v", l)
	}
}

func TestASoftDependencyIsWaitedForWhileItMayCome(t *testing.T) {
	for phase, waits := range map[topics.Phase]bool{
		topics.PhaseWaiting: true, topics.PhaseBuilding: true, topics.PhaseStarting: true, topics.PhaseBackoff: true,
		topics.PhaseCrashloop: false, topics.PhaseDone: false, topics.PhaseStopped: false,
	} {
		plan := coordinator.MakePlan(view(job(t, ":soft"), attic(topics.ServiceState{Phase: phase, Why: &topics.Why{Code: topics.Exited}})))
		w := plan.Documents["attic"]["page"]
		if w.Run == waits || len(w.Soft) != 1 || w.Soft[0] != "migrate" {
			t.Errorf("migrate is %s: the page has %+v", phase, w)
		}
	}
	off := view(job(t, ":soft"), attic(topics.ServiceState{Phase: topics.PhaseRunning}))
	off.Words = map[topics.Service]topics.ServiceWord{"migrate": {Run: topics.RunOff}}
	if w := coordinator.MakePlan(off).Documents["attic"]["page"]; !w.Run {
		t.Errorf("migrate was stopped by a person: the page has %+v", w)
	}
}

func TestWhatEndedAsItShouldIsNoAlarm(t *testing.T) {
	for _, c := range []struct {
		story string
		state topics.ServiceState
		phase topics.SummaryPhase
		alert bool
	}{
		{"it waits for its hour", topics.ServiceState{Phase: topics.PhaseWaiting, Why: &topics.Why{Code: topics.Scheduled, Text: "runs at 3:30"}}, topics.SummaryWaiting, false},
		{"it ended, and its policy is on-failure", topics.ServiceState{Phase: topics.PhaseDone, Why: &topics.Why{Code: topics.Exited, Text: "exited with code 0"}}, topics.SummaryStopped, false},
		{"it failed, and its policy is never", topics.ServiceState{Phase: topics.PhaseStopped, Why: &topics.Why{Code: topics.Exited, Text: "exited with code 3"}}, topics.SummaryFailing, true},
	} {
		v := view(job(t, ""), attic(c.state))
		report := coordinator.MakeReport(v, coordinator.MakePlan(v))
		sum := report.Summaries["migrate"]
		_, alert := report.Alerts["failing-migrate"]
		if sum.Phase != c.phase || sum.Why == nil || alert != c.alert {
			t.Errorf("%s: %+v, alert %v", c.story, sum, alert)
		}
	}
}

// A revision changes with what a restart brings, and with nothing else.
func TestOnlyWhatAPersonSeesChangesTheRevision(t *testing.T) {
	rev := func(w terms.Words) string {
		c, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{"a": {Priority: "required", Words: w}})
		if faults != nil {
			t.Fatal(faults)
		}
		return coordinator.MakePlan(view(c, domain("attic", ""))).Documents["attic"]["a"].Rev
	}
	plain := rev(terms.Words{})
	for _, same := range []terms.Words{
		{Ready: "http", ReadyPath: "/x"}, {Live: "tcp"}, {Restart: "never"}, {StartTimeout: "5s", Ready: "tcp"},
	} {
		if rev(same) != plain {
			t.Errorf("%+v restarts the service", same)
		}
	}
	for _, other := range []terms.Words{{Type: "oneshot"}, {Schedule: "@daily"}, {Memory: "64M"}, {CPU: 1}} {
		if rev(other) == plain {
			t.Errorf("%+v changes nothing until the next start", other)
		}
	}
	if rev(terms.Words{Schedule: "@daily"}) != rev(terms.Words{Type: "oneshot", Schedule: "@weekly"}) {
		t.Error("another hour runs the job at once")
	}
}
