package terms_test

import (
	"math"
	"testing"

	"dominion/topics"
	"dominion/topics/terms"

	"github.com/google/go-cmp/cmp"
)

func TestWordsBecomeWhatIsWanted(t *testing.T) {
	for name, c := range map[string]struct {
		words terms.Words
		want  topics.Wanted
	}{
		"nothing":        {},
		"a delay alone":  {terms.Words{ReadyDelay: "500ms"}, topics.Wanted{Ready: &topics.Readiness{By: "delay", Delay: 0.5}}},
		"a page":         {terms.Words{Ready: "http", ReadyPath: "/health", StartTimeout: "2m"}, topics.Wanted{Ready: &topics.Readiness{By: "http", Path: "/health", Timeout: 120}}},
		"liveness":       {terms.Words{Live: "notify", LiveInterval: "10s", LiveTimeout: "1s", LiveFailures: 2}, topics.Wanted{Live: &topics.Liveness{By: "notify", Interval: 10, Timeout: 1, Failures: 2}}},
		"limits":         {terms.Words{Memory: "1.5G", CPU: 0.5}, topics.Wanted{Memory: 3 << 29, CPU: 0.5}},
		"a limited job":  {terms.Words{Type: "oneshot", StartTimeout: "1h"}, topics.Wanted{Type: "oneshot", Ready: &topics.Readiness{By: "done", Timeout: 3600}}},
		"a nightly job":  {terms.Words{Schedule: "30 3 * * *", Restart: "never"}, topics.Wanted{Schedule: "30 3 * * *", Restart: &topics.Restart{Policy: "never"}}},
		"backoff's ends": {terms.Words{RestartFirst: "5s", RestartCap: "10m"}, topics.Wanted{Restart: &topics.Restart{First: 5, Cap: 600}}},
	} {
		got, faults := c.words.Read()
		if diff := cmp.Diff(c.want, got); diff != "" || len(faults) > 0 {
			t.Errorf("%s: %v (-want +got)\n%s", name, faults, diff)
		}
	}
}

func TestEveryFaultNamesItsKeyAndARemedy(t *testing.T) {
	words := terms.Words{
		Type: "once", Schedule: "61 * * * *", Ready: "soon", ReadyDelay: "5", StartTimeout: "-1s", Live: "delay", LiveInterval: "1 s",
		Restart: "sometimes", RestartFirst: "x", Memory: "128", CPU: -1,
	}
	_, faults := words.Read()
	want := []terms.Fault{
		{"schedule", `is "61 * * * *": end of range (61) above maximum (59): 61`},
		{"ready_delay", `"5" is no duration (write 5s, 2m)`},
		{"start_timeout", `"-1s" is no duration (write 5s, 2m)`},
		{"live_interval", `"1 s" is no duration (write 5s, 2m)`},
		{"restart_first", `"x" is no duration (write 5s, 2m)`},
		{"memory", `"128" is no size (write 128M, 1.5G)`},
		{"type", `is "once" (want oneshot, or nothing for a service that runs for ever)`},
		{"ready", `is "soon" (want tcp, http, file, notify, topic or delay)`},
		{"live", `is "delay" (want tcp, http, file, notify or topic)`},
		{"restart", `is "sometimes" (want always, on-failure or never)`},
		{"cpu", "is -1 cores (want more than 0, at most 1024)"},
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if _, faults := (terms.Words{StartTimeout: "5s"}).Read(); len(faults) != 1 || faults[0].Text != "needs ready beside it (want tcp, http, file, notify, topic or delay)" {
		t.Errorf("a timeout of nothing: %v", faults)
	}
	for key, words := range map[string]terms.Words{
		"ready_path":    {Ready: "http", ReadyPath: "health"},
		"live_interval": {LiveInterval: "5s"},
		"live_path":     {Live: "file"},
		"live_failures": {Live: "tcp", LiveFailures: -1},
		"restart":       {Type: "oneshot", Restart: "always"},
		"restart_cap":   {RestartFirst: "1m", RestartCap: "1s"},
		"start_timeout": {Ready: "tcp", StartTimeout: "99999h"},
		"memory":        {Memory: "1K"},
		"cpu":           {CPU: math.NaN()},
	} {
		if _, faults := words.Read(); len(faults) != 1 || faults[0].Key != key {
			t.Errorf("%+v: %v, want one fault of %s", words, faults, key)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]uint64{
		"128M": 128 << 20, "128MiB": 128 << 20, "128MB": 128 << 20, "2G": 2 << 30, "1500K": 1500 << 10, "0.5G": 1 << 29,
		"": 0, "M": 0, "128": 0, "-1M": 0, "1e30G": 0, "NaNM": 0, "128T": 0, "B": 0, "0M": 0, "12 M": 0,
	} {
		got, err := terms.ParseSize(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestTheCatalogueComesFirstFieldByField(t *testing.T) {
	own := topics.Wanted{Type: "oneshot", Restart: &topics.Restart{Policy: "never"}, Memory: 64 << 20, Port: 80}
	got, err := terms.Merged(topics.Wanted{Run: true, Rev: "a", Memory: 32 << 20}, own)
	want := topics.Wanted{Run: true, Rev: "a", Type: "oneshot", Restart: &topics.Restart{Policy: "never"}, Memory: 32 << 20, Port: 80}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	// What each file may say alone, together may be nonsense.
	if _, err := terms.Merged(topics.Wanted{Ready: &topics.Readiness{By: "tcp"}}, own); err == nil || err.Error() != "ready is tcp, and a oneshot is ready when it is done (leave ready out)" {
		t.Errorf("a oneshot with a port: %v", err)
	}
}
