package device_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dominion/device"
	"dominion/topics"
)

// child is an agent in a process of its own.
type child struct {
	*testing.T
	cmd   *exec.Cmd
	input io.Writer
	mu    sync.Mutex // guards states
	state map[string]topics.ServiceState
}

// newChild starts an agent that can be killed, on the same directories as h.
func newChild(h *home) *child {
	h.Helper()
	c := &child{T: h.T, cmd: exec.Command(os.Args[0]), state: map[string]topics.ServiceState{}}
	c.cmd.Env = append(os.Environ(), "DEVICE_TEST_PART=agent")
	c.cmd.Stderr = os.Stderr
	input, err := c.cmd.StdinPipe()
	if err != nil {
		h.Fatal(err)
	}
	c.input = input
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.kill(); h.noneLeft() })
	go c.listen(output)
	raw, err := json.Marshal(part{h.cfg.ServicesDir, h.cfg.DataDir, h.cfg.Timing})
	if err != nil {
		h.Fatal(err)
	}
	c.say(raw)
	return c
}

func (c *child) say(line []byte) {
	if _, err := fmt.Fprintf(c.input, "%s\n", line); err != nil {
		c.Fatal(err)
	}
}

func (c *child) listen(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		topic, payload, _ := strings.Cut(lines.Text(), " ")
		if strings.Contains(topic, "/state/service/") {
			name := filepath.Base(topic)
			s, err := topics.Decode[topics.ServiceState]([]byte(payload))
			if err == nil {
				c.mu.Lock()
				c.state[name] = s
				c.mu.Unlock()
			}
		}
	}
}

func (c *child) of(name string) topics.ServiceState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state[name]
}

// kill ends the agent as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func TestKilledAgentsServicesAreAdopted(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{
		"web":   listens(),
		"lamp":  "start:\n\t@echo $$START_ID >> starts; while [ ! -e end ]; do sleep 0.05; done; echo gone dark; exit 7\n",
		"back":  "start:\n\t@echo $$START_ID >> starts; sleep 1000 & echo $$! > pid\n",
		"build": "build:\n\t@echo $$$$ >> building; sleep 1000\nstart:\n\t@true\n",
	})
	h.cfg.Timing.Backoff.First = time.Hour
	h.cfg.Timing.Backoff.Cap = time.Hour
	c := newChild(h)
	wish := map[topics.Service]topics.Wanted{
		"web": {Run: true, Ready: &topics.Readiness{By: topics.ReadyTCP}}, "lamp": run("1"), "back": run("1"), "build": run("1"),
	}
	c.say(document(1, 1, wish))
	for _, name := range []string{"web", "lamp", "back"} {
		h.eventually(name+" is ready", func() bool { return c.of(name).Ready })
	}
	web, builder := c.of("web"), h.pid("build/building")
	c.kill()

	if !alive(web.PID) || !alive(builder) {
		t.Fatal("the services ended with the agent")
	}

	h.gen = 1
	h.begin()
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, 1, wish)})
	if s := h.ready("web"); s.PID != web.PID || s.Start != web.Start || s.Port != web.Port || s.Restarts != 0 {
		t.Errorf("adopted %+v, was %+v", s, web)
	}
	h.ready("lamp")
	h.ready("back")
	h.eventually("the build that nobody watched is ended", func() bool { return !alive(builder) })

	// What was adopted is watched: its end, its status and its last words are seen.
	h.write("lamp/end", "")
	s := h.phase("lamp", topics.PhaseBackoff)
	if s.Exit == nil || s.Exit.Code != 7 || !strings.Contains(s.Why.Text, "gone dark") {
		t.Errorf("exit %+v, why %+v", s.Exit, s.Why)
	}
	// And it is stopped like any other.
	pid := h.pid("back/pid")
	wish["back"], wish["web"] = topics.Wanted{Rev: "1"}, topics.Wanted{}
	h.want(wish)
	h.phase("back", topics.PhaseStopped)
	h.phase("web", topics.PhaseStopped)
	if alive(pid) || alive(web.PID) {
		t.Error("adopted services outlived their stop")
	}
	for _, name := range []topics.Service{"web", "lamp", "back"} {
		if n := len(h.starts(name)); n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
}

// TestNeverTwoCopies kills agents at random moments while services start, and
// looks that no start leaves a process behind when the next one begins.
func TestNeverTwoCopies(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "build:\n\t@sleep 0.02\nstart:\n" +
		"\t@trap 'rmdir only; exit' TERM; mkdir only || echo twice >> twice; echo $$START_ID >> starts; while :; do sleep 0.01; done\n"})
	// It cannot tidy up after KILL, so it is given time.
	h.cfg.Timing.Stop = time.Minute
	for i := range 15 {
		c := newChild(h)
		c.say(document(1, uint64(i+1), one("lamp", run(strconv.Itoa(i)))))
		h.eventually("the agent speaks of it", func() bool { return c.of("lamp").Phase != "" })
		if i%5 == 0 { // however slow the machine is, some get as far as a start
			before := len(h.starts("lamp"))
			h.eventually("it was started", func() bool { return len(h.starts("lamp")) > before })
		}
		time.Sleep(time.Duration(i*47%300) * time.Millisecond)
		c.kill()
	}
	h.gen = 100
	h.begin()
	h.connect()
	h.want(one("lamp", run("last")))
	h.eventually("it is ready as last wanted", func() bool { s := h.state("lamp"); return s.Ready && s.Rev == "last" })
	if n := len(h.starts("lamp")); n < 3 {
		t.Errorf("started %d times: nothing was tried", n)
	}
	if got := h.file("lamp/twice"); got != "" {
		t.Errorf("two copies ran at once: %q; starts %q", got, h.starts("lamp"))
	}
}

func TestLeftoversAreEndedFirst(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@sh -c 'trap \"\" TERM; echo $$$$ >> pids; while :; do sleep 0.1; done' & wait\n"})
	c := newChild(h)
	c.say(document(1, 1, one("lamp", run("1"))))
	h.eventually("it is ready", func() bool { return c.of("lamp").Ready })
	c.kill()
	// The first process dies too: what it left can be watched by nobody.
	s := c.of("lamp")
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	left := h.pid("lamp/pids")
	h.begin()
	h.connect()
	h.planner()
	h.eventually("it is ready again", func() bool { n := h.state("lamp"); return n.Ready && n.Start != s.Start })
	if alive(left) {
		t.Errorf("process %d of the former start still runs", left)
	}
}

func TestAPidOfAnotherIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	c := newChild(h)
	c.say(document(1, 1, one("lamp", run("1"))))
	h.eventually("it is ready", func() bool { return c.of("lamp").Ready })
	c.kill()
	old := c.of("lamp").PID
	if err := syscall.Kill(-old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("it is gone", func() bool { return !alive(old) })

	// A stranger has its pid now, as the ledger sees it.
	stranger := exec.Command("sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	path := filepath.Join(h.cfg.DataDir, "runs", "lamp.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(raw), fmt.Sprintf(`"pid": %d`, old), fmt.Sprintf(`"pid": %d`, stranger.Process.Pid), 1)
	if changed == string(raw) {
		t.Fatalf("no pid in %s", raw)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.connect()
	if s := h.ready("lamp"); s.PID == stranger.Process.Pid {
		t.Error("a stranger was adopted")
	}
	if !alive(stranger.Process.Pid) {
		t.Error("a stranger was ended")
	}
}

func TestLostFilesStopNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	s := h.ready("lamp")
	h.finish(nil)
	for _, name := range []string{"desired.json", "ports.json"} {
		if err := os.WriteFile(filepath.Join(h.cfg.DataDir, name), []byte("\x00\x00{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.begin()
	h.connect()
	if got := h.ready("lamp"); got.Start != s.Start || got.Why == nil || got.Why.Code != topics.Orphaned {
		t.Errorf("state %+v, why %+v", got, got.Why)
	}
	for _, name := range []string{"desired.json.corrupt", "ports.json.corrupt"} {
		if _, err := os.Stat(filepath.Join(h.cfg.DataDir, name)); err != nil {
			t.Error(err)
		}
	}
	h.want(one("lamp", run("1")))
	h.eventually("it is wanted again", func() bool { s := h.state("lamp"); return s.Ready && s.Why == nil })
	if n := len(h.starts("lamp")); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := newHome(t, nil).cfg
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*device.Config)
		says   string
	}{
		"a reserved name":   {func(c *device.Config) { c.Name = "coordinator" }, "reserved"},
		"no machine id":     {func(c *device.Config) { c.ID = "" }, "machine-id"},
		"no data directory": {func(c *device.Config) { c.DataDir = "" }, "data"},
		"a file in its way": {func(c *device.Config) { c.DataDir = filepath.Join(file, "data") }, "name another with data"},
		"a bad trait":       {func(c *device.Config) { c.Traits = []topics.Trait{"a b"} }, "trait"},
		"a bad address":     {func(c *device.Config) { c.Address = "$(id)" }, "address"},
	} {
		cfg := good
		c.change(&cfg)
		if _, err := device.New(cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	missing := good
	missing.ServicesDir = filepath.Join(t.TempDir(), "nowhere")
	if _, err := device.New(missing); err != nil {
		t.Errorf("without a services directory: %v", err)
	}
	if _, err := os.Stat(missing.ServicesDir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the services directory was made")
	}
}

func TestOneAgentForADataDirectory(t *testing.T) {
	t.Parallel()
	h := newHome(t, nil)
	h.begin()
	h.connect()
	second, err := device.New(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context(), newWire()); err == nil || !strings.Contains(err.Error(), h.cfg.DataDir) {
		t.Errorf("error %v", err)
	}
}

// TestAgentKilledWhileItWroteItsShell holds that the next one puts that right.
func TestAgentKilledWhileItWroteItsShell(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	if _, err := device.New(h.cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(h.cfg.DataDir, "runs", "shell"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
}

// TestALostLedgerBringsNoSecondCopy holds that what runs is found though the
// files that tell of it are damaged or gone.
func TestALostLedgerBringsNoSecondCopy(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"gone":    os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte("\x00\x00"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, map[string]string{"lamp": "start:\n" +
				"\t@trap 'rmdir only; exit' TERM; mkdir only || echo twice >> twice; echo $$START_ID >> starts; while :; do sleep 0.02; done\n"})
			h.cfg.Timing.Stop = time.Minute // it cannot tidy up after KILL
			c := newChild(h)
			c.say(document(1, 1, one("lamp", run("1"))))
			h.eventually("it is ready", func() bool { return c.of("lamp").Ready })
			c.kill()
			if err := lose(filepath.Join(h.cfg.DataDir, "runs", "lamp.json")); err != nil {
				t.Fatal(err)
			}
			h.begin()
			h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, 1, one("lamp", run("1")))})
			if s := h.ready("lamp"); s.Start == c.of("lamp").Start || h.file("lamp/twice") != "" || len(h.starts("lamp")) != 2 {
				t.Errorf("state %+v, starts %v, twice %q", s, h.starts("lamp"), h.file("lamp/twice"))
			}
		})
	}
}
