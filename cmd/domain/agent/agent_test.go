package agent_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/device"
	"dominion/device/host"
	"dominion/topics"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestManifest(t *testing.T) {
	tests := []struct {
		name, text string
		want       device.Manifest
		err        string
	}{
		{name: "empty"},
		{name: "whole", text: `
version = "1.2.0"
command = ["./run", "-v"]
port = 8080
ready = "tcp"
start_timeout = "90s"
env_file = "secrets"`,
			want: device.Manifest{Version: "1.2.0", Command: []string{"./run", "-v"}, Port: 8080, EnvFile: "secrets",
				Terms: topics.Wanted{Ready: &topics.Readiness{By: topics.ReadyTCP, Timeout: 90}}}},
		{name: "a delay alone is a rule", text: `ready_delay = "500ms"`,
			want: device.Manifest{Terms: topics.Wanted{Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 0.5}}}},
		{name: "bad port", text: "\nport = 70000", err: "service.toml:2: port is 70000"},
		{name: "bad rule", text: `ready = "soon"`, err: `service.toml:1: ready is "soon" (want tcp, http, file, notify, topic or delay)`},
		{name: "a timeout of nothing", text: `start_timeout = "5s"`, err: "service.toml:1: start_timeout needs ready beside it"},
		{name: "a job", text: "schedule = \"@daily\"\nrestart = \"never\"\nmemory = \"64M\"\ncpu = 0.5",
			want: device.Manifest{Terms: topics.Wanted{Schedule: "@daily", Restart: &topics.Restart{Policy: "never"}, Memory: 64 << 20, CPU: 0.5}}},
		{name: "a bad schedule", text: "\nschedule = \"0 25 * * *\"", err: "service.toml:2: schedule is "},
		{name: "a size without a unit", text: "memory = 128", err: "service.toml:1: memory"},
		{name: "unknown key", text: `comand = ["x"]`, err: `unknown key "comand" (command?)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := agent.Manifest(write(t, "service.toml", tt.text))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	c := agent.Defaults()
	c.Name = "attic"
	if bad := c.Check(&configs.File{}); bad != nil {
		t.Errorf("the defaults are refused: %v", bad)
	}
	if want := filepath.Join(os.Getenv("XDG_DATA_HOME"), "dominion", "domain"); c.Data != want {
		t.Errorf("data is %s, want %s", c.Data, want)
	}
	c = agent.Config{Name: "a b", Base: "a//b", Traits: []topics.Trait{"ok", "not ok"}, Address: "0.0.0.0"}
	err := configs.Join(c.Check(&configs.File{})...)
	for _, want := range []string{"name: name", "base topic", "traits: name", "address 0.0.0.0", "services_dir is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// TestLoopbackOnly holds that a broker which others reach is never taken for
// one that is for this machine alone.
func TestLoopbackOnly(t *testing.T) {
	listen := func(address string) string {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return "mqtt://127.0.0.1:" + port
	}
	if !agent.LoopbackOnly(t.Context(), listen("127.0.0.1:0")) {
		t.Error("a broker on 127.0.0.1 is reached from here alone")
	}
	if agent.LoopbackOnly(t.Context(), "mqtt://192.0.2.1:1883") {
		t.Error("a broker elsewhere is not on loopback")
	}
	if len(host.Addresses()) > 0 && agent.LoopbackOnly(t.Context(), listen("0.0.0.0:0")) {
		t.Error("a broker on all addresses is reached by others")
	}
	began := time.Now()
	if agent.LoopbackOnly(t.Context(), "mqtt://127.0.0.1:1") || time.Since(began) > 10*time.Second {
		t.Error("of a broker that does not answer nothing is known, and not for long")
	}
}

// TestAddressOfNobodyElse holds that a loopback address is published only
// where all of the house is on this machine.
func TestAddressOfNobodyElse(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1", "localhost"} {
		c := agent.Defaults()
		c.Name, c.Data, c.ServicesDir, c.Address = "attic", t.TempDir(), t.TempDir(), address
		_, err := agent.New(c, agent.Link{Broker: "mqtt://192.0.2.1:1883"}, zerolog.Nop())
		exit, ok := err.(*program.Exit)
		if !ok || exit.Code != program.BadUsage || !strings.Contains(err.Error(), "address "+address) || !strings.Contains(err.Error(), "leave it empty") {
			t.Errorf("%s on a broker for others: %v", address, err)
		}
		a, err := agent.New(c, agent.Link{Broker: "mqtt://127.0.0.1:1", Loopback: true}, zerolog.Nop())
		if err != nil {
			t.Errorf("%s on a broker for this machine alone: %v", address, err)
			continue
		}
		a.Close()
		a, err = agent.New(c, agent.Link{Broker: "mqtt://127.0.0.1:1"}, zerolog.Nop())
		if err != nil {
			t.Errorf("%s on a broker that is down: a machine must boot alone: %v", address, err)
			continue
		}
		a.Close()
	}
}

func TestNewRefusesADirectoryInUse(t *testing.T) {
	c := agent.Defaults()
	c.Name, c.Data, c.ServicesDir = "attic", t.TempDir(), t.TempDir()
	first, err := agent.New(c, agent.Link{Broker: "mqtt://127.0.0.1:1"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = agent.New(c, agent.Link{Broker: "mqtt://127.0.0.1:1"}, zerolog.Nop())
	exit, ok := err.(*program.Exit)
	if !ok || exit.Code != program.CannotRun || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}
