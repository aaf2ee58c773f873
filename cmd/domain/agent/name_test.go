package agent_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/broker/client"
	"dominion/cmd/domain/agent"
	"dominion/topics"
)

// everybody may write everything.
type everybody struct{ topics.Space }

func (everybody) MayWrite(topics.Identity, string) bool { return true }

// bus is a broker and somebody on it who is coordinator and clone in one.
type bus struct {
	t       *testing.T
	dial    func(context.Context) (net.Conn, error)
	someone *client.Client
}

func newBus(t *testing.T) *bus {
	server, err := broker.Open(broker.Options{Rules: everybody{}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	as := func(who topics.Identity) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) { return server.Pipe(who), nil }
	}
	b := &bus{t: t, dial: as(topics.Identity{Role: topics.RoleNode, Name: "attic"})}
	if b.someone, err = client.New(client.Options{Dial: as(topics.Identity{Role: topics.RoleOperator}), Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- b.someone.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-left; server.Close(); <-served })
	for late := time.After(10 * time.Second); ; {
		select {
		case in := <-b.someone.Inbound():
			if in.Link == topics.LinkSynced {
				return b
			}
		case <-late:
			t.Fatal("the broker lets nobody in")
		}
	}
}

func (b *bus) say(topic string, payload any, retained bool) {
	b.t.Helper()
	m := topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1, Retained: retained}
	if err := b.someone.Publish(b.t.Context(), m); err != nil {
		b.t.Error(err)
	}
}

// agent runs an agent until another machine has its name, with a clone that
// does something again and again meanwhile.
func (b *bus) agent(c agent.Config, clone func()) *client.NameInUse {
	b.t.Helper()
	a, err := agent.New(c, agent.Link{Broker: "mqtt://127.0.0.1:1", Dial: b.dial, Loopback: true}, zerolog.Nop())
	if err != nil {
		b.t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case err := <-ended:
			var inUse *client.NameInUse
			if !errors.As(err, &inUse) {
				b.t.Fatalf("the agent ended with %v, want a name in use", err)
			}
			if remedy := "give this machine another name"; !strings.Contains(err.Error(), remedy) {
				b.t.Errorf("%q does not say: %s", err, remedy)
			}
			if what := map[bool]string{true: "its services go on", false: "was stopped"}[inUse.Born]; !strings.Contains(err.Error(), what) {
				b.t.Errorf("%q does not say: %s", err, what)
			}
			return inUse
		case <-again.C:
			clone()
		}
	}
}

// TestNameInUse holds that a clone does not make a machine go dark, and that
// a name that was chosen twice makes no second copies.
func TestNameInUse(t *testing.T) {
	space := topics.Space{}
	c := agent.Defaults()
	c.Name, c.Data, c.ServicesDir = "attic", t.TempDir(), t.TempDir()
	dir := filepath.Join(c.ServicesDir, "lamp")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte("start:\n\t@echo $$$$ > pid; exec sleep 1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := func() int {
		text, _ := os.ReadFile(filepath.Join(dir, "pid"))
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	alive := func(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }
	t.Cleanup(func() {
		if p := pid(); alive(p) {
			syscall.Kill(p, syscall.SIGKILL)
		}
	})
	b := newBus(t)
	b.say(space.DesiredServices("attic"), topics.Document{House: "h", Term: 1, Gen: 1,
		Services: map[topics.Service]topics.Wanted{"lamp": {Run: true, Rev: "1"}}}, true)

	// The clone's machine id is the smaller one: this machine leaves.
	clone := topics.Presence{State: topics.Online, Sid: "clone", ID: "!"}
	inUse := b.agent(c, func() {
		b.say(space.PlanHeartbeat(), topics.Heartbeat{Sid: "leader"}, false)
		if alive(pid()) {
			b.say(space.Presence("attic"), clone, true)
		}
	})
	first := pid()
	if !inUse.Born || !alive(first) {
		t.Fatalf("a clone took the name (born %v): the service is alive: %v", inUse.Born, alive(first))
	}

	// The next agent finds the clone alive: what it took over is not its own.
	beat := func() { b.say(space.Heartbeat("attic"), topics.Heartbeat{Sid: clone.Sid}, false) }
	if inUse = b.agent(c, beat); inUse.Born || !alive(first) || pid() != first {
		t.Fatalf("the name is the clone's (born %v): the adopted service is alive: %v", inUse.Born, alive(first))
	}

	// One that started the service itself, for it had heard of nothing newer.
	syscall.Kill(first, syscall.SIGKILL)
	if inUse = b.agent(c, func() {
		if p := pid(); p != first && alive(p) {
			beat()
		}
	}); inUse.Born || pid() == first || alive(pid()) {
		t.Errorf("the name is the clone's (born %v): a second copy is alive: %v", inUse.Born, alive(pid()))
	}
}
