package whereabouts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"dominion/identity"
)

// Papers are a machine's membership, in the agent's data directory. The agent,
// `domain join` and `domain leave` change them, each in a process of its own.
type Papers string

// membershipFile is what identity writes last.
const membershipFile = "membership.json"

// Load reads them; fs.ErrNotExist if the machine belongs to no house.
func (p Papers) Load() (*identity.Membership, error) { return identity.LoadMembership(string(p)) }

// Change reads them, has them changed, and writes them if change returns true.
// Nobody else changes them meanwhile.
func (p Papers) Change(change func(*identity.Membership) bool) error {
	return p.locked(func() error {
		m, err := p.Load()
		if err != nil || !change(m) {
			return err
		}
		return m.Save(string(p))
	})
}

// Renewed writes what the house gave for the papers that are there. If the
// machine joined again meanwhile, those count.
func (p Papers) Renewed(now *identity.Membership) error {
	return p.Change(func(m *identity.Membership) bool {
		same := m.House == now.House && bytes.Equal(m.Key, now.Key) // each join has one of its own
		if same {
			*m = *now
		}
		return same
	})
}

// Replace writes new ones, whatever was there before.
func (p Papers) Replace(m *identity.Membership) error {
	return p.locked(func() error { return m.Save(string(p)) })
}

// Watch waits until they make this machine another on the bus than before: it
// joined or left a house, has another name or login there. Nil papers are none.
// It returns nil when ctx ended before.
func (p Papers) Watch(ctx context.Context, before *identity.Membership) error {
	again := time.NewTicker(look)
	defer again.Stop()
	var seen os.FileInfo
	for first := true; ; first = false {
		info, _ := os.Stat(filepath.Join(string(p), membershipFile)) // nil: there are none, or Load says what is wrong
		if first || !sameFile(seen, info) {
			now, err := p.Load()
			if err == nil && !sameNode(before, now) || errors.Is(err, fs.ErrNotExist) && before != nil {
				return ErrChanged
			}
		}
		seen = info
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

// look is how often Watch looks.
const look = 2 * time.Second

// ErrChanged is what Watch waits for.
var ErrChanged = errors.New("this machine joined or left a house")

// sameNode tells whether two memberships are one and the same node to a broker,
// wherever that is, and whatever certificate it shows for its key.
func sameNode(a, b *identity.Membership) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.House == b.House && a.Node == b.Node && a.Base == b.Base && a.Logins == b.Logins &&
		a.Username == b.Username && a.Password == b.Password && a.Secret == b.Secret && bytes.Equal(a.Key, b.Key) && Vouched(a) == Vouched(b)
}

// Remove takes them away: the machine belongs to no house any more.
func (p Papers) Remove() error {
	return p.locked(func() error { return identity.Leave(string(p)) })
}

func (p Papers) locked(do func() error) error {
	path := filepath.Join(string(p), "membership.lock")
	lock, err := identity.OpenLock(path)
	if err != nil {
		return err
	}
	defer lock.Close() // gives the lock free
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return do()
}
