package broker_test

import (
	"strings"
	"sync"
	"testing"

	mqttpaho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// refusals collects what a server refused.
type refusals struct {
	mu  sync.Mutex // guards all
	all []broker.Refusal
}

func (r *refusals) add(x broker.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// are compares all refusals so far, without addresses and reasons.
func (r *refusals) are(t *testing.T, want ...broker.Refusal) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.all, cmpopts.IgnoreFields(broker.Refusal{}, "Remote", "Why"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	for _, x := range r.all {
		if x.Remote == "" || x.Why == "" {
			t.Errorf("refusal without address or reason: %+v", x)
		}
	}
}

func TestARefusedPublishIsAcknowledgedAndGoesNowhere(t *testing.T) {
	var refused refusals
	s := start(t, func(o *broker.Options) { o.Refused = refused.add })
	watcher := join(t, s.Pipe(coordinator), "watcher", nil)
	watcher.subscribe(1, "dominion/#")

	intruder := join(t, dial(t, s), "intruder", nil)
	var want []broker.Refusal
	for _, topic := range []string{
		"dominion/coordinator/state/presence",
		"dominion/attic/desired/services",
		"$SYS/broker/uptime",
		"$other/topic",
		"deep" + strings.Repeat("/x", 40),
	} {
		for qos := range byte(2) {
			intruder.publish(topic, "mine", qos, true) // waits for the PUBACK
			want = append(want, broker.Refusal{What: broker.Publishing, Client: "intruder", Who: everybody(), Topic: topic})
		}
	}
	intruder.publish("dominion/attic/command/restart/lamp", "now", 1, false) // the same connection goes on
	if got := watcher.await("a message", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Publish }); got.TopicName != "dominion/attic/command/restart/lamp" {
		t.Errorf("a refused message on %s was delivered", got.TopicName)
	}
	if kept := retained(t, s, "dominion/#"); len(kept) != 0 {
		t.Errorf("refused messages are retained: %v", kept)
	}
	refused.are(t, want...)
}

// paho disconnects, comes back and reports success for a message that mochi
// would have dropped its connection for.
func TestARefusedPublishDoesNotDisconnectPaho(t *testing.T) {
	s := start(t, nil)
	lost := make(chan error, 1)
	c := mqttpaho.NewClient(mqttpaho.NewClientOptions().
		AddBroker("tcp://" + s.Addrs()[0].String()).SetClientID("paho").SetProtocolVersion(4).SetAutoReconnect(false).
		SetConnectionLostHandler(func(_ mqttpaho.Client, err error) { lost <- err }))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatalf("connect: %v", k.Error())
	}
	defer c.Disconnect(0)
	for _, topic := range []string{"dominion/coordinator/state/presence", "allowed/topic"} {
		if k := c.Publish(topic, 1, true, "v"); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Errorf("publish on %s: %v", topic, k.Error())
		}
	}
	select {
	case err := <-lost:
		t.Errorf("connection lost: %v", err)
	default:
	}
}

func TestOnlyTheCoordinatorsPipeWritesItsTopics(t *testing.T) {
	s := start(t, nil)
	leader := join(t, s.Pipe(coordinator), "leader", withWill("dominion/coordinator/state/presence", "lost", true))
	leader.publish("dominion/coordinator/state/presence", "online", 1, true)
	want := map[string]string{"dominion/coordinator/state/presence": "online"}
	if diff := cmp.Diff(want, retained(t, s, "dominion/coordinator/#")); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
}

func TestWhatMayBeEmptiedMayNotBeWritten(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Anonymous = []topics.Identity{{Role: topics.RoleHomeAssistant}} })
	const device = "homeassistant/device/7f3a/config"
	if err := s.Inject(device, []byte("{}"), true, 1); err != nil {
		t.Fatal(err)
	}
	ha := join(t, dial(t, s), "ha", nil)
	ha.publish(device, "forged", 1, true)
	ha.publish(device, "", 1, false)
	if diff := cmp.Diff(map[string]string{device: "{}"}, retained(t, s, "homeassistant/#")); diff != "" {
		t.Errorf("after a forged message (-want +got):\n%s", diff)
	}
	ha.publish(device, "", 1, true)
	if kept := retained(t, s, "homeassistant/#"); len(kept) != 0 {
		t.Errorf("after emptying: %v, want nothing", kept)
	}
}

func TestRefusedSubscriptions(t *testing.T) {
	var refused refusals
	who := []topics.Identity{{Role: topics.RoleNode, Name: "attic"}}
	s := start(t, func(o *broker.Options) { o.Refused, o.Anonymous = refused.add, who })
	p := join(t, dial(t, s), "attic", nil)
	filters := []string{
		"dominion/attic/#", "dominion/#", "dominion/porch/desired/services", "#", "dominion/attic/state/presence",
		"$share/g/dominion/porch/#", "dominion/attic/a#", "dominion/attic" + strings.Repeat("/x", 40),
	}
	const no = 0x80
	if diff := cmp.Diff([]byte{1, no, no, no, 1, no, no, no}, p.subscribe(1, filters...)); diff != "" {
		t.Errorf("SUBACK (-want +got):\n%s", diff)
	}
	for _, topic := range []string{"dominion/porch/desired/services", "dominion/attic/desired/services"} {
		if err := s.Inject(topic, []byte("v"), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	var heard []string
	for _, pk := range p.upTo("dominion/attic/event/sync/token") {
		heard = append(heard, pk.TopicName)
	}
	if diff := cmp.Diff([]string{"dominion/attic/desired/services"}, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	var want []broker.Refusal
	for _, i := range []int{1, 2, 3, 5, 6, 7} {
		want = append(want, broker.Refusal{What: broker.Subscribing, Client: "attic", Who: who, Topic: filters[i]})
	}
	refused.are(t, want...)
}

func TestWillsObeyTheRulesOfAnyMessage(t *testing.T) {
	var refused refusals
	s := start(t, func(o *broker.Options) { o.Refused = refused.add })
	var want []broker.Refusal
	for _, topic := range []string{
		"dominion/coordinator/state/presence", "dominion/attic/desired/services", "wild/#", "wild/+/card",
		"$SYS/broker", "deep" + strings.Repeat("/x", 40),
	} {
		p := try(t, dial(t, s), "willing", withWill(topic, "v", true))
		if p.connack.ReasonCode != packets.Err3NotAuthorized.Code {
			t.Errorf("will on %.40s: CONNACK code %d, want %d", topic, p.connack.ReasonCode, packets.Err3NotAuthorized.Code)
		}
		p.gone()
		want = append(want, broker.Refusal{What: broker.Willing, Client: "willing", Who: everybody(), Topic: topic})
	}
	refused.are(t, want...)

	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, "dominion/#")
	p := join(t, dial(t, s), "willing", withWill("dominion/attic/command/restart/lamp", "now", true))
	_ = p.conn.Close()
	watcher.message("dominion/attic/command/restart/lamp")
	if kept := retained(t, s, "dominion/#"); len(kept) != 0 {
		t.Errorf("a will on a command is retained: %v", kept)
	}
}

func TestTheRetainFlagIsTakenOffCommandsAndEvents(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) { o.Log = zerolog.New(&log) })
	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, "dominion/#")
	p := join(t, dial(t, s), "operator", nil)
	for range 3 {
		p.publish("dominion/attic/command/restart/lamp", "now", 1, true)
		p.publish("dominion/attic/event/button/lamp", "pressed", 1, true)
		p.publish("dominion/attic/state/info", "{}", 1, true)
	}
	for range 3 {
		watcher.message("dominion/attic/command/restart/lamp")
	}
	want := map[string]string{"dominion/attic/state/info": "{}"}
	if diff := cmp.Diff(want, retained(t, s, "dominion/#")); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "retain flag taken off"); n != 2 {
		t.Errorf("said %d times, want once for each topic:\n%s", n, log.String())
	}
}

// A command that was retained before, by a broker that keeps them, can be cleared.
func TestARetainedCommandCanBeEmptied(t *testing.T) {
	s := start(t, nil)
	const topic = "dominion/attic/command/restart/lamp"
	s.RetainAt(topic, "now", 1)
	p := join(t, dial(t, s), "attic", nil)
	p.publish(topic, "", 1, true)
	if kept := retained(t, s, "dominion/#"); len(kept) != 0 {
		t.Errorf("retained: %v, want nothing", kept)
	}
}

func TestClientsWithoutCredentialsComeFromLoopback(t *testing.T) {
	for _, c := range []struct {
		name     string
		remote   string
		insecure bool
		code     byte
	}{
		{"loopback", "127.0.0.1", false, 0},
		{"IPv6 loopback", "::1", false, 0},
		{"another machine", "192.168.1.7", false, packets.Err3NotAuthorized.Code},
		{"another machine, allowed", "192.168.1.7", true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var refused refusals
			s, err := broker.Open(broker.Options{
				Anonymous: everybody(), AllowInsecure: c.insecure, Log: zerolog.Nop(), Refused: refused.add,
			})
			if err != nil {
				t.Fatal(err)
			}
			l := newFakeListener()
			s.AddListener(l, nil)
			run(t, s)
			p := try(t, l.dial(c.remote), "who", nil)
			if p.connack.FixedHeader.Type != packets.Connack || p.connack.ReasonCode != c.code {
				t.Errorf("CONNACK code %d, want %d", p.connack.ReasonCode, c.code)
			}
			if c.code != 0 {
				refused.are(t, broker.Refusal{What: broker.Connecting, Client: "who"})
			}
		})
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		filter string
		valid  bool
	}{
		{"a", true},
		{"a/b", true},
		{"/", true},
		{"a//b", true},
		{"#", true},
		{"+", true},
		{"a/#", true},
		{"+/a/+", true},
		{"a/+/#", true},
		{"", false},
		{"a#", false},
		{"a/#/b", false},
		{"+a", false},
		{"a+/b", false},
		{"#/", false},
		{"a/\x00", false},
	} {
		if got := broker.ValidFilter(c.filter); got != c.valid {
			t.Errorf("valid(%q) = %v, want %v", c.filter, got, c.valid)
		}
	}
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"a/+", "a", false},
		{"a/+", "a/", true},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", true},
		{"+/+", "/", true},
		{"+", "/a", false},
		{"#", "a/b", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"", "", true},
	} {
		if got := broker.Matches(c.filter, c.topic); got != c.want {
			t.Errorf("matches(%q, %q) = %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}
