package docker_test

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/google/go-cmp/cmp"

	"dominion/device/docker"
	"dominion/device/outside"
	"dominion/device/process"
)

// recorded is not an engine: it gives answers as Docker 27 gave them, written
// down from its API's documentation and cut to what is read. What it shows is
// that they are understood, not that an engine gives them.
type recorded struct {
	mu     sync.Mutex // guards all below
	states []string   // the "State" of each next inspection, the last one for ever
	asked  []string
	events chan string
}

const (
	running = `{"Status":"running","Running":true,"Pid":4242,"ExitCode":0,"StartedAt":"2026-01-01T00:00:00.5Z"}`
	ended   = `{"Status":"exited","Running":false,"Pid":0,"ExitCode":3,"StartedAt":"2026-01-01T00:00:00Z"}`
	stopped = `{"Status":"exited","Running":false,"Pid":0,"ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z"}`
	oom     = `{"Status":"exited","Running":false,"OOMKilled":true,"Pid":0,"ExitCode":137,"StartedAt":"2026-01-01T00:00:00Z"}`
	fresh   = `{"Status":"running","Running":true,"Pid":4242,"StartedAt":"2026-01-01T00:00:00Z","Health":{"Status":"starting","Log":[]}}`
	healthy = `{"Status":"running","Running":true,"Pid":4242,"StartedAt":"2026-01-01T00:00:00Z","Health":{"Status":"healthy","Log":[]}}`
	ill     = `{"Status":"running","Running":true,"Pid":4242,"StartedAt":"2026-01-01T00:00:00Z","Health":{"Status":"unhealthy","Log":[{"ExitCode":1,"Output":"curl: (7) Failed to connect\n"}]}}`
	again   = `{"Status":"restarting","Running":true,"Restarting":true,"Pid":0,"ExitCode":1,"StartedAt":"2026-01-01T00:00:00Z"}`
)

func (r *recorded) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, q.Method+" "+q.URL.Path)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch path := q.Method + " " + q.URL.Path; path {
	case "GET /version":
		fmt.Fprint(w, `{"Version":"27.3.1","ApiVersion":"1.47","MinAPIVersion":"1.24","Os":"linux","Arch":"arm64"}`)
	case "GET /v1.41/containers/frigate/json":
		fmt.Fprintf(w, `{"Id":"8dfafdbc3a40","Name":"/frigate","State":%s,"NetworkSettings":{"Ports":{"8554/udp":[{"HostIp":"","HostPort":"1"}],"5000/tcp":[{"HostIp":"0.0.0.0","HostPort":"5000"},{"HostIp":"::","HostPort":"5000"}],"8971/tcp":[{"HostIp":"0.0.0.0","HostPort":"8971"}],"1984/tcp":null}}}`, r.next())
	case "GET /v1.41/events":
		r.stream(w, q)
	case "POST /v1.41/containers/frigate/start", "POST /v1.41/containers/frigate/stop":
		w.WriteHeader(http.StatusNoContent)
	case "GET /v1.41/containers/frigate/logs":
		w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
		for _, line := range []string{"detector starts\n", "no camera answers\n"} {
			w.Write(append([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(line))}, line...))
		}
	case "GET /v1.41/containers/json":
		fmt.Fprint(w, `[{"Id":"8dfafdbc3a40","Names":["/frigate"],"Image":"ghcr.io/blakeblackshear/frigate:stable","State":"running","Status":"Up 3 days (healthy)","Ports":[{"IP":"0.0.0.0","PrivatePort":5000,"PublicPort":5000,"Type":"tcp"},{"IP":"::","PrivatePort":5000,"PublicPort":5000,"Type":"tcp"},{"PrivatePort":1984,"Type":"tcp"}]},{"Id":"9cd87474be90","Names":["/esphome"],"Image":"esphome/esphome","State":"exited","Status":"Exited (0) 2 days ago","Ports":[]}]`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message":"No such container: nobody"}`)
	}
}

func (r *recorded) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.states[0]
	if len(r.states) > 1 {
		r.states = r.states[1:]
	}
	return state
}

func (r *recorded) stream(w http.ResponseWriter, q *http.Request) {
	var filters map[string][]string
	if json.Unmarshal([]byte(q.URL.Query().Get("filters")), &filters) != nil || !cmp.Equal(filters["container"], []string{"frigate"}) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case action := <-r.events:
			fmt.Fprintf(w, `{"Type":"container","Action":%q,"Actor":{"ID":"8dfafdbc3a40","Attributes":{"name":"frigate"}},"time":1767225600}`+"\n", action)
			w.(http.Flusher).Flush()
		case <-q.Context().Done():
			return
		}
	}
}

// serve answers on a socket of its own.
func serve(t *testing.T, states ...string) (*recorded, *docker.Engine) {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{states: states, events: make(chan string)}
	server := httptest.NewUnstartedServer(r)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	e := docker.Find()
	if e == nil || e.Socket != socket {
		t.Fatalf("engine %+v", e)
	}
	return r, e
}

func TestARecordedEnginesStatesAreUnderstood(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, e := serve(t, running, ended, stopped, oom, fresh, healthy, ill, again)
	for _, want := range []outside.State{
		{Stage: outside.Up, PID: 4242, Port: 5000, Since: began.Add(500 * time.Millisecond)},
		{Stage: outside.Failed, Says: "ended with code 3", Port: 5000, Exit: process.Exit{Known: true, Code: 3}},
		{Stage: outside.Down, Says: "does not run", Port: 5000, Exit: process.Exit{Known: true}},
		{Stage: outside.Failed, Says: "ended: the kernel killed it, its memory was used up", Port: 5000, Exit: process.Exit{Known: true, Signal: 9}},
		{Stage: outside.Starting, Says: "is being looked at by its health check", PID: 4242, Port: 5000, Since: began},
		{Stage: outside.Up, PID: 4242, Port: 5000, Since: began},
		{Stage: outside.Unwell, Says: "is unhealthy, as its own check says: curl: (7) Failed to connect", PID: 4242, Port: 5000, Since: began},
		{Stage: outside.Again, Says: "ended with code 1, and is started again by the engine", Port: 5000, Since: began},
	} {
		got, err := e.Look(t.Context(), "frigate")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	got, err := e.Look(t.Context(), "nobody")
	if err != nil || got.Stage != outside.Missing {
		t.Errorf("a container that is not there: %+v, %v", got, err)
	}
}

func TestARecordedEnginesEventsAreHeard(t *testing.T) {
	r, e := serve(t, running, ended)
	ctx, cancel := context.WithCancel(t.Context())
	over, states := make(chan struct{}), make(chan outside.State)
	go func() {
		defer close(over)
		e.Watch(ctx, "frigate", func(s outside.State, err error) {
			if err == nil {
				states <- s
			}
		})
	}()
	defer func() { cancel(); <-over }()
	if s := <-states; s.Stage != outside.Up {
		t.Errorf("at first %+v", s)
	}
	r.events <- "exec_create: /bin/sh -c curl -f http://localhost" // its health check
	r.events <- "die"
	if s := <-states; s.Stage != outside.Failed || s.Exit.Code != 3 {
		t.Errorf("after its end %+v", s)
	}
}

func TestARecordedEngineIsTold(t *testing.T) {
	r, e := serve(t, running)
	if err := e.Start(t.Context(), "frigate"); err != nil {
		t.Error(err)
	}
	if err := e.Stop(t.Context(), "frigate", 10*time.Second); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"detector starts", "no camera answers"}, e.Lines(t.Context(), "frigate", 10)); diff != "" {
		t.Error(diff)
	}
	all, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []outside.Found{
		{Name: "esphome", About: "esphome/esphome", State: outside.State{Stage: outside.Down, Says: "Exited (0) 2 days ago"}},
		{Name: "frigate", About: "ghcr.io/blakeblackshear/frigate:stable", State: outside.State{Stage: outside.Up, Says: "Up 3 days (healthy)"}, Ports: []int{5000}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	err = e.Start(t.Context(), "nobody")
	if !docker.NoSuch(err) || !strings.Contains(err.Error(), "No such container") {
		t.Errorf("start of one that is not there: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.asked[:3], ", "); got != "GET /version, POST /v1.41/containers/frigate/start, POST /v1.41/containers/frigate/stop" {
		t.Errorf("asked %s", got)
	}
}

func TestWithoutAnEngineThatIsSaid(t *testing.T) {
	if err := docker.New(filepath.Join(t.TempDir(), "no.sock")).Ping(t.Context()); !errors.Is(err, docker.ErrNone) {
		t.Errorf("error %v", err)
	}
	t.Setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
	if e := docker.Find(); e != nil {
		t.Errorf("another machine's engine was taken: %+v", e)
	}
}
