package agent

import (
	"context"

	"github.com/rs/zerolog"

	"dominion/cmd/domain/whereabouts"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

// Renewal is what keeps a certificate young.
func Renewal(ctx context.Context, papers whereabouts.Papers, renew func(context.Context, *identity.Membership) (*identity.Membership, error), log zerolog.Logger) error {
	return renewal{papers, renew, log}.run(ctx)
}

// Announced is what a machine announces that hears no leader, or does.
func Announced(name topics.Node, id topics.MachineID, m *identity.Membership, lonely bool) []discovery.Announcement {
	l := newLoneliness(name, id, m, nil)
	l.lonely.Store(lonely)
	return l.announcements()
}

// Stranger is what a machine without a house announces while nobody answers.
func Stranger(name topics.Node, id topics.MachineID) []discovery.Announcement {
	return newLoneliness(name, id, nil, whereabouts.NewStranger(localBroker, zerolog.Nop())).announcements()
}

// Heard is what a join hears of the houses around it.
func Heard(ctx context.Context, find whereabouts.Find, meant string) ([]whereabouts.House, discovery.Tried) {
	return heard(ctx, find, meant)
}
