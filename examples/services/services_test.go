// Package services_test has the demo's house run the examples.
package services_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// house is a demo with the examples, and what its bus says.
type house struct {
	*testing.T
	bus  *client.Client
	mu   sync.Mutex // guards last
	last map[string][]byte
}

var space topics.Space

func open(t *testing.T) *house {
	t.Helper()
	for _, program := range []string{"make", "python3", "go", "mosquitto_pub"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the examples need %s, which is not installed", program)
		}
	}
	dominion := filepath.Join(t.TempDir(), "dominion")
	if out, err := exec.Command("go", "build", "-o", dominion, "dominion/cmd/dominion").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	demo := exec.Command(dominion, "demo", "--services", ".", "--port", fmt.Sprint(port))
	demo.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	said := &strings.Builder{}
	demo.Stdout, demo.Stderr = said, said
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = demo.Process.Signal(syscall.SIGTERM)
		if err := demo.Wait(); err != nil || t.Failed() {
			t.Errorf("the demo ended with %v, and said:\n%s", err, said)
		}
	})
	h := &house{T: t, last: map[string][]byte{}}
	h.bus, err = client.New(client.Options{Filters: []string{space.All()}, Broker: fmt.Sprintf("mqtt://127.0.0.1:%d", port), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.bus.Run(ctx) }()
	go h.listen(ctx)
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func (h *house) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case in, ok := <-h.bus.Inbound():
			if !ok {
				return
			}
			h.mu.Lock()
			h.last[in.Message.Topic] = in.Message.Payload
			h.mu.Unlock()
		}
	}
}

func (h *house) payload(topic string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[topic]
}

// state is what the machine that runs a service says of it.
func (h *house) state(name topics.Service) (s topics.ServiceState, at topics.Node) {
	for _, domain := range []topics.Node{"attic", "kitchen"} {
		got, err := topics.Decode[topics.ServiceState](h.payload(space.ServiceState(domain, name)))
		if err == nil && (at == "" || got.Phase != topics.PhaseStopped) {
			s, at = got, domain
		}
	}
	return s, at
}

func (h *house) eventually(what string, ok func() bool) {
	h.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("not after 90 s: %s", what)
		}
	}
}

func examples() []topics.Service { return []topics.Service{"shell", "python", "go"} }

func TestTheExamplesCountAndTakeTheirLeave(t *testing.T) {
	h := open(t)
	where := map[topics.Service]topics.Node{}
	for _, name := range examples() {
		h.eventually(string(name)+" is ready", func() bool { s, _ := h.state(name); return s.Ready })
		_, where[name] = h.state(name)
		h.eventually(string(name)+" counts", func() bool {
			said := string(h.payload(space.ServiceTopic(name, where[name]) + "/state"))
			return strings.Contains(strings.ReplaceAll(said, " ", ""), `{"count":2,"on":true}`)
		})
	}
	h.eventually("python says how it is", func() bool { s, _ := h.state("python"); return strings.HasPrefix(s.Status, "counted to ") })
	for _, name := range examples() {
		topic := space.Command(topics.Coordinator, "stop", string(name))
		if err := h.bus.Publish(t.Context(), topics.Message{Topic: topic, Payload: []byte("now"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range examples() {
		h.eventually(string(name)+" is stopped", func() bool { s, _ := h.state(name); return s.Phase == topics.PhaseStopped })
		if s, _ := h.state(name); s.Exit == nil || s.Exit.Code != 0 {
			t.Errorf("%s did not end gracefully: %+v", name, s.Exit)
		}
		if said := string(h.payload(space.ServiceTopic(name, where[name]) + "/state")); !strings.Contains(strings.ReplaceAll(said, " ", ""), `"on":false`) {
			t.Errorf("the last word of %s is %s", name, said)
		}
	}
}
