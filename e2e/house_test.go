//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dominion/broker/client"
	"dominion/topics"
	houses "dominion/topics/house"

	"github.com/rs/zerolog"
)

// built are the programs, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dominion-e2e-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "../cmd/dominion", "../cmd/domain").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func program(t testing.TB, name string) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// catalogue is the chain of the demo, with plain programs.
const catalogue = `
[services.npBar]
priority = "required"
traits = ["neoPixelLight"]
dependencies = ["lightOrchestrator"]

[services.lightOrchestrator]
priority = "dependency"
traits = ["compute"]
dependencies = ["webServer"]
follows = true

[services.webServer]
priority = "dependency"
traits = ["compute"]
ready = "tcp"

[services.extra]
priority = "manual"
traits = ["compute"]
`

// makefiles are what the services' directories hold. Each start leaves a line
// in the house's record.
var makefiles = map[string]string{
	"webServer":         "exec python3 -m http.server $(SERVICE_PORT) --bind 127.0.0.1 >/dev/null 2>&1",
	"lightOrchestrator": "exec sleep 100000",
	"npBar":             "exec sleep 100000",
	"extra":             "exec sleep 100000",
}

// house is a leader and three agents, as programs of their own, and what a
// person with a subscription sees of them.
type house struct {
	t      testing.TB
	dir    string
	broker broker
	ours   bool                    // the leader's own broker
	as     func(who string) broker // the logins of "leader" and the agents there; nil: all have that of broker
	leader *process
	agents map[string]*process

	lock sync.Mutex // guards what the watcher folds
	seen *houses.House
	news []topics.Message
}

var rooms = map[string]string{"attic": "compute", "kitchen": "compute", "porch": "neoPixelLight"}

// newHouse brings a house up on the leader's own broker, or on another.
func newHouse(t testing.TB, on *broker) *house {
	t.Helper()
	h := &house{t: t}
	if h.ours = on == nil; h.ours {
		h.broker = broker{port: freePort(t)}
	} else {
		h.broker = *on
	}
	h.begin()
	return h
}

// begin starts the leader and the agents.
func (h *house) begin() {
	t := h.t
	t.Helper()
	h.dir, h.agents, h.seen = t.TempDir(), map[string]*process{}, houses.New(topics.Space{})
	if h.as == nil {
		h.as = func(string) broker { return h.broker }
	}
	for name, recipe := range makefiles {
		dir := filepath.Join(h.dir, "services", name)
		h.write(filepath.Join(dir, "Makefile"), fmt.Sprintf("start:\n\t@echo %s $(START_ID) >>%s\n\t@%s\n", name, h.record(), recipe))
	}
	h.write(h.config(), catalogue)
	t.Cleanup(h.end)
	h.startLeader()
	for name := range rooms {
		h.startAgent(name)
	}
	h.watch()
}

func (h *house) record() string { return filepath.Join(h.dir, "starts") }
func (h *house) config() string { return filepath.Join(h.dir, "house.toml") }
func (h *house) data() string   { return filepath.Join(h.dir, "leader") }

func (h *house) write(path, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) startLeader() {
	h.t.Helper()
	args := []string{"serve", "--config", h.config(), "--data", h.data(), "--lost-after", "5s", "--anonymous", "operator,homeassistant,node,service"}
	if h.ours {
		args = append(args, "--listen", fmt.Sprintf("127.0.0.1:%d", h.broker.port))
	} else {
		args = append(args, "--broker", h.as("leader").url())
	}
	h.leader = start(h.t, exec.Command(program(h.t, "dominion"), args...))
}

func (h *house) startAgent(name string) {
	h.t.Helper()
	h.agents[name] = start(h.t, exec.Command(program(h.t, "domain"), "--name", name, "--traits", rooms[name],
		"--broker", h.as(name).url(), "--services-dir", filepath.Join(h.dir, "services"),
		"--data", filepath.Join(h.dir, name), "--address", "127.0.0.1"))
}

// end stops every agent with its services.
func (h *house) end() {
	for _, p := range h.agents {
		if p.alive() {
			p.cmd.Process.Signal(syscall.SIGINT)
		}
	}
	for _, p := range h.agents {
		p.awaitEnd(30 * time.Second)
	}
	for _, pid := range h.processes("") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// watch folds the bus as the command line does, over every restart of the broker.
func (h *house) watch() {
	c, err := client.New(client.Options{Broker: h.broker.url(), Filters: []string{"dominion/#"}, Log: zerolog.Nop()})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		go c.Run(ctx)
		for {
			select {
			case in := <-c.Inbound():
				h.hear(in)
			case <-ctx.Done():
				return
			}
		}
	}()
	h.t.Cleanup(func() { cancel(); <-done })
}

func (h *house) hear(in topics.Inbound) {
	h.lock.Lock()
	defer h.lock.Unlock()
	switch in.Link {
	case topics.LinkUp:
		h.seen.Began(time.Now())
	case topics.LinkSynced:
		h.seen.Synced(time.Now())
	case topics.LinkNone:
		h.seen.Apply(in.Message, time.Now())
		h.news = append(h.news, in.Message)
	}
}

// look reads what the watcher knows.
func look[T any](h *house, query func(*houses.House) T) T {
	h.lock.Lock()
	defer h.lock.Unlock()
	return query(h.seen)
}

// since are the messages from the n-th on.
func (h *house) since(n int) []topics.Message {
	h.lock.Lock()
	defer h.lock.Unlock()
	return slices.Clone(h.news[n:])
}

func (h *house) heard() int {
	h.lock.Lock()
	defer h.lock.Unlock()
	return len(h.news)
}

func (h *house) summary(s topics.Service) topics.Summary {
	return look(h, func(v *houses.House) topics.Summary {
		sum, _ := v.Summary(s, time.Now())
		return sum
	})
}

// phases are all services' phases, as "npBar=ready".
func (h *house) phases() string {
	var all []string
	summaries := look(h, func(v *houses.House) map[topics.Service]topics.Summary { return v.Summaries(time.Now()) })
	for _, s := range slices.Sorted(maps.Keys(summaries)) {
		all = append(all, fmt.Sprintf("%s=%s", s, summaries[s].Phase))
	}
	return strings.Join(all, " ")
}

const allReady = "extra=stopped lightOrchestrator=ready npBar=ready webServer=ready"

func (h *house) await(limit time.Duration, phases string) {
	h.t.Helper()
	eventually(h.t, limit, "the house is "+phases, func() (bool, string) {
		leads := look(h, (*houses.House).Leads)
		return leads && h.phases() == phases, fmt.Sprint(leads, " ", h.phases())
	})
}

func (h *house) judged(limit time.Duration, domain topics.Node, want topics.JudgementState) {
	h.t.Helper()
	eventually(h.t, limit, fmt.Sprintf("%s is judged %s", domain, want), func() (bool, string) {
		j := look(h, func(v *houses.House) topics.Judgement {
			j, _ := v.Judgement(domain, time.Now())
			return j
		})
		return j.State == want, string(j.State)
	})
}

// starts are the starts of each service so far.
func (h *house) starts() map[string]int {
	text, _ := os.ReadFile(h.record())
	count := map[string]int{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		count[name]++
	}
	return count
}

// processes are the ids of a service's processes (of all services for ""),
// found by the environment that they were started with.
func (h *house) processes(service string) (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		env := string(text)
		if !strings.Contains(env, "\x00START_ID=") && !strings.HasPrefix(env, "START_ID=") || !strings.Contains(env, h.dir) {
			continue
		}
		if service == "" || strings.Contains("\x00"+env, "\x00SERVICE="+service+"\x00") {
			var pid int
			fmt.Sscanf(path, "/proc/%d/environ", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// copies counts the running copies of a service, by their start ids.
func (h *house) copies(service string) int {
	ids := map[string]bool{}
	for _, pid := range h.processes(service) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for _, v := range strings.Split(string(text), "\x00") {
			if id, ok := strings.CutPrefix(v, "START_ID="); ok {
				ids[id] = true
			}
		}
	}
	return len(ids)
}

// once checks that every service of the chain runs in one copy.
func (h *house) once() {
	h.t.Helper()
	for _, s := range []string{"webServer", "lightOrchestrator", "npBar"} {
		if n := h.copies(s); n != 1 {
			h.t.Errorf("%s runs in %d copies", s, n)
		}
	}
}
