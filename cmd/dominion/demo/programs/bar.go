package programs

import (
	"context"

	"dominion/topics"

	"github.com/rs/zerolog"
)

// bar is the service npBar: a lamp that shows what lightOrchestrator says,
// wherever that runs. <SERVICE_TOPIC>/lamp is on or off, retained;
// <SERVICE_TOPIC>/colour is what it shows. That changes all the time, so no
// broker is asked to keep it: disks wear.
type bar struct {
	env environment
	bus Bus
	log zerolog.Logger

	leader topics.Node // where lightOrchestrator is found
	colour string
}

func (b *bar) filters() []string {
	return []string{
		b.env.space.Lookup(LightOrchestrator),
		b.env.space.ServiceTopic(LightOrchestrator, "+") + "/frame",
	}
}

func (b *bar) run(ctx context.Context, bus Bus) error {
	b.bus = bus
	for {
		select {
		case <-ctx.Done():
			b.leave(context.WithoutCancel(ctx))
			return nil
		case in := <-b.bus.Inbound():
			b.hear(ctx, in)
		}
	}
}

func (b *bar) hear(ctx context.Context, in topics.Inbound) {
	m := in.Message
	switch {
	case in.Link == topics.LinkSynced:
		b.tell(ctx)
	case in.Link != topics.LinkNone:
	case m.Topic == b.env.space.Lookup(LightOrchestrator):
		lookup, err := topics.Decode[topics.Lookup](m.Payload)
		if err != nil || lookup.Ready == 0 || len(lookup.Endpoints) == 0 {
			return // it keeps what it shows, and whom it follows
		}
		if where := lookup.Endpoints[0].Domain; where != b.leader {
			b.leader = where
			b.log.Info().Str("domain", string(where)).Msg("follows lightOrchestrator")
			b.tell(ctx)
		}
	case m.Topic == b.env.space.ServiceTopic(LightOrchestrator, b.leader)+"/frame":
		frame, err := topics.Decode[Frame](m.Payload)
		if err != nil || frame.Colour == b.colour {
			return
		}
		b.colour = frame.Colour
		b.publish(ctx, topics.Message{Topic: b.env.topic("colour"), Payload: []byte(b.colour)})
	}
}

// tell lights the lamp and says that it is ready: again after each connect,
// because brokers forget.
func (b *bar) tell(ctx context.Context) {
	if b.leader == "" {
		return
	}
	b.keep(ctx, "lamp", "on")
	b.keep(ctx, "ready", b.env.start)
}

func (b *bar) leave(ctx context.Context) {
	b.keep(ctx, "lamp", "off")
	b.keep(ctx, "ready", "")
}

// keep publishes what the broker is to retain.
func (b *bar) keep(ctx context.Context, name, payload string) {
	b.publish(ctx, topics.Message{Topic: b.env.topic(name), Payload: []byte(payload), QoS: 1, Retained: true})
}

// publish does not insist: all is said again after the next connect.
func (b *bar) publish(ctx context.Context, m topics.Message) {
	if err := b.bus.Publish(ctx, m); err != nil {
		b.log.Debug().Err(err).Str("topic", m.Topic).Msg("not said")
	}
}
