package joining_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// leader is a house with its door open on the loopback.
type leader struct {
	house   *identity.House
	door    *joining.Door
	dir     string // of the invitations; the house's own is a sibling
	address string
	clock   *clock
	change  func(*joining.Handout) // what a newcomer is given; nil: nothing
	mu      sync.Mutex             // guards told
	told    []joining.Happening
}

// clock is the leader's; it stands still but for add.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newLeader(t *testing.T, id topics.HouseID, name string) *leader {
	t.Helper()
	root := t.TempDir()
	house, err := identity.Create(filepath.Join(root, "identity"), name)
	if err != nil {
		t.Fatal(err)
	}
	l := &leader{house: house, dir: root, clock: &clock{now: time.Now()}}
	l.door = joining.NewDoor(joining.DoorOptions{
		House: house, Dir: root, Now: l.clock.Now, Log: zerolog.Nop(),
		Handout: func() (joining.Handout, error) {
			h := joining.Handout{House: id, Name: name, Base: "dominion", Broker: "mqtts://127.0.0.1:8883", Door: l.address, Logins: identity.LoginsOwn}
			if l.change != nil {
				l.change(&h)
			}
			return h, nil
		},
		Tell: func(h joining.Happening) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.told = append(l.told, h)
		},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.address = listener.Addr().String()
	server := joining.Server()
	server.Handler = l.door
	server.TLSConfig = house.TLS(func() []string { return []string{"127.0.0.1"} })
	server.ErrorLog = quiet()
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close(); <-done })
	return l
}

func (l *leader) invite(t *testing.T) joining.Code {
	t.Helper()
	code, err := joining.Invite(l.dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (l *leader) invitation(t *testing.T, code joining.Code) joining.Invitation {
	t.Helper()
	all, err := joining.Invitations(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(i joining.Invitation) bool { return i.Code == code })
	if at < 0 {
		t.Fatalf("no invitation %s in %v", code, all)
	}
	return all[at]
}

func (l *leader) nodes() []string {
	var names []string
	for _, n := range l.house.Nodes() {
		names = append(names, string(n.Name))
	}
	return names
}

// happenings counts what was told.
func (l *leader) happenings(what string, why joining.Why) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.told {
		if h.What == what && h.Why == why {
			count++
		}
	}
	return count
}

func (l *leader) all() []joining.Happening {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told)
}

func (l *leader) last() joining.Happening {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.told) == 0 {
		return joining.Happening{}
	}
	return l.told[len(l.told)-1]
}

// machine is a newcomer with a key that it keeps.
func machine(t *testing.T, l *leader, node topics.Node, code joining.Code) joining.Options {
	t.Helper()
	key, err := joining.KeepKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return joining.Options{Door: l.address, Code: code, Node: node, ID: topics.MachineID("machine-of-" + node), Key: key}
}

func join(t *testing.T, o joining.Options) (*identity.Membership, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return joining.Join(ctx, o)
}

// wants fails the test unless the error is a refusal for the reason.
func wants(t *testing.T, err error, why joining.Why) {
	t.Helper()
	var no *joining.Refusal
	if !errors.As(err, &no) || no.Why != why {
		t.Errorf("got %v, want a refusal %q", err, why)
	}
}
