package coordinator_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// bus is a broker's retained store and the coordinator's connection to it.
type bus struct {
	in       chan topics.Inbound
	mu       sync.Mutex // guards what follows: the test reads while Run writes
	retained map[string]string
	events   []topics.Message
}

func newBus() *bus {
	return &bus{in: make(chan topics.Inbound, 10000), retained: map[string]string{}}
}

func (b *bus) Inbound() <-chan topics.Inbound { return b.in }

func (b *bus) Publish(_ context.Context, m topics.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Contains(m.Topic, "/state/") && !strings.HasPrefix(m.Topic, "dominion/coordinator/") {
		b.in <- topics.Inbound{Message: topics.Message{Topic: m.Topic, Payload: m.Payload}} // it hears what it writes on others' topics
	}
	switch {
	case !m.Retained:
		b.events = append(b.events, m)
	case len(m.Payload) == 0:
		delete(b.retained, m.Topic)
	default:
		b.retained[m.Topic] = string(m.Payload)
	}
	return nil
}

// connect begins a session: the replay of what is retained, then synced.
func (b *bus) connect(sid topics.Sid) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
	for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
		b.in <- topics.Inbound{Sid: sid, Message: topics.Message{Topic: topic, Payload: []byte(b.retained[topic]), Retained: true}}
	}
	b.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
}

// says is what a domain publishes.
func (b *bus) says(topic, payload string) {
	b.mu.Lock()
	if strings.Contains(topic, "/state/") {
		b.retained[topic] = payload
	}
	b.mu.Unlock()
	b.in <- topics.Inbound{Message: topics.Message{Topic: topic, Payload: []byte(payload)}}
}

func (b *bus) asks(method, subject, payload string) {
	m := topics.Message{Topic: "dominion/coordinator/command/" + method + "/" + subject, Payload: []byte(payload)}
	r, err := topics.Space{}.DecodeRequest(m)
	if err != nil {
		panic(err)
	}
	if r.ID == "" {
		r.ID = "made-up"
	}
	b.in <- topics.Inbound{Message: m, Request: &r}
}

func (b *bus) all() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.retained)
}

// told are the events since the last call.
func (b *bus) told() []topics.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.events
	b.events = nil
	return told
}

func (b *bus) replies() (all []string) {
	for _, m := range b.told() {
		if strings.Contains(m.Topic, "/event/reply/") {
			var r topics.Reply
			json.Unmarshal(m.Payload, &r)
			text := string(r.Status)
			if r.Why != nil {
				text += " " + r.Why.Code
			}
			all = append(all, text)
		}
	}
	return all
}

func (b *bus) document(t *testing.T, domain string) topics.Document {
	t.Helper()
	doc, bad, err := topics.DecodeDocument([]byte(b.all()["dominion/"+domain+"/desired/services"]))
	if err != nil || bad != nil {
		t.Fatalf("document of %s: %v %v", domain, err, bad)
	}
	return doc
}

func (b *bus) summary(t *testing.T, service string) topics.Summary {
	t.Helper()
	s, err := topics.Decode[topics.Summary]([]byte(b.all()["dominion/coordinator/state/summary/"+service]))
	if err != nil {
		t.Fatalf("summary of %s: %v", service, err)
	}
	return s
}

// born says that a domain is there.
func (b *bus) born(name, sid, trait string) {
	b.says("dominion/"+name+"/state/info", `{"kind":"domain","id":"m-`+name+`","sid":"`+sid+`","traits":["`+trait+`"],"memory":1073741824}`)
	b.says("dominion/"+name+"/state/presence", `{"state":"online","sid":"`+sid+`","id":"m-`+name+`","house":"h1"}`)
}

// obeys answers the document of a domain as its agent would.
func (b *bus) obeys(t *testing.T, name, sid string) {
	doc := b.document(t, name)
	for s, w := range doc.Services {
		phase, ready := "stopped", "false"
		if w.Run {
			phase, ready = "running", "true"
		}
		b.says("dominion/"+name+"/state/service/"+string(s), `{"service":"`+string(s)+`","phase":"`+phase+`","ready":`+ready+`,"host":"`+name+`","port":80,"since":"2026-01-01T00:00:00Z"}`)
	}
	beat, _ := json.Marshal(topics.Heartbeat{Sid: topics.Sid(sid), Term: doc.Term, Gen: doc.Gen})
	b.says("dominion/"+name+"/event/heartbeat/agent", string(beat))
}

func (b *bus) beats(names ...string) {
	for _, n := range names {
		b.says("dominion/"+n+"/event/heartbeat/agent", `{"sid":"`+n+`1","seq":1}`)
	}
}

type leader struct {
	c    *coordinator.Coordinator
	stop func()
}

func lead(t *testing.T, b *bus, data string, catalogue *coordinator.Catalogue, change ...func(*coordinator.Config)) leader {
	t.Helper()
	cfg := coordinator.Config{ID: "leader-machine", Name: "test", Version: "0.1.0", Data: data, Catalogue: catalogue, Log: zerolog.Nop(), House: "h1"}
	for _, f := range change {
		f(&cfg)
	}
	c, err := coordinator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx, b); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	return leader{c, func() { cancel(); <-done }}
}

// house brings the demo's house up to ready, with its leader.
func house(t *testing.T, data string) (*bus, leader) {
	b := newBus()
	l := lead(t, b, data, chain(t))
	b.connect("s1")
	b.born("attic", "attic1", "compute")
	b.born("kitchen", "kitchen1", "compute")
	b.born("porch", "porch1", "neoPixelLight")
	time.Sleep(4 * time.Second)
	for range 4 {
		for _, name := range []string{"attic", "kitchen", "porch"} {
			b.obeys(t, name, name+"1")
		}
		time.Sleep(time.Second)
	}
	for _, s := range []string{"webServer", "lightOrchestrator", "npBar"} {
		if got := b.summary(t, s); got.Phase != topics.SummaryReady {
			t.Fatalf("%s is %+v", s, got)
		}
	}
	return b, l
}

func TestAHouseComesUpInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		if got := b.summary(t, "webServer").Where; !slices.Equal(got, []topics.Node{"attic"}) {
			t.Errorf("webServer is on %v", got)
		}
		if got := b.all()["dominion/coordinator/state/lookup/webServer"]; !strings.Contains(got, `"host":"attic"`) {
			t.Errorf("lookup: %s", got)
		}
	})
}

func TestARestartedLeaderChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := t.TempDir()
		b, l := house(t, data)
		before := b.all()
		l.stop()
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, data, chain(t))
		defer l.stop()
		b.connect("s2")
		time.Sleep(2 * time.Second)
		if got := b.all()["dominion/coordinator/state/presence"]; !strings.Contains(got, "settling") {
			t.Errorf("nobody has spoken yet, and the leader says %s", got)
		}
		b.beats("attic", "kitchen", "porch")
		time.Sleep(time.Second)
		after := b.all()
		for topic, was := range before {
			switch {
			case strings.HasSuffix(topic, "coordinator/state/presence"), strings.HasSuffix(topic, "coordinator/state/info"):
			case strings.HasSuffix(topic, "/desired/services"):
				oldDoc, _, _ := topics.DecodeDocument([]byte(was))
				newDoc, _, err := topics.DecodeDocument([]byte(after[topic]))
				if err != nil || newDoc.Term != oldDoc.Term+1 {
					t.Errorf("%s: term %d, want %d (%v)", topic, newDoc.Term, oldDoc.Term+1, err)
				}
				if diff := cmp.Diff(oldDoc.Services, newDoc.Services); diff != "" {
					t.Errorf("%s changed:\n%s", topic, diff)
				}
			case after[topic] != was:
				t.Errorf("%s changed:\n%s\n%s", topic, was, after[topic])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d retained topics, before %d", len(after), len(before))
		}
	})
}

func TestALostDataDirectoryIsRebuiltFromTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		term := b.document(t, "attic").Term
		l.stop()
		for topic := range b.all() { // the embedded store is gone too: the domains say again what is theirs
			if strings.Contains(topic, "coordinator/") || strings.Contains(topic, "/desired/") {
				delete(b.retained, topic)
			}
		}
		for _, name := range []string{"attic", "kitchen", "porch"} {
			b.retained["dominion/"+name+"/state/info"] = strings.Replace(b.retained["dominion/"+name+"/state/info"], `{`, `{"term":1,"gen":9,`, 1)
		}
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, t.TempDir(), chain(t), func(c *coordinator.Config) { c.House = ""; c.ID = "another" })
		defer l.stop()
		b.connect("s2")
		b.beats("attic", "kitchen", "porch")
		time.Sleep(4 * time.Second)
		if doc, ok := b.all()["dominion/attic/desired/services"]; ok {
			t.Errorf("it planned before all had time to come back: %s", doc)
		}
		b.beats("attic", "kitchen", "porch")
		time.Sleep(4 * time.Second)
		doc := b.document(t, "attic")
		if doc.House != "h1" || doc.Term <= term {
			t.Errorf("house %s, term %d; want h1 and more than %d", doc.House, doc.Term, term)
		}
		if !doc.Services["webServer"].Run {
			t.Errorf("webServer is to stop: %+v", doc)
		}
		if !strings.Contains(b.all()["dominion/coordinator/state/alert/rebuilt"], "was empty") {
			t.Error("no alert tells of the lost directory")
		}
	})
}

func TestWordsAreKeptTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := t.TempDir()
		b, l := house(t, data)
		b.asks("stop", "npBar", `{"id":"a1","by":"ann"}`)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"accepted", "done"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		text, err := os.ReadFile(filepath.Join(data, "coordinator.json"))
		if err != nil || !strings.Contains(string(text), `"run": "off"`) {
			t.Errorf("on disk: %s %v", text, err)
		}
		for range 4 {
			b.obeys(t, "porch", "porch1")
			b.obeys(t, "kitchen", "kitchen1")
			b.obeys(t, "attic", "attic1")
			time.Sleep(time.Second)
		}
		for _, s := range []string{"npBar", "lightOrchestrator", "webServer"} {
			if got := b.summary(t, s); got.Phase != topics.SummaryStopped || got.Why == nil {
				t.Errorf("%s: %+v", s, got)
			}
		}
		l.stop()
		delete(b.retained, "dominion/coordinator/desired/service/npBar")
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, data, chain(t))
		defer l.stop()
		b.connect("s2")
		b.beats("attic", "kitchen", "porch")
		time.Sleep(3 * time.Second)
		if got := b.summary(t, "npBar"); got.Phase != topics.SummaryStopped {
			t.Errorf("the word was lost with the bus: %+v", got)
		}
		if got := b.all()["dominion/coordinator/desired/service/npBar"]; !strings.Contains(got, `"run":"off"`) {
			t.Errorf("the word is not on the bus again: %q", got)
		}
	})
}

func TestALostDomainsServicesMoveAfterTheHoldOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.says("dominion/attic/state/presence", `{"state":"lost","sid":"attic1","id":"m-attic"}`)
		time.Sleep(time.Second)
		if got := b.summary(t, "webServer"); got.Phase != topics.SummaryUnknown || got.Why.Code != topics.WaitHoldOff {
			t.Errorf("webServer in the hold-off: %+v", got)
		}
		for range 12 {
			b.beats("kitchen", "porch")
			time.Sleep(5 * time.Second)
		}
		if got := b.document(t, "kitchen").Services["webServer"]; !got.Run {
			t.Errorf("webServer has not moved: %+v", got)
		}
		if got := b.document(t, "attic").Services["webServer"]; got.Run {
			t.Error("attic would start it when it returns")
		}
	})
}

func TestRestartIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.asks("restart", "npBar", "now")
		time.Sleep(time.Second)
		var id string
		for _, m := range b.told() {
			if m.Topic == "dominion/porch/command/restart/npBar" {
				var args map[string]string
				json.Unmarshal(m.Payload, &args)
				id = args["id"]
			}
		}
		b.says("dominion/porch/event/reply/"+id, `{"id":"`+id+`","status":"accepted"}`)
		b.says("dominion/porch/event/reply/"+id, `{"id":"`+id+`","status":"done"}`)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"done"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		b.asks("restart", "webServer", "now") // nobody answers this one
		for range 8 {
			b.beats("attic", "kitchen", "porch")
			time.Sleep(5 * time.Second)
		}
		if diff := cmp.Diff([]string{"accepted", "failed NO_ANSWER"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
	})
}

// What is done, or has ended by itself, is run again where it is; what a
// person stopped is not.
func TestRestartRunsAgainWhatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		for state, forwarded := range map[string]bool{
			`"phase":"done","ready":true`:                                                    true,
			`"phase":"waiting","ready":false,"why":{"code":"SCHEDULED","text":"x"}`:          true,
			`"phase":"stopped","ready":false,"why":{"code":"EXITED","text":"x"}`:             true,
			`"phase":"stopped","ready":false,"why":{"code":"OUT_OF_MEMORY","text":"x"}`:      true,
			`"phase":"stopped","ready":false,"why":{"code":"PORT_TAKEN","text":"x"}`:         true,
			`"phase":"stopped","ready":false,"why":{"code":"STOPPED_BY_WORD","text":"x"}`:    false,
			`"phase":"waiting","ready":false,"why":{"code":"WAIT_DEPENDENCY","text":"wait"}`: false,
		} {
			b.says("dominion/porch/state/service/npBar", `{"sid":"porch1","service":"npBar",`+state+`}`)
			time.Sleep(time.Second)
			b.told() // all that was before
			b.asks("restart", "npBar", "now")
			time.Sleep(time.Second)
			handed := slices.ContainsFunc(b.told(), func(m topics.Message) bool { return m.Topic == "dominion/porch/command/restart/npBar" })
			if handed != forwarded {
				t.Errorf("%s: handed on %v, want %v", state, handed, forwarded)
			}
			for range 8 { // the sender gives up
				b.beats("attic", "kitchen", "porch")
				time.Sleep(5 * time.Second)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.asks("dance", "host", "now")
		b.asks("stop", "npBär"[:2], "now")
		b.asks("run", "npBar", "maybe")
		b.asks("remove", "npBar", "now")
		b.asks("forget", "attic", "now")
		b.asks("forget", "cellar", "now")
		b.asks("ping", "host", "now")
		time.Sleep(time.Second)
		want := []string{"refused UNKNOWN_METHOD", "refused UNKNOWN_SERVICE", "refused BAD_PAYLOAD", "refused IN_CATALOGUE", "refused ONLINE", "refused UNKNOWN_DOMAIN", "done"}
		if diff := cmp.Diff(want, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
	})
}

func TestForgetLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.says("dominion/porch/state/presence", `{"state":"stopped","sid":"porch1","id":"m-porch","services":"stopped"}`)
		time.Sleep(time.Second)
		b.asks("forget", "porch", "now")
		time.Sleep(time.Second)
		for topic := range b.all() {
			if strings.Contains(topic, "porch") {
				t.Errorf("%s is left", topic)
			}
		}
	})
}

func TestANewerLeaderIsNotFought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.in <- topics.Inbound{Message: topics.Message{Topic: "dominion/coordinator/state/presence", Payload: []byte(`{"state":"online","sid":"zz","id":"other","term":99,"role":"active"}`)}}
		time.Sleep(time.Second)
		before := b.all()
		b.says("dominion/attic/state/presence", `{"state":"lost","sid":"attic1","id":"m-attic"}`)
		time.Sleep(10 * time.Second)
		delete(before, "dominion/attic/state/presence")
		for topic, was := range before {
			if b.all()[topic] != was {
				t.Errorf("a leader that lost the lead wrote %s", topic)
			}
		}
	})
}

func TestACorruptMemoryIsMovedAside(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "coordinator.json"), []byte(`{"house":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := coordinator.New(coordinator.Config{ID: "m", Data: data, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	aside, _ := filepath.Glob(filepath.Join(data, "coordinator.json.corrupt-*"))
	if len(aside) != 1 {
		t.Errorf("moved aside: %v", aside)
	}
}

func TestALeaderWithoutAFileRefusesWhatItCannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		l := lead(t, b, t.TempDir(), nil)
		defer l.stop()
		b.connect("s1")
		b.born("porch", "porch1", "neoPixelLight")
		b.says("dominion/porch/state/service/npBar", `{"service":"npBar","phase":"running","ready":true}`)
		time.Sleep(3 * time.Second)
		b.asks("stop", "npBar", "now")
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"refused NO_CATALOGUE"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		if _, ok := b.all()["dominion/porch/desired/services"]; ok {
			t.Error("it wrote a document")
		}
	})
}

func TestWhatLeftTheCatalogueIsStoppedAndRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := t.TempDir()
		b, l := house(t, data)
		l.stop()
		empty, _ := coordinator.NewCatalogue(nil)
		b.in = make(chan topics.Inbound, 10000)
		l = lead(t, b, data, empty)
		defer l.stop()
		b.connect("s2")
		b.beats("attic", "kitchen", "porch")
		time.Sleep(3 * time.Second)
		if got := b.summary(t, "npBar").Phase; got != topics.SummaryOrphaned {
			t.Fatalf("npBar is %s", got)
		}
		b.asks("remove", "npBar", "now")
		time.Sleep(time.Second)
		b.obeys(t, "porch", "porch1")
		time.Sleep(time.Second)
		b.obeys(t, "porch", "porch1")
		time.Sleep(time.Second)
		for topic := range b.all() {
			if strings.HasPrefix(topic, "dominion/coordinator/") && strings.HasSuffix(topic, "npBar") {
				t.Errorf("%s is left", topic)
			}
		}
		if diff := cmp.Diff([]string{"accepted", "done"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		b.asks("start", "npBar", "now")
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"refused NOT_IN_CATALOGUE"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
	})
}

func TestWhatNobodyCanReadIsReportedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.told()
		for range 10 {
			b.says("dominion/lamp/state/info", `{"kind":7}`)
		}
		time.Sleep(time.Second)
		var got []string
		for _, m := range b.told() {
			if m.Topic == "dominion/coordinator/event/error/state" {
				got = append(got, string(m.Payload))
			}
		}
		want := []string{`{"v":1,"code":"BAD_PAYLOAD","text":"dominion/lamp/state/info: field kind: is a number (want a string)","topic":"dominion/lamp/state/info","field":"kind"}`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports:\n%s", diff)
		}
		if _, ok := b.all()["dominion/coordinator/state/domain/lamp"]; ok {
			t.Error("an unreadable payload made a domain")
		}
	})
}

func TestABriefLossOfTheLinkCostsNoDomainAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		before := b.document(t, "attic")
		b.in <- topics.Inbound{Link: topics.LinkDown}
		time.Sleep(time.Second)
		delete(b.retained, "dominion/attic/desired/services") // the broker has forgotten it
		b.connect("s2")
		b.beats("attic", "kitchen", "porch")
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff(before, b.document(t, "attic")); diff != "" {
			t.Errorf("document (-before +after):\n%s", diff)
		}
	})
}

func TestARefusedPairBringsAHigherTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		before := b.document(t, "attic")
		b.says("dominion/attic/event/error/desired", `{"code":"STALE_DOCUMENT","text":"keeps another of the same pair"}`)
		time.Sleep(2 * time.Second)
		if after := b.document(t, "attic"); after.Term <= before.Term {
			t.Errorf("term %d, before %d", after.Term, before.Term)
		}
	})
}

func TestNamesThatDifferOnlyInCaseAreInConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := house(t, t.TempDir())
		defer l.stop()
		b.born("Attic", "Attic1", "compute")
		time.Sleep(3 * time.Second)
		if got := b.all()["dominion/coordinator/state/domain/Attic"]; !strings.Contains(got, `"conflict"`) {
			t.Errorf("Attic is %s", got)
		}
		if got := b.all()["dominion/coordinator/state/domain/attic"]; !strings.Contains(got, `"online"`) {
			t.Errorf("attic is %s", got)
		}
	})
}
