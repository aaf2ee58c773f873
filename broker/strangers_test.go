package broker_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/broker"
)

// open tells whether a connection that says nothing is left open for now.
func open(t *testing.T, c net.Conn) bool {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := c.Read(make([]byte, 1))
	if err == nil {
		t.Error("a silent connection was answered")
	}
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// silent opens many connections from an address, for a second, and returns how
// many are left open.
func silent(t *testing.T, l *fakeListener, n int, remote func(int) string) (left int) {
	t.Helper()
	stays := make(chan bool, n)
	for i := range n {
		c := l.dial(remote(i))
		t.Cleanup(func() { _ = c.Close() })
		go func() { stays <- open(t, c) }()
	}
	for range n {
		if <-stays {
			left++
		}
	}
	return left
}

func same(remote string) func(int) string { return func(int) string { return remote } }

// A thousand silent connections keep nobody out but who opened them, and that
// only until they are given up.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	neighbours := func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }
	many := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/250, i%250+1) }
	for _, c := range []struct {
		name   string
		remote func(int) string
		left   int
		shut   map[string]bool // who is kept out meanwhile
	}{
		{"one machine", same(elsewhere), 32, map[string]bool{elsewhere: true}},
		{"one machine, IPv6", neighbours, 32, map[string]bool{"2001:db8::ffff": true}},
		{"this machine", same("127.0.0.1"), 250, map[string]bool{"127.0.0.1": true, "::1": true}},
		{"a thousand machines", many, 250, map[string]bool{elsewhere: true, "192.168.1.7": true, "2001:db8::ffff": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lan(t, ours(), nil)
				in := join(t, d.plain.dial(elsewhere), "in", as("ann", "right"))
				if left := silent(t, d.plain, 1000, c.remote); left != c.left {
					t.Errorf("%d silent connections are left open, want %d", left, c.left)
				}
				shut := map[string]bool{}
				remotes := []string{elsewhere, "192.168.1.7", "2001:db8::ffff", "127.0.0.1", "::1"}
				for _, remote := range remotes {
					if p := try(t, d.plain.dial(remote), remote, as("ann", "right")); p.connack.FixedHeader.Type == 0 {
						shut[remote] = true
					}
				}
				if diff := cmp.Diff(c.shut, shut); diff != "" {
					t.Errorf("kept out (-want +got):\n%s", diff)
				}
				in.stays()
				time.Sleep(5 * time.Second) // ConnectTimeout
				for _, remote := range remotes {
					join(t, d.plain.dial(remote), remote, as("ann", "right"))
				}
			})
		})
	}
}

// Who is let in takes no place of who is not, and who was refused gives it back.
func TestWhoIsLetInIsNoStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), func(o *broker.Options) { o.MaxStrangers = 1 })
		for i := range 5 {
			join(t, d.plain.dial(elsewhere), fmt.Sprint(i), as("ann", "right"))
			try(t, d.plain.dial(elsewhere), "wrong", as("ann", "guess")).is(4)
			synctest.Wait() // until nothing is left of it
		}
	})
}
