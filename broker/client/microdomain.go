package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dominion/topics"
)

// Microdomain is a program that is a node of the house and a service in one: it
// has presence, is found by lookup, satisfies dependencies and is shown in Home
// Assistant, and is never asked to start anything. Node, Service and Run are
// needed. docs/protocol.md says what it does on the bus.
//
//	lamp := client.Microdomain{Node: "lamp-2", Service: "lamp", Run: shine}
//	err := lamp.Serve(ctx)
type Microdomain struct {
	Node    topics.Node
	Service topics.Service
	// Run is the service. It is ready as soon as Run runs, unless it says
	// otherwise (Ready), and over when Run returns; ctx ends when it is to end.
	Run func(ctx context.Context) error

	Version string
	Host    string // where the service is reached; empty: nowhere, it speaks over the bus alone
	Port    int
	// Methods answer the commands <node>/command/<method>/host, beside ping.
	// The result is for people; an error is answered as failed. ctx ends when
	// the service is to end, and the goodbye waits for those that run.
	Methods map[string]func(ctx context.Context, r topics.Request) (result string, err error)

	// Broker is as in Options. Empty: DOMINION_URL, else mqtt://127.0.0.1:1883.
	Broker string
	// Base is the house's. Empty: DOMINION_BASE, else dominion.
	Base topics.Base
	// TLS judges the broker. Nil: by the authority in the file that DOMINION_CA
	// names, else by the machine's own.
	TLS *tls.Config
	// ID tells this machine from another that claims the name. Empty: made of
	// what the operating system calls the machine, else a new one.
	ID topics.MachineID
	// Client is given Options before it connects, to change them; nil: none.
	Client func(*Options)
	// Proxy is set by who speaks for a device: when Serve ends, the device goes
	// on, and nothing is said.
	Proxy bool

	mu      sync.Mutex // guards what follows
	away    bool
	waits   *topics.Why
	changed chan struct{}
}

// Ready says whether the service is ready, and if it is not why, in a sentence.
// It may be called before Serve, and from any goroutine.
func (m *Microdomain) Ready(ready bool, why string) {
	m.change(false, ready, why)
}

// Lost says that the device is not there for which this is a proxy, until Ready
// says something else of it.
func (m *Microdomain) Lost(why string) { m.change(true, false, why) }

func (m *Microdomain) change(away, ready bool, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away, m.waits = away, nil
	if !ready {
		m.waits = &topics.Why{Code: topics.NotReady, Text: why}
	}
	if m.changed != nil {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

func (m *Microdomain) state() (away bool, waits *topics.Why) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.away, m.waits
}

// Serve runs the service, and is its node on the bus for as long, with or
// without a broker that works. It returns what Run returned, *NameInUse if
// another machine has the node's name, or nil when ctx has ended.
func (m *Microdomain) Serve(ctx context.Context) error {
	bus, err := m.connect()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.changed = make(chan struct{}, 1)
	m.mu.Unlock()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ran := make(chan error, 1)
	go func() {
		err := m.Run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errEnded
		}
		end(err)
		ran <- err
	}()
	node := micro{Microdomain: m, bus: bus, began: topics.At(time.Now())}
	err = Live(ctx, bus, node.live)
	end(err)
	if rerr := <-ran; rerr != nil && !errors.Is(rerr, errEnded) && !errors.Is(rerr, context.Canceled) {
		return rerr
	}
	return err
}

// errEnded is why a node leaves whose service has ended well.
var errEnded = errors.New("the service has ended")

func (m *Microdomain) connect() (*Client, error) {
	o := Options{
		Space: topics.Space{Base: m.Base}, Node: m.Node, ID: m.ID, TLS: m.TLS, Log: zerolog.Nop(),
		Broker: firstOf(m.Broker, os.Getenv("DOMINION_URL"), "mqtt://127.0.0.1:1883"),
	}
	if o.Space.Base == "" {
		o.Space.Base = topics.Base(os.Getenv("DOMINION_BASE"))
	}
	if o.ID == "" {
		o.ID = machineID()
	}
	if path := os.Getenv("DOMINION_CA"); o.TLS == nil && path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("DOMINION_CA: %w", err)
		}
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("DOMINION_CA: %s holds no certificate", path)
		}
	}
	if m.Client != nil {
		m.Client(&o)
	}
	switch err := m.Service.Check(); {
	case m.Service == "":
		return nil, fmt.Errorf("microdomain %q offers no service (name one)", m.Node)
	case err != nil:
		return nil, err
	case m.Run == nil:
		return nil, fmt.Errorf("microdomain %q has nothing to run", m.Node)
	}
	return New(o)
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// machineID is a word that stays the same on one machine, and does not show
// what it is made of (machine-id(5) asks for that).
func machineID() topics.MachineID {
	raw, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(raw) == 0 {
		return topics.MachineID(topics.NewID(16))
	}
	sum := sha256.Sum256(append([]byte("dominion "), raw...))
	return topics.MachineID(hex.EncodeToString(sum[:8]))
}

// micro is a microdomain on the bus.
type micro struct {
	*Microdomain
	bus   *Client
	began topics.Stamp
	sid   topics.Sid
	up    bool
	said  topics.PresenceState
	seq   uint64

	answering sync.WaitGroup // the methods that run
}

// beatEvery is the pause between two heartbeats. A microdomain needs none, but
// they tell another machine that wants its name that it is alive.
const beatEvery = 5 * time.Second

// live is the room: it is born at each connect, says what changes, and answers.
func (m *micro) live(ctx context.Context) error {
	stay := context.WithoutCancel(ctx) // the goodbye comes after ctx
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case in := <-m.bus.Inbound():
			switch {
			case in.Link == topics.LinkSynced:
				m.sid, m.up = in.Sid, true
				m.born(stay)
			case in.Link == topics.LinkDown:
				m.up = false
			case in.Request != nil:
				m.answer(ctx, stay, *in.Request)
			}
		case <-beat.C:
			if m.up {
				m.beat(stay)
			}
		case <-m.changed:
			if m.up {
				m.sayService(stay, topics.PhaseRunning)
				if now := m.presence(); now.State != m.said {
					m.sayPresence(stay, now)
				}
			}
		case <-ctx.Done():
			m.answering.Wait()
			if m.up && !m.Proxy {
				m.sayService(stay, topics.PhaseStopped)
				m.sayPresence(stay, topics.Presence{State: topics.Stopped, Services: topics.ServicesStopped})
			}
			return nil
		}
	}
}

func (m *micro) born(ctx context.Context) {
	m.sayService(ctx, topics.PhaseRunning)
	info := topics.Info{
		Kind: topics.KindMicro, ID: m.bus.ID, Sid: m.sid, Version: m.Version, Protocol: topics.Protocol, PID: os.Getpid(),
		Methods: m.methods(), Services: map[topics.Service]string{m.Service: m.Version},
	}
	if m.Host != "" {
		info.Addresses = []string{m.Host}
	}
	m.say(ctx, m.bus.Space.Info(m.Node), info)
	m.sayPresence(ctx, m.presence())
	m.beat(ctx)
}

// presence is that of the device.
func (m *micro) presence() topics.Presence {
	if away, _ := m.state(); away {
		return topics.Presence{State: topics.Lost}
	}
	return topics.Presence{State: topics.Online}
}

func (m *micro) beat(ctx context.Context) {
	if away, _ := m.state(); away {
		return // a heartbeat would bring it back
	}
	m.seq++
	b := topics.Heartbeat{Sid: m.sid, Seq: m.seq}
	_ = m.bus.Publish(ctx, topics.Message{Topic: m.bus.Space.Heartbeat(m.Node), Payload: topics.Encode(b)})
}

func (m *micro) methods() []string {
	all := append(slices.Collect(maps.Keys(m.Methods)), "ping")
	slices.Sort(all)
	return slices.Compact(all)
}

func (m *micro) sayPresence(ctx context.Context, p topics.Presence) {
	m.said, p.Sid, p.ID = p.State, m.sid, m.bus.ID
	m.say(ctx, m.bus.Space.Presence(m.Node), p)
}

func (m *micro) sayService(ctx context.Context, phase topics.Phase) {
	_, why := m.state()
	s := topics.ServiceState{
		Sid: m.sid, Service: m.Service, Phase: phase, Version: m.Version, Host: m.Host, Port: m.Port, Since: m.began,
		Ready: why == nil && phase == topics.PhaseRunning, Why: why,
	}
	m.say(ctx, m.bus.Space.ServiceState(m.Node, m.Service), s)
}

// say publishes a state; one that does not get out is said at the next birth.
func (m *micro) say(ctx context.Context, topic string, payload any) {
	_ = m.bus.Publish(ctx, topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1, Retained: true})
}

// answer runs a command in a goroutine of its own: a slow one keeps nobody
// waiting. Its method has ctx, and what it says is said after that has ended too.
func (m *micro) answer(ctx, stay context.Context, r topics.Request) {
	method, known := m.Methods[r.Method]
	switch {
	case known && r.Subject == "host":
		m.answering.Go(func() {
			m.reply(stay, r, topics.Reply{Status: topics.Accepted})
			result, err := method(ctx, r)
			if err != nil {
				m.reply(stay, r, topics.Reply{Status: topics.Failed, Why: &topics.Why{Code: topics.FaultUnknown, Text: err.Error()}})
				return
			}
			m.reply(stay, r, topics.Reply{Status: topics.Done, Result: result})
		})
	case r.Method == "ping" && r.Subject == "host":
		m.reply(stay, r, topics.Reply{Status: topics.Done, Result: "pong"})
	default:
		m.reply(stay, r, topics.Reply{Status: topics.Refused, Why: &topics.Why{
			Code: topics.FaultUnknown,
			Text: fmt.Sprintf("unknown command %s/%s (this node has, with the subject host: %s)", r.Method, r.Subject, strings.Join(m.methods(), ", ")),
		}})
	}
}

func (m *micro) reply(ctx context.Context, to topics.Request, r topics.Reply) {
	r.ID, r.Topic = to.ID, to.Topic
	_ = m.bus.Publish(ctx, topics.Message{Topic: m.bus.Space.Reply(m.Node, r.ID), Payload: topics.Encode(r), QoS: 1})
}
