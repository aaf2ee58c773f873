//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"dominion/discovery"
)

// home is an owner's house on a lan: a leader on pi1, domains on the others,
// each set up as the README says.
type home struct {
	*lan
	t       testing.TB
	first   int // the leader's host
	leader  *process
	domains map[string]*process // by host
}

// newHome sets pi1 up as the leader, with the services webServer (wherever
// there is compute) and lamp (where there is one).
func newHome(t testing.TB, hosts int) *home {
	t.Helper()
	return foundHome(newLAN(t, hosts), 1, "home")
}

// foundHome makes a host of a lan the leader of a house.
func foundHome(l *lan, leader int, name string) *home {
	l.t.Helper()
	h := &home{lan: l, t: l.t, first: leader, domains: map[string]*process{}}
	h.do(leader, "init", "--yes", "--name", name)
	h.lead()
	h.leads()
	return h
}

// do runs a command line of dominion on a host, to its end, and returns what
// it printed.
func (h *home) do(number int, args ...string) string {
	h.t.Helper()
	cmd := h.host(number).command(program(h.t, "dominion"), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("pi%d: dominion %s: %v\n%s", number, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// lead starts the leader on pi1.
func (h *home) lead() {
	h.t.Helper()
	h.leader = start(h.t, h.host(h.first).command(program(h.t, "dominion"), "serve"))
}

// id is the house's.
func (h *home) id() string {
	h.t.Helper()
	var view struct{ House string }
	out, _ := h.host(h.first).command(program(h.t, "dominion"), "status", "--json").Output()
	if err := json.Unmarshal(out, &view); err != nil || view.House == "" {
		h.t.Fatalf("the house has no id: %v %s", err, out)
	}
	return view.House
}

// leads waits until the leader leads.
func (h *home) leads() {
	h.t.Helper()
	eventually(h.t, 20*time.Second, "the leader leads", func() (bool, string) {
		out, err := h.host(h.first).command(program(h.t, "dominion"), "status", "--json").CombinedOutput()
		return err == nil || strings.Contains(string(out), `"active"`), string(out)
	})
}

var invitation = regexp.MustCompile(`(?m)^domain join ([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2})$`)

// invite returns a new code.
func (h *home) invite() string {
	h.t.Helper()
	out := h.do(h.first, "invite")
	found := invitation.FindStringSubmatch(out)
	if found == nil {
		h.t.Fatalf("dominion invite printed no line as: domain join 4F7K-9QXM-2C\n%s", out)
	}
	return found[1]
}

// join makes a host a domain, and waits until the house has it online.
func (h *home) join(number int, args ...string) {
	h.t.Helper()
	name := h.host(number).name
	h.domains[name] = start(h.t, h.host(number).command(program(h.t, "domain"), append([]string{"join", h.invite()}, args...)...))
	h.online(name, 20*time.Second)
}

// boot starts the agent of a host that has joined.
func (h *home) boot(number int) {
	h.domains[h.host(number).name] = start(h.t, h.host(number).command(program(h.t, "domain")))
}

type seenDomain struct {
	Name, State   string
	Wanted, Ready int
}
type seenService struct{ Service, Phase string }

// status is the house as dominion status --json has it.
func (h *home) status() (domains map[string]string, services map[string]string, said string) {
	out, _ := h.host(h.first).command(program(h.t, "dominion"), "status", "--json").Output()
	var view struct {
		Leader   struct{ State string }
		Domains  []seenDomain
		Services []seenService
	}
	domains, services = map[string]string{}, map[string]string{}
	if err := json.Unmarshal(out, &view); err != nil {
		return domains, services, string(out)
	}
	for _, d := range view.Domains {
		domains[d.Name] = fmt.Sprintf("%s %d/%d", d.State, d.Ready, d.Wanted)
	}
	for _, s := range view.Services {
		services[s.Service] = s.Phase
	}
	if view.Leader.State != "active" { // what it shows is of before
		return map[string]string{}, map[string]string{}, view.Leader.State
	}
	return domains, services, fmt.Sprint(domains, services, " webServer's processes: ", h.pids())
}

func (h *home) online(name string, limit time.Duration) {
	h.t.Helper()
	eventually(h.t, limit, name+" is online", func() (bool, string) {
		domains, _, said := h.status()
		return strings.HasPrefix(domains[name], "online"), said
	})
}

func (h *home) whole(limit time.Duration) {
	h.t.Helper()
	eventually(h.t, limit, "the house is whole", func() (bool, string) {
		domains, services, said := h.status()
		for name := range h.domains {
			if domains[name] != "online 1/1" {
				return false, said
			}
		}
		return services["webServer"] == "ready" && len(strings.Fields(h.pids())) == len(h.domains), said
	})
}

// services writes a service's directory on a host, where agents look for it.
func (h *home) service(number int, name string) {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	makefile := "start:\n\t@exec python3 -m http.server $(SERVICE_PORT)\n"
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.host(number).run("sh", "-c", "mkdir -p /var/lib/services && cp -r "+dir+" /var/lib/services/")
}

// runs counts the processes of webServer over all hosts by their pids.
func (h *home) pids() string {
	h.t.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []string
	for _, path := range found {
		environ, _ := os.ReadFile(path)
		link, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if strings.Contains(string(environ), "SERVICE=webServer\x00") && strings.Contains(link, "python") && h.ours(filepath.Dir(path)) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return strings.Join(pids, " ")
}

func (h *home) ours(process string) bool {
	ns, _ := os.Readlink(filepath.Join(process, "ns/net"))
	for _, host := range h.hosts {
		if own, _ := os.Readlink(host.path()); own == ns {
			return true
		}
	}
	return false
}

// The block of the README, word for word, with nothing but mDNS to find one
// another by.
func TestThreeMachinesOneCode(t *testing.T) {
	t.Parallel()
	h := newHome(t, 4)
	for i := 2; i <= 3; i++ {
		h.service(i, "webServer")
		h.join(i, "--traits", "compute", "--services-dir", "/var/lib/services")
	}
	h.service(1, "webServer")
	out := h.do(1, "add", "/var/lib/services/webServer", "--yes", "--priority", "required", "--trait", "compute")
	t.Logf("dominion add:\n%s", out)
	h.whole(30 * time.Second)
	status := h.do(1, "status")
	t.Logf("dominion status:\n%s", status)
	for _, name := range []string{"pi2", "pi3"} {
		if !strings.Contains(status, name) {
			t.Errorf("dominion status does not name %s:\n%s", name, status)
		}
	}

	t.Run("the leader gets another address", func(t *testing.T) {
		before := h.pids()
		h.host(1).setAddress("10.77.0.77")
		moved := time.Now()
		eventually(t, 60*time.Second, "the domains followed", func() (bool, string) {
			domains, _, said := h.status()
			return domains["pi2"] == "online 1/1" && domains["pi3"] == "online 1/1" && h.linked(2) && h.linked(3), said
		})
		t.Logf("followed after %v", time.Since(moved).Round(100*time.Millisecond))
		if after := h.pids(); after != before {
			t.Errorf("webServer's processes are %s, before %s", after, before)
		}
	})
	t.Run("rebooted in every order", func(t *testing.T) {
		for _, order := range [][]int{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}} {
			h.powerCut()
			for _, number := range order {
				if number == 1 {
					h.lead()
				} else {
					h.boot(number)
				}
			}
			began := time.Now()
			h.whole(60 * time.Second)
			t.Logf("%v: whole after %v", order, time.Since(began).Round(100*time.Millisecond))
		}
	})
}

// linked tells that a host has a connection to the leader's present address.
func (h *home) linked(number int) bool {
	out, err := h.host(number).command("ss", "-tn", "state", "established", "dst", h.host(h.first).address).CombinedOutput()
	return err == nil && strings.Contains(string(out), ":8883")
}

// powerCut kills everything on every host.
func (h *home) powerCut() {
	h.leader.kill()
	for _, p := range h.domains {
		p.kill()
	}
	for _, pid := range strings.Fields(h.pids()) {
		var n int
		fmt.Sscan(pid, &n)
		syscall.Kill(n, syscall.SIGKILL)
	}
}

func TestTwoHousesOnOneLAN(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 4)
	home, cottage := foundHome(l, 1, "home"), foundHome(l, 2, "cottage")
	for _, h := range []interface{ id() string }{home, cottage} { // what is announced takes a moment to be everywhere
		l.host(3).mustFind(discovery.DominionService, "dominion-"+h.id())
	}
	out, err := l.host(3).command(program(t, "domain"), "join", home.invite(), "--no-run").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "home") || !strings.Contains(string(out), "cottage") {
		t.Errorf("with two houses to choose from: %v\n%s", err, out)
	}
	home.join(3, "--house", "home")
	cottage.join(4, "--house", "cottage")
	// A code of one house is worth nothing at the other.
	if out, err := l.host(4).command(program(t, "domain"), "join", home.invite(), "--house", "cottage", "--no-run").CombinedOutput(); err == nil {
		t.Errorf("home's code at cottage: %s", out)
	} else {
		t.Logf("home's code at cottage: %s", out)
	}
	home.leader.kill()
	// For longer than pi3 needs to look for its house again and again.
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for number, other := range map[int]int{3: 2, 4: 1} {
			if out := l.host(number).run("ss", "-tnH", "dst", l.host(other).address); strings.TrimSpace(out) != "" {
				t.Fatalf("pi%d talks to pi%d: %s", number, other, out)
			}
		}
	}
	home.lead()
	home.leads()
	home.online("pi3", 30*time.Second)
	if domains, _, said := cottage.status(); domains["pi3"] != "" || domains["pi4"] == "" {
		t.Errorf("cottage has %s", said)
	}
}

// A machine without a code asks, and the owner compares four words.
func TestAJoinWindow(t *testing.T) {
	t.Parallel()
	h := newHome(t, 2)
	window := start(t, h.host(1).command(program(t, "dominion"), "join-window", "5m"))
	asks := start(t, h.host(2).command(program(t, "domain"), "join"))
	h.domains["pi2"] = asks
	words := regexp.MustCompile(`(?m)^ +([a-z]+-[a-z]+-[a-z]+-[a-z]+)$`)
	var shown string
	eventually(t, 20*time.Second, "pi2 shows four words", func() (bool, string) {
		said := tail(asks.output, 20)
		if found := words.FindStringSubmatch(said); found != nil {
			shown = found[1]
		}
		return shown != "", said
	})
	eventually(t, 10*time.Second, "the leader shows them too", func() (bool, string) {
		said := tail(window.output, 30)
		return strings.Contains(said, "pi2") && strings.Contains(said, shown), "want " + shown + " in " + said
	})
	h.do(1, "accept", "pi2")
	h.online("pi2", 20*time.Second)
}

// The owner's own broker, on another machine: the leader's door hands out where
// it is, and the login that the owner has for machines.
func TestJoiningAHouseOnAnotherBroker(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passwords := filepath.Join(dir, "passwords")
	for i, user := range []string{"leader", "machines"} {
		args := []string{"-b", passwords, user, "s3cret-" + user}
		if i == 0 {
			args = append([]string{"-c"}, args...)
		}
		l.host(2).run("mosquitto_passwd", args...)
	}
	conf := file("mosquitto.conf", "listener 1883 10.77.0.12\nallow_anonymous false\npassword_file "+passwords+"\nuser root\nset_tcp_nodelay true\n")
	start(t, l.host(2).command("mosquitto", "-c", conf))

	h := &home{lan: l, t: t, first: 1, domains: map[string]*process{}}
	h.do(1, "init", "--yes", "--name", "home", "--broker", "mqtt://10.77.0.12", "--username", "leader", "--password-file", file("leader", "s3cret-leader\n"),
		"--node-username", "machines", "--node-password-file", file("machines", "s3cret-machines\n"))
	h.lead()
	h.leads()
	h.join(3)
	if out := l.host(3).run("cat", "/var/lib/dominion/domain/membership.json"); !strings.Contains(out, "machines") || strings.Contains(out, "s3cret-leader") {
		t.Error("pi3 was not given the login for machines alone")
	}
	h.domains["pi3"].kill()
	h.boot(3)
	eventually(t, 20*time.Second, "pi3 is back by itself", func() (bool, string) {
		said := tail(h.domains["pi3"].output, 5)
		return strings.Contains(said, "online"), said
	})
}
