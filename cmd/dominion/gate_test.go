package main

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/identity/joining"
	"dominion/topics"
)

func TestAFloodOfRefusalsIsAFewTellings(t *testing.T) {
	g := newGate(nil, zerolog.Nop())
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	told := func() (n int) {
		for {
			select {
			case <-g.notices:
				n++
			default:
				return n
			}
		}
	}
	// Somebody with a login makes up topics, somebody without makes up names, and
	// somebody knocks at the door.
	for i := range 10_000 {
		g.tellRefusal(broker.Refusal{
			What: broker.Publishing, Client: "c", Account: "user vera", Remote: "10.0.0.7:1", Topic: fmt.Sprint("evil/", i), Why: "may not write there",
			Who: []topics.Identity{{Role: topics.RoleViewer}},
		}, now)
		g.tellRefusal(broker.Refusal{What: broker.Connecting, Client: fmt.Sprint("c", i), Account: fmt.Sprint("cn", i), Remote: "10.0.0.8:1", Why: fmt.Sprint("certificate of cn", i)}, now)
		g.tellTurnedAway(joining.Happening{What: joining.Refused, Why: "wrong", Remote: "10.0.0.9"}, now)
	}
	if n := told(); n == 0 || n > 2*eachSource+1 {
		t.Errorf("%d tellings of three sources", n)
	}
	if g.offences.untold < 10_000 {
		t.Errorf("%d were counted", g.offences.untold)
	}
	// From everywhere at once.
	for i := range 10_000 {
		g.tellRefusal(broker.Refusal{What: broker.Connecting, Remote: fmt.Sprintf("10.%d.%d.1:1", i/250, i%250)}, now)
	}
	if n := told(); n == 0 || n > allSources {
		t.Errorf("%d tellings of ten thousand sources", n)
	}
	if n := len(g.offences.told) + len(g.offences.sources); n > 3*allSources {
		t.Errorf("%d entries are kept", n)
	}
	// Later, what is new is told again.
	g.tellRefusal(broker.Refusal{What: broker.Connecting, Remote: "10.0.0.8:1", Account: "ann", Why: "wrong user or password"}, now.Add(3*time.Minute))
	if told() != 1 {
		t.Error("what happened later was not told")
	}
}

// TestJoiningSettlesAClosedWindow holds that the alert of a machine that asked
// while the window was closed ends when it joins, or soon; a graver one of its
// address stays.
func TestJoiningSettlesAClosedWindow(t *testing.T) {
	g := newGate(nil, zerolog.Nop())
	now := time.Now()
	alerts := map[string]time.Duration{} // how long each that stands lasts
	heed := func() {
		for len(g.notices) > 0 {
			n := <-g.notices
			delete(alerts, n.ID)
			if n.Alert != nil {
				alerts[n.ID] = n.For
			}
		}
	}
	for _, why := range []joining.Why{joining.WrongCode, joining.WindowClosed} {
		g.tellTurnedAway(joining.Happening{What: joining.Refused, Why: why, Node: "pi2", Remote: "10.0.0.9"}, now)
	}
	heed()
	if diff := cmp.Diff(map[string]time.Duration{"refused-join-10-0-0-9": 10 * time.Minute, "refused-join-10-0-0-9-closed": 2 * time.Minute}, alerts); diff != "" {
		t.Errorf("before it joined (-want +got):\n%s", diff)
	}
	g.happened(joining.Happening{What: joining.Joined, Node: "pi2", Remote: "10.0.0.9"})
	heed()
	if diff := cmp.Diff(map[string]time.Duration{"refused-join-10-0-0-9": 10 * time.Minute}, alerts); diff != "" {
		t.Errorf("after it joined (-want +got):\n%s", diff)
	}
}

func TestNetworksAreCountedAsOne(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.7:1883": "10.0.0.7", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::", "[fe80::1%eth0]:5": "fe80::", "[::ffff:10.0.0.7]:1": "10.0.0.7", "pipe": "pipe",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestTheDoorHoldsSoManyOfOneNetwork(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	b := newBounded(inner)
	in := make(chan net.Conn)
	go func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				close(in)
				return
			}
			in <- conn
		}
	}()
	var first net.Conn
	for range mostFromOne {
		out, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		first = <-in
		defer first.Close()
	}
	over, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	over.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := over.Read(make([]byte, 1)); err == nil || err != io.EOF && !isReset(err) {
		t.Errorf("one too many: %v", err)
	}
	first.Close()
	again, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	(<-in).Close()
}

func isReset(err error) bool {
	_, ok := err.(*net.OpError)
	return ok
}

func TestARefusedPageIsTold(t *testing.T) {
	g := newGate(nil, zerolog.Nop())
	g.tellRefusal(broker.Refusal{What: broker.Opening, Remote: "10.0.0.7:1", Why: `it is of "http://evil.example", which is not among the origins`}, time.Now())
	n := <-g.notices
	want := topics.Alert{
		Severity: topics.SeverityWarning,
		Text:     `a web page in a browser at 10.0.0.7 was not let in: it is of "http://evil.example", which is not among the origins`,
		Next:     "if it is yours: add it to origins in the leader's configuration, and start it again",
	}
	if diff := cmp.Diff(want, *n.Alert); diff != "" {
		t.Errorf("alert (-want +got):\n%s", diff)
	}
}
