// Package homeassistant shows the house in Home Assistant: one retained MQTT
// device discovery message for the house, for every domain and for every
// service. It is the only package that knows Home Assistant's JSON.
//
// No measurement passes through it. The messages point Home Assistant once at
// the topics that the nodes and the coordinator publish anyway, and at the
// coordinator's commands; after that the bridge is silent until a device is
// added, changed or forgotten.
//
// A device that is deleted in Home Assistant comes back, because its service
// or domain is still there: disable it there, or forget it here.
package homeassistant

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"dominion/topics"
)

// Config is what a Bridge is told by its wiring.
type Config struct {
	Space   topics.Space
	Version string         // of this program: the origin of every message
	House   topics.HouseID // begins every discovery id and every unique_id
	// Ephemeral empties the house's discovery topics when Run ends, so that a
	// demo leaves nothing behind in Home Assistant.
	Ephemeral bool
	// ConfigurationURL is the page that the house's device links to: http or
	// https with a host; empty for none.
	ConfigurationURL string
	Log              zerolog.Logger
}

// Bus is what the bridge needs of its connection.
type Bus interface {
	// Publish hands a message to the connection, in order; it does not wait
	// for the broker. An error says that the link is down.
	Publish(ctx context.Context, m topics.Message) error
	// Inbound is one stream of link changes and messages.
	Inbound() <-chan topics.Inbound
}

// Filters are the subscriptions of the bridge's connection: the state of every
// node, Home Assistant's birth and will, and the discovery topics of devices.
// None overlaps another.
func Filters(s topics.Space) []string {
	return []string{s.Filter(topics.State), s.HABirth(), s.HADevices()}
}

// Bridge shows one house in Home Assistant.
type Bridge struct{ cfg Config }

// New makes a bridge. A ConfigurationURL that Home Assistant would refuse,
// and the house's device with it, is left out and logged.
func New(cfg Config) *Bridge {
	if cfg.ConfigurationURL != "" && !linkable(cfg.ConfigurationURL) {
		cfg.Log.Warn().Str("url", cfg.ConfigurationURL).Msg("left out: Home Assistant links to http:// and https:// only")
		cfg.ConfigurationURL = ""
	}
	return &Bridge{cfg}
}

func linkable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// errEnded says that the connection gave up for good.
var errEnded = errors.New("the bus connection of the Home Assistant bridge ended")

// farewell is how long the end of an ephemeral bridge may take.
const farewell = 2 * time.Second

// Run keeps the discovery topics as the house is until ctx ends, and returns
// nil then. It publishes nothing before a coordinator led for the first time;
// what stands on the discovery topics stays until then.
func (b *Bridge) Run(ctx context.Context, bus Bus) error {
	p := newPublisher(b.cfg)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.act(ctx, bus, time.Now()))
		select {
		case <-ctx.Done():
			return b.end(ctx, p, bus)
		case in, open := <-bus.Inbound():
			if !open {
				return errEnded
			}
			p.hear(in, time.Now())
		case <-timer.C:
		}
	}
}

func (b *Bridge) end(ctx context.Context, p *publisher, bus Bus) error {
	if !b.cfg.Ephemeral {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	for _, topic := range p.standing() {
		if err := bus.Publish(ctx, topics.Message{Topic: topic, QoS: 1, Retained: true}); err != nil {
			b.cfg.Log.Warn().Err(err).Msg("the house's devices stay in Home Assistant")
			return nil
		}
	}
	return nil
}
