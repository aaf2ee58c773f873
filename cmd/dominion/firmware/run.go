package firmware

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// Config is where the devices are, and how the house is reached.
type Config struct {
	Space   topics.Space
	Entries map[string]Entry
	ID      topics.MachineID // of the machine that speaks for them
	Broker  string
	// Dial, if not nil, connects as a client that is this.
	Dial func(who topics.Identity) func(context.Context) (net.Conn, error)
	Log  zerolog.Logger
}

// mostDevices is how many are shown: each has a connection of its own.
const mostDevices = 200

// Run shows the devices until ctx ends. Without entries it waits.
func Run(ctx context.Context, cfg Config) error {
	if len(cfg.Entries) == 0 {
		<-ctx.Done()
		return nil
	}
	r := room{Config: cfg, entries: map[string]Entry{}, devices: map[topics.Node]*client.Microdomain{}}
	for name := range cfg.Entries {
		r.entries[name], _ = read(name, cfg.Entries[name])
	}
	defer r.all.Wait()
	bus, err := client.New(client.Options{
		Space: cfg.Space, Filters: filters(r.entries), Broker: cfg.Broker, Dial: r.dial(topics.Identity{Role: topics.RoleViewer}), Log: cfg.Log,
	})
	if err != nil {
		return fmt.Errorf("microdomain: %w", err)
	}
	return client.Live(ctx, bus, func(ctx context.Context) error {
		for {
			select {
			case in := <-bus.Inbound():
				if in.Link == topics.LinkNone {
					r.hear(ctx, in.Message)
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// room is one Run.
type room struct {
	Config
	entries map[string]Entry
	devices map[topics.Node]*client.Microdomain
	full    bool // it was said that there are too many
	all     sync.WaitGroup
}

func (r *room) dial(who topics.Identity) func(context.Context) (net.Conn, error) {
	if r.Dial == nil {
		return nil
	}
	return r.Dial(who)
}

// hear takes in what a device says of itself.
func (r *room) hear(ctx context.Context, m topics.Message) {
	if r.ours(m.Topic) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		e := r.entries[name]
		node := e.node(name, m.Topic)
		online, known := e.present(m.Payload)
		if node == "" || !known {
			continue
		}
		_, shown := r.devices[node]
		d := r.device(node, e)
		if d == nil {
			return
		}
		if online {
			d.Ready(true, "")
		} else {
			d.Lost(fmt.Sprintf("its firmware says %.40s on %s", word(m.Payload), m.Topic))
		}
		if !shown { // with its first word
			r.show(ctx, d)
		}
		return
	}
}

// ours tells a topic of the house's own, or of Home Assistant, which says that it
// is there as some devices do.
func (r *room) ours(topic string) bool {
	return !r.Space.Foreign(topic) || topic == r.Space.HABirth()
}

// device is who speaks for a device; nil if there are too many.
func (r *room) device(node topics.Node, e Entry) *client.Microdomain {
	if d := r.devices[node]; d != nil {
		return d
	}
	if len(r.devices) >= mostDevices {
		if !r.full {
			r.full = true
			r.Log.Warn().Int("devices", mostDevices).Msg("there are more devices than are shown (name the ones that matter, each with a presence of its own)")
		}
		return nil
	}
	service := topics.Service(node)
	if e.Service != "" {
		service = topics.Service(e.Service)
	}
	d := &client.Microdomain{
		Node: node, Service: service, Base: r.Space.Base, Broker: r.Broker, ID: r.ID, Proxy: true,
		Run: func(ctx context.Context) error { <-ctx.Done(); return nil },
		Client: func(o *client.Options) {
			o.Dial, o.Log = r.dial(topics.Identity{Role: topics.RoleNode, Name: string(node)}), r.Log
		},
	}
	r.devices[node] = d
	return d
}

func (r *room) show(ctx context.Context, d *client.Microdomain) {
	r.all.Go(func() {
		if err := d.Serve(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn().Str("node", string(d.Node)).Err(err).Msg("a device is not shown")
		}
	})
}
