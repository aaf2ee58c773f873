package device_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/device"
	"dominion/topics"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func TestPlan(t *testing.T) {
	at := func(host string, port int) map[topics.Service]topics.Target {
		return map[topics.Service]topics.Target{"web": {Host: host, Port: port}}
	}
	on := topics.Wanted{Run: true, Rev: "1"}
	needsWeb := topics.Wanted{Run: true, Rev: "1", Dependencies: []topics.Service{"web"}}
	off := topics.Wanted{Run: false, Rev: "1", Why: &topics.Why{Code: topics.StoppedByPerson, Text: "stopped"}}
	waits := topics.Wanted{Run: false, Rev: "1", Why: &topics.Why{Code: topics.WaitDependency, Text: "waits"}}
	idle := device.Have{Phase: topics.PhaseStopped}
	runs := device.Have{Phase: topics.PhaseRunning, Ready: true, Rev: "1"}
	type services map[topics.Service]topics.Wanted
	type have map[topics.Service]device.Have
	with := func(h device.Have, change func(*device.Have)) device.Have { change(&h); return h }

	for _, c := range []struct {
		name string
		in   device.Input
		want []string
	}{
		{"starts what is wanted", device.Input{Wanted: services{"lamp": on}, Have: have{"lamp": idle}}, []string{"start lamp STARTING"}},
		{"leaves what runs", device.Input{Wanted: services{"lamp": on}, Have: have{"lamp": runs}}, nil},
		{"stops what shall not run", device.Input{Wanted: services{"lamp": off}, Have: have{"lamp": runs}}, []string{"stop lamp STOPPED_BY_WORD"}},
		{"stops what is on its way", device.Input{Wanted: services{"lamp": off}, Have: have{"lamp": {Phase: topics.PhaseBuilding, Rev: "1"}}}, []string{"stop lamp STOPPED_BY_WORD"}},
		{"waits for a stop to end", device.Input{Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseStopping, Rev: "0"}}}, nil},
		{"keeps what no document names", device.Input{Have: have{"lamp": runs}}, nil},
		{"starts nothing that no document names", device.Input{Have: have{"lamp": idle}}, nil},
		{"says why what is off is off", device.Input{Wanted: services{"lamp": off}, Have: have{"lamp": idle}}, []string{"rest lamp stopped STOPPED_BY_WORD"}},
		{"says what waits", device.Input{Wanted: services{"lamp": waits}, Have: have{"lamp": idle}}, []string{"rest lamp waiting WAIT_DEPENDENCY"}},
		{"ends a backoff that is not wanted", device.Input{Now: noon, Wanted: services{"lamp": off}, Have: have{"lamp": {Phase: topics.PhaseBackoff, Next: noon.Add(1)}}}, []string{"rest lamp stopped STOPPED_BY_WORD"}},
		{"waits in a backoff", device.Input{Now: noon, Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseBackoff, Next: noon.Add(1)}}}, nil},
		{"starts after a backoff", device.Input{Now: noon, Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseBackoff, Next: noon}}}, []string{"start lamp STARTING"}},
		{"waits for what is missing", device.Input{Now: noon, Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseBackoff, Missing: true}}}, nil},
		{"restarts on a new rev", device.Input{Wanted: services{"lamp": {Run: true, Rev: "2"}}, Have: have{"lamp": runs}}, []string{"stop lamp STARTING"}},
		{"restarts when asked", device.Input{Wanted: services{"lamp": on}, Have: have{"lamp": with(runs, func(h *device.Have) { h.Again = true })}}, []string{"stop lamp STARTING"}},
		{"no restart for ready, why and a first endpoint", device.Input{
			Wanted: services{"lamp": {Run: true, Rev: "1", Ready: &topics.Readiness{By: "tcp"}, Why: off.Why, Endpoints: at("10.0.0.1", 80)}},
			Have:   have{"lamp": runs},
		}, nil},
		{"restarts when a dependency moved", device.Input{
			Wanted: services{"lamp": {Run: true, Rev: "1", Endpoints: at("10.0.0.2", 80)}},
			Have:   have{"lamp": with(runs, func(h *device.Have) { h.Endpoints = at("10.0.0.1", 80) })},
		}, []string{"stop lamp STARTING"}},
		{"no restart when a dependency is gone", device.Input{
			Wanted: services{"lamp": on},
			Have:   have{"lamp": with(runs, func(h *device.Have) { h.Endpoints = at("10.0.0.1", 80) })},
		}, nil},
		{"no restart of what follows", device.Input{
			Wanted: services{"lamp": {Run: true, Rev: "1", Follows: true, Endpoints: at("10.0.0.2", 80)}},
			Have:   have{"lamp": with(runs, func(h *device.Have) { h.Endpoints = at("10.0.0.1", 80) })},
		}, nil},
		{"stops what is late", device.Input{Now: noon, Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseStarting, Rev: "1", Deadline: noon}}}, []string{"stop lamp START_TIMEOUT"}},
		{"stops a build that is late", device.Input{Now: noon, Wanted: services{"lamp": on}, Have: have{"lamp": {Phase: topics.PhaseBuilding, Rev: "1", Deadline: noon}}}, []string{"stop lamp BUILD_FAILED"}},
		{"starts in the order of dependencies", device.Input{Wanted: services{"lamp": needsWeb, "web": on}, Have: have{"lamp": idle, "web": idle}}, []string{"rest lamp waiting WAIT_DEPENDENCY", "start web STARTING"}},
		{"starts with a dependency that is ready here", device.Input{Wanted: services{"lamp": needsWeb, "web": on}, Have: have{"lamp": idle, "web": runs}}, []string{"start lamp STARTING"}},
		{"starts with a dependency that is elsewhere", device.Input{Wanted: services{"lamp": needsWeb}, Have: have{"lamp": idle}}, []string{"start lamp STARTING"}},
		{"starts with a dependency that is used elsewhere", device.Input{
			Wanted: services{"lamp": {Run: true, Dependencies: []topics.Service{"web"}, Endpoints: at("10.0.0.2", 80)}, "web": on},
			Have:   have{"lamp": {Phase: topics.PhaseStopped, Host: "10.0.0.1"}, "web": {Phase: topics.PhaseBackoff, Host: "10.0.0.1", Missing: true}},
		}, []string{"start lamp STARTING"}},
		{"starts though a dependency is off here", device.Input{Wanted: services{"lamp": needsWeb, "web": off}, Have: have{"lamp": idle, "web": {Phase: topics.PhaseStopped, Why: off.Why}}}, []string{"start lamp STARTING"}},
		{"keeps a dependent when its dependency fails", device.Input{
			Wanted: services{"lamp": needsWeb, "web": on},
			Have:   have{"lamp": with(runs, func(h *device.Have) { h.Dependencies = needsWeb.Dependencies }), "web": {Phase: topics.PhaseBackoff, Missing: true}},
		}, nil},
		{"starts nothing in the pause", device.Input{Pause: &topics.Why{Code: topics.WaitDomain}, Wanted: services{"lamp": on}, Have: have{"lamp": idle}}, []string{"rest lamp waiting WAIT_DOMAIN"}},
		{"leaves what is done", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseDone, Ready: true, Over: true, Rev: "1"}}}, nil},
		{"runs what is done for a new rev", device.Input{Now: noon, Wanted: services{"job": {Run: true, Rev: "2"}}, Have: have{"job": {Phase: topics.PhaseDone, Ready: true, Over: true, Rev: "1"}}}, []string{"start job STARTING"}},
		{"runs what is done when asked", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseDone, Over: true, Rev: "1", Again: true}}}, []string{"start job STARTING"}},
		{"starts what needs what is done", device.Input{Now: noon, Wanted: services{"lamp": needsWeb, "web": on}, Have: have{"lamp": idle, "web": {Phase: topics.PhaseDone, Ready: true, Over: true, Rev: "1"}}}, []string{"start lamp STARTING"}},
		{"waits for the hour", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseStopped, Due: noon.Add(1)}}}, []string{"rest job waiting SCHEDULED"}},
		{"keeps what is done until its hour", device.Input{Now: noon, Wanted: services{"job": {Run: true, Rev: "2"}}, Have: have{"job": {Phase: topics.PhaseDone, Ready: true, Over: true, Rev: "1", Due: noon.Add(1)}}}, nil},
		{"runs at the hour", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseDone, Ready: true, Over: true, Rev: "1", Due: noon}}}, []string{"start job STARTING"}},
		{"tries a failed run again before its next hour", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseBackoff, Retry: true, Next: noon, Due: noon.Add(time.Hour)}}}, []string{"start job STARTING"}},
		{"has one run at a time", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseRunning, Rev: "1", Due: noon.Add(-time.Hour)}}}, nil},
		{"stops a oneshot that takes too long", device.Input{Now: noon, Wanted: services{"job": on}, Have: have{"job": {Phase: topics.PhaseRunning, Rev: "1", Deadline: noon}}}, []string{"stop job START_TIMEOUT"}},
		{"stops dependents first at the end", device.Input{
			Ending: true, Wanted: services{"lamp": needsWeb, "web": on},
			Have: have{"lamp": with(runs, func(h *device.Have) { h.Dependencies = needsWeb.Dependencies }), "web": runs, "orphan": runs, "idle": idle},
		}, []string{"stop lamp DOMAIN_STOPPED", "stop orphan DOMAIN_STOPPED"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, a := range device.Plan(c.in) {
				line := fmt.Sprintf("%s %s", a.Do, a.Service)
				if a.Phase != "" {
					line += " " + string(a.Phase)
				}
				got = append(got, line+" "+a.Why.Code)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestPlanLaws holds for any house: the same input gives the same plan, a plan
// that was carried out leaves nothing to do, nothing is started that has
// processes or is not wanted, and nothing is stopped that is wanted unchanged.
func TestPlanLaws(t *testing.T) {
	for seed := range uint64(3000) {
		in := randomInput(rand.New(rand.NewPCG(seed, 1)))
		plan := device.Plan(in)
		if d := cmp.Diff(plan, device.Plan(in)); d != "" {
			t.Fatalf("seed %d: the same input gave another plan:\n%s", seed, d)
		}
		seen := map[topics.Service]bool{}
		for _, a := range plan {
			have, want := in.Have[a.Service], in.Wanted[a.Service]
			switch {
			case seen[a.Service]:
				t.Fatalf("seed %d: two actions for %s", seed, a.Service)
			case a.Why == nil:
				t.Fatalf("seed %d: %+v has no reason", seed, a)
			case a.Do == device.Start && (have.Phase.Alive() || !want.Run || in.Ending || in.Pause != nil):
				t.Fatalf("seed %d: starts %s, which is %+v and wanted %+v", seed, a.Service, have, want)
			case a.Do == device.Start && !have.Again && have.Over && have.Rev == want.Rev && have.Due.IsZero() && !have.Retry:
				t.Fatalf("seed %d: runs %s again, which is %+v", seed, a.Service, have)
			case a.Do == device.Start && !have.Again && in.Now.Before(have.Due) && !have.Retry:
				t.Fatalf("seed %d: runs %s before its hour: %+v", seed, a.Service, have)
			case a.Do != device.Start && a.Do != device.Stop && have.Phase.Alive():
				t.Fatalf("seed %d: %+v for what has processes", seed, a)
			case a.Do == device.Stop && !have.Phase.Alive():
				t.Fatalf("seed %d: stops %s, which has no processes", seed, a.Service)
			}
			seen[a.Service] = true
		}
		// Only reasons may still change, of those that wait for one that was done
		// and now runs again: along a chain of dependencies, no longer.
		after, again := carriedOut(in, plan), []device.Action(nil)
		for range in.Have {
			again = device.Plan(after)
			if slices.ContainsFunc(again, func(a device.Action) bool { return a.Do != device.Rest || a.Phase != after.Have[a.Service].Phase }) {
				break
			}
			after = carriedOut(after, again)
		}
		if len(again) > 0 {
			t.Fatalf("seed %d: after the plan\n%+v\nthere is still to do\n%+v", seed, plan, again)
		}
	}
}

// carriedOut is the input after a plan was carried out and nothing else happened.
func carriedOut(in device.Input, plan []device.Action) device.Input {
	in.Have = maps.Clone(in.Have)
	for _, a := range plan {
		have, want := in.Have[a.Service], in.Wanted[a.Service]
		switch a.Do {
		case device.Start:
			have.Phase, have.Rev, have.Endpoints, have.Dependencies = topics.PhaseStarting, want.Rev, want.Endpoints, want.Dependencies
			have.Next, have.Deadline, have.Missing, have.Again = time.Time{}, time.Time{}, false, false
		case device.Stop:
			have.Phase, have.Again, have.Deadline = topics.PhaseStopping, false, time.Time{}
		case device.Rest:
			have.Phase, have.Next, have.Missing, have.Ready = a.Phase, time.Time{}, false, false
			have.Again, have.Retry = have.Again && want.Run, have.Retry && want.Run
		}
		have.Why = a.Why
		in.Have[a.Service] = have
	}
	return in
}

func randomInput(r *rand.Rand) device.Input {
	in := device.Input{Now: noon, Wanted: map[topics.Service]topics.Wanted{}, Have: map[topics.Service]device.Have{}, Ending: r.IntN(8) == 0}
	if r.IntN(8) == 0 {
		in.Pause = &topics.Why{Code: topics.WaitDomain, Text: "waits"}
	}
	names := []topics.Service{"a", "b", "c", "d", "e"}
	phases := []topics.Phase{
		topics.PhaseWaiting, topics.PhaseBuilding, topics.PhaseStarting, topics.PhaseRunning, topics.PhaseStopping,
		topics.PhaseStopped, topics.PhaseBackoff, topics.PhaseCrashloop, topics.PhaseDone,
	}
	endpoints := func() map[topics.Service]topics.Target {
		all := map[topics.Service]topics.Target{}
		for _, n := range names {
			if r.IntN(4) == 0 {
				all[n] = topics.Target{Host: fmt.Sprintf("10.0.0.%d", r.IntN(2)), Port: 1 + r.IntN(2)}
			}
		}
		return all
	}
	dependencies := func() (all []topics.Service) {
		for _, n := range names {
			if r.IntN(4) == 0 {
				all = append(all, n)
			}
		}
		return all
	}
	for _, n := range names {
		if r.IntN(6) > 0 {
			in.Wanted[n] = topics.Wanted{Run: r.IntN(3) > 0, Rev: fmt.Sprint(r.IntN(2)), Dependencies: dependencies(), Endpoints: endpoints(), Follows: r.IntN(4) == 0}
		}
		have := device.Have{
			Phase: phases[r.IntN(len(phases))], Rev: fmt.Sprint(r.IntN(2)), Host: fmt.Sprintf("10.0.0.%d", r.IntN(2)),
			Endpoints: endpoints(), Dependencies: dependencies(), Again: r.IntN(8) == 0, Missing: r.IntN(8) == 0,
			Retry: r.IntN(4) == 0,
		}
		have.Ready = have.Phase == topics.PhaseRunning
		if !have.Phase.Alive() && r.IntN(3) == 0 {
			have.Over, have.Ready = true, have.Phase == topics.PhaseDone
		}
		if r.IntN(4) == 0 {
			have.Due = noon.Add(time.Duration(r.IntN(3)-1) * time.Hour)
		}
		if r.IntN(2) == 0 {
			have.Next = noon.Add(time.Duration(r.IntN(3)-1) * time.Second)
			have.Deadline = noon.Add(time.Duration(r.IntN(3)-1) * time.Second)
		}
		in.Have[n] = have
	}
	return in
}

func TestBackoff(t *testing.T) {
	b := device.Backoff{First: time.Second, Cap: time.Minute, Jitter: 0.25, Reset: 2 * time.Minute, LoopCount: 5, LoopWindow: 10 * time.Minute, LoopPause: 5 * time.Minute}
	patient := b
	patient.LoopCount = 100

	t.Run("doubles up to its cap", func(t *testing.T) {
		var h device.History
		var waits []time.Duration
		var wait time.Duration
		for i := range 9 {
			h, wait = patient.Failed(h, noon.Add(time.Duration(i)*time.Hour), 0.5)
			waits = append(waits, wait/time.Second)
		}
		if d := cmp.Diff([]time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}, waits); d != "" {
			t.Error(d)
		}
	})
	t.Run("is moved by chance a quarter either way", func(t *testing.T) {
		for chance, want := range map[float64]time.Duration{0: 750 * time.Millisecond, 0.5: time.Second, 1: 1250 * time.Millisecond} {
			if _, wait := b.Failed(device.History{}, noon, chance); wait != want {
				t.Errorf("chance %v: %v, want %v", chance, wait, want)
			}
		}
	})
	fail := func(h device.History, at ...time.Duration) (device.History, []time.Duration) {
		var waits []time.Duration
		for _, d := range at {
			var wait time.Duration
			h, wait = b.Failed(h, noon.Add(d), 0.5)
			waits = append(waits, wait)
		}
		return h, waits
	}
	t.Run("sees a crash loop", func(t *testing.T) {
		h, waits := fail(device.History{}, 0, 1*time.Minute, 2*time.Minute, 3*time.Minute, 4*time.Minute)
		if !h.Looping || waits[4] != 5*time.Minute || waits[3] != 8*time.Second {
			t.Errorf("history %+v, waits %v", h, waits)
		}
		// Slower now than five in ten minutes, and still in the loop.
		if h, waits = fail(h, 9*time.Minute, 20*time.Minute, 31*time.Minute); !h.Looping || waits[2] != 5*time.Minute {
			t.Errorf("history %+v, waits %v", h, waits)
		}
	})
	t.Run("sees none in what fails rarely", func(t *testing.T) {
		if h, _ := fail(device.History{}, 0, 3*time.Minute, 6*time.Minute, 9*time.Minute, 12*time.Minute, 15*time.Minute); h.Looping {
			t.Errorf("history %+v", h)
		}
	})
	t.Run("forgets what was ready for long", func(t *testing.T) {
		h, _ := fail(device.History{}, 0, 1, 2, 3, 4)
		if got := b.Ready(h, 2*time.Minute-1); !got.Looping {
			t.Error("forgot too soon")
		}
		if d := cmp.Diff(device.History{}, b.Ready(h, 2*time.Minute)); d != "" {
			t.Error(d)
		}
	})
	t.Run("leaves the history it was given alone", func(t *testing.T) {
		h, _ := fail(device.History{}, 0, 1, 2)
		before := slices.Clone(h.Recent)
		fail(h, time.Hour)
		if d := cmp.Diff(before, h.Recent); d != "" {
			t.Error(d)
		}
	})
}
