package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"dominion/broker"
	"dominion/broker/client"
	"dominion/coordinator"
	"dominion/topics"
)

// house is the embedded broker and a leader that says what it wants, and beats.
type house struct {
	server *broker.Server
	bus    *client.Client
	wishes chan topics.Message
	states chan state
}

// state is a service's report, as it came.
type state struct {
	node    topics.Node
	service topics.Service
	at      time.Time
	topics.ServiceState
}

const (
	houseID  = topics.HouseID("bench0")
	leaderID = topics.MachineID("0123456789abcdef")
)

var leading = topics.Presence{State: topics.Online, ID: leaderID, House: houseID, Term: 1, Role: topics.Active}

func openHouse() (*house, error) {
	server, err := broker.Open(broker.Options{
		Listen: []string{"127.0.0.1:0"}, Anonymous: []topics.Identity{{Role: topics.RoleNode}, {Role: topics.RoleService}},
	})
	if err != nil {
		return nil, err
	}
	h := &house{server: server, wishes: make(chan topics.Message), states: make(chan state, 1000)}
	h.bus, err = client.New(client.Options{
		Node: topics.Coordinator, ID: leaderID, Shared: true,
		Filters: coordinator.Filters(topics.Space{}),
		Dial: func(context.Context) (net.Conn, error) {
			return server.Pipe(topics.Identity{Role: topics.RoleCoordinator}), nil
		},
	})
	return h, err
}

// run serves and leads until ctx ends.
func (h *house) run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- h.server.Run(ctx) }()
	err := client.Live(ctx, h.bus, h.lead)
	end()
	if serr := <-served; err == nil {
		err = serr
	}
	return err
}

// lead is the planner's loop of a house whose wishes never change.
func (h *house) lead(ctx context.Context) error {
	var space topics.Space
	beat := topics.Heartbeat{Term: 1}
	every := time.NewTicker(5 * time.Second)
	defer every.Stop()
	say := func(topic string, payload any, retained bool) error {
		return h.bus.Publish(ctx, topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1, Retained: retained})
	}
	wishes := chan topics.Message(nil) // until it leads
	for {
		var err error
		select {
		case in := <-h.bus.Inbound():
			if in.Link == topics.LinkSynced {
				beat.Sid, wishes = in.Sid, h.wishes
				birth := leading
				birth.Sid = in.Sid
				err = say(space.Presence(topics.Coordinator), birth, true)
			}
			h.hear(in.Message)
		case m := <-wishes:
			err = h.bus.Publish(ctx, m)
		case <-every.C:
			if beat.Sid != "" {
				beat.Seq++
				err = say(space.PlanHeartbeat(), beat, false)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("lead: %w", err)
		}
	}
}

func (h *house) hear(m topics.Message) {
	at, err := topics.Space{}.Parse(m.Topic)
	if err != nil || at.Class != topics.State || at.Kind != "service" {
		return
	}
	if s, err := topics.Decode[topics.ServiceState](m.Payload); err == nil {
		h.states <- state{at.Node, topics.Service(at.Subject), time.Now(), s}
	}
}

// want tells a domain which services it is to run, started again at once
// whenever they end.
func (h *house) want(ctx context.Context, node topics.Node, services []topics.Service) error {
	at := topics.Document{House: houseID, Term: 1, Gen: 1, Services: map[topics.Service]topics.Wanted{}}
	for _, name := range services {
		// 0 is the domain's own; a thousandth of a second is nothing.
		at.Services[name] = topics.Wanted{Run: true, Rev: "1", Restart: &topics.Restart{First: 0.001, Cap: 0.001}}
	}
	select {
	case h.wishes <- topics.Message{Topic: topics.Space{}.DesiredServices(node), Payload: topics.Encode(at), QoS: 1, Retained: true}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meter is a door to the broker that counts what goes through it.
type meter struct {
	net.Listener
	to         string
	sent, came atomic.Int64 // bytes of what connects, and to it
	passing    sync.WaitGroup
}

// newMeter opens such a door. Its close ends all that goes through.
func newMeter(to string) (*meter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &meter{Listener: l, to: to}
	m.passing.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			m.passing.Go(func() { m.pass(from) })
		}
	})
	return m, nil
}

func (m *meter) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", m.to)
	if err != nil {
		return
	}
	defer to.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(counting{from, &m.came}, to)
		from.Close()
	})
	_, _ = io.Copy(counting{to, &m.sent}, from)
	to.Close()
	back.Wait()
}

// counting counts what is written.
type counting struct {
	io.Writer
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}
