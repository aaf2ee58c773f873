package device_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/device/journal"
	"dominion/topics"
)

func TestBirth(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.cfg.Traits = []topics.Trait{"compute"}
	h.begin()
	h.connect()
	h.want(map[topics.Service]topics.Wanted{"lamp": run("1"), "web": {Run: false}})
	h.ready("lamp")
	h.eventually("it is of the house", func() bool { return h.presence().House == house })
	h.eventually("it has measured", func() bool { return h.last(space.Host(attic)).Topic != "" })

	// The link breaks, the broker forgets: all is said again, presence last.
	h.wire.in <- topics.Inbound{Link: topics.LinkDown}
	h.wire.in <- topics.Inbound{Link: topics.LinkUp, Sid: "second"}
	h.request("p1", "ping", "host")
	h.replies("p1", topics.Done)
	h.wire.forget()
	h.wire.in <- topics.Inbound{Link: topics.LinkSynced, Sid: "second"}
	h.eventually("it is online", func() bool { return h.presence().State == topics.Online })
	h.acknowledged()
	var order []string
	for _, m := range h.wire.all() {
		order = append(order, m.Topic)
		if strings.Contains(m.Topic, "/state/") != m.Retained {
			t.Errorf("%s is published retained %v", m.Topic, m.Retained)
		}
		if quiet := strings.Contains(m.Topic, "heartbeat") || strings.HasSuffix(m.Topic, "/host"); quiet == (m.QoS == 1) {
			t.Errorf("%s is published with QoS %d", m.Topic, m.QoS)
		}
		if strings.Contains(m.Topic, "/state/") && !strings.HasSuffix(m.Topic, "/host") && !bytes.Contains(m.Payload, []byte(`"sid":"second"`)) {
			t.Errorf("%s has another session: %s", m.Topic, m.Payload)
		}
	}
	born := slices.Index(order, space.Presence(attic))
	for _, topic := range []string{space.ServiceState(attic, "lamp"), space.ServiceState(attic, "web"), space.Info(attic), space.Host(attic)} {
		if at := slices.Index(order, topic); at < 0 || at > born {
			t.Errorf("%s is not said before presence: %q", topic, order)
		}
	}
	if d := cmp.Diff(topics.Presence{State: topics.Online, Sid: "second", ID: "0123456789abcdef", House: house}, h.presence()); d != "" {
		t.Error(d)
	}
	info := decoded[topics.Info](t, h.last(space.Info(attic)).Payload)
	if info.Kind != topics.KindDomain || info.Gen != 1 || info.Term != 1 || info.OS == "" || info.PID != os.Getpid() ||
		!slices.Contains(info.Traits, h.cfg.Traits[0]) || !slices.Contains(info.Runners, "exec") || !slices.Contains(info.Runners, "make") || !slices.Contains(info.Methods, "restart") {
		t.Errorf("info %+v", info)
	}
	if _, ok := info.Services["lamp"]; !ok || len(info.Services) != 1 {
		t.Errorf("services on disk: %v", info.Services)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays, "web": stays})
	h.begin()
	h.connect()
	topic := space.DesiredServices(attic)
	h.gen = 4
	h.want(map[topics.Service]topics.Wanted{"lamp": run("1"), "web": run("1")})
	lamp, web := h.ready("lamp"), h.ready("web")

	stored, err := os.ReadFile(filepath.Join(h.cfg.DataDir, "desired.json"))
	if err != nil || !bytes.Contains(stored, []byte(`"gen": 5`)) {
		t.Errorf("stored %s, %v", stored, err)
	}
	h.hear(topic, document(1, 4, nil))
	if f := h.fault(topics.ErrDesired, topics.FaultBad); f.Topic != topic || f.Field != "services" {
		t.Errorf("fault %+v", f)
	}
	h.hear(topic, document(1, 4, one("lamp", topics.Wanted{})))
	if f := h.fault(topics.ErrDesired, topics.FaultStale); !strings.Contains(f.Text, "(1, 4)") || !strings.Contains(f.Text, "(1, 5)") {
		t.Errorf("fault %+v", f)
	}
	h.hear(topic, nil)
	h.fault(topics.ErrDesired, topics.FaultCleared)
	h.hear(topic, bytes.Replace(document(9, 9, one("lamp", topics.Wanted{})), []byte(house), []byte("other"), 1))
	h.fault(topics.ErrHouse, topics.FaultHouse)

	// One bad service is refused alone: it stays as it was, the others follow.
	h.hear(topic, []byte(`{"v":1,"house":"7f3a9c","term":1,"gen":6,"services":{"lamp":{"run":false,"env":{"X":"$(shell touch pwned)"}},"web":{"run":true,"rev":"2","ready":{"by":"delay","delay":0.05}}}}`))
	f := h.fault(topics.ErrDesired, topics.FaultService)
	if f.Field != "services.lamp.env.X" {
		t.Errorf("fault %+v", f)
	}
	h.eventually("web has its new rev", func() bool { s := h.state("web"); return s.Ready && s.Rev == "2" })
	if s := h.state("lamp"); !s.Ready || s.Start != lamp.Start || s.Why == nil || s.Why.Code != topics.BadValue || s.Gen != 5 {
		t.Errorf("state %+v, why %+v", s, s.Why)
	}
	if s := h.state("web"); s.Start == web.Start || s.Gen != 6 {
		t.Errorf("state %+v", s)
	}

	// What a newer document does not speak of is kept, even by the next agent.
	h.gen = 6
	h.want(one("web", run("2")))
	h.acknowledged()
	s := h.why("lamp", topics.Orphaned)
	if !s.Ready || s.Start != lamp.Start {
		t.Errorf("state %+v", s)
	}
	h.finish(nil)
	h.begin()
	h.connect(topics.Message{Topic: topic, Payload: document(1, 7, one("web", run("2")))})
	if s := h.why("lamp", topics.Orphaned); !s.Ready || s.Start != lamp.Start {
		t.Errorf("state %+v", s)
	}
	h.want(map[topics.Service]topics.Wanted{"web": run("2"), "lamp": {Run: false}})
	h.phase("lamp", topics.PhaseStopped)
	if n := len(h.starts("lamp")); n != 1 {
		t.Errorf("lamp was started %d times", n)
	}

	// What neither the document nor the disk knows is not reported.
	if err := os.RemoveAll(filepath.Join(h.cfg.ServicesDir, "lamp")); err != nil {
		t.Fatal(err)
	}
	h.finish(nil)
	h.begin()
	h.connect()
	h.fault(topics.ErrDesired, topics.FaultCleared) // nothing was retained
	h.want(one("web", run("2")))
	h.eventually("lamp is no more", func() bool {
		m := h.last(space.ServiceState(attic, "lamp"))
		return m.Topic != "" && len(m.Payload) == 0 && m.Retained
	})
}

func TestARefusedServiceThatNeverRanRests(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	bad := run("1")
	bad.Env = map[string]string{"LD_PRELOAD": "/tmp/x.so"}
	h.want(one("lamp", bad))
	s := h.why("lamp", topics.BadValue)
	if s.Phase != topics.PhaseStopped || !strings.Contains(s.Why.Text, "services.lamp.env.LD_PRELOAD") || len(h.starts("lamp")) != 0 {
		t.Errorf("state %+v, why %+v", s, s.Why)
	}
	h.want(one("lamp", run("1")))
	h.ready("lamp")
}

func TestNothingIsDoneThatIsNotStored(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", topics.Wanted{}))
	h.acknowledged()
	// A directory in the place of its file is like a disk that is full.
	path := filepath.Join(h.cfg.DataDir, "desired.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.want(one("lamp", run("1")))
	if f := h.fault(topics.ErrDesired, topics.FaultBad); !strings.Contains(f.Text, "cannot be stored") {
		t.Errorf("fault %+v", f)
	}
	if beat := decoded[topics.Heartbeat](t, h.last(space.Heartbeat(attic)).Payload); beat.Gen != 1 || len(h.starts("lamp")) != 0 {
		t.Errorf("acknowledges gen %d, %d starts", beat.Gen, len(h.starts("lamp")))
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	h.ready("lamp")
	h.acknowledged()
}

func TestHouseIsTakenFromALeaderThatIsHeard(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.wire.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
	h.want(one("lamp", run("1")))
	h.wire.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
	h.eventually("it is online", func() bool { return h.presence().State == topics.Online })
	time.Sleep(100 * time.Millisecond)
	if n := len(h.starts("lamp")); n != 0 || h.presence().House != "" {
		t.Fatalf("joined a house whose leader is not heard; %d starts", n)
	}
	h.planner()
	h.ready("lamp")
	h.eventually("it says its house", func() bool { return h.presence().House == house })
}

// During the replay nobody knows yet whether the name is another machine's.
func TestNothingIsDoneDuringTheReplay(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.wire.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
	h.planner()
	h.want(one("lamp", run("1")))
	time.Sleep(100 * time.Millisecond)
	if n := len(h.starts("lamp")); n != 0 {
		t.Fatalf("%d starts before the replay was over", n)
	}
	h.wire.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
	h.ready("lamp")
}

func TestBootsFromWhatWasStored(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"web": listens(), "lamp": stays, "away": stays})
	h.begin()
	h.connect()
	web := topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTCP}}
	lamp := run("1")
	lamp.Dependencies = []topics.Service{"web", "elsewhere"}
	lamp.Endpoints = map[topics.Service]topics.Target{"elsewhere": {Host: "10.0.0.1", Port: 80}}
	h.want(map[topics.Service]topics.Wanted{"web": web, "lamp": lamp, "away": run("1")})
	h.ready("lamp")
	h.ready("web")
	h.eventually("all have said that they started", func() bool { return len(h.starts("lamp")) == 1 && len(h.starts("away")) == 1 })
	h.finish(device.ErrStopServices)

	// No broker, no leader: after a moment it starts all, dependencies first.
	h.cfg.Timing.Boot = 300 * time.Millisecond
	began := time.Now()
	h.begin()
	h.eventually("lamp is started", func() bool { return len(h.starts("lamp")) == 2 })
	if waited := time.Since(began); waited < h.cfg.Timing.Boot {
		t.Errorf("started after %v: the house had no time to say something newer", waited)
	}
	h.connect()
	h.ready("lamp")
	webStarted, lampStarted := modified(t, h, "web/starts"), modified(t, h, "lamp/starts")
	if !webStarted.Before(lampStarted) {
		t.Errorf("web started at %v, lamp at %v", webStarted, lampStarted)
	}
	h.finish(device.ErrStopServices)

	// The house moved a service meanwhile: it is not started here.
	h.cfg.Timing.Boot = time.Minute
	h.begin()
	h.gen++
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, h.gen, map[topics.Service]topics.Wanted{"web": web, "lamp": lamp, "away": {Run: false}})})
	h.ready("web")
	h.phase("away", topics.PhaseStopped)
	if n := len(h.starts("away")); n > 2 {
		t.Errorf("away was started %d times, want 2", n)
	}
}

func modified(t *testing.T, h *home, path string) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(h.cfg.ServicesDir, path))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestCommands(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays, "bad": "start:\n\t@test -e good && exec sleep 1000; exit 1\n"})
	h.cfg.Timing.Backoff = device.Backoff{First: time.Hour, Cap: time.Hour}
	h.begin()
	h.connect()
	bad := topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 1}}
	h.want(map[topics.Service]topics.Wanted{"lamp": run("1"), "bad": bad, "off": {Run: false, Why: &topics.Why{Code: topics.StoppedByPerson, Text: "stopped by anna"}}})
	first := h.ready("lamp")
	h.phase("bad", topics.PhaseBackoff)

	h.request("c1", "ping", "host")
	if r := h.replies("c1", topics.Done); r[0].Topic != space.Command(attic, "ping", "host") {
		t.Errorf("reply %+v", r)
	}
	h.request("c2", "restart", "lamp")
	h.replies("c2", topics.Accepted, topics.Done)
	if s := h.state("lamp"); s.Start == first.Start || !s.Ready {
		t.Errorf("state %+v", s)
	}
	h.request("c3", "restart", "bad")
	if r := h.replies("c3", topics.Accepted, topics.Failed); r[1].Why == nil || r[1].Why.Code != topics.Exited {
		t.Errorf("replies %+v", r)
	}
	h.write("bad/good", "")
	h.request("c4", "reset", "bad")
	h.replies("c4", topics.Accepted, topics.Done)
	h.request("c5", "reset", "bad")
	h.replies("c5", topics.Done)
	for id, c := range map[string]struct{ method, subject, says string }{
		"r1": {"dance", "host", "this domain has: "},
		"r2": {"restart", "nothing", "no service"},
		"r3": {"restart", "off", "stopped by anna"},
		"r4": {"ping", "lamp", "host"},
		"r5": {"restart", "host", "no service"},
	} {
		h.request(id, c.method, c.subject)
		if r := h.replies(id, topics.Refused); r[0].Why == nil || !strings.Contains(r[0].Why.Text, c.says) {
			t.Errorf("%s/%s: %+v, why %+v", c.method, c.subject, r[0], r[0].Why)
		}
	}
}

func TestAddressIsNotLoopback(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.cfg.Loopback = false
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	if s := h.ready("lamp"); strings.HasPrefix(s.Host, "127.") {
		t.Errorf("host %s is published", s.Host)
	}
	h.cfg.Address = "127.0.0.1"
	if _, err := device.New(h.cfg); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("error %v", err)
	}
}

// TestIdleWritesNothing looks at every file of the agent's own for a while.
func TestIdleWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays})
	h.cfg.Timing.Heartbeat, h.cfg.Timing.Readings = 20*time.Millisecond, 50*time.Millisecond
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	look := func() map[string]time.Time {
		seen := map[string]time.Time{}
		err := filepath.Walk(h.cfg.DataDir, func(path string, info os.FileInfo, err error) error {
			if err == nil {
				seen[path] = info.ModTime()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	before := look()
	h.wire.forget()
	h.eventually("it has beaten a while", func() bool { return len(h.wire.all()) > 20 })
	if d := cmp.Diff(before, look()); d != "" {
		t.Errorf("an idle agent wrote:\n%s", d)
	}
}

// lines counts the lines of a log.
type lines struct {
	mu  sync.Mutex // guards all
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		var felt []bool
		a, err := device.New(device.Config{
			Name: attic, ID: "0123456789abcdef", ServicesDir: dir, DataDir: filepath.Join(dir, "data"),
			Loopback: true, Access: broker, Log: zerolog.New(log), Output: journal.Bounds{Every: time.Minute},
			Lonely: func(lonely bool) { felt = append(felt, lonely) },
		})
		if err != nil {
			t.Fatal(err)
		}
		w := newWire()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx, w) }()
		w.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
		w.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
		h := &home{T: t, wire: w}
		count := func(topic string) (n int) {
			for _, m := range w.all() {
				if m.Topic == topic {
					n++
				}
			}
			return n
		}

		time.Sleep(29 * time.Second)
		synctest.Wait()
		if n := count(space.Heartbeat(attic)); n != 6 {
			t.Errorf("%d heartbeats in 29 s, want 6", n)
		}
		if n := log.with("no leader"); n != 0 {
			t.Errorf("lonely before 30 s: %v", log.all)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := log.with("no leader"); n != 1 {
			t.Errorf("said %d times that it is lonely", n)
		}
		h.planner()
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if n := log.with("heard again"); n != 1 {
			t.Errorf("said %d times that the leader is back", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := log.with("no leader"); n != 2 {
			t.Errorf("said %d times that it is lonely", n)
		}
		if want := []bool{true, false, true}; !slices.Equal(felt, want) {
			t.Errorf("told that it is lonely: %v, want %v", felt, want)
		}
		if n := count(space.Host(attic)); n < 3 || n > 22 {
			t.Errorf("%d readings in 11 min, want one at the birth and one every 5 min at least, one every 30 s at most", n)
		}

		// Many refusals of one kind in a second are said once, then counted.
		w.forget()
		for range 10 {
			h.hear(space.DesiredServices(attic), []byte("nonsense"))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		f := h.faults(topics.ErrDesired)
		if len(f) != 2 || f[0].Count != 0 || f[1].Count != 8 {
			t.Errorf("faults %+v", f)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
