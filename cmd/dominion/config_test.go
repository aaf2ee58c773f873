package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/coordinator"
)

// TestExamplesAreWholeAndTrue holds that the example files have every setting
// there is, and that the values in them are the defaults, as they say.
func TestExamplesAreWholeAndTrue(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	leader, wantLeader := config{}, defaults()
	agents, wantAgent := agent.Config{}, agent.Defaults()
	file := load(t, configs.DominionExample(), &leader)
	everyKey(t, file, &leader, "services.webServer")
	everyKey(t, load(t, configs.DomainExample(), &agents), &agents, "")
	everyKey(t, load(t, configs.ServiceExample(), &agent.ServiceFile{}), &agent.ServiceFile{}, "")
	if catalogue, err := leader.check(file); err != nil || len(catalogue.Services()) != 4 {
		t.Errorf("the leader's example is not fit to run: %v", err)
	}
	leader.Services, leader.Microdomain, leader.Data = nil, nil, ""
	leader.Traits, agents.Traits = nil, nil // empty in the file
	if diff := cmp.Diff(wantLeader, leader); diff != "" {
		t.Errorf("the leader's defaults (-real +example):\n%s", diff)
	}
	if diff := cmp.Diff(wantAgent, agents); diff != "" {
		t.Errorf("the agent's defaults (-real +example):\n%s", diff)
	}
}

func load(t *testing.T, text string, v any) *configs.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "example.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := configs.Load(v, configs.Source{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// everyKey holds that every key has a line of its own; those of a service
// stand in the one that is named.
func everyKey(t *testing.T, file *configs.File, v any, service string) {
	t.Helper()
	keys, err := configs.Keys(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		key = strings.Replace(key, "services.NAME", service, 1)
		key = strings.Replace(key, "microdomain.NAME.", "microdomain.boiler.", 1)
		if strings.HasSuffix(key, ".NAME") {
			continue // names that the user chooses
		}
		parent := key[:max(strings.LastIndex(key, "."), 0)]
		if line := file.Line(key); line == 0 || line == file.Line(parent) {
			t.Errorf("%s is not in the example", key)
		}
	}
}

// TestEverySettingIsAFlag holds that all keys of one line are flags, too.
func TestEverySettingIsAFlag(t *testing.T) {
	for _, tt := range []struct {
		v        any
		settings []program.Setting
	}{{&config{}, settings()}, {&agent.Config{}, agent.Settings()}, {&remote{}, remoteSettings()}} {
		keys, err := configs.Keys(tt.v)
		if err != nil {
			t.Fatal(err)
		}
		flags := map[string]bool{}
		for _, s := range tt.settings {
			flags[s.Key] = true
		}
		for _, key := range keys {
			table, _, _ := strings.Cut(key, ".")
			if table != "services" && table != "microdomain" && !flags[key] {
				t.Errorf("%T: key %s has no flag", tt.v, key)
			}
			delete(flags, key)
		}
		if len(flags) > 0 {
			t.Errorf("%T: flags without a key: %v", tt.v, flags)
		}
	}
}

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	c := defaults()
	c.Data, c.Base, c.Prefix, c.Domain, c.LostAfter = t.TempDir(), "a//b", "", "coordinator", -time.Second
	c.Listen = []string{"0.0.0.0:1883", "nonsense", "127.0.0.1:1"}
	c.Services = map[string]coordinator.Entry{"lamp": {Priority: "required", Dependencies: []string{"lapm"}}}
	_, err := c.check(&configs.File{})
	if err == nil {
		t.Fatal("nothing was found")
	}
	for _, want := range []string{
		"base: ", "prefix: ", "domain: ", "reserved", "lost_after: is -1s",
		`"nonsense" is no host:port`, `services.lamp.dependencies: unknown service "lapm" (lamp?)`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	c.AllowInsecure, c.Base, c.Prefix, c.Domain, c.LostAfter, c.Services = true, "house", "ha", "attic", time.Minute, nil
	c.Listen = []string{"0.0.0.0:1883"}
	if catalogue, err := c.check(&configs.File{}); err != nil || catalogue != nil {
		t.Errorf("without a file there is no catalogue and no fault: %v, %v", catalogue, err)
	}
}

// TestAddresses holds that a leader on somebody else's broker wants no port of
// a broker: whoever has it is that broker.
func TestAddresses(t *testing.T) {
	c := config{Listen: []string{"127.0.0.1:1883"}, ListenTLS: []string{":8883"}, HTTPS: ":8443", HTTP: "127.0.0.1:8080"}
	if diff := cmp.Diff([]string{"127.0.0.1:1883", ":8883", ":8443", "127.0.0.1:8080"}, c.addresses()); diff != "" {
		t.Errorf("with its own broker (-want +got):\n%s", diff)
	}
	c.Broker = "mqtt://127.0.0.1:1883"
	if diff := cmp.Diff([]string{":8443", "127.0.0.1:8080"}, c.addresses()); diff != "" {
		t.Errorf("on another broker (-want +got):\n%s", diff)
	}
}

func TestWhereHTTPMayBeSpoken(t *testing.T) {
	tests := []struct {
		http     string
		insecure bool
		origin   string
		want     string // of the fault; "": none
	}{
		{"", false, "", ""},
		{"127.0.0.1:8080", false, "https://house.example", ""},
		{"localhost:0", false, "http://10.0.0.2:3000", ""},
		{"[::1]:8080", false, "moz-extension://1234", ""},
		{":8080", true, "", ""},
		{"8080", false, "", `http: "8080" is no host:port`},
		{":8080", false, "", `http: ":8080" is open to the network`},
		{"192.168.1.2:8080", false, "", "passwords would go over it in the clear"},
		{"", false, "house.example", `origins[0]: "house.example" is no origin`},
		{"", false, "https://house.example/", "up to its host or port"},
		{"", false, "*", `"*" is no origin`},
		{"", false, "null", `"null" is no origin`},
	}
	for _, tt := range tests {
		c := defaults()
		c.Data, c.HTTP, c.AllowInsecure = t.TempDir(), tt.http, tt.insecure
		if tt.origin != "" {
			c.Origins = []string{tt.origin}
		}
		_, err := c.check(&configs.File{})
		if got := fmt.Sprint(err); (err != nil) != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("http %q, origin %q: %v; want %q", tt.http, tt.origin, err, tt.want)
		}
	}
}
