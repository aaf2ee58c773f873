package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
	"dominion/device"
	"dominion/device/cgroup"
	"dominion/device/host"
	"dominion/topics"
)

// Link is how an agent and its services reach the bus.
type Link struct {
	Broker   string                                      // with its login
	Dial     func(ctx context.Context) (net.Conn, error) // instead, when the broker is in this process, or has to be found
	Loopback bool                                        // nobody from another machine reaches the broker

	House   topics.HouseID                     // that this machine has joined; "": it takes the one that it hears
	Address func() string                      // the broker's host:port as it is known now; nil: Broker's
	Access  func(topics.Service) device.Access // of the services; nil: Broker, without a login
	Lonely  func(bool)                         // told when no leader is heard any more, and when one is again; may be nil
	Turned  func()                             // called at each turn of the supervising loop; may be nil
}

// withDefaults fills what a link to one fixed broker does not say.
func (l Link) withDefaults() Link {
	if l.Address == nil {
		l.Address = func() string { return whereabouts.HostPort(l.Broker) }
	}
	if l.Access == nil {
		l.Access = func(topics.Service) device.Access { return device.Access{URL: withoutLogin(l.Broker)} }
	}
	return l
}

// Agent is an agent with its data directory and its connection.
type Agent struct {
	device    *device.Agent
	bus       *client.Client
	data      *program.Data
	groups    cgroup.Maker
	ephemeral bool
}

// New opens the data directory and makes the agent. Name and Base of the
// Config must be set. Its errors are Exits.
func New(c Config, link Link, log zerolog.Logger) (*Agent, error) {
	data, err := program.OpenData(c.Data)
	if err != nil {
		return nil, &program.Exit{Code: program.CannotRun, Err: err}
	}
	a, err := newAgent(c, link, data, log)
	if err != nil {
		data.Close()
	}
	return a, err
}

// newAgent makes the agent of an open data directory.
func newAgent(c Config, link Link, data *program.Data, log zerolog.Logger) (*Agent, error) {
	link = link.withDefaults()
	space := topics.Space{Base: c.Base}
	if loopback(c.Address) && !link.Loopback && unsure(context.Background(), link.Broker) {
		log.Warn().Str("component", "agent").Str("address", c.Address).
			Msg("the broker did not answer, so nobody knows whether this address is enough: this machine's own is published until the agent's next start")
		c.Address = ""
	}
	held := groups(context.Background(), c.Data, log)
	supervisor, err := device.New(device.Config{
		Name: c.Name, ID: data.ID, Version: program.Version(), Traits: c.Traits, Space: space,
		ServicesDir: c.ServicesDir, DataDir: c.Data,
		Loopback: link.Loopback, Address: c.Address, Allow: c.Allow,
		House: link.House, Broker: link.Address, Access: link.Access, Lonely: link.Lonely, Turned: link.Turned,
		Manifest: Manifest, Environ: os.Environ(), Groups: held,
		Log: log.With().Str("component", "agent").Logger(),
	})
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	bus, err := client.New(client.Options{
		Space: space, Node: c.Name, ID: data.ID,
		Filters: append(space.NodeFilters(c.Name), space.ReadyFilter(c.Name), space.AliveFilter(c.Name)),
		Broker:  link.Broker, Dial: link.Dial, Log: log.With().Str("component", "bus").Logger(),
	})
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return &Agent{device: supervisor, bus: bus, data: data, groups: held}, nil
}

// Close gives the data directory free.
func (a *Agent) Close() error { return a.data.Close() }

// Run supervises until ctx ends. Services go on, unless ctx was ended by
// SIGINT (program.Signalled). When another machine has the name, its error is
// a *client.NameInUse: services go on here too if this machine was online
// under the name, since a clone that appears is no reason to go dark; else
// what this run started ends, since it runs there.
func (a *Agent) Run(ctx context.Context) error {
	err := client.Live(ctx, a.bus, func(ctx context.Context) error {
		ctx, leave := a.leaving(ctx)
		defer leave()
		return a.device.Run(ctx, a.bus)
	})
	if own, ok := a.groups.(cgroup.Own); ok {
		own.Leave()
	}
	var inUse *client.NameInUse
	switch {
	case !errors.As(err, &inUse):
		return err
	case a.ephemeral:
		return fmt.Errorf("%w; all services here were stopped", err)
	case inUse.Born:
		return fmt.Errorf("%w; this machine was online under it, so its services go on unsupervised until an agent runs here again", err)
	}
	return fmt.Errorf("%w; this machine was not online under it, so what this run of the agent started was stopped and all else goes on", err)
}

// leaving is ctx, ended with the cause that tells the device what becomes of
// the services.
func (a *Agent) leaving(ctx context.Context) (context.Context, func()) {
	inner, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		var signalled *program.Signalled
		var inUse *client.NameInUse
		interrupted := errors.As(cause, &signalled) && signalled.Signal == syscall.SIGINT
		switch {
		case a.ephemeral || interrupted:
			cause = device.ErrStopServices
		case errors.As(cause, &inUse) && !inUse.Born:
			cause = device.ErrStopStarted
		}
		end(cause)
	})
	return inner, func() {
		stop()
		end(nil)
	}
}

func loopback(address string) bool {
	a, err := netip.ParseAddr(address)
	return address == "localhost" || err == nil && a.IsLoopback()
}

// withoutLogin is what services are told of the broker: none of the agent's
// own credentials.
func withoutLogin(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// LoopbackOnly tells whether a broker is reached from this machine alone, so
// that loopback addresses are true for all of the house: it is named by one,
// and does not answer on the addresses that others would use.
func LoopbackOnly(ctx context.Context, broker string) bool {
	u, err := url.Parse(broker)
	if err != nil || !loopback(u.Hostname()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if !answers(ctx, whereabouts.HostPort(broker)) {
		return false // what cannot be asked is not assumed: the machine's own address is right in both cases
	}
	return !reachedElsewhere(ctx, broker)
}

// unsure tells of a broker that is named by a loopback address, and was not
// known to be for this machine alone, that it is not known to be for others
// either: it may just have been down.
func unsure(ctx context.Context, broker string) bool {
	u, err := url.Parse(broker)
	return err == nil && loopback(u.Hostname()) && !reachedElsewhere(ctx, broker)
}

// reachedElsewhere tells whether a broker answers on the addresses that others
// would use.
func reachedElsewhere(ctx context.Context, broker string) bool {
	_, port, _ := net.SplitHostPort(whereabouts.HostPort(broker))
	for _, address := range host.Addresses() {
		if knock(ctx, net.JoinHostPort(address, port)) {
			return true
		}
	}
	return false
}

// answers waits until somebody listens there, or ctx ends: leader and agent
// may have been started together.
func answers(ctx context.Context, address string) bool {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !knock(ctx, address) {
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
	return true
}

func knock(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: 500 * time.Millisecond}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
