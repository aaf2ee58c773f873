package dominion_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "dominion"

// room is a package and all below it, with what it may import of ours beside
// itself. The courtyard is the bus: rooms do not know one another.
type room struct {
	path    string
	imports []string
}

// rooms are all packages there may be, the longest path first where one is
// within another. A new one at the top needs a page in docs/decisions.
func rooms() []room {
	return []room{
		{"topics/house", []string{"topics"}},
		{"topics/terms", []string{"topics"}},
		{"topics", nil},
		{"broker/client", []string{"topics"}},
		{"broker", []string{"topics"}},
		{"coordinator", []string{"topics"}},
		{"device", []string{"topics"}},
		{"homeassistant", []string{"topics"}},
		{"discovery", nil},
		{"identity", []string{"topics"}},
		{"configs", nil},
		{"cmd/domain", []string{"topics", "broker/client", "configs", "device", "discovery", "identity", "cmd/program"}},
		{"cmd/program", []string{"topics", "broker/client", "configs", "identity"}},
		{"cmd", []string{"topics", "broker", "coordinator", "device", "homeassistant", "discovery", "identity", "configs"}},
		{"packaging", []string{"cmd/program"}},
		{"docs", []string{"topics", "broker", "coordinator", "device", "homeassistant", "identity", "configs", "cmd"}},
		{"e2e", []string{"topics", "broker", "coordinator", "device", "homeassistant", "discovery", "identity", "configs", "cmd"}},
		{"examples", []string{"topics", "broker/client"}},
		{"bench", []string{"topics", "broker", "coordinator", "device", "homeassistant", "configs", "cmd"}},
	}
}

// foreign are the libraries of others, and who may know them. Each has one
// room, but for what all speak.
func foreign() map[string][]string {
	all := []string{"broker", "coordinator", "device", "homeassistant", "discovery", "identity", "cmd"}
	return map[string][]string{
		"github.com/rs/zerolog":               all,
		"github.com/mochi-mqtt/server/v2":     {"broker"},
		"go.etcd.io/bbolt":                    {"broker"},
		"github.com/coder/websocket":          {"broker"},
		"github.com/eclipse/paho.mqtt.golang": {"broker/client", "cmd/dominion/verify"}, // verify: the packets alone, which it reads as they come
		"github.com/BurntSushi/toml":          {"configs"},
		"github.com/blang/semver/v4":          {"topics", "coordinator"},
		"github.com/shirou/gopsutil/v4":       {"device"},
		"github.com/fsnotify/fsnotify":        {"device"},
		"golang.org/x/sys":                    {"device", "cmd"},
		"github.com/grandcat/zeroconf":        {"discovery"},
		"github.com/robfig/cron/v3":           {"topics/terms"},
		"github.com/gtank/ristretto255":       {"identity/joining"},
		"github.com/coreos/go-systemd/v22":    {"cmd/program"},
		"github.com/prometheus/client_golang": {"cmd/dominion/metrics"},
		"github.com/godbus/dbus/v5":           {"device"},
		"github.com/spf13/cobra":              {"cmd"},
		"github.com/spf13/pflag":              {"cmd"},
		"golang.org/x/sync":                   {"cmd"},
		"golang.org/x/term":                   {"cmd"},
	}
}

// TestArrows holds that packages import only what they may.
func TestArrows(t *testing.T) {
	for _, pkg := range packages(t) {
		r, ok := roomOf(pkg.path)
		if !ok {
			t.Errorf("%s is no known room: give it a line here, and a page in docs/decisions", pkg.path)
			continue
		}
		for _, path := range pkg.imports {
			switch ours, isOurs := strings.CutPrefix(path, module+"/"); {
			case isOurs:
				if !within(ours, r.path) && !slices.ContainsFunc(r.imports, func(allowed string) bool { return within(ours, allowed) }) {
					t.Errorf("%s imports %s, which is another room", pkg.path, ours)
				}
			case strings.Contains(strings.Split(path, "/")[0], "."):
				knows(t, pkg.path, path)
			}
		}
	}
}

// knows complains when a package imports a library that is another's.
func knows(t *testing.T, pkg, path string) {
	t.Helper()
	for library, users := range foreign() {
		if !within(path, library) {
			continue
		}
		if !slices.ContainsFunc(users, func(user string) bool { return within(pkg, user) }) {
			t.Errorf("%s imports %s, which only %s may", pkg, path, strings.Join(users, ", "))
		}
		return
	}
	t.Errorf("%s imports %s: give a new library a line here, and a sentence in the commit that adds it", pkg, path)
}

// TestBrokerKnowsNoClient holds what the rooms' paths cannot say: the server
// does not import the client that lives below it.
func TestBrokerKnowsNoClient(t *testing.T) {
	for _, pkg := range packages(t) {
		if !within(pkg.path, "broker") || within(pkg.path, "broker/client") {
			continue
		}
		for _, path := range pkg.imports {
			if within(path, module+"/broker/client") {
				t.Errorf("%s imports %s", pkg.path, path)
			}
		}
	}
}

// TestAgentIsSmall holds that the agent's program carries neither a broker nor
// a store: it runs on the smallest machines.
func TestAgentIsSmall(t *testing.T) {
	linked := goList(t, "-deps", "./cmd/domain")
	for _, heavy := range []string{"github.com/mochi-mqtt/server/v2", "go.etcd.io/bbolt", "github.com/coder/websocket", "github.com/prometheus", module + "/coordinator", module + "/homeassistant"} {
		for _, path := range linked {
			if within(path, heavy) {
				t.Errorf("cmd/domain links %s", path)
			}
		}
	}
	if !slices.Contains(linked, module+"/device") {
		t.Error("cmd/domain does not link the agent: this test looks at nothing")
	}
}

type pkg struct {
	path    string // without the module
	imports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		fields := strings.Fields(line)
		if path, ok := strings.CutPrefix(fields[0], module+"/"); ok {
			all = append(all, pkg{path, fields[1:]})
		}
	}
	if len(all) < 8 {
		t.Fatalf("go list knows %d packages only", len(all))
	}
	return all
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func roomOf(path string) (room, bool) {
	for _, r := range rooms() {
		if within(path, r.path) {
			return r, true
		}
	}
	return room{}, false
}

// within tells whether a package is at a path or below it.
func within(path, at string) bool { return path == at || strings.HasPrefix(path, at+"/") }
