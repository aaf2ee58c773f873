package broker_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

const elsewhere = "192.168.1.66"

// attack is something that somebody on the network tries. Whoever is let in
// stays connected whatever it tries then.
type attack struct {
	name   string
	remote string // elsewhere, if empty
	login  func(*packets.Packet)
	shown  string // node's certificate, by name
	will   string
	code   byte // of CONNACK
	do     func(p *peer)
	told   broker.Refusal // without Client
}

func writes(topic string) func(*peer)  { return func(p *peer) { p.publish(topic, "mine", 1, true) } }
func empties(topic string) func(*peer) { return func(p *peer) { p.publish(topic, "", 1, true) } }

func reads(filter string) func(*peer) {
	return func(p *peer) {
		if got := p.subscribe(1, filter); len(got) != 1 || got[0] < 0x80 {
			p.t.Errorf("subscribe to %s: codes %#x, want a refusal", filter, got)
		}
	}
}

func attacks() []attack {
	const notAllowed, wrongLogin = 5, 4
	viewer := as("vera", "right")
	service := as("attic.lamp", "right")
	who := func(name string, role topics.Role) []topics.Identity {
		return []topics.Identity{{Role: role, Name: name}}
	}
	publish := func(account, name string, role topics.Role, topic string) broker.Refusal {
		return broker.Refusal{What: broker.Publishing, Account: account, Who: who(name, role), Topic: topic}
	}
	subscribe := func(account, name string, role topics.Role, topic string) broker.Refusal {
		return broker.Refusal{What: broker.Subscribing, Account: account, Who: who(name, role), Topic: topic}
	}
	willing := func(account, name string, role topics.Role, topic string) broker.Refusal {
		return broker.Refusal{What: broker.Willing, Account: account, Who: who(name, role), Topic: topic}
	}
	const (
		presence = "dominion/porch/state/presence"
		command  = "dominion/porch/command/restart/lamp"
		desired  = "dominion/porch/desired/services"
		leading  = "dominion/coordinator/state/presence"
	)
	return []attack{
		{name: "anonymous from the network", code: notAllowed, told: broker.Refusal{What: broker.Connecting}},
		{name: "anonymous from the network with a will", will: presence, code: notAllowed, told: broker.Refusal{What: broker.Connecting}},
		{name: "wrong password", login: as("ann", "guess"), code: wrongLogin, told: broker.Refusal{What: broker.Connecting, Account: "ann"}},
		{name: "wrong password on loopback", remote: "127.0.0.1", login: as("ann", "guess"), code: wrongLogin, told: broker.Refusal{What: broker.Connecting, Account: "ann"}},
		{name: "certificate of a machine that is not in the ledger", shown: "eve", code: notAllowed, told: broker.Refusal{What: broker.Connecting, Account: "eve"}},

		{name: "node writes another's state", shown: "attic", do: writes("dominion/porch/state/info"), told: publish("node attic", "attic", topics.RoleNode, "dominion/porch/state/info")},
		{name: "node empties another's state", shown: "attic", do: empties(presence), told: publish("node attic", "attic", topics.RoleNode, presence)},
		{name: "node commands another", shown: "attic", do: writes(command), told: publish("node attic", "attic", topics.RoleNode, command)},
		{name: "node writes its own desired", shown: "attic", do: writes("dominion/attic/desired/services"), told: publish("node attic", "attic", topics.RoleNode, "dominion/attic/desired/services")},
		{name: "node writes as the coordinator", shown: "attic", do: writes(leading), told: publish("node attic", "attic", topics.RoleNode, leading)},
		{name: "node reads another's commands", shown: "attic", do: reads("dominion/porch/command/#"), told: subscribe("node attic", "attic", topics.RoleNode, "dominion/porch/command/#")},
		{name: "node reads everything", shown: "attic", do: reads("#"), told: subscribe("node attic", "attic", topics.RoleNode, "#")},
		{name: "node's will on another's presence", shown: "attic", will: presence, code: notAllowed, told: willing("node attic", "attic", topics.RoleNode, presence)},
		{name: "node's will on the coordinator's presence", shown: "attic", will: leading, code: notAllowed, told: willing("node attic", "attic", topics.RoleNode, leading)},

		{name: "service reads commands", login: service, do: reads("dominion/+/command/#"), told: subscribe("service attic.lamp", "lamp", topics.RoleService, "dominion/+/command/#")},
		{name: "service reads its node's commands", login: service, do: reads("dominion/attic/command/#"), told: subscribe("service attic.lamp", "lamp", topics.RoleService, "dominion/attic/command/#")},
		{name: "service reads everything", login: service, do: reads("#"), told: subscribe("service attic.lamp", "lamp", topics.RoleService, "#")},
		{name: "service reads another service", login: service, do: reads("dominion/service/door/#"), told: subscribe("service attic.lamp", "lamp", topics.RoleService, "dominion/service/door/#")},
		{name: "service writes its node's state", login: service, do: writes("dominion/attic/state/info"), told: publish("service attic.lamp", "lamp", topics.RoleService, "dominion/attic/state/info")},
		{name: "service commands", login: service, do: writes(command), told: publish("service attic.lamp", "lamp", topics.RoleService, command)},
		{name: "service's will on its node's presence", login: service, will: "dominion/attic/state/presence", code: notAllowed, told: willing("service attic.lamp", "lamp", topics.RoleService, "dominion/attic/state/presence")},

		{name: "viewer publishes", login: viewer, do: writes("any/topic"), told: publish("user vera", "vera", topics.RoleViewer, "any/topic")},
		{name: "viewer commands", login: viewer, do: writes(command), told: publish("user vera", "vera", topics.RoleViewer, command)},
		{name: "viewer leaves a will", login: viewer, will: presence, code: notAllowed, told: willing("user vera", "vera", topics.RoleViewer, presence)},
		{name: "anonymous viewer on loopback commands", remote: "127.0.0.1", do: writes(command), told: publish("", "", topics.RoleViewer, command)},

		{name: "operator writes desired", login: as("ann", "right"), do: writes(desired), told: publish("user ann", "ann", topics.RoleOperator, desired)},
		{name: "operator writes presence", login: as("ann", "right"), do: writes(presence), told: publish("user ann", "ann", topics.RoleOperator, presence)},
		{name: "Home Assistant writes desired", login: as("ha", "right"), do: writes(desired), told: publish("user ha", "ha", topics.RoleHomeAssistant, desired)},
		{name: "Home Assistant announces a device", login: as("ha", "right"), do: writes("homeassistant/device/x/config"), told: publish("user ha", "ha", topics.RoleHomeAssistant, "homeassistant/device/x/config")},
	}
}

func TestAttacksAreRefusedAndTold(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, v := range []byte{4, 5} {
				t.Run(fmt.Sprint("MQTT ", v), a.run(v))
			}
		})
	}
}

func (a attack) run(v byte) func(t *testing.T) {
	return func(t *testing.T) {
		d := lan(t, ours(), nil)
		room := join(t, d.Pipe(coordinator), "room", nil)
		for _, topic := range []string{"dominion/porch/state/presence", "dominion/porch/desired/services"} {
			if err := d.Inject(topic, []byte("before"), true, 1); err != nil {
				t.Fatal(err)
			}
		}
		before := retained(t, d.Server, "#")
		room.subscribe(1, "dominion/#", "homeassistant/#")

		p := try(t, a.dial(t, d), "attacker", with(version(v), a.login, a.lastWill()))
		p.is(a.code)
		if a.code == 0 {
			a.do(p)
			p.stays()
			_ = p.conn.Close()
		}
		p.gone()

		for _, pk := range room.upTo("dominion/coordinator/event/sync/token") {
			if !pk.FixedHeader.Retain {
				t.Errorf("%s %q reached the coordinator", pk.TopicName, pk.Payload)
			}
		}
		if diff := cmp.Diff(before, retained(t, d.Server, "#")); diff != "" {
			t.Errorf("retained (-before +after):\n%s", diff)
		}
		a.told.Client = "attacker"
		d.refused.are(t, a.told)
	}
}

func (a attack) dial(t *testing.T, d *doors) net.Conn {
	remote := a.remote
	if remote == "" {
		remote = elsewhere
	}
	if a.shown != "" {
		return d.dialTLS(remote, certificate(t, a.shown, "our house"))
	}
	return d.plain.dial(remote)
}

func (a attack) lastWill() func(*packets.Packet) {
	if a.will == "" {
		return nil
	}
	return withWill(a.will, "lost", true)
}

// What the same accounts may do, they can.
func TestWhatIsNoAttackPasses(t *testing.T) {
	d := lan(t, ours(), nil)
	room := join(t, d.Pipe(coordinator), "room", nil)
	room.subscribe(1, "dominion/#")
	room.publish("dominion/coordinator/state/lookup/lamp", "{}", 1, true)

	attic := join(t, d.dialTLS(elsewhere, certificate(t, "attic", "our house")), "dominion.attic.1", withWill("dominion/attic/state/presence", "lost", true))
	lamp := join(t, d.plain.dial(elsewhere), "lamp", as("attic.lamp", "right"))
	vera := join(t, d.plain.dial(elsewhere), "vera", with(version(5), as("vera", "right")))
	ann := join(t, d.dialTLS(elsewhere), "ann", as("ann", "right"))
	for _, c := range []struct {
		p       *peer
		filters []string
	}{
		{attic, []string{"dominion/attic/desired/#", "dominion/attic/command/#", "dominion/coordinator/state/presence"}},
		{lamp, []string{"dominion/service/lamp/#", "dominion/coordinator/state/lookup/lamp"}},
		{vera, []string{"#"}},
		{ann, []string{"dominion/#"}},
	} {
		for i, code := range c.p.subscribe(1, c.filters...) {
			if code > 1 {
				t.Errorf("subscribe to %s: code %#x", c.filters[i], code)
			}
		}
	}
	attic.publish("dominion/attic/state/presence", "online", 1, true)
	lamp.publish("dominion/service/lamp/level", "7", 1, false)
	ann.publish("dominion/attic/command/ping/host", "now", 1, false)
	attic.message("dominion/attic/command/ping/host")
	vera.message("dominion/service/lamp/level")
	_ = attic.conn.Close()
	if got := string(vera.message("dominion/attic/state/presence").Payload); got != "lost" {
		got = string(vera.message("dominion/attic/state/presence").Payload)
		if got != "lost" {
			t.Errorf("presence %q, want the will", got)
		}
	}
	d.refused.are(t)
}

// A forgotten node is thrown out, its will published, and not let in again.
func TestAForgottenNodesCertificate(t *testing.T) {
	h := ours()
	d := lan(t, h, nil)
	watcher := join(t, d.Pipe(coordinator), "watcher", nil)
	watcher.subscribe(1, presence)
	card := certificate(t, "attic", "our house")
	attic := join(t, d.dialTLS(elsewhere, card), "dominion.attic.1", withWill(presence, "lost", true))
	porch := join(t, d.dialTLS(elsewhere, certificate(t, "porch", "our house")), "dominion.porch.1", nil)
	here := join(t, d.plain.dial("127.0.0.1"), "here", nil)

	if n := d.Expel(h.stands); n != 0 {
		t.Errorf("%d were expelled while all stood", n)
	}
	h.forget("attic")
	if n := d.Expel(h.stands); n != 1 {
		t.Errorf("%d were expelled, want 1", n)
	}
	if got := string(watcher.message(presence).Payload); got != "lost" {
		t.Errorf("presence %q, want the will", got)
	}
	attic.gone()
	porch.stays()
	here.stays()
	try(t, d.dialTLS(elsewhere, card), "dominion.attic.1", nil).is(5)
	d.refused.are(t, broker.Refusal{What: broker.Connecting, Client: "dominion.attic.1", Account: "attic"})
}

// A thousand wrong passwords cost the leader a few hashes, are told of each,
// and keep nobody out who knows the right one.
func TestAThousandWrongPasswords(t *testing.T) {
	for _, v := range []byte{4, 5} {
		synctest.Test(t, func(t *testing.T) {
			h := ours()
			d := lan(t, h, nil)
			began := time.Now()
			codes := map[byte]int{}
			const n = 1000
			for range n {
				p := try(t, d.plain.dial(elsewhere), "guesser", with(version(v), as("ann", "guess")))
				codes[p.connack.ReasonCode]++
				p.gone()
			}
			took := time.Since(began)
			if most := 10 + int(took/(2*time.Second)) + 1; h.tries() > most {
				t.Errorf("%d passwords were looked at in %v, want at most %d", h.tries(), took, most)
			}
			if d.refused.count() != n {
				t.Errorf("told of %d, want %d", d.refused.count(), n)
			}
			if codes[0] != 0 {
				t.Errorf("%d were let in", codes[0])
			}

			at := time.Now()
			join(t, d.plain.dial("192.168.1.7"), "elsewhere", as("ann", "right"))
			join(t, d.plain.dial("127.0.0.1"), "anonymous", nil)
			if waited := time.Since(at); waited != 0 {
				t.Errorf("a right login from elsewhere waited %v", waited)
			}
			time.Sleep(4 * time.Second)
			join(t, d.plain.dial(elsewhere), "remembers", as("ann", "right"))
		})
	}
}

// A client with a wrong password, that tries it again and again, keeps no other
// user of its machine out.
func TestOneUsersWrongPasswordIsNotAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ours()
		d := lan(t, h, nil)
		began := time.Now()
		for i := range 300 {
			try(t, d.plain.dial(elsewhere), "wrong", as("attic.lamp", "old")).gone()
			if i%10 == 0 {
				at := time.Now()
				join(t, d.plain.dial(elsewhere), "right", as("ann", "right")).disconnect()
				if waited := time.Since(at); waited != 0 {
					t.Fatalf("after %d wrong passwords of another user, a right login waited %v", i+1, waited)
				}
			}
		}
		if most := 30 + 10 + int(time.Since(began)/(2*time.Second)) + 1; h.tries() > most {
			t.Errorf("%d passwords were looked at, want at most %d", h.tries(), most)
		}
	})
}

// Who tries many user names is slowed down as well, and what is remembered of
// them is bounded.
func TestGuessesOfManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ours()
		d := lan(t, h, nil)
		began := time.Now()
		for i := range 2000 {
			try(t, d.plain.dial(elsewhere), "guesser", as(fmt.Sprint("user", i), "guess")).gone()
		}
		took := time.Since(began)
		if most := 100 + int(took/(200*time.Millisecond)) + 1; h.tries() > most {
			t.Errorf("%d passwords were looked at in %v, want at most %d", h.tries(), took, most)
		}
		if took < 6*time.Minute {
			t.Errorf("2000 guesses took %v", took)
		}
		if n := d.Guessers(); n > 1024 {
			t.Errorf("%d are remembered", n)
		}
		at := time.Now()
		join(t, d.plain.dial("192.168.1.7"), "elsewhere", as("ann", "right"))
		if waited := time.Since(at); waited != 0 {
			t.Errorf("a right login from elsewhere waited %v", waited)
		}
		join(t, d.plain.dial(elsewhere), "remembers", as("ann", "right"))
	})
}

// Right passwords cost nothing, however many.
func TestRightPasswordsAreNotSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), nil)
		began := time.Now()
		for range 100 {
			join(t, d.plain.dial(elsewhere), "ann", as("ann", "right")).disconnect()
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}

// Guesses that come at once wait for each other, and most are turned away.
func TestManyGuessesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ours()
		const n = 200
		d := lan(t, h, func(o *broker.Options) { o.MaxStrangers = n })
		ended := make(chan byte, n)
		for i := range n {
			go func() {
				ended <- try(t, d.plain.dial(elsewhere), fmt.Sprint(i), as("ann", "guess")).connack.ReasonCode
			}()
		}
		codes := map[byte]int{}
		for range n {
			codes[<-ended]++
		}
		want := map[byte]int{packets.ErrMalformedUsernameOrPassword.Code: 12, packets.Err3ServerUnavailable.Code: n - 12}
		if diff := cmp.Diff(want, codes); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
	})
}

// What is remembered of addresses is bounded, and who guessed most is
// forgotten last. Of IPv6, a machine's whole network is one address.
func TestGuessesFromManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ours()
		d := lan(t, h, nil)
		guess := func(remote string) byte {
			p := try(t, d.plain.dial(remote), "guesser", as("ann", "guess"))
			defer p.gone()
			return p.connack.ReasonCode
		}
		const wrong = 4
		for i := range 10 {
			if code := guess(fmt.Sprintf("2001:db8::%x", i+1)); code != wrong {
				t.Errorf("guess %d: code %d, want %d", i, code, wrong)
			}
		}
		for i := range 1500 {
			if code := guess(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)); code != wrong {
				t.Fatalf("the first guess of address %d: code %d, want %d", i, code, wrong)
			}
		}
		if n := d.Guessers(); n > 1024 {
			t.Errorf("%d addresses are remembered", n)
		}
		began := time.Now()
		if code := guess("2001:db8::ffff"); code != wrong || time.Since(began) == 0 {
			t.Errorf("the eleventh guess of a network: code %d at once; want %d, later", code, wrong)
		}
	})
}
