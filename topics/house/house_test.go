package house_test

import (
	"testing"
	"time"

	"dominion/topics"
	"dominion/topics/house"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// reader folds messages as one session of a reader would.
type reader struct {
	t   *testing.T
	h   *house.House
	now time.Time
}

func newReader(t *testing.T) *reader {
	r := &reader{t, house.New(topics.Space{}), start}
	r.h.Began(r.now)
	return r
}

func (r *reader) hears(topic, payload string, retained bool) {
	r.t.Helper()
	if err := r.h.Apply(topics.Message{Topic: topic, Payload: []byte(payload), Retained: retained}, r.now); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reader) wait(d time.Duration) { r.now = r.now.Add(d) }

func (r *reader) judged(want topics.JudgementState) {
	r.t.Helper()
	if got, _ := r.h.Node("attic").Judge(r.now, house.DefaultLimits()); got != want {
		r.t.Errorf("after %v attic is %s, want %s", r.now.Sub(start), got, want)
	}
}

const (
	presence  = "dominion/attic/state/presence"
	heartbeat = "dominion/attic/event/heartbeat/agent"
)

func TestSilenceIsJudgedInSteps(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, false)
	r.judged(topics.JudgedOnline)
	r.wait(11 * time.Second)
	r.judged(topics.JudgedOnline)
	r.wait(time.Second)
	r.judged(topics.JudgedSuspect)
	r.hears(heartbeat, `{"sid":"a","seq":1}`, false)
	r.judged(topics.JudgedOnline)
	r.wait(20 * time.Second)
	r.judged(topics.JudgedLost)
}

func TestAStaleWillBuriesNobody(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, false)
	r.hears(presence, `{"state":"online","sid":"b"}`, false)
	r.hears(presence, `{"state":"lost","sid":"a"}`, false)
	r.judged(topics.JudgedOnline)
	r.hears(presence, `{"state":"lost","sid":"b"}`, false)
	r.judged(topics.JudgedLost)
	r.hears(heartbeat, `{"sid":"b","seq":2}`, false)
	r.judged(topics.JudgedOnline)
}

func TestWhatIsRetainedIsNotVerified(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, true)
	r.judged(topics.JudgedUnknown)
	r.wait(4*time.Minute + 59*time.Second)
	r.judged(topics.JudgedUnknown)
	r.wait(time.Second)
	r.judged(topics.JudgedLost)
	r.hears(heartbeat, `{"sid":"a","seq":1}`, false)
	r.judged(topics.JudgedOnline)
	r.h.Began(r.now) // the reader's own link broke: wills may have been missed
	r.judged(topics.JudgedUnknown)
}

func TestALostOneOfBeforeIsUnknownToo(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"lost","sid":"a"}`, true)
	r.judged(topics.JudgedUnknown)
	r.h.Remember("attic", r.now)
	r.hears(presence, `{"state":"stopped","sid":"a","services":"kept"}`, false)
	r.judged(topics.JudgedStopped)
}

func TestAMicrodomainIsBelieved(t *testing.T) {
	r := newReader(t)
	r.hears("dominion/attic/state/info", `{"kind":"micro","services":{"lamp":""}}`, true)
	r.hears(presence, `Online`, true)
	r.judged(topics.JudgedOnline)
	r.wait(time.Hour)
	r.judged(topics.JudgedOnline)
	r.hears(presence, `offline`, false)
	r.judged(topics.JudgedLost)
}

func TestClearedIsUnknownNotEmpty(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, false)
	r.hears("dominion/attic/state/service/npBar", `{"service":"npBar","phase":"running","ready":true}`, false)
	r.hears("dominion/attic/desired/services", `{"house":"h","term":1,"gen":2,"services":{"npBar":{"run":true}}}`, true)
	for _, topic := range []string{presence, "dominion/attic/state/service/npBar", "dominion/attic/desired/services"} {
		r.hears(topic, "", false)
	}
	r.judged(topics.JudgedOnline)
	if doc, ok := r.h.Document("attic"); !ok || doc.Gen != 2 {
		t.Errorf("a cleared document is gone: %v", doc)
	}
	n := r.h.Node("attic")
	if _, ok := n.Service("npBar", r.now.Add(4*time.Second)); !ok {
		t.Error("a cleared state is gone at once; its writer had no time to put it back")
	}
	if _, ok := n.Service("npBar", r.now.Add(5*time.Second)); ok {
		t.Error("a cleared state stands for ever")
	}
	r.hears("dominion/attic/state/service/npBar", `{"service":"npBar","phase":"running","ready":true}`, false)
	if _, ok := n.Service("npBar", r.now.Add(time.Hour)); !ok {
		t.Error("a state that was put back is gone")
	}
}

func TestUnreadableKeepsTheLastGoodWord(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, false)
	if err := r.h.Apply(topics.Message{Topic: presence, Payload: []byte(`{"state":`)}, r.now); err == nil {
		t.Error("an unreadable presence is no error")
	}
	r.judged(topics.JudgedOnline)
}

func TestReportsOfBeforeGoWhenTheNodeHasSpokenWithoutThem(t *testing.T) {
	r := newReader(t)
	r.hears(presence, `{"state":"online","sid":"a"}`, false)
	r.hears("dominion/attic/state/service/npBar", `{"service":"npBar","phase":"running"}`, false)
	r.h.Began(r.now)
	n := r.h.Node("attic")
	if _, ok := n.Service("npBar", r.now); !ok {
		t.Error("what was known is forgotten before the node has spoken")
	}
	r.hears(presence, `{"state":"online","sid":"b"}`, false)
	if _, ok := n.Service("npBar", r.now); ok {
		t.Error("a report of a former session stands although the node did not repeat it")
	}
}

func TestWhatWasClearedWhileTheReaderWasAwayIsGone(t *testing.T) {
	r := newReader(t)
	const summary = "dominion/coordinator/state/summary/"
	r.hears(summary+"old", `{"service":"old","phase":"ready"}`, true)
	r.hears(summary+"kept", `{"service":"kept","phase":"ready"}`, true)
	r.hears("dominion/coordinator/state/alert/a", `{"text":"trouble"}`, true)
	r.h.Synced(r.now)
	r.h.Began(r.now)
	r.hears(summary+"kept", `{"service":"kept","phase":"ready"}`, true)
	r.h.Synced(r.now)
	r.wait(6 * time.Second)
	if all := r.h.Summaries(r.now); len(all) != 1 || all["kept"].Service != "kept" {
		t.Errorf("summaries: %v", all)
	}
	if all := r.h.Alerts(r.now); len(all) != 0 {
		t.Errorf("alerts: %v", all)
	}
}

func TestAForeignInfoWaitsForItsMachine(t *testing.T) {
	r := newReader(t)
	const info = "dominion/attic/state/info"
	r.hears(info, `{"kind":"domain","id":"a"}`, false)
	r.hears(presence, `{"state":"online","sid":"1","id":"a"}`, false)
	r.hears(info, `{"kind":"micro","id":"b"}`, false)
	if got := r.h.Node("attic").Info.Kind; got != "domain" {
		t.Errorf("a stranger's info counts: %s", got)
	}
	r.hears(presence, `{"state":"online","sid":"2","id":"b"}`, false)
	if got := r.h.Node("attic").Info.Kind; got != "micro" {
		t.Errorf("the new machine's info does not count: %s", got)
	}
}

func FuzzApply(f *testing.F) {
	f.Add(presence, []byte(`{"state":"online"}`), true)
	f.Add("dominion/coordinator/state/summary/x", []byte(`{}`), false)
	f.Add("dominion/coordinator/desired/service/x", []byte(`{"rev":1}`), true)
	f.Fuzz(func(t *testing.T, topic string, payload []byte, retained bool) {
		h := house.New(topics.Space{})
		h.Apply(topics.Message{Topic: topic, Payload: payload, Retained: retained}, start)
		for _, n := range h.Domains() {
			n.Judge(start, house.DefaultLimits())
			n.Services(start)
		}
		h.Summaries(start)
		h.Leads()
	})
}
