package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/device/process"
	"dominion/topics"
)

// wire is a bus of ten lines: what the agent publishes is kept, what the test
// says reaches it.
type wire struct {
	in   chan topics.Inbound
	mu   sync.Mutex // guards sent and down
	sent []topics.Message
	down bool
}

func newWire() *wire { return &wire{in: make(chan topics.Inbound, 64)} }

func (w *wire) Publish(_ context.Context, m topics.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return errors.New("the link is down")
	}
	w.sent = append(w.sent, m)
	return nil
}

func (w *wire) Inbound() <-chan topics.Inbound { return w.in }

func (w *wire) all() []topics.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]topics.Message(nil), w.sent...)
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = nil
}

const (
	attic = topics.Node("attic")
	sid   = topics.Sid("abc123")
	house = topics.HouseID("7f3a9c")
)

var space topics.Space

// broker is how all services reach the broker.
func broker(topics.Service) device.Access { return device.Access{URL: "mqtt://127.0.0.1:1883"} }

// home is one machine in a test: its directories and its agent.
type home struct {
	*testing.T
	cfg   device.Config
	wire  *wire
	end   context.CancelCauseFunc
	ended chan error
	gen   uint64
}

// newHome prepares a machine whose services are the given Makefiles.
func newHome(t *testing.T, makefiles map[string]string) *home {
	t.Helper()
	h := &home{T: t, cfg: device.Config{
		Name: attic, ID: "0123456789abcdef", Version: "0.1.0",
		ServicesDir: t.TempDir(), DataDir: filepath.Join(t.TempDir(), "data"),
		Loopback: true, Access: broker,
		Timing: device.Timing{Stop: 500 * time.Millisecond, Boot: 100 * time.Millisecond, Heartbeat: 200 * time.Millisecond,
			Missing: 100 * time.Millisecond,
			Backoff: device.Backoff{First: 100 * time.Millisecond}},
		Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
	}}
	for name, makefile := range makefiles {
		h.write(name+"/Makefile", makefile)
	}
	return h
}

func (h *home) write(path, text string) {
	h.Helper()
	path = filepath.Join(h.cfg.ServicesDir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

// begin starts the agent, without a link.
func (h *home) begin() {
	h.Helper()
	a, err := device.New(h.cfg)
	if err != nil {
		h.Fatal(err)
	}
	wire, ended := newWire(), make(chan error, 1)
	h.wire, h.ended = wire, ended
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(h.Context()))
	h.end = cancel
	go func() { ended <- a.Run(ctx, wire) }()
	h.Cleanup(func() {
		cancel(device.ErrStopServices)
		<-ended
		h.noneLeft()
	})
}

// finish ends the agent now.
func (h *home) finish(cause error) {
	h.Helper()
	h.end(cause)
	err := <-h.ended
	h.ended <- nil
	if err != nil {
		h.Fatal(err)
	}
}

// noneLeft ends what a failed test left behind.
func (h *home) noneLeft() {
	runs, _ := filepath.Glob(filepath.Join(h.cfg.DataDir, "runs", "*.json"))
	for _, path := range runs {
		var e struct {
			process.Identity
			Start string `json:"start"`
		}
		raw, _ := os.ReadFile(path)
		if json.Unmarshal(raw, &e) == nil && e.Start != "" {
			h.Logf("ends what %s left", filepath.Base(path))
			_ = process.End(context.WithoutCancel(h.Context()), e.Identity, e.Start, 0)
		}
	}
}

// connect brings the link up, with the leader's heartbeat and what is retained.
func (h *home) connect(retained ...topics.Message) {
	h.Helper()
	h.wire.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
	for _, m := range retained {
		m.Retained = true
		h.wire.in <- topics.Inbound{Message: m}
	}
	h.wire.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
	h.planner()
	h.eventually("it is online", func() bool { return h.presence().State == topics.Online })
}

func (h *home) planner() {
	h.hear(space.PlanHeartbeat(), topics.Encode(topics.Heartbeat{Sid: "lead00"}))
}

func (h *home) hear(topic string, payload []byte) {
	h.wire.in <- topics.Inbound{Message: topics.Message{Topic: topic, Payload: payload}}
}

// want sends the next document.
func (h *home) want(services map[topics.Service]topics.Wanted) {
	h.gen++
	h.hear(space.DesiredServices(attic), document(1, h.gen, services))
}

func document(term, gen uint64, services map[topics.Service]topics.Wanted) []byte {
	return topics.Encode(topics.Document{House: house, Term: term, Gen: gen, Services: services})
}

// run is the plainest wish.
func run(rev string) topics.Wanted {
	return topics.Wanted{Run: true, Rev: rev, Ready: &topics.Readiness{By: topics.ReadyDelay, Delay: 0.05}}
}

func one(name topics.Service, want topics.Wanted) map[topics.Service]topics.Wanted {
	return map[topics.Service]topics.Wanted{name: want}
}

func (h *home) request(id, method, subject string) {
	topic := space.Command(attic, method, subject)
	h.wire.in <- topics.Inbound{
		Request: &topics.Request{Node: attic, Method: method, Subject: subject, ID: id, Topic: topic, Word: "now"},
		Message: topics.Message{Topic: topic, Payload: []byte("now")},
	}
}

func (h *home) eventually(what string, ok func() bool) {
	h.Helper()
	eventually(h.T, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}

// last is the last message on a topic.
func (h *home) last(topic string) (found topics.Message) {
	for _, m := range h.wire.all() {
		if m.Topic == topic {
			found = m
		}
	}
	return found
}

func decoded[T any](t *testing.T, payload []byte) T {
	t.Helper()
	var zero T
	if len(payload) == 0 {
		return zero
	}
	v, err := topics.Decode[T](payload)
	if err != nil {
		t.Fatalf("payload %s: %v", payload, err)
	}
	return v
}

func (h *home) presence() topics.Presence {
	return decoded[topics.Presence](h.T, h.last(space.Presence(attic)).Payload)
}

func (h *home) state(name topics.Service) topics.ServiceState {
	return decoded[topics.ServiceState](h.T, h.last(space.ServiceState(attic, name)).Payload)
}

func (h *home) code(name topics.Service) string {
	if why := h.state(name).Why; why != nil {
		return why.Code
	}
	return ""
}

// ready waits until a service is ready and returns its state.
func (h *home) ready(name topics.Service) topics.ServiceState {
	h.Helper()
	h.eventually(string(name)+" is ready", func() bool { return h.state(name).Ready })
	return h.state(name)
}

func (h *home) phase(name topics.Service, phase topics.Phase) topics.ServiceState {
	h.Helper()
	h.eventually(fmt.Sprintf("%s is %s", name, phase), func() bool { return h.state(name).Phase == phase })
	return h.state(name)
}

func (h *home) why(name topics.Service, code string) topics.ServiceState {
	h.Helper()
	h.eventually(fmt.Sprintf("%s says %s", name, code), func() bool { return h.code(name) == code })
	return h.state(name)
}

// faults are the error events so far.
func (h *home) faults(subject string) (all []topics.Fault) {
	for _, m := range h.wire.all() {
		if m.Topic == space.Error(attic, subject) {
			all = append(all, decoded[topics.Fault](h.T, m.Payload))
		}
	}
	return all
}

func (h *home) fault(subject, code string) topics.Fault {
	h.Helper()
	var found topics.Fault
	h.eventually("the fault "+code, func() bool {
		for _, f := range h.faults(subject) {
			if f.Code == code {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// starts counts how often a service was started, by the lines it wrote to the
// file "starts" in its directory.
func (h *home) starts(name topics.Service) []string {
	raw, _ := os.ReadFile(filepath.Join(h.cfg.ServicesDir, string(name), "starts"))
	return strings.Fields(string(raw))
}

// file reads what a service wrote beside its Makefile.
func (h *home) file(path string) string {
	raw, _ := os.ReadFile(filepath.Join(h.cfg.ServicesDir, path))
	return strings.TrimSpace(string(raw))
}

// pid waits until a service wrote a pid, and reads it.
func (h *home) pid(path string) (pid int) {
	h.Helper()
	h.eventually(path+" holds a pid", func() bool {
		pid, _ = strconv.Atoi(h.file(path))
		return pid > 0
	})
	return pid
}

func alive(pid int) bool {
	id, err := process.Identify(pid)
	return err == nil && id.Alive()
}

// stays is a service that says that it started and stays.
const stays = `start:
	@echo $$START_ID >> starts; echo $$$$ > pid; exec sleep 1000
`

// replies waits for the answers to a command.
func (h *home) replies(id string, want ...topics.Status) []topics.Reply {
	h.Helper()
	var got []topics.Reply
	h.eventually(fmt.Sprintf("command %s is answered %v", id, want), func() bool {
		got = nil
		for _, m := range h.wire.all() {
			if m.Topic == space.Reply(attic, id) {
				got = append(got, decoded[topics.Reply](h.T, m.Payload))
			}
		}
		return len(got) >= len(want)
	})
	for i, w := range want {
		if got[i].Status != w {
			h.Fatalf("answers to %s: %+v, want %v", id, got, want)
		}
	}
	return got
}

// acknowledged waits for the heartbeat that acknowledges the last document.
func (h *home) acknowledged() {
	h.Helper()
	h.eventually("the document is acknowledged", func() bool {
		return decoded[topics.Heartbeat](h.T, h.last(space.Heartbeat(attic)).Payload).Gen == h.gen
	})
}
