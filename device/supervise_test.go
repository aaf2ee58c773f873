package device_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/device"
	"dominion/topics"
)

func TestStopEndsAll(t *testing.T) {
	t.Parallel()
	for name, makefile := range map[string]string{
		"deaf":       "start:\n\t@trap '' TERM; echo $$$$ >> pids; sleep 1000 & echo $$! >> pids; while :; do sleep 0.1; done\n",
		"background": "start:\n\t@sh -c 'echo $$$$ >> pids; sleep 1000' & sh -c 'trap \"\" TERM; echo $$$$ >> pids; while :; do sleep 0.1; done' &\n",
		"daemon":     "start:\n\t@setsid sh -c 'echo $$$$ >> pids; sleep 1000' & echo $$$$ >> pids\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, map[string]string{"lamp": makefile})
			h.begin()
			h.connect()
			h.want(one("lamp", run("1")))
			h.ready("lamp")
			h.eventually("its processes run", func() bool { return len(strings.Fields(h.file("lamp/pids"))) == 2 })
			h.want(one("lamp", topics.Wanted{Rev: "1"}))
			h.phase("lamp", topics.PhaseStopped)
			for _, field := range strings.Fields(h.file("lamp/pids")) {
				if pid, _ := strconv.Atoi(field); alive(pid) {
					t.Errorf("process %d is alive though the service is reported stopped", pid)
				}
			}
		})
	}
}

func TestStopTargetComesFirst(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@trap '' TERM; while [ ! -e end ]; do sleep 0.02; done; echo polite >> how; exit 3\nstop:\n\t@echo asked $$SERVICE >> how; touch end\n"})
	h.cfg.Timing.Stop = time.Minute // only its own target ends it in time
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.want(one("lamp", topics.Wanted{Rev: "1"}))
	s := h.phase("lamp", topics.PhaseStopped)
	if got := h.file("lamp/how"); got != "asked lamp\npolite" {
		t.Errorf("stopped %q", got)
	}
	if d := cmp.Diff(&topics.Exit{Code: 3}, s.Exit); d != "" {
		t.Error(d)
	}
}

func TestExit(t *testing.T) {
	t.Parallel()
	spaced := func(h *home) { h.cfg.DataDir = filepath.Join(t.TempDir(), "with a space") }
	for _, c := range []struct {
		name, makefile string
		change         func(*home)
		exit           *topics.Exit
		says           string
	}{
		{"a code", "start:\n\t@echo no such device; exit 7\n", nil, &topics.Exit{Code: 7}, "no such device"},
		{"success", "start:\n\t@echo over\n", nil, &topics.Exit{Code: 0}, "over"},
		{"a signal", "start:\n\t@kill -SEGV $$$$\n", nil, &topics.Exit{Code: 139, Signal: "SIGSEGV"}, "SIGSEGV"},
		{"through another make", "start:\n\t@$(MAKE) deep\ndeep:\n\t@echo far down; exit 5\n", nil, &topics.Exit{Code: 5}, "far down"},
		{"after an ignored failure", "start:\n\t-@exit 6\n\t@echo last; exit 7\n", nil, &topics.Exit{Code: 7}, "last"},
		{"of a shell of its own", "SHELL := /bin/sh\nstart:\n\t@echo own; exit 9\n", nil, &topics.Exit{Code: 9}, "own"},
		{"where make cannot be given a shell", "start:\n\t@echo spaced; exit 8\n", spaced, &topics.Exit{Code: 8}, "spaced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, map[string]string{"lamp": c.makefile})
			if c.change != nil {
				c.change(h)
			}
			h.cfg.Timing.Backoff.First = time.Hour
			h.cfg.Timing.Backoff.Cap = time.Hour
			h.begin()
			h.connect()
			h.want(one("lamp", topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 60}}))
			s := h.phase("lamp", topics.PhaseBackoff)
			if d := cmp.Diff(c.exit, s.Exit); d != "" {
				t.Error(d)
			}
			if s.Why == nil || s.Why.Code != topics.Exited || !strings.Contains(s.Why.Text, c.says) || strings.Contains(s.Why.Text, "\n") {
				t.Errorf("why %+v", s.Why)
			}
			event := decoded[topics.Happening](t, h.last(space.Occurrence(attic, "exit", "lamp")).Payload)
			if d := cmp.Diff(c.exit, event.Exit); d != "" || event.Service != "lamp" || event.Domain != attic {
				t.Errorf("event %+v", event)
			}
			if c.exit.Signal == "" && !strings.Contains(strings.Join(event.Lines, "\n"), c.says) {
				t.Errorf("last lines %q", event.Lines)
			}
		})
	}
}

func TestCrashLoopAndReset(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@echo $$START_ID >> starts; test -e good && exec sleep 1000; exit 1\n"})
	h.cfg.Timing.Backoff = device.Backoff{First: 10 * time.Millisecond}
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	s := h.phase("lamp", topics.PhaseCrashloop)
	if s.Why == nil || s.Why.Code != topics.CrashLoop || s.Restarts != 4 {
		t.Errorf("state %+v, why %+v", s, s.Why)
	}
	if n := len(h.starts("lamp")); n != 5 {
		t.Errorf("started %d times", n)
	}
	h.write("lamp/good", "")
	h.request("r1", "reset", "lamp")
	h.ready("lamp")
	h.replies("r1", topics.Accepted, topics.Done)
	if s := h.state("lamp"); s.Restarts != 5 || s.Why != nil {
		t.Errorf("state %+v", s)
	}
}

func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"empty/x": "", "nostart": "build:\n\ttrue\n", "broken": "start\n", "nobuild": "build:\n\t@echo no compiler; exit 4\nstart:\n\t@true\n"})
	h.begin()
	h.connect()
	wish := map[topics.Service]topics.Wanted{}
	for _, name := range []topics.Service{"nowhere", "empty", "nostart", "broken", "nobuild"} {
		wish[name] = run("1")
	}
	h.want(wish)
	for name, want := range map[topics.Service]struct{ code, says string }{
		"nowhere": {topics.NoDirectory, filepath.Join(h.cfg.ServicesDir, "nowhere")},
		"empty":   {topics.NoMakefile, "neither a Makefile nor a service.toml"},
		"nostart": {topics.StartFailed, "no target start"},
		"broken":  {topics.StartFailed, "missing separator"},
		"nobuild": {topics.BuildFailed, "code 4: no compiler"},
	} {
		s := h.why(name, want.code)
		if !strings.Contains(s.Why.Text, want.says) || s.Why.Next == "" || s.Phase != topics.PhaseBackoff {
			t.Errorf("%s: phase %s, why %+v", name, s.Phase, s.Why)
		}
	}
	h.write("nowhere/Makefile", stays)
	h.ready("nowhere")
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@env > env.new; mv env.new env; echo $(SERVICE_PORT) > made; exec sleep 1000\n"})
	h.cfg.Environ = append(os.Environ(), "MAKEFLAGS=-n", "DOMAIN_PASSWORD_FILE=/secret", "SERVICE_old_HOST=1", "HOME=/home/x",
		"NOTIFY_SOCKET=/run/agent", "WATCHDOG_USEC=1", "STATE_DIRECTORY=/var/lib/agent")
	h.begin()
	h.connect()
	want := run("1")
	want.Env = map[string]string{"GREETING": "hello"}
	want.Endpoints = map[topics.Service]topics.Target{"web-1": {Host: "10.0.0.7", Port: 8080}}
	h.want(one("lamp", want))
	s := h.ready("lamp")
	h.eventually("it has written all", func() bool { return h.file("lamp/made") != "" })
	got := map[string]string{}
	for line := range strings.Lines(h.file("lamp/env")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[key] = value
	}
	for key, value := range map[string]string{
		"DOMINION_IP": "127.0.0.1", "DOMINION_PORT": "1883", "DOMAIN_UUID": "0123456789abcdef", "SERVICE_PORT": strconv.Itoa(s.Port),
		"DOMINION_URL": "mqtt://127.0.0.1:1883", "DOMINION_BASE": "dominion", "DOMAIN": "attic", "SERVICE": "lamp", "START_ID": s.Start,
		"SERVICE_TOPIC": "dominion/service/lamp/attic", "SERVICE_web_1_HOST": "10.0.0.7", "SERVICE_web_1_PORT": "8080", "GREETING": "hello", "HOME": "/home/x",
		"NOTIFY_SOCKET": filepath.Join(h.cfg.DataDir, "runs", "lamp.notify"),
	} {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
	for _, key := range []string{"DOMAIN_PASSWORD_FILE", "SERVICE_old_HOST", "WATCHDOG_USEC", "STATE_DIRECTORY"} {
		if v, ok := got[key]; ok {
			t.Errorf("%s is inherited: %q", key, v)
		}
	}
	if made := h.file("lamp/made"); made != strconv.Itoa(s.Port) {
		t.Errorf("make sees SERVICE_PORT as %q", made)
	}
}

func TestPortStays(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"web": listens()})
	h.begin()
	h.connect()
	tcp := topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: topics.ReadyTCP}}
	h.want(one("web", tcp))
	first := h.ready("web")
	tcp.Rev = "2"
	h.want(one("web", tcp))
	h.eventually("it is ready again", func() bool { s := h.state("web"); return s.Ready && s.Start != first.Start })
	if s := h.state("web"); s.Port != first.Port {
		t.Errorf("port %d after a restart, %d before", s.Port, first.Port)
	}

	h.want(one("web", topics.Wanted{Rev: "2"}))
	h.phase("web", topics.PhaseStopped)
	taken, err := net.Listen("tcp", ":"+strconv.Itoa(first.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h.wire.forget()
	h.want(one("web", tcp))
	if s := h.ready("web"); s.Port == first.Port || s.Port == 0 {
		t.Errorf("port %d, which is taken", s.Port)
	}
	told := false
	for _, m := range h.wire.all() {
		told = told || strings.Contains(string(m.Payload), topics.PortTaken)
	}
	if !told {
		t.Error("nobody was told that the port changed")
	}

	tcp.Port, tcp.Rev = first.Port, "3"
	h.want(one("web", tcp))
	if s := h.why("web", topics.PortTaken); !strings.Contains(s.Why.Text, strconv.Itoa(first.Port)) {
		t.Errorf("why %+v", s.Why)
	}
	taken.Close()
	h.eventually("it is ready on the fixed port", func() bool { s := h.state("web"); return s.Ready && s.Port == first.Port })
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	t.Run("by topic", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"lamp": stays})
		h.begin()
		h.connect()
		h.want(one("lamp", topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTopic}}))
		h.eventually("it has started", func() bool { return h.state("lamp").PID != 0 })
		s := h.state("lamp")
		h.hear(space.ServiceReady("lamp", attic), []byte("of-another-start"))
		h.request("p1", "ping", "host")
		h.replies("p1", topics.Done)
		if h.state("lamp").Ready {
			t.Error("ready by another start's id")
		}
		h.hear(space.ServiceReady("lamp", attic), []byte(s.Start+"\n"))
		h.ready("lamp")
	})
	t.Run("by topic, in its time", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"lamp": stays})
		h.begin()
		h.connect()
		h.want(one("lamp", topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTopic, Timeout: 0.2}}))
		if s := h.phase("lamp", topics.PhaseBackoff); s.Why.Code != topics.StartTimeout || !strings.Contains(s.Why.Text, "200ms") {
			t.Errorf("phase %s, why %+v", s.Phase, s.Why)
		}
		h.eventually("it is tried again", func() bool { return len(h.starts("lamp")) > 1 })
	})
	t.Run("by topic, while there is no bus", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"lamp": stays})
		h.begin()
		h.connect()
		h.want(one("lamp", topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTopic, Timeout: 0.3}}))
		h.eventually("it has started", func() bool { return h.state("lamp").PID != 0 })
		h.wire.in <- topics.Inbound{Link: topics.LinkDown}
		time.Sleep(500 * time.Millisecond) // longer than it would have had
		s := h.state("lamp")
		h.connect(topics.Message{Topic: space.ServiceReady("lamp", attic), Payload: []byte(s.Start)})
		h.ready("lamp")
		if n := len(h.starts("lamp")); n != 1 {
			t.Errorf("started %d times", n)
		}
	})
	t.Run("by topic, adopted before there is a bus", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"lamp": stays})
		h.begin()
		h.connect()
		h.want(one("lamp", topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTopic, Timeout: 0.3}}))
		h.eventually("it has started", func() bool { return h.state("lamp").PID != 0 })
		s := h.state("lamp")
		h.finish(nil)
		h.begin()
		time.Sleep(500 * time.Millisecond) // longer than it would have had
		h.connect(topics.Message{Topic: space.ServiceReady("lamp", attic), Payload: []byte(s.Start)})
		if again := h.ready("lamp"); again.Start != s.Start {
			t.Errorf("started again as %s, was %s", again.Start, s.Start)
		}
	})
	t.Run("by port", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"deaf": stays, "web": listens()})
		h.begin()
		h.connect()
		tcp := &topics.Readiness{By: topics.ReadyTCP, Timeout: 30}
		h.want(map[topics.Service]topics.Wanted{"deaf": {Run: true, Ready: tcp}, "web": {Run: true, Ready: tcp}})
		h.ready("web")
		h.eventually("the deaf one has started", func() bool { return h.state("deaf").PID != 0 })
		if s := h.state("deaf"); s.Ready || s.Phase != topics.PhaseStarting || !strings.Contains(s.Why.Text, "port") {
			t.Errorf("state %+v, why %+v", s, s.Why)
		}
	})
	t.Run("after a second when nothing is said", func(t *testing.T) {
		t.Parallel()
		h := newHome(t, map[string]string{"lamp": stays})
		h.begin()
		h.connect()
		h.want(one("lamp", topics.Wanted{Run: true}))
		h.eventually("it has started", func() bool { return h.state("lamp").PID != 0 })
		began := time.Now()
		h.ready("lamp")
		if waited := time.Since(began); waited < 800*time.Millisecond {
			t.Errorf("ready after %v", waited)
		}
	})
}

func TestOnlyWhatIsSeenRestarts(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	want := run("1")
	at := func(port int) map[topics.Service]topics.Target {
		return map[topics.Service]topics.Target{"web": {Host: "10.0.0.7", Port: port}}
	}
	want.Endpoints = at(80)
	h.want(one("lamp", want))
	h.ready("lamp")
	step := func(what string, starts int, change func()) {
		t.Helper()
		change()
		h.want(one("lamp", want))
		h.acknowledged()
		h.eventually(fmt.Sprintf("%s: started %d times", what, starts), func() bool { return len(h.starts("lamp")) >= starts && h.state("lamp").Ready })
		if n := len(h.starts("lamp")); n != starts {
			t.Errorf("%s: started %d times, want %d", what, n, starts)
		}
	}
	step("another rule and why", 1, func() {
		want.Ready = &topics.Readiness{By: topics.ReadyDelay, Delay: 0.06}
		want.Why = &topics.Why{Code: "X", Text: "x"}
	})
	step("no endpoint", 1, func() { want.Endpoints = nil })
	step("the same endpoint", 1, func() { want.Endpoints = at(80) })
	step("another endpoint", 2, func() { want.Endpoints = at(81) })
	step("another rev", 3, func() { want.Rev = "2" })
	step("another endpoint of what follows", 3, func() { want.Follows, want.Endpoints = true, at(82) })
}

func TestServiceToml(t *testing.T) {
	t.Parallel()
	secret := "DB_PASSWORD=a $b 'c'\n# none\n\n"
	h := newHome(t, nil)
	h.write("lamp/service.toml", "")
	h.write("lamp/secrets", secret)
	h.write("lamp/run.sh", "echo $START_ID >> starts; echo \"$DB_PASSWORD $1\" > got; trap 'exit 5' TERM; while [ ! -e crash ]; do sleep 0.05; done; rm crash; exit 6")
	h.write("bad/service.toml", "")
	h.cfg.Manifest = func(path string) (device.Manifest, error) {
		if strings.Contains(path, "bad") {
			return device.Manifest{}, errors.New(path + ":3: unknown key \"comand\" (command?)")
		}
		return device.Manifest{Version: "1.2.0", Command: []string{"/bin/sh", "./run.sh", "$(id)"}, EnvFile: "secrets", Terms: topics.Wanted{Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 0.05}}}, nil
	}
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{"lamp": {Run: true}, "bad": {Run: true}})
	if s := h.ready("lamp"); s.Version != "1.2.0" {
		t.Errorf("state %+v", s)
	}
	h.eventually("it has written", func() bool { return h.file("lamp/got") != "" })
	if got := h.file("lamp/got"); got != "a $b 'c' $(id)" {
		t.Errorf("it was given %q", got)
	}
	if s := h.why("bad", topics.StartFailed); !strings.Contains(s.Why.Text, "comand") {
		t.Errorf("why %+v", s.Why)
	}
	h.write("lamp/crash", "")
	h.eventually("it was started again", func() bool { return len(h.starts("lamp")) == 2 })
	if s := h.ready("lamp"); s.Exit == nil || s.Exit.Code != 6 || s.Restarts != 1 {
		t.Errorf("state %+v, exit %+v", s, s.Exit)
	}
	h.want(map[topics.Service]topics.Wanted{"lamp": {Run: false}})
	if s := h.phase("lamp", topics.PhaseStopped); s.Exit == nil || s.Exit.Code != 5 {
		t.Errorf("exit %+v", s.Exit)
	}
	info := decoded[topics.Info](t, h.last(space.Info(attic)).Payload)
	if info.Services["lamp"] != "1.2.0" {
		t.Errorf("info %+v", info.Services)
	}
}

func TestBackgroundServiceIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@echo $$START_ID >> starts; sleep 1000 & echo $$! > pid\n"})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	pid := h.pid("lamp/pid")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("it was started again", func() bool { return len(h.starts("lamp")) == 2 })
	h.ready("lamp")
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 5000000; echo; echo the end; exec sleep 1000\n"})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	path := filepath.Join(h.cfg.DataDir, "output", "lamp.log")
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return -1
		}
		return info.Size()
	}
	h.eventually("the output was moved aside", func() bool { return size(path) < 1<<20 && size(path+".1") > 0 })
	if n := size(path + ".1"); n > 1<<20 {
		t.Errorf("%d bytes were kept", n)
	}
}
