package agent

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"dominion/cmd/domain/whereabouts"
	"dominion/identity"
)

// The times of renewing this machine's certificate. It lives for long, and the
// house lets in whom it knows whatever the date: nothing here is urgent.
const (
	renewLook  = 12 * time.Hour
	renewAgain = 20 * time.Minute // after a failure
)

// renewal keeps a machine's certificate young.
type renewal struct {
	papers whereabouts.Papers
	renew  func(context.Context, *identity.Membership) (*identity.Membership, error)
	log    zerolog.Logger
}

// run renews at the start and twice a day, when it is time, until ctx ends.
func (r renewal) run(ctx context.Context) error {
	for {
		next := renewLook
		if err := r.once(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Stringer("again", renewAgain).Msg("the certificate cannot be renewed now; it goes on being good in this house")
			next = renewAgain
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (r renewal) once(ctx context.Context) error {
	m, err := r.papers.Load()
	if err != nil || !m.Ages(time.Now()) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now, err := r.renew(ctx, m)
	if err != nil {
		return err
	}
	if err := r.papers.Renewed(now); err != nil {
		return err
	}
	r.log.Info().Msg("the certificate was renewed")
	return nil
}
