//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// demo is a running `dominion demo`, on port 1883 of a namespace.
type demo struct {
	t       testing.TB
	broker  broker
	bus     *capture // of the house and of Home Assistant's discovery
	process *process
	tmp     string // where it makes its folder; all its processes name it
}

// startDemo returns once all its services are ready.
func startDemo(t testing.TB) *demo {
	t.Helper()
	d := &demo{t: t, broker: broker{network: newNamespace(t), port: 1883}, tmp: t.TempDir()}
	cmd := d.broker.network.command(program(t, "dominion"), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	d.process = start(t, cmd)
	t.Cleanup(func() {
		d.process.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.process.ended:
		case <-time.After(10 * time.Second):
		}
		if t.Failed() {
			d.showLogs()
		}
	})
	eventually(t, 20*time.Second, "the demo's broker listens", d.broker.answers)
	d.bus = d.broker.subscribe(t, "dominion/#", "homeassistant/#")
	for _, service := range demoServices() {
		d.bus.awaitPhase(t, 30*time.Second, service, "ready")
	}
	return d
}

// demoServices are in the order in which they need one another.
func demoServices() []string { return []string{"npBar", "lightOrchestrator", "webServer"} }

// showLogs is for a test that has failed: the folder is gone when the demo has
// ended in order.
func (d *demo) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(d.tmp, "*", "log", "*.log"))
	for _, log := range logs {
		d.t.Logf("%s:\n%s", filepath.Base(log), tail(log, 30))
	}
}

// pid is that of the leader ("dominion") or of an agent (its domain's name).
func (d *demo) pid(name string) int {
	d.t.Helper()
	for _, p := range running(d.tmp) {
		if slices.ContainsFunc(p.args, func(a string) bool { return filepath.Base(a) == name+".toml" }) {
			return p.pid
		}
	}
	d.t.Fatalf("no process of %s", name)
	return 0
}

// kill ends the leader or an agent as kill -9 does.
func (d *demo) kill(name string) {
	d.t.Helper()
	if err := syscall.Kill(d.pid(name), syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
}

// awaitSaid waits until the demo has told its user what the pattern matches.
func (d *demo) awaitSaid(limit time.Duration, pattern string) {
	d.t.Helper()
	eventually(d.t, limit, "the demo says "+pattern, func() (bool, string) {
		said, err := os.ReadFile(d.process.output)
		if err != nil {
			return false, err.Error()
		}
		return regexp.MustCompile(pattern).Match(said), "not yet"
	})
}

// services are the processes of the demo's services, by service.
func (d *demo) services() map[string][]int { return servicesOf(d.tmp) }

// summary is what the tests read of coordinator/state/summary/<service>.
type summary struct {
	Phase, Run, Since string
	Where             []string
	Ready             int
}

func summaryOf(m message) (s summary) {
	json.Unmarshal([]byte(m.payload), &s)
	return s
}

const summaries = "dominion/coordinator/state/summary/"

// awaitPhase waits until the newest summary of the service has the phase, and
// returns it.
func (c *capture) awaitPhase(t testing.TB, limit time.Duration, service, phase string) summary {
	t.Helper()
	var s summary
	eventually(t, limit, service+" is "+phase, func() (bool, string) {
		heard := c.on(summaries + service)
		if len(heard) == 0 {
			return false, "no summary"
		}
		s = summaryOf(heard[len(heard)-1])
		return s.Phase == phase, heard[len(heard)-1].payload
	})
	return s
}

// last returns the newest message on a topic.
func (c *capture) last(topic string) message {
	heard := c.on(topic)
	if len(heard) == 0 {
		return message{}
	}
	return heard[len(heard)-1]
}

func TestTheDemoBesideMosquittosClients(t *testing.T) {
	t.Parallel()
	d := startDemo(t)

	t.Run("shows the protocol's topics with their retained flags", func(t *testing.T) {
		late := d.broker.subscribe(t, "dominion/#")
		topics := map[string]bool{}
		for _, m := range late.all() {
			if m.retained {
				topics[m.topic] = true
			}
		}
		var want []string
		for _, domain := range []string{"attic", "kitchen", "porch"} {
			for _, topic := range []string{"state/presence", "state/info", "state/host", "desired/services"} {
				want = append(want, domain+"/"+topic)
			}
			want = append(want, "coordinator/state/domain/"+domain)
		}
		for _, service := range demoServices() {
			where := d.bus.awaitPhase(t, time.Second, service, "ready").Where[0]
			want = append(want, where+"/state/service/"+service,
				"coordinator/state/summary/"+service, "coordinator/state/lookup/"+service)
		}
		for _, topic := range append(want, "coordinator/state/presence", "coordinator/state/info") {
			if !topics["dominion/"+topic] {
				t.Errorf("no retained dominion/%s", topic)
			}
		}
		transient := regexp.MustCompile(`^dominion/[^/]+/(event|command)/`)
		for topic := range topics {
			if transient.MatchString(topic) {
				t.Errorf("%s is retained", topic)
			}
		}
		late.await(10*time.Second, "a heartbeat of attic, not retained", func(m message) bool {
			return m.topic == "dominion/attic/event/heartbeat/agent" && !m.retained
		})
		late.await(10*time.Second, "a heartbeat of the coordinator, not retained", func(m message) bool {
			return m.topic == "dominion/coordinator/event/heartbeat/plan" && !m.retained
		})
	})

	t.Run("stops a service and, in order, what only it needed", func(t *testing.T) {
		heard := d.broker.subscribe(t, "dominion/#")
		d.broker.publish(t, "dominion/coordinator/command/stop/npBar", "now")
		for _, service := range demoServices() {
			d.bus.awaitPhase(t, 30*time.Second, service, "stopped")
		}
		var stopped []string
		for _, m := range heard.all() {
			service, isSummary := strings.CutPrefix(m.topic, summaries)
			if isSummary && summaryOf(m).Phase == "stopped" && !slices.Contains(stopped, service) {
				stopped = append(stopped, service)
			}
		}
		if diff := cmp.Diff(demoServices(), stopped); diff != "" {
			t.Errorf("the order they stopped in (-want +got):\n%s", diff)
		}
		if left := d.services(); len(left) > 0 {
			t.Errorf("still running: %v", left)
		}
		answered(t, heard, "dominion/coordinator/command/stop/npBar", "done")
	})

	t.Run("starts it again with all it needs", func(t *testing.T) {
		heard := d.broker.subscribe(t, "dominion/#")
		d.broker.publish(t, "dominion/coordinator/command/start/npBar", "now")
		for _, service := range demoServices() {
			d.bus.awaitPhase(t, 30*time.Second, service, "ready")
		}
		onlyOnce(t, d.services())
		answered(t, heard, "dominion/coordinator/command/start/npBar", "done")
	})

	t.Run("tells what is wrong with a command", func(t *testing.T) {
		heard := d.broker.subscribe(t, "dominion/#")
		d.broker.publish(t, "dominion/coordinator/command/dance/npBar", "now")
		answered(t, heard, "dominion/coordinator/command/dance/npBar", "refused")
		d.broker.publish(t, "dominion/coordinator/command/stop/npBar", "")
		heard.await(5*time.Second, "an error for an empty command", func(m message) bool {
			return m.topic == "dominion/coordinator/event/error/command" && strings.Contains(m.payload, "command/stop/npBar")
		})
		d.bus.awaitPhase(t, time.Second, "npBar", "ready")
	})

	t.Run("says within a second that an agent was killed, and nothing of it runs twice", func(t *testing.T) {
		before := d.services()
		heard := d.broker.subscribe(t, "dominion/#")
		d.kill("porch")
		killed := time.Now()
		heard.await(time.Second, "porch is lost", func(m message) bool {
			return m.topic == "dominion/porch/state/presence" && strings.Contains(m.payload, `"lost"`)
		})
		t.Logf("lost after %v", time.Since(killed).Round(time.Millisecond))
		d.awaitSaid(20*time.Second, `porch +back · nothing started twice`)
		d.bus.awaitPhase(t, 20*time.Second, "npBar", "ready")
		if diff := cmp.Diff(before, d.services()); diff != "" {
			t.Errorf("the services' processes (-before +after):\n%s", diff)
		}
	})

	t.Run("leaves nothing behind", func(t *testing.T) {
		d.process.cmd.Process.Signal(syscall.SIGTERM)
		if status := d.process.awaitEnd(20 * time.Second); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if left := running(d.tmp); len(left) > 0 {
			t.Errorf("processes: %v", left)
		}
		if left, _ := os.ReadDir(d.tmp); len(left) > 0 {
			t.Errorf("files: %v", left)
		}
		shown := map[string]string{}
		for _, m := range d.bus.all() {
			if strings.HasPrefix(m.topic, "homeassistant/device/") {
				shown[m.topic] = m.payload
			}
		}
		if len(shown) != 1+3+3 {
			t.Errorf("%d devices were shown: %v", len(shown), shown)
		}
		for topic, payload := range shown {
			if payload != "" {
				t.Errorf("%s is still shown", topic)
			}
		}
	})
}

// answered waits until the coordinator has answered a command that had no id.
func answered(t testing.TB, heard *capture, command, status string) {
	t.Helper()
	heard.await(10*time.Second, command+" is "+status, func(m message) bool {
		var reply struct{ Topic, Status string }
		return strings.HasPrefix(m.topic, "dominion/coordinator/event/reply/") &&
			json.Unmarshal([]byte(m.payload), &reply) == nil && reply.Topic == command && reply.Status == status
	})
}

func onlyOnce(t testing.TB, services map[string][]int) {
	t.Helper()
	for _, service := range demoServices() {
		if n := len(services[service]); n != 1 {
			t.Errorf("%s runs %d times: %v", service, n, services[service])
		}
	}
}

// found is a process of the machine.
type found struct {
	pid     int
	args    []string
	environ []string
}

func (f found) String() string { return fmt.Sprint(f.pid, " ", strings.Join(f.args, " ")) }

// running lists the processes whose command line or environment has the mark.
func running(mark string) []found {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var all []found
	for _, dir := range dirs {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if !bytes.Contains(args, []byte(mark)) && !bytes.Contains(environ, []byte(mark)) {
			continue
		}
		var f found
		fmt.Sscan(filepath.Base(dir), &f.pid)
		f.args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
		f.environ = strings.Split(string(environ), "\x00")
		all = append(all, f)
	}
	return all
}

// servicesOf lists the demo's services among them, by service.
func servicesOf(mark string) map[string][]int {
	services := map[string][]int{}
	for _, p := range running(mark) {
		if len(p.args) == 3 && p.args[1] == "demo-service" {
			services[p.args[2]] = append(services[p.args[2]], p.pid)
		}
	}
	return services
}
