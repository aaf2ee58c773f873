package joining

import (
	"context"

	"dominion/identity"
	"dominion/topics"
)

// Options are what a newcomer brings to the door.
type Options struct {
	Door string // host:port of the leader's HTTPS port
	Code Code   // for Join
	Node topics.Node
	ID   topics.MachineID
	// Key is the machine's private key (PEM), from KeepKey: a code serves the
	// one key that used it, so a join can only be repeated with the same. nil:
	// a new one that is not kept.
	Key []byte
}

// Join brings this machine in with a code. The membership is complete, or there
// is an error and nothing was changed here; it can be repeated. Errors:
// *Refusal, *NotDominion, *BrokenAnswer, *identity.NameTaken, those of ctx and
// of the network.
func Join(ctx context.Context, o Options) (*identity.Membership, error) { return nil, nil }

// Ask asks to be let in while the owner holds the window open: it calls show
// once with the four words that the leader shows too, and waits until the
// owner accepted or rejected, or ctx ends. Errors as Join.
func Ask(ctx context.Context, o Options, show func(words string)) (*identity.Membership, error) {
	return nil, nil
}

// Renew fetches a new certificate for the same key from the door of the
// membership, whose leader must be of the house. It returns a changed copy for
// the caller to save.
func Renew(ctx context.Context, m *identity.Membership) (*identity.Membership, error) {
	return nil, nil
}

// KeepKey is the key to join with: it is made and kept in dir (0600) before the
// first try, so that a full disk shows before the code is spent, and is the
// same at the next. DropKey it when the membership was saved.
func KeepKey(dir string) ([]byte, error) { return nil, nil }

// DropKey removes what KeepKey kept.
func DropKey(dir string) error { return nil }
