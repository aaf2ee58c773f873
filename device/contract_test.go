package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dominion/device"
	"dominion/topics"
)

// ask is a rule that looks often.
func ask(by, path string) *topics.Liveness {
	return &topics.Liveness{By: by, Path: path, Interval: 0.1, Timeout: 1, Failures: 3}
}

// put writes a file in a service's directory as a whole.
func (h *home) put(path, text string) {
	h.Helper()
	path = filepath.Join(h.cfg.ServicesDir, path)
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		h.Fatal(err)
	}
}

// exits are the exit events of a service so far.
func (h *home) exits(name topics.Service) (all []topics.Happening) {
	for _, m := range h.wire.all() {
		if m.Topic == space.Occurrence(attic, "exit", string(name)) {
			all = append(all, decoded[topics.Happening](h.T, m.Payload))
		}
	}
	return all
}

func TestAPageIsReadyAndLiveByHTTP(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"page": plays("page")})
	h.begin()
	h.connect()
	want := topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "http", Path: "/health"}, Live: ask("http", "/health")}
	want.Live.Failures = 1000
	h.want(one("page", want))
	h.eventually("it listens", func() bool { return strings.Contains(h.text("page"), "/health answers with a status below 400") })
	if h.state("page").Ready {
		t.Error("ready while its page is not found")
	}
	hasty := want
	hasty.Rev, hasty.Ready = "0", &topics.Readiness{By: "http", Path: "/health", Timeout: 0.5}
	h.want(one("page", hasty))
	h.eventually("it is too late, and says what came last", func() bool {
		return strings.Contains(h.text("page"), "was not ready within 500ms") && strings.Contains(h.text("page"), "; the last look: status 404")
	})
	h.want(one("page", want))
	h.put("page/status", "302")
	first := h.ready("page")
	h.put("page/status", "500")
	h.eventually("it is not ready any more", func() bool { return !h.state("page").Ready })
	if s := h.state("page"); s.Phase != topics.PhaseRunning || s.Why.Code != topics.NotReady || !strings.Contains(s.Why.Text, "/health): status 500") {
		t.Errorf("it says %+v %+v", s, s.Why)
	}
	h.put("page/status", "200")
	if again := h.ready("page"); again.Start != first.Start || again.Why != nil {
		t.Errorf("it is %+v", again)
	}
}

// Nobody is sent to a port that went deaf while no agent was there.
func TestAnAdoptedServiceIsLookedAtAtOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"page": plays("page")})
	h.write("page/status", "200")
	h.begin()
	h.connect()
	h.want(one("page", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "tcp"}, Live: &topics.Liveness{By: "http", Path: "/health", Interval: 3600}}))
	first := h.ready("page")
	h.finish(nil)
	h.put("page/status", "500")
	h.begin()
	h.connect()
	h.eventually("it is not ready", func() bool {
		s := h.state("page")
		return s.Start == first.Start && !s.Ready && s.Phase == topics.PhaseRunning
	})
}

// text is what a service's why says.
func (h *home) text(name topics.Service) string {
	if why := h.state(name).Why; why != nil {
		return why.Text
	}
	return ""
}

func TestAServiceThatFailsItsLivenessIsStartedAnew(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"page": plays("page")})
	h.begin()
	h.connect()
	h.write("page/status", "200")
	h.want(one("page", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "tcp"}, Live: ask("http", "/health")}))
	first := h.ready("page")
	h.put("page/status", "503")
	h.eventually("it was ended for it", func() bool { return len(h.exits("page")) > 0 })
	why := h.exits("page")[0].Why
	if why.Code != topics.NotLive || !strings.Contains(why.Text, "failed its liveness rule 3 times in a row (GET http://127.0.0.1:") || !strings.Contains(why.Text, "status 503") {
		t.Errorf("its why is %+v", why)
	}
	h.put("page/status", "200")
	h.eventually("it runs anew", func() bool { s := h.state("page"); return s.Ready && s.Start != first.Start })
	if s := h.state("page"); s.Restarts == 0 {
		t.Errorf("it counts no restart: %+v", s)
	}
}

// The kernel accepts connections for a halted process, and TERM waits with it.
func TestAHaltedServiceIsFound(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": listens()})
	h.begin()
	h.connect()
	h.want(one("lamp", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "tcp"}, Live: ask("tcp", "")}))
	first := h.ready("lamp")
	if err := syscall.Kill(-first.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.eventually("it runs anew", func() bool { s := h.state("lamp"); return s.Ready && s.Start != first.Start })
	if why := h.exits("lamp")[0].Why; why.Code != topics.NotLive || !strings.Contains(why.Text, "is halted") {
		t.Errorf("its why is %+v", why)
	}
}

func TestAServiceSaysOfItselfHowItIs(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"bulb": plays("notifier")})
	h.begin()
	h.connect()
	h.want(one("bulb", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "notify"}}))
	h.eventually("it waits", func() bool { return strings.Contains(h.text("bulb"), "READY=1") })
	h.put("bulb/say", "STATUS=warms up \x1b[31m\x00now\nMAINPID=1")
	h.eventually("its status is told", func() bool { return h.state("bulb").Status == "warms up now" })
	if h.state("bulb").Ready {
		t.Error("a status makes it ready")
	}
	h.put("bulb/say", "READY=1\nSTATUS=shines")
	first := h.ready("bulb")
	h.eventually("its status is told", func() bool { return h.state("bulb").Status == "shines" })

	h.finish(nil) // the next agent listens at the same place
	h.begin()
	h.connect()
	if s := h.state("bulb"); !s.Ready || s.Start != first.Start {
		t.Fatalf("it was not adopted: %+v", s)
	}
	h.put("bulb/say", "STATUS=still shines")
	h.eventually("the next agent hears it", func() bool { return h.state("bulb").Status == "still shines" })
	h.put("bulb/say", "STOPPING=1")
	h.eventually("it is not ready any more", func() bool { return !h.state("bulb").Ready })
	if s := h.state("bulb"); s.Why.Code != topics.NotReady || s.Phase != topics.PhaseRunning {
		t.Errorf("it says %+v %+v", s, s.Why)
	}
}

func TestASilentWatchdogIsAFailure(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"bulb": strings.Replace(plays("notifier"), "@echo", "@echo $$WATCHDOG_USEC > usec; echo", 1)})
	h.begin()
	h.connect()
	h.want(one("bulb", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "notify"}, Live: ask("notify", "")}))
	h.put("bulb/say", "READY=1")
	h.ready("bulb")
	if usec := h.file("bulb/usec"); usec != "100000" {
		t.Errorf("WATCHDOG_USEC is %q", usec)
	}
	for range 8 {
		h.put("bulb/say", "WATCHDOG=1")
		h.eventually("it was said", func() bool { return h.file("bulb/say") == "" })
	}
	h.eventually("it is ended", func() bool { return len(h.exits("bulb")) > 0 })
	if why := h.exits("bulb")[0].Why; why.Code != topics.NotLive || !strings.Contains(why.Text, "WATCHDOG=1 on its NOTIFY_SOCKET, every 100ms): nothing came") {
		t.Errorf("its why is %+v", why)
	}
}

// Another service's process knows the path too, and is not heard.
func TestAStrangerIsNotHeard(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"bulb": plays("notifier"), "liar": strings.Replace(plays("notifier"), "exec", "NOTIFY_SOCKET=$$(dirname $$NOTIFY_SOCKET)/bulb.notify exec", 1)})
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{
		"bulb": {Run: true, Rev: "1", Ready: &topics.Readiness{By: "notify"}},
		"liar": run("1"),
	})
	h.eventually("it waits", func() bool { return strings.Contains(h.text("bulb"), "READY=1") })
	h.ready("liar")
	h.put("liar/say", "READY=1\nSTATUS=lies")
	h.eventually("the liar spoke", func() bool { return h.file("liar/say") == "" })
	h.put("bulb/say", "STATUS=dark")
	h.eventually("the bulb is heard", func() bool { return h.state("bulb").Status != "" })
	if s := h.state("bulb"); s.Ready || s.Status != "dark" {
		t.Errorf("the liar was believed: %+v", s)
	}
}

func TestAFileShowsReadinessAndLife(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"log": "start:\n\t@echo $$START_ID >> starts; while [ ! -e go ]; do sleep 0.02; done; while [ ! -e halt ]; do echo x >> beat; sleep 0.02; done; exec sleep 1000\n"})
	h.write("log/beat", "of a former start\n")
	h.begin()
	h.connect()
	h.want(one("log", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "file", Path: "beat"}, Live: ask("file", "beat")}))
	h.eventually("it waits", func() bool { return strings.Contains(h.text("log"), "written the file beat") })
	if h.state("log").Ready {
		t.Error("a former start's file makes it ready")
	}
	h.write("log/go", "")
	h.ready("log")
	h.write("log/halt", "")
	h.eventually("it is ended", func() bool { return len(h.exits("log")) > 0 })
	if why := h.exits("log")[0].Why; why.Code != topics.NotLive || !strings.Contains(why.Text, "it was not written") {
		t.Errorf("its why is %+v", why)
	}
}

func TestATopicShowsLife(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": "start:\n\t@echo $$START_ID >> starts; exec sleep 1000\n"})
	h.begin()
	h.connect()
	want := run("1")
	want.Live = ask("topic", "")
	h.want(one("lamp", want))
	first := h.ready("lamp")
	for began := time.Now(); time.Since(began) < 600*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		h.hear(space.ServiceAlive("lamp", attic), []byte(first.Start))
	}
	if s := h.state("lamp"); s.Start != first.Start || !s.Ready {
		t.Errorf("it says that it lives, and is %+v", s)
	}
	for len(h.exits("lamp")) == 0 { // another start's word is none of its own
		h.hear(space.ServiceAlive("lamp", attic), []byte("another"))
		time.Sleep(20 * time.Millisecond)
	}
	if why := h.exits("lamp")[0].Why; why.Code != topics.NotLive {
		t.Errorf("its why is %+v", why)
	}
}

func TestAOneshotRunsOnceAndIsDone(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"job": "start:\n\t@echo $$START_ID >> starts; while [ ! -e go ]; do sleep 0.02; done\n"})
	h.begin()
	h.connect()
	want := topics.Wanted{Run: true, Rev: "1", Type: topics.Oneshot}
	h.want(one("job", want))
	if s := h.phase("job", topics.PhaseRunning); s.Ready || s.Why == nil {
		t.Errorf("while it runs it is %+v", s)
	}
	h.write("job/go", "")
	done := h.phase("job", topics.PhaseDone)
	if !done.Ready || done.Why != nil || done.Exit == nil || done.Exit.Code != 0 || done.Port != 0 {
		t.Errorf("done, it is %+v", done)
	}
	once := func(story string, n int) {
		t.Helper()
		if starts := h.starts("job"); len(starts) != n {
			t.Errorf("%s: it ran %d times, want %d", story, len(starts), n)
		}
	}
	h.finish(nil)
	h.begin()
	h.connect()
	h.want(one("job", want))
	h.eventually("the next agent knows that it is done", func() bool { s := h.state("job"); return s.Phase == topics.PhaseDone && s.Ready })
	if s := h.state("job"); s.Since != done.Since || s.Exit == nil {
		t.Errorf("it is told as %+v", s)
	}
	once("after the agent's restart", 1)
	h.request("r1", "restart", "job")
	h.eventually("a person has it run again", func() bool { return h.state("job").Phase == topics.PhaseDone && len(h.starts("job")) == 2 })
	want.Rev = "2"
	h.want(one("job", want))
	h.eventually("a new revision runs", func() bool { return h.state("job").Phase == topics.PhaseDone && len(h.starts("job")) == 3 })
	want.Run = false
	h.want(one("job", want))
	h.phase("job", topics.PhaseStopped)
	want.Run = true
	h.want(one("job", want))
	h.eventually("it is wanted again", func() bool { return h.state("job").Phase == topics.PhaseDone && len(h.starts("job")) == 4 })
}

// make's shell has written down how it ended.
func TestAOneshotThatEndedWhileNoAgentWasThereIsDone(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{
		"good": "start:\n\t@echo $$START_ID >> starts; while [ ! -e go ]; do sleep 0.02; done; touch ended\n",
		"bad":  "start:\n\t@echo $$START_ID >> starts; while [ ! -e go ]; do sleep 0.02; done; touch ended; exit 7\n",
	})
	h.begin()
	h.connect()
	want := map[topics.Service]topics.Wanted{
		"good": {Run: true, Rev: "1", Type: topics.Oneshot},
		"bad":  {Run: true, Rev: "1", Type: topics.Oneshot, Restart: &topics.Restart{Policy: topics.RestartNever}},
	}
	h.want(want)
	pids := map[topics.Service]int{}
	for _, name := range []topics.Service{"good", "bad"} {
		pids[name] = h.phase(name, topics.PhaseRunning).PID
		h.eventually("it runs", func() bool { return len(h.starts(name)) == 1 })
	}
	h.finish(nil)
	for name, pid := range pids {
		h.write(string(name)+"/go", "")
		h.eventually("it ended", func() bool { return h.file(string(name)+"/ended") == "" && syscall.Kill(pid, 0) != nil })
	}
	h.begin()
	h.connect()
	h.want(want)
	if s := h.phase("good", topics.PhaseDone); !s.Ready || len(h.starts("good")) != 1 {
		t.Errorf("good is %+v, started %d times", s, len(h.starts("good")))
	}
	h.eventually("bad is known to have failed", func() bool { return h.state("bad").Exit != nil && h.state("bad").Phase == topics.PhaseStopped })
	if s := h.state("bad"); s.Exit.Code != 7 || len(h.starts("bad")) != 1 {
		t.Errorf("bad is %+v, started %d times", s, len(h.starts("bad")))
	}
}

func TestAOneshotsFailures(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{
		"shaky": "start:\n\t@echo $$START_ID >> starts; [ $$(wc -l < starts) = 3 ] || { echo no disk; exit 7; }\n",
		"once":  "start:\n\t@echo $$START_ID >> starts; echo no luck; exit 7\n",
		"slow":  "start:\n\t@echo $$START_ID >> starts; exec sleep 1000\n",
	})
	h.begin()
	h.connect()
	never := &topics.Restart{Policy: topics.RestartNever}
	want := map[topics.Service]topics.Wanted{
		"shaky": {Run: true, Rev: "1", Type: topics.Oneshot},
		"once":  {Run: true, Rev: "1", Type: topics.Oneshot, Restart: never},
		"slow":  {Run: true, Rev: "1", Type: topics.Oneshot, Restart: never, Ready: &topics.Readiness{By: topics.ReadyDone, Timeout: 0.2}},
	}
	h.want(want)
	if s := h.phase("shaky", topics.PhaseDone); !s.Ready || s.Restarts != 2 {
		t.Errorf("shaky is %+v", s)
	}
	if lines := h.exits("shaky")[0].Lines; len(lines) == 0 || lines[0] != "no disk" {
		t.Errorf("its exit event has the lines %q", lines)
	}
	s := h.why("once", topics.Exited)
	if s.Phase != topics.PhaseStopped || s.Ready || !strings.Contains(s.Why.Text, "no luck; it is not started again (restart = \"never\")") || s.Why.Next != "dominion restart once" {
		t.Errorf("once is %+v %+v", s, s.Why)
	}
	s = h.why("slow", topics.StartTimeout)
	if s.Phase == topics.PhaseStopping {
		s = h.phase("slow", topics.PhaseStopped)
	}
	if !strings.Contains(s.Why.Text, "was not done within 200ms") {
		t.Errorf("slow is %+v %+v", s, s.Why)
	}
	h.finish(nil)
	h.begin()
	h.connect()
	h.want(want)
	if s := h.why("once", topics.Exited); s.Phase != topics.PhaseStopped || len(h.starts("once")) != 1 {
		t.Errorf("the next agent has it as %+v, started %d times", s, len(h.starts("once")))
	}
	h.request("r1", "reset", "once")
	h.eventually("a person has it tried again", func() bool { return len(h.starts("once")) == 2 })
}

func TestPoliciesOfWhatRunsForEver(t *testing.T) {
	t.Parallel()
	ends := func(code string) string {
		return "start:\n\t@echo $$START_ID >> starts; while [ ! -e go ]; do sleep 0.02; done; exit " + code + "\n"
	}
	h := newHome(t, map[string]string{"good": ends("0"), "bad": ends("3"), "never": ends("3")})
	h.begin()
	h.connect()
	with := func(policy string) topics.Wanted {
		w := run("1")
		w.Restart = &topics.Restart{Policy: policy, First: 0.05}
		return w
	}
	h.want(map[topics.Service]topics.Wanted{
		"good": with(topics.RestartOnFailure), "bad": with(topics.RestartOnFailure), "never": with(topics.RestartNever),
	})
	for _, name := range []topics.Service{"good", "bad", "never"} {
		h.ready(name)
		h.write(string(name)+"/go", "")
	}
	if s := h.phase("good", topics.PhaseDone); s.Ready || s.Why == nil || !strings.Contains(s.Why.Text, `(restart = "on-failure")`) {
		t.Errorf("good is %+v %+v", s, s.Why)
	}
	if s := h.phase("never", topics.PhaseStopped); s.Why.Code != topics.Exited || s.Exit.Code != 3 {
		t.Errorf("never is %+v %+v", s, s.Why)
	}
	h.eventually("bad is tried again", func() bool { return len(h.starts("bad")) >= 3 })
	if n := len(h.starts("good")) + len(h.starts("never")); n != 2 {
		t.Errorf("those that should rest were started %d times", n)
	}
	h.want(map[topics.Service]topics.Wanted{"never": with(topics.RestartAlways)})
	h.eventually("another policy takes it up", func() bool { return len(h.starts("never")) >= 2 })
}

func TestAScheduledServiceWaitsForItsHour(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"backup": "start:\n\t@echo $$START_ID >> starts\n"})
	h.write("backup/service.toml", "")
	h.cfg.Manifest = func(string) (device.Manifest, error) {
		return device.Manifest{Terms: topics.Wanted{Schedule: "@yearly"}}, nil
	}
	h.begin()
	h.connect()
	want := topics.Wanted{Run: true, Rev: "1"}
	h.want(one("backup", want))
	s := h.why("backup", topics.Scheduled)
	if s.Phase != topics.PhaseWaiting || !strings.HasSuffix(string(s.NextRun), "-01-01T00:00:00Z") && time.Local == time.UTC || !strings.HasPrefix(s.Why.Text, "runs next at 00:00 on ") {
		t.Errorf("it is %+v %+v", s, s.Why)
	}
	h.request("r1", "restart", "backup")
	if s := h.phase("backup", topics.PhaseDone); !s.Ready || s.NextRun == "" {
		t.Errorf("after a person had it run it is %+v", s)
	}
	h.finish(nil)

	// The machine was off at new year, and for a day after.
	raw, err := os.ReadFile(filepath.Join(h.cfg.DataDir, "ended.json"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(raw), `"ran"`)
	missed := before + `"ran": {"backup": "` + time.Date(time.Now().Year()-1, 12, 31, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) + "\"}}"
	if err := os.WriteFile(filepath.Join(h.cfg.DataDir, "ended.json"), []byte(missed), 0o600); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.connect()
	h.want(one("backup", want))
	h.eventually("what was missed is made up for", func() bool { return len(h.starts("backup")) == 2 && h.state("backup").Phase == topics.PhaseDone })
	h.request("p1", "ping", "host")
	if n := len(h.starts("backup")); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

func TestTermsThatDoNotFitTogetherAreToldAtTheStart(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"job": "start:\n\t@exec sleep 1000\n"})
	h.write("job/service.toml", "")
	h.cfg.Manifest = func(string) (device.Manifest, error) {
		return device.Manifest{Terms: topics.Wanted{Type: topics.Oneshot}}, nil
	}
	h.begin()
	h.connect()
	h.want(one("job", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: "tcp"}}))
	if s := h.why("job", topics.StartFailed); !strings.Contains(s.Why.Text, "do not fit together: ready is tcp, and a oneshot is ready when it is done") {
		t.Errorf("its why is %+v", s.Why)
	}
}
