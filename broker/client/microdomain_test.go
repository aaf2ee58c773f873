package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"dominion/broker/client"
	"dominion/topics"
)

// serve runs a microdomain on a broker until it is stopped.
func serve(t *testing.T, b *testBroker, m *client.Microdomain) (stop func() error) {
	t.Helper()
	m.Broker, m.Client = b.url, func(o *client.Options) { o.Dial = b.dial }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx) }()
	var err error
	done := false
	stop = func() error {
		if cancel(); !done {
			err, done = <-ended, true
		}
		return err
	}
	t.Cleanup(func() { stop() })
	return stop
}

func waits(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// TestMicrodomain holds that a program of ten lines is a node as the protocol
// has it: born with its service, answering, and gone with a word.
func TestMicrodomain(t *testing.T) {
	eachBroker(t, func(t *testing.T, b *testBroker) {
		space := newSpace()
		w := newWitness(t, b, space)
		says := func(topic string, parts ...string) {
			t.Helper()
			eventually(t, func() string {
				all := w.on(topic)
				if len(all) == 0 {
					return "nothing on " + topic
				}
				last := string(all[len(all)-1].Payload)
				for _, part := range parts {
					if !strings.Contains(last, part) {
						return topic + " lacks " + part + ": " + last
					}
				}
				return ""
			})
		}
		m := client.Microdomain{
			Node: "lamp-2", Service: "lamp", Base: space.Base, Version: "1.0.0", Host: "192.168.1.9", Port: 80, Run: waits,
			Methods: map[string]func(context.Context, topics.Request) (string, error){
				"blink": func(_ context.Context, r topics.Request) (string, error) { return "blinked " + r.Arg("color"), nil },
				"glow": func(ctx context.Context, _ topics.Request) (string, error) {
					<-ctx.Done()
					return "glowed to the end", nil
				},
				"burn": func(context.Context, topics.Request) (string, error) { return "", errors.New("too hot") },
			},
		}
		m.Ready(false, "warms up")
		stop := serve(t, b, &m)
		says(space.Presence("lamp-2"), `"state":"online"`)
		says(space.Info("lamp-2"), `"kind":"micro"`, `"services":{"lamp":"1.0.0"}`, `"methods":["blink","burn","glow","ping"]`)
		says(space.ServiceState("lamp-2", "lamp"), `"phase":"running"`, `"ready":false`, `"host":"192.168.1.9"`, "warms up")
		m.Ready(true, "")
		says(space.ServiceState("lamp-2", "lamp"), `"ready":true`)
		says(space.Heartbeat("lamp-2"), `"seq":`)

		for method, want := range map[string]string{"blink": `"result":"blinked red"`, "burn": "too hot", "ping": "pong", "dance": "blink, burn, glow, ping"} {
			w.publish(space.Command("lamp-2", method, "host"), `{"id":"`+method+`","color":"red"}`, false)
			says(space.Reply("lamp-2", method), want)
		}
		w.publish(space.Command("lamp-2", "glow", "host"), `{"id":"glow"}`, false)
		says(space.Reply("lamp-2", "glow"), `"status":"accepted"`)
		if err := stop(); err != nil {
			t.Error(err)
		}
		says(space.Reply("lamp-2", "glow"), "glowed to the end")
		says(space.ServiceState("lamp-2", "lamp"), `"phase":"stopped"`)
		says(space.Presence("lamp-2"), `"state":"stopped"`)
	})
}

func TestMicrodomainEndsWithItsService(t *testing.T) {
	b, space := embedded(t), newSpace()
	for _, want := range []error{nil, errors.New("burnt out")} {
		m := client.Microdomain{Node: "lamp-2", Service: "lamp", Base: space.Base, Run: func(context.Context) error { return want }}
		m.Broker, m.Client = b.url, func(o *client.Options) { o.Dial = b.dial }
		if err := m.Serve(t.Context()); !errors.Is(err, want) {
			t.Errorf("Serve returned %v, Run %v", err, want)
		}
	}
}

func TestMicrodomainIsRefused(t *testing.T) {
	for says, m := range map[string]*client.Microdomain{
		"offers no service": {Node: "lamp-2", Run: waits},
		"nothing to run":    {Node: "lamp-2", Service: "lamp"},
		"reserved":          {Node: "coordinator", Service: "lamp", Run: waits},
		"broker":            {Node: "lamp-2", Service: "lamp", Run: waits, Broker: "://"},
	} {
		if err := m.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
