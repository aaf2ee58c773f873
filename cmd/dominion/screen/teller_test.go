package screen_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"dominion/cmd/dominion/screen"
	"dominion/topics"
)

// TestTellerTellsADay plays an hour of a house and compares the whole story.
func TestTellerTellsADay(t *testing.T) {
	s := topics.Space{}
	teller := screen.NewTeller(s)
	for _, m := range wellHouse() {
		if l, told := teller.Tell(m.sent(true), start()); told {
			t.Errorf("what was retained is told: %q", l.Text)
		}
	}
	running := topics.ServiceState{Service: "webServer", Phase: topics.PhaseRunning, Ready: true, Port: 8080, PID: 4711, Version: "1.2.0", Since: ago(60 * time.Hour)}
	restarted := running
	restarted.PID, restarted.Start, restarted.Ready, restarted.Since = 4800, "b", false, ago(0)
	judged := topics.Judgement{State: topics.JudgedLost, Since: ago(0), Wanted: 1, Why: &topics.Why{Code: topics.DomainLost, Text: "gone without a word"}}
	story := []message{
		{s.Heartbeat("attic"), topics.Heartbeat{Sid: "attic", Seq: 1}},
		{s.Host("attic"), topics.Host{CPU: topics.Measured(90)}},
		{s.Sync("attic", "attic"), "x"},
		report("attic", running), // nothing new
		{s.Command("coordinator", "restart", "webServer"), `{"id":"q1","by":"ann"}`},
		{s.Reply("coordinator", "q1"), topics.Reply{ID: "q1", Status: topics.Accepted}},
		{s.Command("attic", "restart", "webServer"), "now"},
		report("attic", topics.ServiceState{Service: "webServer", Phase: topics.PhaseStopping, Port: 8080, PID: 4711}),
		{s.Lookup("webServer"), topics.Lookup{Service: "webServer"}},
		{s.Occurrence("attic", "exit", "webServer"), topics.Happening{Text: "webServer ended: exit code 0", Service: "webServer", Exit: &topics.Exit{}}},
		report("attic", restarted),
		{s.Reply("attic", "x7"), topics.Reply{ID: "x7", Status: topics.Failed, Topic: s.Command("attic", "restart", "webServer"), Why: &topics.Why{Text: "not ready after 60 s"}}},
		summary(topics.Summary{Service: "webServer", Phase: topics.SummaryStarting, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"attic"}, Why: &topics.Why{Text: "on attic: its port does not answer yet"}}),
		{s.Error("attic", topics.ErrCommand), topics.Fault{Code: topics.FaultEmpty, Text: "an empty payload is no command", Topic: s.Command("attic", "restart", "x"), Count: 3, Next: "send a word"}},
		{s.Command("attic", "restart", "webServer"), `{"id":7`},
		{s.Presence("attic"), topics.Presence{State: topics.Lost, Sid: "attic", ID: "m-attic"}},
		{s.Judgement("attic"), judged},
		{s.Alert("lost-attic"), topics.Alert{Severity: topics.SeverityError, Text: "attic is lost"}},
		{s.Presence("attic"), topics.Presence{State: topics.Online, Sid: "attic2", ID: "m-attic"}},
		{s.Info("attic"), topics.Info{Kind: topics.KindDomain, Version: "0.2.0", Traits: []topics.Trait{"compute", "camera"}, Services: map[topics.Service]string{"webServer": "1.2.0", "camera": ""}}},
		{s.Alert("lost-attic"), ""},
		{s.ServiceWord("npBar"), topics.ServiceWord{Run: topics.RunOff, By: "ann", Rev: 1}},
		document("porch", map[topics.Service]topics.Wanted{"npBar": {}, "camera": {Run: true}}),
		document("attic", map[topics.Service]topics.Wanted{"webServer": {Run: true, Rev: "2"}}),
		{s.Lookup("webServer"), topics.Lookup{Service: "webServer", Ready: 1, Endpoints: []topics.Endpoint{{Domain: "attic", Host: "192.168.1.7", Port: 8080}}}},
		{s.Occurrence(topics.Coordinator, "moved", "webServer"), topics.Happening{Text: "webServer moves to kitchen", Service: "webServer", From: "attic", Domain: "kitchen", Why: &topics.Why{Text: "attic is lost"}}},
		{s.ServiceState("porch", "npBar"), ""},
		{s.Summary("npBar"), ""},
		{s.Presence("porch"), topics.Presence{State: topics.Stopped, Sid: "porch", Services: topics.ServicesKept}},
		{s.Presence(topics.Coordinator), topics.Presence{State: topics.Stopped, Sid: "aaaaaa", Term: 12, Role: topics.Active}},
		{s.Presence(topics.Coordinator), topics.Presence{State: topics.Online, Sid: "bbbbbb", Term: 13, Role: topics.Settling}},
		{s.Presence(topics.Coordinator), topics.Presence{State: topics.Online, Sid: "bbbbbb", Term: 13, Role: topics.Active}},
		{s.Presence("thermometer"), "online"},
		{"zigbee2mqtt/lamp", "on"},
		{"dominion/attic/nonsense", "1"},
		{"dominion/service/webServer/attic/ready", "abc"},
	}
	var out strings.Builder
	now := start()
	for _, m := range story {
		now = now.Add(time.Second)
		if line, told := teller.Tell(m.sent(false), now); told {
			out.WriteString(line.Render(screen.Style{}) + "\n")
		}
	}
	golden(t, "watch.log", out.String())
}

func TestLineAsJSON(t *testing.T) {
	teller := screen.NewTeller(topics.Space{})
	for payload, want := range map[string]string{
		`{"v":1,"state":"online","sid":"abc"}`: `{"at":"2026-03-01T14:02:07Z","who":"attic","text":"is there","topic":"dominion/attic/state/presence","payload":{"v":1,"state":"online","sid":"abc"}}`,
		`offline`:                              `{"at":"2026-03-01T14:02:07Z","who":"attic","text":"is lost: its connection broke","topic":"dominion/attic/state/presence","payload":"offline"}`,
		"\xff\x1b[2J":                          `{"at":"2026-03-01T14:02:07Z","who":"attic","text":"cannot be read: dominion/attic/state/presence: payload is not UTF-8","topic":"dominion/attic/state/presence","payload":"\ufffd\u001b[2J"}`,
	} {
		line, told := teller.Tell(topics.Message{Topic: "dominion/attic/state/presence", Payload: []byte(payload)}, start())
		if !told {
			t.Errorf("%q is not told", payload)
			continue
		}
		got, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%q\ngot  %s\nwant %s", payload, got, want)
		}
		teller = screen.NewTeller(topics.Space{})
	}
}

// FuzzTell holds that nothing on a bus breaks the teller, and that what it
// says never steers a terminal.
func FuzzTell(f *testing.F) {
	for _, m := range append(wellHouse(), illHouse()...) {
		f.Add(m.topic, m.sent(false).Payload)
	}
	f.Add("dominion/attic/command/restart/x", []byte("\x1b[2J"))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		teller := screen.NewTeller(topics.Space{})
		for range 2 {
			line, _ := teller.Tell(topics.Message{Topic: topic, Payload: payload}, start())
			if strings.ContainsFunc(line.Text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q is told as %q", payload, line.Text)
			}
		}
		v := screen.View{House: teller.House(), Now: start()}
		screen.Status(screen.Look(v), screen.Style{})
		for _, name := range append(screen.ServiceNames(v), screen.DomainNames(v)...) {
			screen.Why(v, name, screen.Style{})
		}
	})
}
