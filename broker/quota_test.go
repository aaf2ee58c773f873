package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// tells compares why messages and subscriptions were refused.
func (r *refusals) tell(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []string
	for _, x := range r.all {
		got = append(got, fmt.Sprintf("%s %s: %s", x.Account, x.Topic, x.Why))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

const (
	tooMany   = "one account may retain no more than 2 messages: empty some of them"
	tooLarge  = "one account may retain no more than 1 MiB of messages: empty some of them"
	allMany   = "the broker retains no more than 2 messages in all: empty some of them"
	lampTopic = "dominion/service/lamp/"
)

func topicsOf(m map[string]string) map[string]int {
	sizes := map[string]int{}
	for topic, payload := range m {
		sizes[topic] = len(payload)
	}
	return sizes
}

// A service fills neither the memory nor the disk; what it frees is its own again.
func TestAnAccountRetainsOnlySoMuch(t *testing.T) {
	d := lan(t, ours(), func(o *broker.Options) { o.MaxRetained, o.MaxRetainedBytes = 2, 1<<20 })
	lamp := join(t, d.plain.dial(elsewhere), "lamp", as("attic.lamp", "right"))
	again := join(t, d.plain.dial("192.168.1.7"), "again", as("attic.lamp", "right")) // the same account
	other := join(t, d.plain.dial(elsewhere), "other", as("porch.lamp", "right"))
	half, most := strings.Repeat("x", 512<<10), strings.Repeat("x", 1<<20-len(lampTopic+"a"))

	lamp.publish(lampTopic+"a", "1", 1, true)
	lamp.publish(lampTopic+"a", "2", 1, true) // the same topic
	again.publish(lampTopic+"b", "1", 1, true)
	lamp.publish(lampTopic+"c", "refused", 1, true)
	lamp.publish(lampTopic+"c", "sent on", 1, false)
	other.publish(lampTopic+"d", "1", 1, true)
	again.publish(lampTopic+"b", "", 1, true)
	lamp.publish(lampTopic+"a", most, 1, true)
	lamp.publish(lampTopic+"e", "refused", 1, true)
	lamp.publish(lampTopic+"a", half, 1, true)
	lamp.publish(lampTopic+"e", half, 1, true) // with its topic too much
	lamp.publish(lampTopic+"e", half[:len(half)/2], 1, true)
	lamp.publish(lampTopic+"d", "3", 1, true) // another's, and then there were three

	want := map[string]int{lampTopic + "a": len(half), lampTopic + "d": 1, lampTopic + "e": len(half) / 2}
	if diff := cmp.Diff(want, topicsOf(retained(t, d.Server, "dominion/service/#"))); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	const who = "service attic.lamp " + lampTopic
	d.refused.tell(t, who+"c: "+tooMany, who+"e: "+tooLarge, who+"e: "+tooLarge, who+"d: "+tooMany)
}

func TestWhatIsTakenOverCountsForWhoTookIt(t *testing.T) {
	d := lan(t, ours(), func(o *broker.Options) { o.MaxRetained = 2 })
	lamp := join(t, d.plain.dial(elsewhere), "lamp", as("attic.lamp", "right"))
	other := join(t, d.plain.dial(elsewhere), "other", as("porch.lamp", "right"))
	room := join(t, d.Pipe(coordinator), "room", nil)
	lamp.publish(lampTopic+"a", "1", 1, true)
	lamp.publish(lampTopic+"b", "1", 1, true)
	other.publish(lampTopic+"a", "2", 1, true)
	lamp.publish(lampTopic+"c", "1", 1, true)
	room.publish("dominion/attic/desired/services", "{}", 1, true)
	for i := range 5 {
		room.publish(fmt.Sprint("dominion/coordinator/state/lookup/", i), "{}", 1, true)
	}
	lamp.publish(lampTopic+"d", "1", 1, true)
	d.refused.tell(t, "service attic.lamp "+lampTopic+"d: "+tooMany)
	other.publish(lampTopic+"b", "", 1, true) // whoever empties it
	lamp.publish(lampTopic+"d", "1", 1, true)
	d.refused.tell(t, "service attic.lamp "+lampTopic+"d: "+tooMany)
}

// All together have a bound, too. What was there before a restart is part of
// it, and nobody's: its nodes may go on saying how they are.
func TestAllAccountsRetainOnlySoMuch(t *testing.T) {
	dir := t.TempDir()
	change := func(o *broker.Options) { o.Data, o.MaxRetained, o.MaxRetainedInAll = dir, 2, 2 }
	d := lan(t, ours(), change)
	attic := join(t, d.dialTLS(elsewhere, certificate(t, "attic", "our house")), "dominion.attic.1", nil)
	porch := join(t, d.dialTLS(elsewhere, certificate(t, "porch", "our house")), "dominion.porch.1", nil)
	attic.publish("dominion/attic/state/info", "1", 1, true)
	porch.publish("dominion/porch/state/info", "1", 1, true)
	porch.publish("dominion/porch/state/presence", "refused", 1, true)
	room := join(t, d.Pipe(coordinator), "room", nil)
	room.publish("dominion/coordinator/state/presence", "not counted", 1, true)
	room.publish("dominion/coordinator/state/presence", "", 1, true)
	d.refused.tell(t, "node porch dominion/porch/state/presence: "+allMany)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	d = lan(t, ours(), change)
	attic = join(t, d.dialTLS(elsewhere, certificate(t, "attic", "our house")), "dominion.attic.1", nil)
	attic.publish("dominion/attic/state/info", "longer", 1, true)
	attic.publish("dominion/attic/state/presence", "refused", 1, true)
	d.refused.tell(t, "node attic dominion/attic/state/presence: "+allMany)
	join(t, d.Pipe(coordinator), "room", nil).publish("dominion/porch/state/info", "", 1, true)
	attic.publish("dominion/attic/state/presence", "online", 1, true)
	want := map[string]string{"dominion/attic/state/info": "longer", "dominion/attic/state/presence": "online"}
	if diff := cmp.Diff(want, retained(t, d.Server, "dominion/#")); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
}

// Clients without a login share what their address has.
func TestClientsWithoutALoginRetainByAddress(t *testing.T) {
	d := lan(t, ours(), func(o *broker.Options) {
		o.MaxRetained, o.AllowInsecure, o.Anonymous = 2, true, everybody()
	})
	for i, remote := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.1", elsewhere} {
		p := join(t, d.plain.dial(remote), fmt.Sprint(i), nil)
		p.publish(fmt.Sprint("any/", i), "1", 1, true)
	}
	d.refused.tell(t, " any/2: "+tooMany)
}

// A will that is too much is sent, and not kept.
func TestAWillThatIsTooMuchIsSent(t *testing.T) {
	d := lan(t, ours(), func(o *broker.Options) { o.MaxRetained = 2 })
	watcher := join(t, d.Pipe(coordinator), "watcher", nil)
	watcher.subscribe(1, "dominion/#")
	const info = "dominion/attic/state/info"
	for _, c := range []struct {
		topics []string
		kept   bool
	}{
		{[]string{info, presence}, true},
		{[]string{info, "dominion/attic/state/other"}, false},
	} {
		attic := join(t, d.dialTLS(elsewhere, certificate(t, "attic", "our house")), "dominion.attic.1", withWill(presence, "lost", true))
		for _, topic := range c.topics {
			attic.publish(topic, "online", 1, true)
		}
		_ = attic.conn.Close()
		watcher.await("the will", func(pk packets.Packet) bool { return pk.TopicName == presence && string(pk.Payload) == "lost" })
		if _, is := retained(t, d.Server, presence)[presence]; is != c.kept {
			t.Errorf("%s: the will is retained: %v, want %v", c.topics, is, c.kept)
		}
		for topic := range retained(t, d.Server, "dominion/attic/#") {
			watcher.publish(topic, "", 1, true)
		}
	}
	d.refused.tell(t, "node attic "+presence+": its will is not retained: "+tooMany)
}

func TestAClientHasOnlySoManySubscriptions(t *testing.T) {
	var refused refusals
	s := start(t, func(o *broker.Options) { o.MaxSubscriptions, o.Refused = 3, refused.add })
	p := join(t, dial(t, s), "curious", nil)
	const no = 0x80
	for _, c := range []struct {
		filters []string
		want    []byte
	}{
		{[]string{"a", "b"}, []byte{1, 1}},
		{[]string{"a", "dominion/attic/#", "#bad", "d", "b"}, []byte{1, 1, no, no, 1}},
		{[]string{"e"}, []byte{no}},
	} {
		if diff := cmp.Diff(c.want, p.subscribe(1, c.filters...)); diff != "" {
			t.Errorf("subscribe to %s: SUBACK (-want +got):\n%s", c.filters, diff)
		}
	}
	p.unsubscribe("a")
	if diff := cmp.Diff([]byte{1, no}, p.subscribe(1, "e", "f")); diff != "" {
		t.Errorf("after UNSUBSCRIBE (-want +got):\n%s", diff)
	}
	const why = "a client may have no more than 3 subscriptions"
	refused.tell(t, " #bad: not a filter", " d: "+why, " e: "+why, " f: "+why)
}

// unsubscribe waits for the answer.
func (p *peer) unsubscribe(filter string) {
	p.t.Helper()
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: p.id(),
		Filters: packets.Subscriptions{{Filter: filter}},
	})
	p.await("UNSUBACK", func(a packets.Packet) bool { return a.FixedHeader.Type == packets.Unsuback })
}
