package coordinator_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
	"dominion/topics"
)

// afterAMove is the demo's house under a leader that was started again, and
// under which webServer has moved from attic to kitchen.
func afterAMove(t *testing.T) (*bus, leader) {
	data := t.TempDir()
	b, l := house(t, data)
	l.stop()
	b.in = make(chan topics.Inbound, 10000)
	l = lead(t, b, data, chain(t))
	b.connect("s2")
	b.beats("attic", "kitchen", "porch")
	time.Sleep(2 * time.Second)
	b.says("dominion/attic/state/presence", `{"state":"lost","sid":"attic1","id":"m-attic"}`)
	for range 14 {
		b.obeys(t, "kitchen", "kitchen1")
		b.obeys(t, "porch", "porch1")
		time.Sleep(5 * time.Second)
	}
	b.born("attic", "attic2", "compute")
	for range 3 {
		b.obeys(t, "attic", "attic2")
		b.obeys(t, "kitchen", "kitchen1")
		b.obeys(t, "porch", "porch1")
		time.Sleep(2 * time.Second)
	}
	return b, l
}

func TestAHigherTermMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := afterAMove(t)
		defer func() { l.stop() }()
		if !b.document(t, "kitchen").Services["webServer"].Run || b.document(t, "attic").Services["webServer"].Run {
			t.Fatal("webServer did not move")
		}
		b.says("dominion/cellar/state/info", `{"kind":"domain","id":"m-cellar","sid":"cellar1","term":50,"gen":3}`)
		b.says("dominion/cellar/state/presence", `{"state":"online","sid":"cellar1","id":"m-cellar","house":"h1"}`)
		time.Sleep(time.Second)
		if b.document(t, "attic").Services["webServer"].Run || !b.document(t, "kitchen").Services["webServer"].Run {
			t.Errorf("a higher term moved it: attic %+v kitchen %+v", b.document(t, "attic"), b.document(t, "kitchen"))
		}
	})
}

func TestABrokerThatForgotMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := afterAMove(t)
		defer func() { l.stop() }()
		b.in <- topics.Inbound{Link: topics.LinkDown}
		b.mu.Lock()
		states := map[string]string{}
		for topic, p := range b.retained {
			if !strings.Contains(topic, "/coordinator/") && !strings.Contains(topic, "/desired/") {
				states[topic] = p
			}
		}
		clear(b.retained)
		b.mu.Unlock()
		b.connect("s3")
		for topic, p := range states {
			b.says(topic, p)
		}
		b.says("dominion/attic/event/heartbeat/agent", `{"sid":"attic2","seq":9,"term":2,"gen":100}`)
		b.beats("kitchen", "porch")
		time.Sleep(8 * time.Second)
		if b.document(t, "attic").Services["webServer"].Run || !b.document(t, "kitchen").Services["webServer"].Run {
			t.Errorf("attic %+v kitchen %+v", b.document(t, "attic"), b.document(t, "kitchen"))
		}
	})
}

func TestAForgottenDomainStaysForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.says("dominion/porch/state/presence", `{"state":"stopped","sid":"porch1","id":"m-porch","services":"stopped"}`)
		time.Sleep(time.Second)
		b.asks("forget", "porch", "now")
		time.Sleep(time.Second)
		b.told()
		b.says("dominion/porch/state/presence", "") // the broker sends back what was emptied
		b.says("dominion/porch/state/info", "")
		b.says("dominion/porch/state/service/npBar", "")
		for range 70 {
			b.obeys(t, "attic", "attic1")
			b.obeys(t, "kitchen", "kitchen1")
			time.Sleep(5 * time.Second)
		}
		for topic, p := range b.all() {
			if strings.Contains(topic, "coordinator") && strings.Contains(topic, "porch") {
				t.Errorf("%s: %s", topic, p)
			}
		}
		for _, m := range b.told() {
			if strings.HasSuffix(m.Topic, "/porch") {
				t.Errorf("%s %s", m.Topic, m.Payload)
			}
		}
	})
}

func TestAStrayTopicIsNoDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		b.retained["dominion/junk/state/thing"] = "7"
		l := lead(t, b, t.TempDir(), chain(t))
		defer l.stop()
		b.connect("s1")
		b.born("attic", "attic1", "compute")
		for range 8 {
			b.beats("attic")
			time.Sleep(5 * time.Second)
		}
		if b.all()["dominion/coordinator/state/domain/junk"] != "" {
			t.Error("judged")
		}
		if got := b.summary(t, "webServer"); got.Why != nil && got.Why.Code == topics.WaitDomain {
			t.Errorf("%+v %+v", got, got.Why)
		}
	})
}

func turn(v *coordinator.View) coordinator.Plan {
	plan := coordinator.MakePlan(*v)
	for i := range v.Domains {
		v.Domains[i].Document = plan.Documents[v.Domains[i].Name]
	}
	return plan
}

func TestADomainThatStoppedItsServicesFindsTheWordToStop(t *testing.T) {
	attic := runs(domain("attic", "compute"), "webServer")
	attic.State, attic.Kept, attic.Acked = topics.JudgedStopped, false, false
	attic.Reports["webServer"] = topics.ServiceState{Service: "webServer", Phase: topics.PhaseStopped}
	v := view(chain(t), attic, runs(domain("kitchen", "compute"), "lightOrchestrator"), runs(domain("porch", "neoPixelLight"), "npBar"))
	for i := range 3 {
		plan := turn(&v)
		if w, ok := plan.Documents["attic"]["webServer"]; !ok || w.Run {
			t.Fatalf("turn %d: %v", i, sketch(plan))
		}
	}
}

func TestWhatALostDomainMayHaveStartedIsWaitedFor(t *testing.T) {
	attic := domain("attic", "compute")
	attic.Document["webServer"] = topics.Wanted{Run: true} // it was told, and was cut off before it could report
	attic.Drain, attic.Acked = true, false
	v := view(chain(t), lost(attic), runs(domain("kitchen", "compute"), "lightOrchestrator"), runs(domain("porch", "neoPixelLight"), "npBar"))
	for i := range 3 {
		v.Now = v.Now.Add(time.Second)
		plan := turn(&v)
		if plan.Documents["kitchen"]["webServer"].Run {
			t.Fatalf("turn %d, in the hold-off: %v", i, sketch(plan))
		}
	}
}

func TestARemovedOrphanOnALostDomainStaysRemoved(t *testing.T) {
	empty, _ := coordinator.NewCatalogue(nil)
	attic := runs(domain("attic", "compute"), "old")
	attic.Acked = false
	v := view(empty, lost(attic))
	v.Words["old"] = topics.ServiceWord{Run: topics.RunOff, Rev: 1}
	v.Now = epoch.Add(time.Hour)
	for i := range 3 {
		plan := turn(&v)
		if w, ok := plan.Documents["attic"]["old"]; !ok || w.Run {
			t.Fatalf("turn %d: attic would run it again: %v", i, sketch(plan))
		}
	}
}

func TestARemovedWordDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		l := lead(t, b, t.TempDir(), chain(t))
		defer l.stop()
		b.connect("s1")
		b.born("attic", "attic1", "compute")
		b.says("dominion/attic/state/service/old", `{"service":"old","phase":"running","ready":true}`)
		time.Sleep(8 * time.Second)
		b.asks("remove", "old", `{"id":"r1"}`)
		time.Sleep(time.Second)
		word := "dominion/coordinator/desired/service/old"
		b.in <- topics.Inbound{Message: topics.Message{Topic: word, Payload: []byte(b.all()[word])}}
		b.obeys(t, "attic", "attic1")
		time.Sleep(time.Second)
		b.obeys(t, "attic", "attic1")
		time.Sleep(time.Second)
		if b.all()[word] != "" {
			t.Fatal("not removed at all")
		}
		b.in <- topics.Inbound{Message: topics.Message{Topic: word}}
		b.in <- topics.Inbound{Link: topics.LinkDown}
		b.connect("s2")
		b.beats("attic")
		time.Sleep(5 * time.Second)
		if got := b.all()[word]; got != "" {
			t.Errorf("the word is back: %s", got)
		}
	})
}

func TestAForeignDomainsServicesAreNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		l := lead(t, b, t.TempDir(), chain(t))
		defer l.stop()
		b.connect("s1")
		b.born("attic", "attic1", "compute")
		b.says("dominion/barn/state/info", `{"kind":"domain","id":"m-barn","sid":"barn1"}`)
		b.says("dominion/barn/state/service/npBar", `{"service":"npBar","phase":"running","ready":true,"host":"barn","port":80}`)
		b.says("dominion/barn/state/service/webServer", `{"service":"webServer","phase":"running","ready":true,"host":"barn","port":80}`)
		b.says("dominion/barn/state/presence", `{"state":"online","sid":"barn1","id":"m-barn","house":"zz"}`)
		for range 3 {
			time.Sleep(3 * time.Second)
			b.beats("attic", "barn")
		}
		if got := b.summary(t, "webServer"); slices.Contains(got.Where, topics.Node("barn")) {
			t.Errorf("%+v", got)
		}
		if got := b.all()["dominion/coordinator/state/lookup/webServer"]; strings.Contains(got, "barn") {
			t.Error(got)
		}
	})
}

func TestTwoWantedAndOneFoundIsNotReady(t *testing.T) {
	c, _ := coordinator.NewCatalogue(map[string]coordinator.Entry{"web": {Priority: "required", Instances: 2}})
	v := view(c, runs(domain("attic", "compute"), "web"))
	got := coordinator.MakeReport(v, coordinator.MakePlan(v))
	if s := got.Summaries["web"]; s.Phase != topics.SummaryDegraded || s.Why == nil {
		t.Errorf("%+v", s)
	}
	if len(got.Alerts) == 0 {
		t.Error("no alert")
	}
}

func TestAWrongVersionOnOneOfManyIsSaid(t *testing.T) {
	c, _ := coordinator.NewCatalogue(map[string]coordinator.Entry{"web": {Priority: "required", Version: ">=2.0.0"}})
	k := domain("kitchen", "compute")
	k.OnDisk = map[topics.Service]string{"web": "1.0.0"}
	v := view(c, runs(domain("attic", "compute"), "web"), k)
	got := coordinator.MakeReport(v, coordinator.MakePlan(v))
	if s := got.Summaries["web"]; s.Why == nil {
		t.Errorf("%+v", s)
	}
}

func TestACrashingServicesAlertStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		alert := "dominion/coordinator/state/alert/failing-npBar"
		var since string
		for i := range 6 {
			state := `{"service":"npBar","phase":"backoff","restarts":3,"why":{"code":"EXITED","text":"ended"}}`
			if i%2 == 1 {
				state = `{"service":"npBar","phase":"starting","restarts":3,"why":{"code":"STARTING","text":"starts"}}`
			}
			b.says("dominion/porch/state/service/npBar", state)
			time.Sleep(2 * time.Second)
			b.beats("attic", "kitchen", "porch")
			a, err := topics.Decode[topics.Alert]([]byte(b.all()[alert]))
			if err != nil || since != "" && string(a.Since) != since {
				t.Errorf("turn %d: %q, since %s", i, b.all()[alert], since)
			}
			since = string(a.Since)
		}
		b.obeys(t, "porch", "porch1")
		time.Sleep(2 * time.Second)
		if got := b.all()[alert]; got != "" {
			t.Error(got)
		}
	})
}

func TestADomainThatJoinsIsNotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.told()
		b.says("dominion/cellar/state/info", `{"kind":"domain","id":"m-cellar","sid":"cellar1"}`)
		time.Sleep(100 * time.Millisecond)
		b.says("dominion/cellar/state/presence", `{"state":"online","sid":"cellar1","id":"m-cellar","house":"h1"}`)
		time.Sleep(time.Second)
		for _, m := range b.told() {
			if strings.Contains(m.Topic, "/back/cellar") {
				t.Errorf("%s", m.Payload)
			}
		}
	})
}

func TestTheHouseIsNotForgottenWhileItSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		b.retained["dominion/coordinator/state/info"] = `{"kind":"coordinator","id":"o","sid":"o1","house":"h9","term":4}`
		b.retained["dominion/coordinator/state/presence"] = `{"state":"stopped","sid":"o1","id":"o","house":"h9","term":4}`
		data := t.TempDir()
		none := func(c *coordinator.Config) { c.House = "" }
		l := lead(t, b, data, chain(t), none)
		b.connect("s1")
		time.Sleep(2 * time.Second)
		l.stop()
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, data, chain(t), none)
		defer func() { l.stop() }()
		b.connect("s2")
		time.Sleep(8 * time.Second)
		if got := b.all()["dominion/coordinator/state/info"]; !strings.Contains(got, `"house":"h9"`) {
			t.Error(got)
		}
	})
}

func TestAnOlderLeadersLateHeartbeatDeposesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := t.TempDir()
		b, l := house(t, data)
		l.stop()
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, data, chain(t)) // term 2
		defer func() { l.stop() }()
		b.connect("s2")
		b.beats("attic", "kitchen", "porch")
		time.Sleep(3 * time.Second)
		b.in <- topics.Inbound{Link: topics.LinkDown}
		b.connect("s3") // its own presence of this term is retained
		b.beats("attic", "kitchen", "porch")
		time.Sleep(3 * time.Second)
		b.says("dominion/coordinator/event/heartbeat/plan", `{"sid":"zz","seq":5,"term":1}`)
		time.Sleep(time.Second)
		b.asks("stop", "npBar", `{"id":"x"}`)
		time.Sleep(time.Second)
		if r := b.replies(); !slices.Contains(r, "done") {
			t.Error(r)
		}
	})
}

func TestWhatMovesFromADrainedDomainIsToldAsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.told()
		b.says("dominion/attic/state/info", `{"kind":"domain","id":"m-attic","sid":"attic1","traits":["other"],"memory":1073741824}`)
		for range 4 {
			time.Sleep(time.Second)
			b.obeys(t, "attic", "attic1")
			b.obeys(t, "kitchen", "kitchen1")
		}
		var got []string
		for _, m := range b.told() {
			if strings.HasSuffix(m.Topic, "/webServer") {
				got = append(got, m.Topic)
			}
		}
		if !slices.Equal(got, []string{"dominion/coordinator/event/moved/webServer"}) {
			t.Error(got)
		}
	})
}
