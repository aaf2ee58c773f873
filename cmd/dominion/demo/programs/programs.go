// Package programs holds the three services of the demo's house, as an agent
// starts them: a lamp (npBar) that shows what an orchestrator of lights
// (lightOrchestrator) says, which finds and follows a page of the house
// (webServer). They are real services and use nothing but what every service
// is given: its environment and the bus.
//
// One thing they have more than others: they belong to a demo and end with it.
// The demo holds the lock of a file, which the kernel gives back however the
// demo ends; each service waits for it. Each also holds a file of its own, so
// that the demo can count them (Census).
package programs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"dominion/broker/client"
	"dominion/topics"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Bus is what a service needs of the bus.
type Bus interface {
	Publish(ctx context.Context, m topics.Message) error
	Inbound() <-chan topics.Inbound
}

// program is one of the services.
type program interface {
	filters() []string
	// run returns nil when ctx ends.
	run(ctx context.Context, bus Bus) error
}

// Run is the service with that name, until ctx ends or the demo whose folder
// the environment names is no more. Then it returns nil.
func Run(ctx context.Context, name string, environ []string, log zerolog.Logger) error {
	env, err := readEnvironment(environ)
	if err != nil {
		return err
	}
	log = log.With().Str("component", name).Logger()
	p, err := find(topics.Service(name), env, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if env.folder != "" {
		enrolled, err := enrol(env.folder, Living{env.service, env.domain, env.start, os.Getpid()})
		if err != nil {
			return fmt.Errorf("join the demo's list of services: %w", err)
		}
		defer enrolled.Close()
		// It waits in the kernel as long as the process lives.
		go func() {
			defer cancel()
			if err := untilFree(Lock(env.folder)); err != nil {
				log.Error().Err(err).Msg("cannot tell whether the demo lives")
			}
		}()
	}
	return run(ctx, p, env, log)
}

func find(name topics.Service, env environment, log zerolog.Logger) (program, error) {
	switch name {
	case NPBar:
		return &bar{env: env, log: log}, nil
	case LightOrchestrator:
		return &orchestrator{env: env, log: log}, nil
	case WebServer:
		return &web{env: env, log: log}, nil
	}
	return nil, fmt.Errorf("the demo has no service %q (%s, %s, %s)", name, NPBar, LightOrchestrator, WebServer)
}

func run(ctx context.Context, p program, env environment, log zerolog.Logger) error {
	bus, err := client.New(client.Options{Space: env.space, Filters: p.filters(), Broker: env.broker, Log: log})
	if err != nil {
		return err
	}
	// The room first, then the link: what it says at its end is still sent.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	defer unlink()
	group := errgroup.Group{}
	group.Go(func() error { return bus.Run(linked) })
	err = p.run(ctx, bus)
	unlink()
	return errors.Join(err, group.Wait())
}
