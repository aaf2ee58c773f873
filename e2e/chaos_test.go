//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dominion/topics"
	houses "dominion/topics/house"
)

// TestChaos breaks a machine with ten services in every way that a house
// knows, and looks at /proc alone whether the laws hold: never two copies of a
// service at one moment; every service runs and is ready within 30 s after the
// last fault; nothing is left of any of them once the agent has stopped them.
//
// CHAOS_SEED repeats the faults of a run, CHAOS_FAULTS says how many there are
// (60; 300 take about two minutes), CHAOS_GROUPS=no has the agent do without
// control groups; left out, the seed decides.
func TestChaos(t *testing.T) {
	seed := fromEnv(t, "CHAOS_SEED", time.Now().UnixNano())
	count := fromEnv(t, "CHAOS_FAULTS", 60)
	groups := seed%2 == 0
	if word := os.Getenv("CHAOS_GROUPS"); word != "" {
		groups = word != "no"
	}
	t.Logf("CHAOS_SEED=%d CHAOS_FAULTS=%d, control groups: %v", seed, count, groups)
	c := newChaos(t, groups)
	c.allReady(40 * time.Second)
	guard := c.guard()
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	began, faults := time.Now(), mood(r)
	for n := range int(count) {
		c.strike(n, draw(r, faults))
	}
	c.undoAll()
	t.Logf("%d faults in %v", count, time.Since(began).Round(time.Second))
	last := time.Now()
	c.resetAll()
	c.allReady(30 * time.Second)
	t.Logf("all ready %v after the last fault", time.Since(last).Round(100*time.Millisecond))
	c.agent.cmd.Process.Signal(syscall.SIGINT)
	c.agent.awaitEnd(40 * time.Second)
	guard()
	if left := c.runs(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func fromEnv(t *testing.T, name string, instead int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return instead
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// chaos is a leader and one agent, whose data is on a small disk of its own.
type chaos struct {
	*house
	mounts network // the namespace that has the disk
	agent  *process
	room   string // the disk, as it is seen from here

	began   time.Time
	struck  []string // what was done, for who reads a failure
	pending []undo
}

// undo ends a fault that lasts.
type undo struct {
	at   int // the fault before which it is done
	what string
	do   func()
}

// diskSize is that of the agent's data directory, in bytes.
const diskSize = 16 << 20

// without hides the control groups, those of systemd too.
const without = `awk '$3 == "cgroup2" { print $2 }' /proc/mounts | while read -r at; do umount -l "$at"; done
[ ! -d /run/dbus ] || mount -t tmpfs hidden /run/dbus
`

func newChaos(t *testing.T, groups bool) *chaos {
	t.Helper()
	c := &chaos{began: time.Now(), house: &house{t: t, ours: true, broker: broker{port: freePort(t)}, dir: t.TempDir(),
		agents: map[string]*process{}, seen: houses.New(topics.Space{})}}
	prepare := `mount -t tmpfs -o size=$2 disk "$1"` + "\n"
	if !groups {
		prepare += without
	}
	disk := filepath.Join(c.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	c.mounts = holdNamespace(t, []string{"--mount"}, prepare, disk, strconv.Itoa(diskSize))
	c.room = fmt.Sprintf("/proc/%d/root%s", c.mounts.pid, disk)
	c.furnish()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("done to it:\n%s", strings.Join(c.struck, "\n"))
		}
	})
	t.Cleanup(c.end)
	c.startLeader()
	c.startAgent()
	c.watch()
	return c
}

// chaosMark is in the environment of all that the agent starts.
const chaosMark = "E2E_CHAOS"

func (c *chaos) startAgent() {
	c.t.Helper()
	cmd := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", c.mounts.pid), "--", program(c.t, "domain"), "--name", "attic", "--traits", "compute",
		"--broker", c.broker.url(), "--services-dir", filepath.Join(c.dir, "services"), "--data", filepath.Join(c.dir, "disk"), "--address", "127.0.0.1")
	cmd.Env = append(os.Environ(), chaosMark+"="+c.dir)
	c.agent = start(c.t, cmd)
}

// end is for a test that failed: nothing is left on this machine.
func (c *chaos) end() {
	c.agent.kill()
	for _, run := range c.runs() {
		syscall.Kill(run.pid, syscall.SIGKILL)
	}
}

// marked is a live process of a start.
type marked struct {
	pid            int
	service, start string
}

func (m marked) alive() bool {
	now, ok := lookAt(m.pid, "")
	return ok && now.start == m.start
}

// runs are all live processes of services, found by the environment that they
// were started with.
func (c *chaos) runs() (all []marked) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		c.t.Error(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if m, ok := lookAt(pid, c.dir); ok {
				all = append(all, m)
			}
		}
	}
	return all
}

// lookAt is one process of a start of the chaos in that directory, of any for "".
func lookAt(pid int, dir string) (marked, bool) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(env, []byte(chaosMark+"="+dir)) {
		return marked{}, false
	}
	m := marked{pid: pid}
	for assignment := range strings.SplitSeq(string(env), "\x00") {
		switch key, value, _ := strings.Cut(assignment, "="); key {
		case "START_ID":
			m.start = strings.TrimSuffix(value, "-stop") // of the run that it stops
		case "SERVICE":
			m.service = value
		}
	}
	return m, m.start != "" && !ended(pid)
}

// ended tells of a process that it is a zombie.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// of are the processes of one service, its first one first.
func (c *chaos) of(service string) (pids []int) {
	for _, run := range c.runs() {
		if run.service == service {
			pids = append(pids, run.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// copies are the services of which two starts run at this very moment.
func (c *chaos) copies() (found []string) {
	first := map[string]marked{}
	for _, run := range c.runs() {
		other, ok := first[run.service]
		if !ok || other.start == run.start {
			first[run.service] = run
			continue
		}
		// run was seen after other: both run if other is there still.
		if run.alive() && other.alive() {
			found = append(found, fmt.Sprintf("%v %s: %s (%d) and %s (%d)", time.Since(c.began).Round(time.Millisecond), run.service, other.start, other.pid, run.start, run.pid))
		}
		if !other.alive() {
			first[run.service] = run
		}
	}
	return found
}

// guard looks for second copies until it is told to end.
func (c *chaos) guard() (end func()) {
	var found []string
	stop := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			found = append(found, c.copies()...)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	end = sync.OnceFunc(func() {
		close(stop)
		looking.Wait()
		if len(found) > 0 {
			c.t.Errorf("two copies, seen %d times:\n%s", len(found), strings.Join(found[:min(20, len(found))], "\n"))
		}
	})
	c.t.Cleanup(end)
	return end
}

// allReady waits until each service runs in one copy that does what it is
// for, and until the house says so too.
func (c *chaos) allReady(limit time.Duration) {
	c.t.Helper()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(chaosServices)) {
		phase := topics.SummaryReady
		if chaosServices[name].ends {
			phase = topics.SummaryDone
		}
		all = append(all, fmt.Sprintf("%s=%s", name, phase))
	}
	want := strings.Join(all, " ")
	eventually(c.t, limit, "all services are ready", func() (bool, string) {
		c.tend()
		if lame := c.lame(); len(lame) > 0 {
			return false, strings.Join(lame, ", ") + "; the house says " + c.phases() + c.whys()
		}
		return c.phases() == want, c.phases() + c.whys()
	})
}

// lame are the services that do not do what they are for.
func (c *chaos) lame() (all []string) {
	starts := map[string]map[string]bool{}
	for _, run := range c.runs() {
		if starts[run.service] == nil {
			starts[run.service] = map[string]bool{}
		}
		starts[run.service][run.start] = true
	}
	for name, s := range chaosServices {
		want := 1
		if s.ends {
			want = 0
		}
		if n := len(starts[name]); n != want {
			all = append(all, fmt.Sprintf("%s runs %d times", name, n))
			continue
		}
		if s.works != nil && want == 1 {
			if err := s.works(c, name); err != nil {
				all = append(all, fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	slices.Sort(all)
	return all
}

// whys is why those are not ready that are not.
func (c *chaos) whys() (text string) {
	for name, s := range look(c.house, func(v *houses.House) map[topics.Service]topics.Summary { return v.Summaries(time.Now()) }) {
		if s.Phase != topics.SummaryReady && s.Why != nil {
			text += fmt.Sprintf("\n\t%s: %s", name, s.Why.Text)
		}
	}
	return text
}

// tend starts an agent again that ended by itself, which it never should.
func (c *chaos) tend() {
	if !c.agent.alive() && !c.planned("agent") {
		c.t.Errorf("%v: the agent ended by itself:\n%s", time.Since(c.began).Round(time.Millisecond), tail(c.agent.output, 5))
		c.startAgent()
	}
}
