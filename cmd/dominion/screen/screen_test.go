package screen_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dominion/cmd/dominion/screen"
	"dominion/topics"
	"dominion/topics/house"

	"github.com/google/go-cmp/cmp"
)

// start is when the houses of these tests are looked at.
func start() time.Time { return time.Date(2026, 3, 1, 14, 2, 7, 0, time.UTC) }

func ago(d time.Duration) topics.Stamp { return topics.At(start().Add(-d)) }

// fold makes a view of the messages: each topic's payload is a value of the
// protocol, or a string that is sent as it is.
func fold(t *testing.T, messages ...message) screen.View {
	t.Helper()
	h := house.New(topics.Space{})
	for _, m := range messages {
		if err := h.Apply(m.sent(true), start()); err != nil {
			t.Fatalf("apply %s: %v", m.topic, err)
		}
	}
	return screen.View{House: h, Now: start(), Broker: "mqtt://127.0.0.1:1883"}
}

type message struct {
	topic   string
	payload any
}

func (m message) sent(retained bool) topics.Message {
	out := topics.Message{Topic: m.topic, QoS: 1, Retained: retained}
	if s, ok := m.payload.(string); ok {
		out.Payload = []byte(s)
	} else {
		out.Payload = topics.Encode(m.payload)
	}
	return out
}

func leads() []message {
	s := topics.Space{}
	return []message{
		{s.Presence(topics.Coordinator), topics.Presence{State: topics.Online, Sid: "aaaaaa", ID: "m1", House: "7f3a9c", Term: 12, Role: topics.Active}},
		{s.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator, House: "7f3a9c", Name: "home", Version: "0.1.0", Boot: ago(72 * time.Hour)}},
	}
}

func domain(name topics.Node, j topics.Judgement, services map[topics.Service]string, traits ...topics.Trait) []message {
	s := topics.Space{}
	return []message{
		{s.Presence(name), topics.Presence{State: topics.Online, Sid: topics.Sid(name), ID: "m-" + topics.MachineID(name)}},
		{s.Info(name), topics.Info{Kind: topics.KindDomain, Version: "0.1.0", Traits: traits, Services: services}},
		{s.Judgement(name), j},
	}
}

func document(name topics.Node, services map[topics.Service]topics.Wanted) message {
	return message{topics.Space{}.DesiredServices(name), topics.Document{House: "7f3a9c", Term: 12, Gen: 3, Services: services}}
}

func summary(s topics.Summary) message { return message{topics.Space{}.Summary(s.Service), s} }

func report(n topics.Node, s topics.ServiceState) message {
	return message{topics.Space{}.ServiceState(n, s.Service), s}
}

// wellHouse is a house where nothing is other than wanted.
func wellHouse() []message {
	m := leads()
	m = append(m, domain("attic", topics.Judgement{State: topics.JudgedOnline, Since: ago(71 * time.Hour), Wanted: 1, Ready: 1}, map[topics.Service]string{"webServer": "1.2.0"}, "compute")...)
	m = append(m, domain("porch", topics.Judgement{State: topics.JudgedOnline, Since: ago(3 * time.Minute), Wanted: 1, Ready: 1}, nil, "neoPixelLight")...)
	return append(m,
		message{topics.Space{}.Host("attic"), topics.Host{CPU: topics.Measured(12.4), Memory: topics.Measured(40), Disk: topics.Measured(61), Temperature: topics.Measured(48.2)}},
		document("attic", map[topics.Service]topics.Wanted{"webServer": {Run: true, Rev: "1"}}),
		document("porch", map[topics.Service]topics.Wanted{"npBar": {Run: true, Rev: "1", Dependencies: []topics.Service{"webServer"}}}),
		summary(topics.Summary{Service: "npBar", Phase: topics.SummaryReady, Run: topics.RunOn, Wanted: 1, Ready: 1, Where: []topics.Node{"porch"}, Since: ago(170 * time.Second), Because: "required where trait neoPixelLight"}),
		summary(topics.Summary{Service: "webServer", Phase: topics.SummaryReady, Run: topics.RunOn, Wanted: 1, Ready: 1, Where: []topics.Node{"attic"}, Since: ago(60 * time.Hour), Version: "1.2.0", Because: "npBar needs it"}),
		report("attic", topics.ServiceState{Service: "webServer", Phase: topics.PhaseRunning, Ready: true, Port: 8080, PID: 4711, Version: "1.2.0", Since: ago(60 * time.Hour)}),
		report("porch", topics.ServiceState{Service: "npBar", Phase: topics.PhaseRunning, Ready: true, PID: 4712, Since: ago(170 * time.Second)}),
		message{topics.Space{}.Lookup("webServer"), topics.Lookup{Service: "webServer", Ready: 1, Host: "192.168.1.7", Port: 8080, Endpoints: []topics.Endpoint{{Domain: "attic", Host: "192.168.1.7", Port: 8080}}}},
		message{topics.Space{}.Lookup("npBar"), topics.Lookup{Service: "npBar", Ready: 1, Host: "192.168.1.8", Endpoints: []topics.Endpoint{{Domain: "porch", Host: "192.168.1.8"}}}},
	)
}

// illHouse is a house where much is other than wanted.
func illHouse() []message {
	m := leads()
	m = append(m, domain("attic", topics.Judgement{State: topics.JudgedLost, Since: ago(40 * time.Second), Wanted: 1, Why: &topics.Why{Code: topics.DomainLost, Text: "its connection broke; its services move in 20 s unless it returns", Next: "look whether attic has power and network"}}, map[topics.Service]string{"webServer": "1.2.0"}, "compute")...)
	m = append(m, domain("kitchen", topics.Judgement{State: topics.JudgedOnline, Since: ago(5 * time.Hour), Wanted: 1, Drain: true}, map[topics.Service]string{"lightOrchestrator": "", "camera": ""}, "compute", "camera")...)
	m = append(m, domain("porch", topics.Judgement{State: topics.JudgedOnline, Since: ago(5 * time.Hour), Wanted: 1}, nil, "neoPixelLight")...)
	return append(m,
		document("kitchen", map[topics.Service]topics.Wanted{
			"lightOrchestrator": {Dependencies: []topics.Service{"webServer"}, Why: &topics.Why{Code: topics.WaitDependency, Text: "waits for webServer: unknown", Next: "dominion why webServer"}},
			"camera":            {Run: true},
		}),
		document("porch", map[topics.Service]topics.Wanted{"npBar": {Dependencies: []topics.Service{"lightOrchestrator"}}}),
		document("attic", map[topics.Service]topics.Wanted{"webServer": {Run: true}}),
		summary(topics.Summary{Service: "npBar", Phase: topics.SummaryWaiting, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"porch"}, Because: "required where trait neoPixelLight", Why: &topics.Why{Code: topics.WaitDependency, Text: "waits for lightOrchestrator: waiting on kitchen", Next: "dominion why lightOrchestrator"}}),
		summary(topics.Summary{Service: "lightOrchestrator", Phase: topics.SummaryWaiting, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"kitchen"}, Because: "npBar needs it", Why: &topics.Why{Code: topics.WaitDependency, Text: "waits for webServer: unknown, its domain attic is lost and comes back or is given up in 20 s", Next: "dominion why webServer"}}),
		summary(topics.Summary{Service: "webServer", Phase: topics.SummaryUnknown, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"attic"}, Since: ago(60 * time.Hour), Because: "lightOrchestrator needs it", Why: &topics.Why{Code: topics.WaitHoldOff, Text: "attic is lost; it moves in 20 s unless attic returns", Next: "dominion why attic"}}),
		summary(topics.Summary{Service: "camera", Phase: topics.SummaryFailing, Run: topics.RunOn, Wanted: 1, Where: []topics.Node{"kitchen"}, Since: ago(4 * time.Second), Because: "required where trait camera", Why: &topics.Why{Code: topics.CrashLoop, Text: "ended 5 times in 10 min, tried again in 5 min: no such device /dev/video0", Next: "read /var/lib/dominion/domain/logs/camera.log on kitchen"}}),
		summary(topics.Summary{Service: "radio", Phase: topics.SummaryStopped, Run: topics.RunOff, Because: "a person said off", Why: &topics.Why{Code: topics.StoppedByPerson, Text: "stopped by ann", Next: "dominion start radio"}}),
		message{topics.Space{}.ServiceWord("radio"), topics.ServiceWord{Run: topics.RunOff, By: "ann", Since: ago(3 * time.Hour), Rev: 4}},
		report("attic", topics.ServiceState{Service: "webServer", Phase: topics.PhaseRunning, Ready: true, Port: 8080, PID: 4711, Version: "1.2.0", Since: ago(60 * time.Hour)}),
		report("kitchen", topics.ServiceState{Service: "camera", Phase: topics.PhaseCrashloop, Restarts: 5, Exit: &topics.Exit{Code: 1}, Since: ago(4 * time.Second), Why: &topics.Why{Code: topics.CrashLoop, Text: "ended 5 times in 10 min: no such device /dev/video0", Next: "read /var/lib/dominion/domain/logs/camera.log on kitchen"}}),
		report("kitchen", topics.ServiceState{Service: "lightOrchestrator", Phase: topics.PhaseWaiting, Since: ago(40 * time.Second)}),
		message{topics.Space{}.Lookup("webServer"), topics.Lookup{Service: "webServer"}},
		message{topics.Space{}.Alert("lost-attic"), topics.Alert{Severity: topics.SeverityError, Text: "attic is lost", Next: "look whether attic has power and network", Since: ago(40 * time.Second), About: "attic"}},
		// This one says what the table says, and is not told twice.
		message{topics.Space{}.Alert("failing-camera"), topics.Alert{Severity: topics.SeverityError, Text: "camera: ended 5 times in 10 min, tried again in 5 min: no such device /dev/video0", Since: ago(4 * time.Second), About: "camera"}},
	)
}

func emptyHouse() []message { return leads() }

func leaderless() []message {
	m := wellHouse()
	return append(m, message{topics.Space{}.Presence(topics.Coordinator), topics.Presence{State: topics.Lost, Sid: "aaaaaa", ID: "m1"}})
}

func TestStatus(t *testing.T) {
	tests := []struct {
		name     string
		messages []message
		silent   bool
		lonely   []screen.Lonely
		well     bool
	}{
		{name: "well", messages: wellHouse(), well: true},
		{name: "ill", messages: illHouse()},
		{name: "empty", messages: emptyHouse(), well: true},
		{name: "leaderless", messages: leaderless()},
		{name: "silent", messages: wellHouse(), silent: true},
		{name: "nothing"},
		{name: "lonely", messages: wellHouse(), lonely: lonelies(), well: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := fold(t, tt.messages...)
			v.Silent, v.Lonely = tt.silent, tt.lonely
			r := screen.Look(v)
			if r.Well != tt.well {
				t.Errorf("well is %v, want %v", r.Well, tt.well)
			}
			golden(t, "status-"+tt.name+".txt", screen.Status(r, screen.Style{}))
			golden(t, "status-"+tt.name+".json", indent(t, r))
		})
	}
}

// lonelies are machines as they announce themselves; one has come back, and
// one is no machine of anybody.
func lonelies() []screen.Lonely {
	return []screen.Lonely{
		{Name: "pi3", ID: "m3", Address: "192.168.1.8", House: "7f3a9c"},
		{Name: "porch", ID: "m-porch", Address: "192.168.1.9", House: "7f3a9c"},
		{Name: "pi2", ID: "m2", Address: "192.168.1.7"},
		{Name: "porch", ID: "m9", Address: "192.168.1.10"},
		{Name: "pi9", ID: "m10", Address: "fe80::1", House: "aaaaaa"},
		{Name: "evil\x1b[2J" + strings.Repeat("long", 40), Address: strings.Repeat("x", 200), House: topics.HouseID(strings.Repeat("y", 200))},
	}
}

func TestManyLonelyMachinesAreCounted(t *testing.T) {
	v := fold(t, wellHouse()...)
	for range 40 {
		v.Lonely = append(v.Lonely, screen.Lonely{Name: "pi"})
	}
	text := screen.Status(screen.Look(v), screen.Style{})
	if n := strings.Count(text, "? pi belongs"); n != 8 || !strings.Contains(text, "and 32 more machines") {
		t.Errorf("tells of %d:\n%s", n, text)
	}
}

func TestStatusInColour(t *testing.T) {
	got := screen.Status(screen.Look(fold(t, illHouse()...)), screen.Style{Colour: true})
	golden(t, "status-ill-colour.txt", strings.ReplaceAll(got, "\x1b", "^"))
}

func TestWhy(t *testing.T) {
	for name, messages := range map[string][]message{
		"npBar": illHouse(), "webServer": wellHouse(), "camera": illHouse(), "radio": illHouse(),
		"attic": illHouse(), "kitchen": illHouse(),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "why-"+name+".txt", screen.Why(fold(t, messages...), name, screen.Style{}))
		})
	}
}

func TestWhyTellsWhatAServiceSaysAndWhenItRuns(t *testing.T) {
	m := append(leads(), domain("attic", topics.Judgement{State: topics.JudgedOnline}, nil)...)
	next := time.Date(2026, 11, 22, 3, 30, 0, 0, time.Local)
	m = append(m,
		summary(topics.Summary{Service: "backup", Phase: topics.SummaryDone, Run: topics.RunOn, Wanted: 1, Ready: 1, Where: []topics.Node{"attic"}}),
		report("attic", topics.ServiceState{Service: "backup", Phase: topics.PhaseDone, Ready: true, NextRun: topics.At(next), Status: "copied 12 files"}),
	)
	got := screen.Why(fold(t, m...), "backup", screen.Style{})
	for _, want := range []string{"backup is done on attic", "attic: done, runs next at 03:30 on Sun 22 Nov", "it says: copied 12 files"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
}

func TestWhyEndsWhenServicesNeedOneAnother(t *testing.T) {
	wait := func(s, on topics.Service) message {
		return summary(topics.Summary{Service: s, Phase: topics.SummaryWaiting, Run: topics.RunOn, Wanted: 1,
			Why: &topics.Why{Code: topics.WaitDependency, Text: "waits for " + string(on), Next: "dominion why " + string(on)}})
	}
	m := append(leads(), domain("attic", topics.Judgement{State: topics.JudgedOnline}, nil)...)
	m = append(m, wait("a", "b"), wait("b", "a"), document("attic", map[topics.Service]topics.Wanted{
		"a": {Dependencies: []topics.Service{"b"}}, "b": {Dependencies: []topics.Service{"a"}},
	}))
	v := fold(t, m...)
	golden(t, "why-cycle.txt", screen.Why(v, "a", screen.Style{}))
	screen.Status(screen.Look(v), screen.Style{}) // follows the reasons as well
}

func TestKnown(t *testing.T) {
	v := fold(t, illHouse()...)
	type known struct{ Service, Domain bool }
	got := map[string]known{}
	for _, name := range []string{"npBar", "attic", "npbar", "coordinator", ""} {
		s, d := screen.Known(v, name)
		got[name] = known{s, d}
	}
	want := map[string]known{"npBar": {true, false}, "attic": {false, true}, "npbar": {}, "coordinator": {}, "": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"camera", "lightOrchestrator", "npBar", "radio", "webServer"}, screen.ServiceNames(v)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"attic", "kitchen", "porch"}, screen.DomainNames(v)); diff != "" {
		t.Error(diff)
	}
}

func TestLookup(t *testing.T) {
	v := fold(t, append(wellHouse(), message{topics.Space{}.Lookup("six"), topics.Lookup{Service: "six", Ready: 2, Endpoints: []topics.Endpoint{{Host: "fe80::1", Port: 80}, {Host: "10.0.0.1", Port: 81}}}})...)
	for name, want := range map[topics.Service]string{
		"webServer": "192.168.1.7:8080\n", "npBar": "192.168.1.8\n", "six": "[fe80::1]:80\n10.0.0.1:81\n",
	} {
		l, ok := v.House.Lookup(name, v.Now)
		if got := screen.Lookup(l); !ok || got != want {
			t.Errorf("lookup %s is %q (known %v), want %q", name, got, ok, want)
		}
	}
	text, next := screen.Missing(fold(t, illHouse()...), "webServer")
	if want := "webServer has no ready instance: it is unknown, attic is lost; it moves in 20 s unless attic returns"; text != want {
		t.Errorf("got  %q\nwant %q", text, want)
	}
	if next != "dominion why webServer" {
		t.Errorf("next is %q", next)
	}
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 4 * time.Second: "4 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min",
		119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 d", 2400 * time.Hour: "100 d",
	} {
		if got := screen.Lasting(d); got != want {
			t.Errorf("%v is said %q, want %q", d, got, want)
		}
	}
}

func TestNothingFromTheBusSteersTheTerminal(t *testing.T) {
	evil := "ha\x1b[2Jha\nha\u009b"
	m := append(wellHouse(),
		summary(topics.Summary{Service: "evil", Phase: topics.SummaryPhase("ready"), Because: evil, Why: &topics.Why{Code: "X", Text: evil, Next: evil}}),
		message{topics.Space{}.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator, Name: evil}},
		message{topics.Space{}.Alert("evil"), topics.Alert{Severity: topics.SeverityError, Text: evil, Next: evil}},
	)
	v := fold(t, m...)
	out := screen.Status(screen.Look(v), screen.Style{}) + screen.Why(v, "evil", screen.Style{})
	if strings.ContainsAny(out, "\x1b\u009b") {
		t.Errorf("an escape got through: %q", out)
	}
}

// golden compares with a file of testdata, and that no line is longer than 80
// columns. DOMINION_GOLDEN=write writes the file: read the difference.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if os.Getenv("DOMINION_GOLDEN") == "write" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	if strings.HasSuffix(file, ".txt") && !strings.Contains(file, "colour") {
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s has a line of %d columns: %q", file, n, line)
			}
		}
	}
}

func indent(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}
