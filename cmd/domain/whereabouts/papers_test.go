package whereabouts_test

import (
	"os"
	"path/filepath"
	"testing"

	"dominion/cmd/domain/whereabouts"
)

// The agent's user owns the directory: what root does there must not be led
// elsewhere.
func TestALinkInPlaceOfTheLockLeadsNowhere(t *testing.T) {
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "membership.lock")); err != nil {
		t.Fatal(err)
	}
	if err := whereabouts.Papers(dir).Remove(); err == nil {
		t.Error("a link was taken for the lock")
	}
	if after, err := os.Stat(victim); err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("what it leads to was touched: %v, %v", after, err)
	}
}
