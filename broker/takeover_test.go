package broker_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

const presence = "dominion/attic/state/presence"

// birth subscribes, then says that it is there, as a node does.
func birth(p *peer, sid string) {
	p.subscribe(1, "dominion/attic/desired/#")
	p.publish(presence, "online "+sid, 1, true)
}

func TestATakeoverEndsTheOldSessionBeforeTheNewOneBegins(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if err := s.AddHook(&lateHook{}); err != nil {
		t.Fatal(err)
	}
	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, presence)
	var old *peer
	for i := range 30 {
		sid := fmt.Sprint(i)
		p := join(t, dial(t, s), "attic", withWill(presence, "lost "+sid, true))
		birth(p, sid)
		if old != nil {
			old.gone()
			if got := string(watcher.message(presence).Payload); got != fmt.Sprintf("lost %d", i-1) {
				t.Fatalf("takeover %d: presence %q, want the old will first", i, got)
			}
		}
		if got := string(watcher.message(presence).Payload); got != "online "+sid {
			t.Fatalf("takeover %d: presence %q, want the new birth last", i, got)
		}
		hears(t, s, p, sid)
		old = p
	}
}

// hears fails unless a message reaches the client.
func hears(t *testing.T, s *broker.Server, p *peer, word string) {
	t.Helper()
	if err := s.Inject("dominion/attic/desired/services", []byte(word), false, 1); err != nil {
		t.Fatal(err)
	}
	if got := string(p.message("dominion/attic/desired/services").Payload); got != word {
		t.Fatalf("heard %q, want %q", got, word)
	}
}

func TestAnIdBelongsToWhoHoldsIt(t *testing.T) {
	s := start(t, nil)
	room := join(t, s.Pipe(coordinator), "the-leader", nil)
	thief := try(t, dial(t, s), "the-leader", nil)
	if got := thief.connack.ReasonCode; got != packets.Err3ClientIdentifierNotValid.Code {
		t.Errorf("CONNACK code %d, want %d", got, packets.Err3ClientIdentifierNotValid.Code)
	}
	room.publish("dominion/coordinator/state/presence", "online", 1, true) // it is still there

	// A session that waits for its client is not handed to somebody else either.
	keep := func(pk *packets.Packet) { pk.Connect.Clean = false }
	reader := join(t, s.Pipe(coordinator), "keeper", keep)
	reader.subscribe(1, "dominion/#")
	reader.disconnect()
	other := join(t, s.Pipe(topics.Identity{Role: topics.RoleService, Name: "lamp"}), "keeper", keep)
	if other.connack.SessionPresent {
		t.Error("the session of another identity was handed over")
	}
	if err := s.Inject("dominion/attic/desired/services", []byte("secret"), false, 1); err != nil {
		t.Fatal(err)
	}
	other.subscribe(1, "dominion/service/lamp/#")
	if got := other.upTo("dominion/service/lamp/token"); len(got) != 0 {
		t.Errorf("heard %d messages of another's subscription, want none", len(got))
	}
}

// Who holds a client id keeps it against every other account, whatever it may be.
func TestAnotherAccountDoesNotTakeAnIdOver(t *testing.T) {
	for _, c := range []struct{ name, id, holder, other string }{
		{"a viewer, a node's", "dominion.attic.1", "attic", "vera"},
		{"a node, a node's", "dominion.attic.1", "attic", "porch"},
		{"an operator, a viewer's", "x", "vera", "ann"},
		{"a service, that of the same service elsewhere", "lamp", "attic.lamp", "porch.lamp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range []byte{4, 5} {
				d := lan(t, ours(), nil)
				holder := join(t, d.plain.dial(elsewhere), c.id, with(version(v), as(c.holder, "right")))
				try(t, d.plain.dial(elsewhere), c.id, with(version(v), as(c.other, "right"))).is(2)
				holder.stays()
				h := ours()
				d.refused.are(t, broker.Refusal{
					What: broker.Connecting, Client: c.id,
					Account: h.accounts[c.other].Name, Who: []topics.Identity{h.accounts[c.other].Who},
				})
				again := join(t, d.plain.dial(elsewhere), c.id, with(version(v), as(c.holder, "right")))
				holder.gone()
				again.stays()
			}
		})
	}
}

// A viewer that takes a node's client id while the node is away does not keep it
// out, nor the leader's own rooms.
func TestWhomAnIdNamesWinsIt(t *testing.T) {
	for _, c := range []struct {
		name, id string
		rightful func(*testing.T, *doors) net.Conn
		login    func(*packets.Packet)
	}{
		{"node with a certificate", "dominion.attic.1a2b", func(t *testing.T, d *doors) net.Conn {
			return d.dialTLS(elsewhere, certificate(t, "attic", "our house"))
		}, nil},
		{"node with a password", "house.two.attic.1a2b", func(_ *testing.T, d *doors) net.Conn { return d.plain.dial(elsewhere) }, as("attic", "right")},
		{"called as its account", "ha", func(_ *testing.T, d *doors) net.Conn { return d.plain.dial(elsewhere) }, as("ha", "right")},
		{"the leader's room", "dominion.coordinator.1a2b", func(_ *testing.T, d *doors) net.Conn { return d.Pipe(coordinator) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := lan(t, ours(), nil)
			for _, squatter := range []struct {
				remote string
				login  func(*packets.Packet)
			}{{elsewhere, as("vera", "right")}, {elsewhere, as("porch", "right")}, {"127.0.0.1", nil}} {
				p := join(t, d.plain.dial(squatter.remote), c.id, with(squatter.login, keep))
				p.subscribe(1, "dominion/#")
				owner := join(t, c.rightful(t, d), c.id, with(c.login, keep))
				if owner.connack.SessionPresent {
					t.Error("the squatter's session was handed over")
				}
				p.gone()
				try(t, d.plain.dial(squatter.remote), c.id, squatter.login).is(2)
				owner.stays()
				owner.disconnect()
			}
		})
	}
}

// A kept session goes on for the login that began it, and for no other.
func TestAKeptSessionIsItsAccounts(t *testing.T) {
	for _, c := range []struct {
		name    string
		next    string
		change  func(h *house)
		present bool
	}{
		{"the same account", "ann", func(*house) {}, true},
		{"another account", "vera", func(*house) {}, false},
		{"a new password", "ann", func(h *house) {
			h.change("ann", topics.Account{Name: "user ann", Who: topics.Identity{Role: topics.RoleOperator, Name: "ann"}, Key: "new"})
		}, false},
		{"another role", "ann", func(h *house) {
			h.change("ann", topics.Account{Name: "user ann", Who: topics.Identity{Role: topics.RoleService, Name: "ann"}, Key: "new"})
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := ours()
			d := lan(t, h, nil)
			first := join(t, d.plain.dial(elsewhere), "kept", with(as("ann", "right"), keep))
			first.subscribe(1, "#")
			first.disconnect()
			c.change(h)
			if err := d.Inject("dominion/attic/state/info", []byte("for ann"), false, 1); err != nil {
				t.Fatal(err)
			}
			next := join(t, d.plain.dial(elsewhere), "kept", with(as(c.next, "right"), keep))
			if next.connack.SessionPresent != c.present {
				t.Errorf("session present: %v, want %v", next.connack.SessionPresent, c.present)
			}
			next.stays()
			heard := 0
			for len(next.in) > 0 {
				if pk := <-next.in; pk.FixedHeader.Type == packets.Publish {
					heard++
				}
			}
			if heard > 0 && !c.present {
				t.Errorf("heard %d messages of the other login's subscription", heard)
			}
		})
	}
}

func TestAPersistentSessionGoesOnAfterATakeover(t *testing.T) {
	s := start(t, nil)
	keep := func(pk *packets.Packet) { pk.Connect.Clean = false }
	p := join(t, dial(t, s), "keeper", keep)
	p.subscribe(1, "house/#")
	again := join(t, dial(t, s), "keeper", keep)
	p.gone()
	if !again.connack.SessionPresent {
		t.Error("session not present")
	}
	if err := s.Inject("house/x", []byte("v"), false, 1); err != nil {
		t.Fatal(err)
	}
	again.message("house/x")
}

func TestAConnectIsTurnedAwayWhenTheOldSessionDoesNotEnd(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.TakeoverWait = 50 * time.Millisecond })
	h := &stuckHook{release: make(chan struct{})}
	if err := s.AddHook(h); err != nil {
		t.Fatal(err)
	}
	join(t, dial(t, s), "stuck", nil)
	p := try(t, dial(t, s), "stuck", nil)
	if got := p.connack.ReasonCode; got != packets.Err3ServerUnavailable.Code {
		t.Errorf("CONNACK code %d, want %d", got, packets.Err3ServerUnavailable.Code)
	}
	close(h.release)
	join(t, dial(t, s), "stuck", nil)
}
