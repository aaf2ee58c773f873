package programs

import (
	"context"

	"dominion/topics"

	"github.com/rs/zerolog"
)

// Perform runs a service on a bus of the test's.
func Perform(ctx context.Context, name topics.Service, environ []string, bus Bus) error {
	env, err := readEnvironment(environ)
	if err != nil {
		return err
	}
	p, err := find(name, env, zerolog.Nop())
	if err != nil {
		return err
	}
	return p.run(ctx, bus)
}

// Filters are what a service subscribes to.
func Filters(name topics.Service, environ []string) ([]string, error) {
	env, err := readEnvironment(environ)
	if err != nil {
		return nil, err
	}
	p, err := find(name, env, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	return p.filters(), nil
}
