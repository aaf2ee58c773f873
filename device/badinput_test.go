package device_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dominion/device"
	"dominion/device/cgroup"
	"dominion/topics"
)

// beside has a lamp run beside what a test is about, and returns the check
// that it was left alone.
func (h *home) beside() (leftAlone func()) {
	h.Helper()
	h.write("beside/Makefile", stays)
	h.begin()
	h.connect()
	h.want(one("beside", run("1")))
	before := h.ready("beside")
	return func() {
		h.Helper()
		if now := h.state("beside"); !now.Ready || now.Start != before.Start || !alive(before.PID) || len(h.starts("beside")) != 1 {
			h.Errorf("the service beside it: %+v, before %+v", now, before)
		}
	}
}

// too adds a service to those that are wanted.
func (h *home) too(name topics.Service, want topics.Wanted) {
	h.want(map[topics.Service]topics.Wanted{"beside": run("1"), name: want})
}

func TestABadServiceSaysWhatToDoAndLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		name, makefile string
		want           topics.Wanted
		code           string
		says, next     string
	}{
		{"has no directory", "", run("1"), topics.NoDirectory, "has no directory", "put the service's directory there"},
		{"has an error in its Makefile", "start\n", run("1"), topics.StartFailed, "missing separator", "make -C"},
		{"calls a program that is not there", "start:\n\t@no-such-program\n", slow(), topics.Exited, "no-such-program", "dominion logs"},
		{"has a port in use", stays, topics.Wanted{Run: true, Port: port}, topics.PortTaken, strconv.Itoa(port) + " is taken by another program", "ss -ltnp"},
		{"builds for ever", "build:\n\t@while :; do sleep 0.1; done\nstart:\n\t@sleep 1000\n", run("1"), topics.BuildFailed, "was not built within 1s", "dominion logs"},
		{"exits at once", "start:\n\t@echo no such device >&2; exit 3\n", slow(), topics.Exited, "code 3", "dominion logs"},
		{"exits at once with success", "start:\n\t@true\n", slow(), topics.Exited, "code 0", "dominion logs"},
		{"closes its output and fails", "start:\n\t@exec >&- 2>&-; exit 5\n", slow(), topics.Exited, "code 5", "dominion logs"},
		{"forks away and dies there", "start:\n\t@(setsid sh -c 'sleep 0.2; exit 1' &)\n", slow(), topics.Exited, "code 0", "dominion logs"},
		{"is never ready", stays, topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTCP, Timeout: 1}}, topics.StartTimeout, "was not ready within 1s", "dominion logs"},
		{"has a limit that is not one", stays, topics.Wanted{Run: true, CPU: -1}, topics.BadValue, "cpu", "dominion why"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, nil)
			h.cfg.Timing.Build = time.Second
			h.cfg.Timing.Backoff = device.Backoff{First: time.Hour, Cap: time.Hour}
			if c.makefile != "" {
				h.write("bad/Makefile", c.makefile)
			}
			leftAlone := h.beside()
			h.too("bad", c.want)
			h.eventually("it says "+c.code, func() bool { return h.code("bad") == c.code && h.state("bad").Phase != topics.PhaseStopping })
			s := h.state("bad")
			if !strings.Contains(s.Why.Text, c.says) || !strings.Contains(s.Why.Next, c.next) || s.Ready {
				t.Errorf("phase %s, why %+v", s.Phase, s.Why)
			}
			leftAlone()
		})
	}
}

// slow is a service that is ready only after it has lived for long.
func slow() topics.Wanted {
	return topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 60}}
}

func TestAServiceThatIgnoresTERMIsTold(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"deaf": "start:\n\t@trap '' TERM; while :; do sleep 0.1; done\n"})
	leftAlone := h.beside()
	h.too("deaf", run("1"))
	s := h.ready("deaf")
	h.too("deaf", topics.Wanted{Rev: "1"})
	stopped := h.phase("deaf", topics.PhaseStopped)
	if alive(s.PID) || stopped.Exit == nil || stopped.Exit.Signal != "SIGKILL" {
		t.Errorf("state %+v, exit %+v", stopped, stopped.Exit)
	}
	event := decoded[topics.Happening](t, h.last(space.Occurrence(attic, "exit", "deaf")).Payload)
	if !strings.Contains(event.Text, "500ms after TERM (have it end when it is asked to)") {
		t.Errorf("event %+v", event)
	}
	leftAlone()
}

func TestAServiceThatClosesItsOutputRuns(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"mute": "start:\n\t@exec sleep 1000 <&- >&- 2>&-\n"})
	leftAlone := h.beside()
	h.too("mute", run("1"))
	if s := h.ready("mute"); !alive(s.PID) {
		t.Errorf("state %+v", s)
	}
	leftAlone()
}

// bomb is a service of some 250 processes, each of which started two more,
// takes no TERM and, every other one, leaves its session.
const bomb = `start:
	@DEPTH=7 exec sh ./bomb
`

const bombScript = `trap '' TERM
echo $$ >> pids
if [ $DEPTH -gt 0 ]; then
	DEPTH=$((DEPTH-1)); export DEPTH
	sh ./bomb & setsid sh ./bomb &
fi
while :; do sleep 5; done
`

func TestABombIsClearedAway(t *testing.T) {
	for _, grouped := range []bool{false, true} {
		t.Run(fmt.Sprintf("grouped %v", grouped), func(t *testing.T) {
			h := newHome(t, map[string]string{"bomb": bomb})
			h.write("bomb/bomb", bombScript)
			if grouped {
				own, err := cgroup.FindOwn("dominion-test-bomb-" + strconv.Itoa(os.Getpid()))
				if err != nil {
					t.Skipf("no control groups here: %v", err)
				}
				t.Cleanup(func() { _ = own.Remove() })
				h.cfg.Groups = own
			}
			leftAlone := h.beside()
			h.too("bomb", run("1"))
			pids := func() []string { return strings.Fields(h.file("bomb/pids")) }
			h.eventually("it has gone off", func() bool { return len(pids()) == 255 })
			h.ready("bomb")
			h.too("bomb", topics.Wanted{Rev: "1"})
			h.phase("bomb", topics.PhaseStopped)
			for _, text := range pids() {
				if pid, _ := strconv.Atoi(text); alive(pid) {
					t.Errorf("process %d is left", pid)
				}
			}
			leftAlone()
		})
	}
}

func TestAGigabyteWithoutANewline(t *testing.T) {
	if testing.Short() {
		t.Skip("it prints 200 MB")
	}
	h := newHome(t, map[string]string{"gush": "start:\n\t@head -c 200000000 /dev/zero | tr '\\0' x; touch over; exec sleep 1000\n"})
	leftAlone := h.beside()
	h.too("gush", run("1"))
	var most int64
	size := func() (sum int64) {
		files, _ := filepath.Glob(filepath.Join(h.cfg.DataDir, "output", "gush.log*"))
		for _, file := range files {
			if info, err := os.Stat(file); err == nil {
				sum += info.Size()
			}
		}
		return sum
	}
	h.eventually("it has printed all", func() bool {
		most = max(most, size())
		return exists(filepath.Join(h.cfg.ServicesDir, "gush", "over"))
	})
	h.eventually("little of it is kept", func() bool { return size() <= 6<<20 })
	t.Logf("%d MB at most", most>>20)
	h.ready("gush")
	h.request("t1", "tail", "gush")
	h.replies("t1", topics.Done)
	leftAlone()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestALargeDocument(t *testing.T) {
	t.Parallel()
	h := newHome(t, nil)
	leftAlone := h.beside()
	h.hear(space.DesiredServices(attic), bytes.Repeat([]byte("["), 10<<20))
	if f := h.fault(topics.ErrDesired, topics.FaultBad); !strings.Contains(f.Text, "10485760") || !strings.Contains(f.Text, "1048576") {
		t.Errorf("fault %+v", f)
	}
	leftAlone()

	many := map[topics.Service]topics.Wanted{"beside": run("1")}
	for i := range 2000 {
		want := topics.Wanted{Run: i%100 == 90, Rev: "1", Env: map[string]string{"FILLER": strings.Repeat("x", 390)}}
		many[topics.Service(fmt.Sprintf("service-%d", i))] = want
	}
	if n := len(document(1, 2, many)); n < 850_000 || n > 1<<20 {
		t.Fatalf("a document of %d bytes", n)
	}
	began := time.Now()
	h.want(many)
	h.acknowledged()
	t.Logf("2,000 services in %v", time.Since(began).Round(time.Millisecond))
	h.why("service-1990", topics.NoDirectory)
	h.eventually("the last one is reported", func() bool { return h.state("service-1999").Phase == topics.PhaseStopped })
	leftAlone()
}

func TestAServiceThatIsNamedAsAPath(t *testing.T) {
	t.Parallel()
	h := newHome(t, nil)
	outside := filepath.Join(filepath.Dir(h.cfg.ServicesDir), "x")
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "Makefile"), []byte("start:\n\t@touch ran; exec sleep 1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	leftAlone := h.beside()
	h.gen++
	h.hear(space.DesiredServices(attic), fmt.Appendf(nil,
		`{"v":1,"house":%q,"term":1,"gen":%d,"services":{"beside":{"run":true,"rev":"1"},"../x":{"run":true,"rev":"1"}}}`, house, h.gen))
	f := h.fault(topics.ErrDesired, topics.FaultService)
	if f.Field != "services.../x" || !strings.Contains(f.Text, "begin with a letter or digit") {
		t.Errorf("fault %+v", f)
	}
	h.acknowledged()
	leftAlone()
	if exists(filepath.Join(outside, "ran")) {
		t.Error("it ran")
	}
	for _, m := range h.wire.all() {
		if strings.Contains(m.Topic, "..") {
			t.Errorf("published on %s", m.Topic)
		}
	}
}
