package homeassistant_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/homeassistant"
	"dominion/topics"
)

const house topics.HouseID = "7f3a9c"

// bus is a broker with one client, the bridge. Everything that the bridge
// publishes is checked against the contract and heard by the bridge again.
type bus struct {
	t     *testing.T
	space topics.Space
	in    chan topics.Inbound

	mu       sync.Mutex // guards what follows: the bridge publishes, the test looks
	retained map[string][]byte
	contract *contract
	sent     []sent
	up       bool
	broken   bool // publishing fails though the link is up
}

// sent is one message of the bridge.
type sent struct {
	At      time.Duration // since the last call of news
	Object  string        // the discovery object
	Payload string        // "" for an empty one
	time    time.Time
}

func newBus(t *testing.T) *bus {
	return &bus{t: t, in: make(chan topics.Inbound, 1<<14), retained: map[string][]byte{}, contract: newContract(t, house)}
}

func (b *bus) Inbound() <-chan topics.Inbound { return b.in }

func (b *bus) Publish(_ context.Context, m topics.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || b.broken {
		return errors.New("link is down")
	}
	name, ok := b.space.ParseHADevice(m.Topic)
	if !ok {
		b.t.Errorf("publishes on %s", m.Topic)
	}
	b.contract.hear(m, name, time.Now())
	b.sent = append(b.sent, sent{Object: name, Payload: string(m.Payload), time: time.Now()})
	b.keep(m)
	return nil
}

// keep stores a retained message and hands it on as news.
func (b *bus) keep(m topics.Message) {
	switch {
	case m.Retained && len(m.Payload) == 0:
		delete(b.retained, m.Topic)
	case m.Retained:
		b.retained[m.Topic] = m.Payload
	}
	if b.up && b.subscribed(m.Topic) {
		m.Retained = false
		b.in <- topics.Inbound{Message: m}
	}
}

func (b *bus) subscribed(topic string) bool {
	if a, err := b.space.Parse(topic); err == nil && a.Class == topics.State {
		return true
	}
	_, device := b.space.ParseHADevice(topic)
	return device || topic == b.space.HABirth()
}

// say publishes for somebody else.
func (b *bus) say(topic string, payload any, retained bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var raw []byte
	switch p := payload.(type) {
	case nil:
	case string:
		raw = []byte(p)
	default:
		raw = topics.Encode(p)
	}
	if name, ok := b.space.ParseHADevice(topic); ok && len(raw) == 0 {
		delete(b.contract.devices, name) // Home Assistant itself deleted it
	}
	b.keep(topics.Message{Topic: topic, Payload: raw, QoS: 1, Retained: retained})
}

// connect begins a session of the bridge: the link, the replay, and some
// seconds later the fence.
func (b *bus) connect() {
	sid := topics.NewSid()
	b.replay(sid)
	time.Sleep(3 * time.Second)
	b.in <- topics.Inbound{Link: topics.LinkSynced, Sid: sid}
}

func (b *bus) replay(sid topics.Sid) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = true
	b.in <- topics.Inbound{Link: topics.LinkUp, Sid: sid}
	for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
		if b.subscribed(topic) {
			b.in <- topics.Inbound{Message: topics.Message{Topic: topic, Payload: b.retained[topic], QoS: 1, Retained: true}}
		}
	}
}

func (b *bus) disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = false
	b.in <- topics.Inbound{Link: topics.LinkDown}
}

// forget empties the broker, but for what keep matches.
func (b *bus) forget(kept func(topic string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.retained, func(topic string, _ []byte) bool { return !kept(topic) })
}

// news waits and returns what the bridge sent meanwhile, with its times.
func (b *bus) news(wait time.Duration) []sent {
	b.mu.Lock()
	b.sent = nil
	b.mu.Unlock()
	began := time.Now()
	time.Sleep(wait)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.sent {
		b.sent[i].At = b.sent[i].time.Sub(began)
	}
	return b.sent
}

// objects are the discovery objects of messages; a removed one has a minus.
func objects(all []sent) []string {
	var names []string
	for _, s := range all {
		name := strings.TrimPrefix(s.Object, string(house)+"_")
		if s.Payload == "" {
			name = "-" + name
		}
		names = append(names, name)
	}
	return names
}

// want compares the objects that were published within a time.
func (b *bus) want(wait time.Duration, names ...string) {
	b.t.Helper()
	if diff := cmp.Diff(names, objects(b.news(wait))); diff != "" {
		b.t.Errorf("published within %v (-want +got):\n%s", wait, diff)
	}
}

// standing is what is retained on the discovery topic of an object.
func (b *bus) standing(name string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retained[b.space.HADevice(string(house)+"_"+name)]
}

func (b *bus) payload(name string) object {
	b.t.Helper()
	var o object
	if err := json.Unmarshal(b.standing(name), &o); err != nil {
		b.t.Fatalf("%s has %q: %v", name, b.standing(name), err)
	}
	return o
}

func (b *bus) components(name string) []string {
	b.t.Helper()
	c, _ := b.payload(name)["components"].(object)
	return slices.Sorted(maps.Keys(c))
}

func (b *bus) via(name string) string {
	b.t.Helper()
	d, _ := b.payload(name)["device"].(object)
	return strings.TrimPrefix(text(d["via_device"]), string(house)+"_")
}

func indented(t *testing.T, payload []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, payload, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

// The house that the stories begin with.

func (b *bus) coordinator(state topics.PresenceState, role topics.LeadRole) {
	b.say(b.space.Presence(topics.Coordinator), topics.Presence{State: state, Sid: "c1", ID: "m1", House: house, Term: 3, Role: role}, true)
}

func (b *bus) leads() {
	b.say(b.space.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator, Name: "Villa Kunterbunt", Version: "0.1.0"}, true)
	b.coordinator(topics.Online, topics.Active)
}

func (b *bus) domain(name topics.Node, info topics.Info) {
	info.Kind = topics.KindDomain
	b.say(b.space.Info(name), info, true)
	b.judge(name, topics.JudgedOnline)
}

func (b *bus) judge(name topics.Node, state topics.JudgementState) {
	b.say(b.space.Judgement(name), topics.Judgement{State: state}, true)
}

func (b *bus) summary(name topics.Service, where ...topics.Node) {
	s := topics.Summary{Service: name, Phase: topics.SummaryReady, Run: topics.RunOn, Where: where, Version: "1.2.0"}
	if len(where) == 0 {
		s.Phase, s.Run, s.Version = topics.SummaryStopped, topics.RunOff, ""
	}
	b.say(b.space.Summary(name), s, true)
}

func (b *bus) host(name topics.Node, h topics.Host) { b.say(b.space.Host(name), h, true) }

// asks opens the alert that a machine asks to join the house.
func (b *bus) asks(name topics.Node) {
	b.say(b.space.Alert("join-"+string(name)), topics.Alert{Severity: topics.SeverityInfo, Text: string(name) + " asks to join", About: string(name)}, true)
}

func fullHost() topics.Host {
	return topics.Host{
		Load: topics.Measured(0.4), CPU: topics.Measured(12), Memory: topics.Measured(40),
		Disk: topics.Measured(71), Temperature: topics.Measured(48.5), Power: "ok",
	}
}

// small is a led house: attic with readings, porch without, one service on each.
func (b *bus) small() {
	b.leads()
	b.domain("attic", topics.Info{Version: "0.1.0", Model: "Raspberry Pi 4 Model B Rev 1.4"})
	b.domain("porch", topics.Info{Version: "0.1.0", OS: "linux", Arch: "arm64"})
	b.host("attic", fullHost())
	b.summary("webServer", "attic")
	b.summary("npBar", "porch")
}

func whole() []string {
	return []string{"house", "domain_attic", "domain_porch", "service_npBar", "service_webServer"}
}

// runs starts a bridge on the bus; end stops it and waits.
func (b *bus) runs(cfg homeassistant.Config) (end func()) {
	cfg.Space, cfg.House, cfg.Log = b.space, house, zerolog.Nop()
	if cfg.Version == "" {
		cfg.Version = "0.1.0"
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- homeassistant.New(cfg).Run(ctx, b) }()
	return func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
	}
}

// shown runs a story on the small house, when all of it is shown.
func shown(t *testing.T, story func(t *testing.T, b *bus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		end := b.runs(homeassistant.Config{})
		defer end()
		b.connect()
		b.small()
		b.want(time.Minute, whole()...)
		story(t, b)
	})
}
