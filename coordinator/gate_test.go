package coordinator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

// gate writes down what it is asked. Each call takes a while, does what end
// says, and gives err.
type gate struct {
	mu    sync.Mutex // guards what follows: the coordinator's worker writes while the test reads
	calls []string
	err   error
	end   func(topics.Node)
}

func (g *gate) call(format string, args ...any) error {
	time.Sleep(1500 * time.Millisecond)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, fmt.Sprintf(format, args...))
	return g.err
}

func (g *gate) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.calls
	g.calls = nil
	return asked
}

func (g *gate) Forget(n topics.Node) error {
	err := g.call("forget %s", n)
	if g.end != nil {
		g.end(n)
	}
	return err
}
func (g *gate) Accept(n topics.Node) error       { return g.call("accept %s", n) }
func (g *gate) Reject(n topics.Node) error       { return g.call("reject %s", n) }
func (g *gate) Window(lasts time.Duration) error { return g.call("window %s", lasts) }
func (g *gate) configure(c *coordinator.Config)  { c.Gate = g }
func with(g *gate) func(*coordinator.Config)     { return g.configure }
func expelled(name, sid string) (presence, will string) {
	return "dominion/" + name + "/state/presence", `{"state":"lost","sid":"` + sid + `","id":"m-` + name + `"}`
}

// answers are the replies since the last call, with their texts.
func (b *bus) answers() (all []topics.Reply) {
	for _, m := range b.told() {
		if strings.Contains(m.Topic, "/event/reply/") {
			var r topics.Reply
			json.Unmarshal(m.Payload, &r)
			all = append(all, r)
		}
	}
	return all
}

// last is the final answer since the last call.
func (b *bus) last(t *testing.T) topics.Reply {
	t.Helper()
	all := b.answers()
	if len(all) == 0 {
		t.Fatal("no answer")
	}
	return all[len(all)-1]
}

func TestTheGateIsAsked(t *testing.T) {
	for _, c := range []struct {
		method, subject, payload string
		asked                    string // "": it is not
		answer                   string // what the last reply says
	}{
		{"accept", "porch", "now", "accept porch", "done porch is let in"},
		{"reject", "porch", `{"by":"ann"}`, "reject porch", "done porch is turned away"},
		{"accept", "coordinator", "now", "", `refused node name "coordinator" is reserved`},
		{"forget", "Service", "now", "", `refused node name "Service" is reserved`},
		{"join", "window", "10m", "window 10m0s", "done the join window is open for 10 min"},
		{"join", "window", `{"for":"1h30m"}`, "window 1h30m0s", "done the join window is open for 90 min"},
		{"join", "window", "24h", "window 24h0m0s", "done the join window is open for 24 h"},
		{"join", "window", "OFF", "window 0s", "done the join window is closed"},
		{"join", "window", `{"for":"off"}`, "window 0s", "done the join window is closed"},
		{"join", "window", "25h", "", `refused "25h" is too long`},
		{"join", "window", "1ms", "", `refused "1ms" is too short`},
		{"join", "window", `{"for":"-5m"}`, "", `refused "-5m" is too short`},
		{"join", "window", "10", "", `refused "10" is no duration (send 10m`},
		{"join", "window", `{"for":600}`, "", `refused "600" is no duration (send 10m`},
		{"join", "window", "now", "", `refused "now" is no duration`},
		{"join", "window", `{}`, "", `refused it does not say for how long (send 10m`},
		{"join", "porch", "10m", "", "refused no method join/porch"},
	} {
		t.Run(c.method+" "+c.subject+" "+c.payload, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := newBus(), &gate{}
				defer lead(t, b, t.TempDir(), chain(t), with(g)).stop()
				b.connect("s1")
				time.Sleep(6 * time.Second)
				b.asks(c.method, c.subject, c.payload)
				time.Sleep(2 * time.Second)
				if got := strings.Join(g.asked(), ", "); got != c.asked {
					t.Errorf("the gate was asked %q, want %q", got, c.asked)
				}
				r := b.last(t)
				got := string(r.Status) + " " + r.Result
				if r.Why != nil {
					got = string(r.Status) + " " + r.Why.Text
					if r.Why.Next == "" {
						t.Error("it does not say what to type next")
					}
				}
				if !strings.HasPrefix(got, c.answer) {
					t.Errorf("answer %q, want %q", got, c.answer)
				}
			})
		})
	}
}

func TestTheGatesErrorIsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := newBus(), &gate{err: errors.New("porch does not ask to join")}
		defer lead(t, b, t.TempDir(), chain(t), with(g)).stop()
		b.connect("s1")
		b.born("attic", "attic1", "compute")
		time.Sleep(6 * time.Second)
		for _, method := range []string{"accept/porch", "join/window", "forget/attic"} {
			verb, subject, _ := strings.Cut(method, "/")
			b.asks(verb, subject, "10m")
			time.Sleep(2 * time.Second)
			var got []string
			for _, r := range b.answers() {
				got = append(got, string(r.Status))
				if r.Why != nil {
					got = append(got, r.Why.Text)
				}
			}
			if diff := cmp.Diff([]string{"accepted", "failed", "porch does not ask to join"}, got); diff != "" {
				t.Errorf("%s:\n%s", method, diff)
			}
		}
		if b.all()["dominion/attic/state/presence"] == "" {
			t.Error("the gate could not end attic's account, and attic was forgotten")
		}
	})
}

func TestAHouseWithoutIdentityLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		defer lead(t, b, t.TempDir(), chain(t)).stop()
		b.connect("s1")
		time.Sleep(6 * time.Second)
		for _, method := range []string{"accept/porch", "reject/porch", "join/window"} {
			verb, subject, _ := strings.Cut(method, "/")
			b.asks(verb, subject, "10m")
			time.Sleep(time.Second)
			if r := b.last(t); r.Status != topics.Refused || r.Why.Next != "dominion init" {
				t.Errorf("%s: %+v %+v", method, r, r.Why)
			}
		}
	})
}

func TestASlowGateStopsNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := newBus(), &gate{}
		defer lead(t, b, t.TempDir(), chain(t), with(g)).stop()
		b.connect("s1")
		time.Sleep(6 * time.Second)
		b.told()
		for range 20 {
			b.asks("join", "window", "10m")
		}
		beats := 0
		for range 30 {
			time.Sleep(time.Second)
			for _, m := range b.told() {
				if m.Topic == "dominion/coordinator/event/heartbeat/plan" {
					beats++
				}
			}
		}
		if beats < 5 {
			t.Errorf("%d heartbeats in 30 s", beats)
		}
		if got := len(g.asked()); got < 15 {
			t.Errorf("the gate was asked %d times", got)
		}
	})
}

// forgets brings a house up of which attic, with webServer, is forgotten while
// it is online.
func (b *bus) forgets(t *testing.T, g *gate) leader {
	l := lead(t, b, t.TempDir(), chain(t), with(g))
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
	b.says("dominion/attic/state/host", `{"load":0.4}`)
	b.says("dominion/attic/state/odd/deep/topic", "{}")
	b.keeps("dominion/service/webServer/attic/ready", "start1")
	if got := b.summary(t, "webServer"); !slices.Equal(got.Where, []topics.Node{"attic"}) {
		t.Fatalf("webServer is %+v", got)
	}
	b.told()
	b.asks("forget", "attic", `{"id":"f1"}`)
	return l
}

// keeps puts a message into the broker's store behind everybody's back.
func (b *bus) keeps(topic, payload string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retained[topic] = payload
}

func (b *bus) about(name string) (left []string) {
	for topic := range b.all() {
		if strings.Contains(topic, name) {
			left = append(left, topic)
		}
	}
	slices.Sort(left)
	return left
}

func TestANodeThatIsOnlineIsForgotten(t *testing.T) {
	for name, late := range map[string]time.Duration{
		"its will was published before the gate answers": -time.Second,
		"its will comes a moment later":                  2 * time.Second,
		"its will comes late":                            20 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := newBus(), &gate{}
				presence, will := expelled("attic", "attic1")
				if late < 0 {
					g.end = func(topics.Node) { b.says(presence, will) }
				}
				defer b.forgets(t, g).stop()
				time.Sleep(2 * time.Second)
				if late > 0 {
					b.beats("kitchen", "porch")
					time.Sleep(late - 2*time.Second + time.Millisecond)
					b.beats("kitchen", "porch")
					b.says(presence, will)
				}
				time.Sleep(time.Second)
				if left := b.about("attic"); len(left) > 0 {
					t.Errorf("left on the bus: %v", left)
				}
				if !b.document(t, "kitchen").Services["webServer"].Run {
					t.Errorf("webServer waits for a node that is forgotten: %+v", b.summary(t, "webServer"))
				}
				for range 12 { // and it stays forgotten
					b.beats("kitchen", "porch")
					time.Sleep(5 * time.Second)
					if left := b.about("attic"); len(left) > 0 {
						t.Fatalf("back on the bus: %v", left)
					}
				}
			})
		})
	}
}

func TestWhoIsForgottenIsSaidToRunOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		defer b.forgets(t, &gate{}).stop()
		time.Sleep(3 * time.Second)
		const want = "attic is forgotten; there webServer keeps running, alone, until somebody ends it on that machine"
		var event string
		var last topics.Reply
		for _, m := range b.told() {
			switch m.Topic {
			case "dominion/coordinator/event/forgotten/attic":
				event = string(m.Payload)
			case "dominion/coordinator/event/reply/f1":
				json.Unmarshal(m.Payload, &last)
			}
		}
		if last.Status != topics.Done || last.Result != want {
			t.Errorf("%+v, want %q", last, want)
		}
		if !strings.Contains(event, want) {
			t.Errorf("event %q", event)
		}
	})
}

func TestAForgottenNodeThatJoinsAgainIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		defer b.forgets(t, &gate{}).stop()
		time.Sleep(3 * time.Second)
		b.told()
		b.born("attic", "attic2", "compute")
		presence, will := expelled("attic", "attic1")
		b.in <- topics.Inbound{Message: topics.Message{Topic: presence, Payload: []byte(will)}} // of the old life
		time.Sleep(3 * time.Second)
		if got := b.all()["dominion/coordinator/state/domain/attic"]; !strings.Contains(got, `"online"`) {
			t.Errorf("judgement %q", got)
		}
		if b.all()["dominion/attic/state/presence"] == "" || b.all()["dominion/attic/state/info"] == "" {
			t.Error("what the new node says was emptied")
		}
		joined := slices.ContainsFunc(b.told(), func(m topics.Message) bool { return m.Topic == "dominion/coordinator/event/joined/attic" })
		if !joined {
			t.Error("nobody was told that it joined")
		}
		b.obeys(t, "attic", "attic2") // it has a document
	})
}

func TestWhatWasEmptiedInABreakOfTheLinkIsEmptiedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		defer b.forgets(t, &gate{}).stop()
		before := b.all()
		time.Sleep(3 * time.Second)
		b.in <- topics.Inbound{Link: topics.LinkDown}
		time.Sleep(5 * time.Minute)
		for topic, payload := range before { // the broker never saw the emptying
			if strings.HasPrefix(topic, "dominion/attic/") {
				b.keeps(topic, payload)
			}
		}
		b.connect("s2")
		b.beats("kitchen", "porch")
		time.Sleep(2 * time.Second)
		b.beats("kitchen", "porch")
		time.Sleep(2 * time.Second)
		if left := b.about("attic"); len(left) > 0 {
			t.Errorf("left on the bus: %v", left)
		}
	})
}

func TestAForgottenNodeThatStaysConnectedIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		defer b.forgets(t, &gate{}).stop() // on another broker, which ends no connection
		for range 3 {
			time.Sleep(5 * time.Second)
			b.beats("attic", "kitchen", "porch")
		}
		time.Sleep(time.Second)
		if got := b.all()["dominion/coordinator/state/alert/forgotten-attic"]; !strings.Contains(got, "still connected") {
			t.Errorf("alert %q", got)
		}
		for range 6 {
			time.Sleep(5 * time.Second)
			b.beats("attic", "kitchen", "porch")
		}
		time.Sleep(time.Second)
		if got := b.all()["dominion/coordinator/state/domain/attic"]; got == "" {
			t.Error("it lives, and the house does not say so")
		}
	})
}

func TestForgettingWhoHasNoAccount(t *testing.T) {
	for name, c := range map[string]struct {
		node, want string
	}{
		"a node nobody knows":                      {"atic", "failed UNKNOWN_DOMAIN"},
		"a node that is online by another's leave": {"attic", "failed ONLINE"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus()
				g := &gate{err: fmt.Errorf("forget: %w", coordinator.ErrNoAccount)}
				defer lead(t, b, t.TempDir(), chain(t), with(g)).stop()
				b.connect("s1")
				b.born("attic", "attic1", "compute")
				time.Sleep(6 * time.Second)
				b.told()
				b.asks("forget", c.node, "now")
				time.Sleep(2 * time.Second)
				if diff := cmp.Diff([]string{"accepted", c.want}, b.replies()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
