package device_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dominion/device"
	"dominion/topics"
)

// engine has one container, and answers as Docker 27 does. It is no engine:
// what it gives is recorded (see device/docker).
type engine struct {
	mu      sync.Mutex // guards all below
	state   string
	orders  []string
	prints  string
	changed chan struct{} // closed at the next change
}

func (e *engine) set(state string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = state
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1.41")
	switch {
	case path == "/version":
		fmt.Fprint(w, `{"ApiVersion":"1.47","MinAPIVersion":"1.24"}`)
	case path == "/containers/frigate/json":
		e.mu.Lock()
		defer e.mu.Unlock()
		fmt.Fprintf(w, `{"State":%s,"NetworkSettings":{"Ports":{"5000/tcp":[{"HostPort":"5000"}]}}}`, e.state)
	case path == "/containers/frigate/logs":
		fmt.Fprint(w, e.prints)
	case path == "/containers/frigate/start", path == "/containers/frigate/stop":
		e.mu.Lock()
		e.orders = append(e.orders, filepath.Base(path))
		e.mu.Unlock()
		e.set(map[string]string{"start": up, "stop": down}[filepath.Base(path)])
		w.WriteHeader(http.StatusNoContent)
	case path == "/events":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for {
			e.mu.Lock()
			changed := e.changed
			e.mu.Unlock()
			select {
			case <-changed:
				fmt.Fprintln(w, `{"Type":"container","Action":"die"}`)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

const (
	up      = `{"Status":"running","Running":true,"Pid":77,"StartedAt":"2026-01-01T00:00:00Z"}`
	down    = `{"Status":"exited","ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z"}`
	well    = `{"Status":"running","Running":true,"Pid":77,"Health":{"Status":"healthy"},"StartedAt":"2026-01-01T00:00:00Z"}`
	ill     = `{"Status":"running","Running":true,"Pid":77,"Health":{"Status":"unhealthy","Log":[{"Output":"no answer from the camera"}]},"StartedAt":"2026-01-01T00:00:00Z"}`
	crashed = `{"Status":"exited","ExitCode":3,"StartedAt":"2026-01-01T00:00:00Z"}`
)

// noCamera is a line as the engine frames it.
const noCamera = "\x01\x00\x00\x00\x00\x00\x00\x0ano camera\n"

// newEngine is a machine with that engine, and with its container observed.
func newEngine(t *testing.T, e http.Handler) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(e)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	h, _ := newSystemd(t)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "docker.sock"))
	h.manifest("frigate", device.Manifest{Container: "frigate"})
	return h
}

// TestAnEngineThatHangsKeepsNobodyWaiting holds that the agent is there, though
// the engine of all the containers that it has taken over answers nothing.
func TestAnEngineThatHangsKeepsNobodyWaiting(t *testing.T) {
	h := newEngine(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	runs := filepath.Join(h.cfg.DataDir, "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		entry := fmt.Sprintf(`{"service":"c%d","start":"s%[1]d","runner":"docker","outside":"c%[1]d","step":"start"}`, i)
		if err := os.WriteFile(filepath.Join(runs, fmt.Sprintf("c%d.json", i)), []byte(entry), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	h.begin()
	h.connect()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("online after %v", took)
	}
	for i := range 20 {
		h.request(fmt.Sprint("many", i), "tail", "frigate")
	}
	if r := h.answered("many19"); r.Status != topics.Refused || !strings.Contains(r.Why.Text, "16 streams") {
		t.Errorf("answer %+v", r)
	}
	h.finish(nil)
	for i := range 8 {
		if err := os.Remove(filepath.Join(runs, fmt.Sprintf("c%d.json", i))); err != nil {
			t.Error("what is unknown is over:", err)
		}
	}
}

// TestWhatAContainerSaysIsCutAndCleaned holds that a container can print what
// it wants, and its state is still said, and no terminal takes orders from it.
func TestWhatAContainerSaysIsCutAndCleaned(t *testing.T) {
	e := &engine{state: crashed, changed: make(chan struct{}), prints: "\x1b[31mno camera " + strings.Repeat("x", 2<<20) + "\n"}
	h := newEngine(t, e)
	h.begin()
	h.connect()
	s := h.until("its failure is seen", "frigate", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseStopped })
	if text := s.Why.Text; !strings.HasPrefix(text, "ended with code 3: no camera xxx") || len(text) > 300 {
		t.Errorf("why of %d bytes: %.60q", len(text), text)
	}
	h.request("t1", "tail", "frigate")
	h.replies("t1", topics.Done)
	if said := decoded[topics.LogLines](t, h.last(space.Occurrence(attic, "log", "frigate")).Payload); len(said.Lines) != 1 || !strings.HasPrefix(said.Lines[0], "no camera") || len(said.Lines[0]) > 1100 {
		t.Errorf("%d lines", len(said.Lines))
	}
	e.set(strings.Replace(ill, "no answer from the camera", "no\\u001b[31m\\nanswer"+strings.Repeat("x", 2<<20), 1))
	s = h.until("its health check is heard", "frigate", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseRunning })
	if text := s.Why.Text; !strings.Contains(text, "no answerxxx") || len(text) > 300 {
		t.Errorf("why of %d bytes: %.60q", len(text), text)
	}
}

func TestAContainerIsObservedAndThenTheHousesOwn(t *testing.T) {
	e := &engine{state: up, changed: make(chan struct{}), prints: noCamera}
	h := newEngine(t, e)
	h.begin()
	h.connect()
	s := h.until("it is observed", "frigate", func(s topics.ServiceState) bool { return s.Ready })
	if !s.Observed || s.Runner != "docker" || s.PID != 77 || s.Port != 5000 {
		t.Errorf("state %+v", s)
	}
	e.set(crashed)
	s = h.until("its failure is seen", "frigate", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseStopped })
	if s.Why == nil || s.Why.Text != "ended with code 3: no camera" || s.Why.Next != "docker logs --tail 50 frigate" {
		t.Errorf("why %+v", s.Why)
	}
	h.request("t1", "tail", "frigate")
	if r := h.replies("t1", topics.Done)[0]; !strings.Contains(r.Result, "1 line, kept by docker (on attic: docker logs --tail 50 frigate)") {
		t.Errorf("reply %+v", r)
	}
	if said := decoded[topics.LogLines](t, h.last(space.Occurrence(attic, "log", "frigate")).Payload); len(said.Lines) != 1 || said.Lines[0] != "no camera" || !said.Last {
		t.Errorf("lines %+v", said)
	}
	h.manifest("frigate", device.Manifest{Container: "frigate", Own: true})
	h.want(one("frigate", topics.Wanted{Run: true, Rev: "1"}))
	h.until("the house starts it", "frigate", func(s topics.ServiceState) bool { return s.Ready && !s.Observed && s.Start != "" })
	e.set(ill)
	s = h.until("its health check is heard", "frigate", func(s topics.ServiceState) bool { return !s.Ready })
	if s.Phase != topics.PhaseRunning || s.Why == nil || !strings.Contains(s.Why.Text, "no answer from the camera") {
		t.Errorf("state %+v, why %+v", s, s.Why)
	}
	e.set(well)
	h.until("it is well again", "frigate", func(s topics.ServiceState) bool { return s.Ready && s.Why == nil })
	h.want(one("frigate", topics.Wanted{Rev: "1"}))
	h.until("the house stops it", "frigate", func(s topics.ServiceState) bool { return s.Phase == topics.PhaseStopped && !s.Observed })
	e.mu.Lock()
	defer e.mu.Unlock()
	if got := strings.Join(e.orders, " "); got != "start stop" {
		t.Errorf("the engine was told to %s", got)
	}
}
