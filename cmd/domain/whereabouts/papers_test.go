package whereabouts_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"dominion/cmd/domain/whereabouts"
	"dominion/identity"
)

// TestWatch holds what makes a machine another one on the bus, and what does
// not: its leader's address, a younger certificate.
func TestWatch(t *testing.T) {
	h := newHouse(t)
	same := func(*identity.Membership) {}
	tests := []struct {
		name   string
		before bool // it belongs to a house at first
		change func(whereabouts.Papers) error
		tells  bool
	}{
		{name: "waits while nothing happens", before: true},
		{name: "does not mind where the leader is", before: true, change: change(func(m *identity.Membership) { m.Broker, m.Door = "mqtts://10.0.0.9:8883", "10.0.0.9:8443" })},
		{name: "does not mind that it was written again", before: true, change: change(same)},
		{name: "tells of another name", before: true, change: change(func(m *identity.Membership) { m.Node = "pi3" }), tells: true},
		{name: "tells of another house", before: true, change: change(func(m *identity.Membership) { m.House = "aaaaaa" }), tells: true},
		{name: "tells of another secret", before: true, change: change(func(m *identity.Membership) { m.Secret = "other" }), tells: true},
		{name: "tells that it left", before: true, change: whereabouts.Papers.Remove, tells: true},
		{name: "does not take damage for leaving", before: true, change: func(p whereabouts.Papers) error {
			return os.WriteFile(filepath.Join(string(p), "membership.json"), []byte("{"), 0o600)
		}},
		{name: "tells that it joined", change: func(p whereabouts.Papers) error { return p.Replace(saved(t, admitted(t, h, "mqtts://10.0.0.1:8883"))) }, tells: true},
		{name: "waits for a house"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			papers, before := whereabouts.Papers(t.TempDir()), (*identity.Membership)(nil)
			if tt.before {
				papers = admitted(t, h, "mqtts://127.0.0.1:8883")
				before = saved(t, papers)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- papers.Watch(ctx, before) }()
				time.Sleep(10 * time.Second)
				if tt.change != nil {
					if err := tt.change(papers); err != nil {
						t.Fatal(err)
					}
				}
				changed := time.Now()
				err := <-ended
				switch took := time.Since(changed); {
				case tt.tells && (!errors.Is(err, whereabouts.ErrChanged) || took > 3*time.Second):
					t.Errorf("told %v after %v", err, took)
				case !tt.tells && err != nil:
					t.Errorf("told %v after %v", err, took)
				}
			})
		})
	}
}

func change(do func(*identity.Membership)) func(whereabouts.Papers) error {
	return func(p whereabouts.Papers) error {
		return p.Change(func(m *identity.Membership) bool { do(m); return true })
	}
}

// TestRenewed holds that what a house gives for papers that were replaced
// meanwhile does not take the new ones away.
func TestRenewed(t *testing.T) {
	h := newHouse(t)
	papers := admitted(t, h, "mqtts://127.0.0.1:8883")
	renewed := *saved(t, papers)
	renewed.Door = "127.0.0.1:9"
	if err := papers.Renewed(&renewed); err != nil || saved(t, papers).Door != "127.0.0.1:9" {
		t.Errorf("%v, door %s", err, saved(t, papers).Door)
	}
	again := saved(t, admitted(t, h, "mqtts://127.0.0.1:8883"))
	if err := papers.Replace(again); err != nil {
		t.Fatal(err)
	}
	if err := papers.Renewed(&renewed); err != nil || string(saved(t, papers).Key) != string(again.Key) {
		t.Errorf("%v; the papers of the second join are lost", err)
	}
	if err := papers.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := papers.Renewed(&renewed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a machine that left: %v", err)
	}
	if _, err := papers.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is back in the house: %v", err)
	}
}
