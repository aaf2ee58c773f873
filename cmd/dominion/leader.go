package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"dominion/broker"
	"dominion/broker/client"
	"dominion/cmd/domain/agent"
	"dominion/cmd/dominion/firmware"
	"dominion/cmd/program"
	"dominion/coordinator"
	"dominion/homeassistant"
	"dominion/topics"
)

// leader is a house's leader: its broker, unless the house has its own, and
// the rooms, each with a connection of its own to the bus.
type leader struct {
	config    config
	catalogue *coordinator.Catalogue
	hidden    hiddenFlags
	reload    func() (*coordinator.Catalogue, error)
	log       zerolog.Logger

	watchdog *program.Watchdog

	data   *program.Data
	gate   *gate
	broker *broker.Server // nil: the house has its own
	url    string         // of the broker, with its login
	https  net.Listener   // nil: no machine can join
	http   net.Listener   // nil: nothing is answered without TLS
	house  atomic.Value   // topics.HouseID, once this leader leads it
	known  chan struct{}  // closed then
	named  struct {
		sync.Mutex // guards what names looked up last
		names      []string
		at         time.Time
	}

	coordinator *coordinator.Coordinator
	leads       *client.Client
	agent       *agent.Agent // nil: this machine is no domain
}

// open makes everything that can be refused: data directory, broker, rooms.
// Its errors are Exits.
func (l *leader) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.data, err = program.OpenData(l.config.Data); err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	alerts := map[string]topics.Alert{}
	if err := l.openGate(alerts); err != nil {
		return err
	}
	if l.config.Broker != "" {
		l.url, err = program.BrokerURL(l.config.Broker, l.config.Username, l.config.PasswordFile)
		if err != nil {
			return &program.Exit{Code: program.BadUsage, Err: err}
		}
		if err := l.keepOperator(); err != nil {
			return &program.Exit{Code: program.CannotRun, Err: err}
		}
	} else if err := l.openBroker(alerts); err != nil {
		return err
	}
	if err := l.openHTTP(); err != nil {
		return err
	}
	if err := l.openCoordinator(alerts); err != nil {
		return err
	}
	return l.openAgent(ctx)
}

func (l *leader) openBroker(alerts map[string]topics.Alert) error {
	server, err := broker.Open(broker.Options{
		Listen: l.config.Listen, ListenTLS: l.config.ListenTLS, TLS: l.gate.accounts.TLS(l.names),
		Data: l.data.Path, Rules: l.config.space(),
		Accounts: l.gate.accounts, Anonymous: l.config.anonymous(), AllowInsecure: l.config.AllowInsecure,
		Log: l.component("broker"), Refused: l.gate.refused,
		StoreTrouble: l.gate.storeTrouble,
	})
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	l.broker, l.gate.broker = server, server
	if aside := l.broker.Recovered(); aside != "" {
		alerts["store-corrupt"] = topics.Alert{
			Severity: topics.SeverityWarning,
			Text:     fmt.Sprintf("the broker's store was damaged and was moved to %s; what could be read of it was kept, the rest comes back as the nodes say it", aside),
			Next:     "see whether the disk is well (dmesg), then delete that file",
		}
	}
	if l.url = addressOf(l.broker.Addrs()); l.url == "" {
		l.url = strings.Replace(addressOf(l.broker.TLSAddrs()), "mqtt:", "mqtts:", 1)
	}
	// Who finds the address finds the login too.
	if err := l.keepOperator(); err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	if err := l.tell(l.addressFile(), l.url); err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	return nil
}

// addressFile tells other programs on this machine where the broker listens,
// once it does.
func (l *leader) addressFile() string { return filepath.Join(l.data.Path, "address") }

// addressOf is how this machine reaches its own broker.
func addressOf(addrs []net.Addr) string {
	best := ""
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a.String())
		if err != nil {
			continue
		}
		switch ip := net.ParseIP(host); {
		case ip.IsUnspecified():
			return "mqtt://" + net.JoinHostPort("127.0.0.1", port)
		case ip.IsLoopback():
			return "mqtt://" + net.JoinHostPort(host, port)
		case best == "":
			best = "mqtt://" + net.JoinHostPort(host, port)
		}
	}
	return best
}

func (l *leader) openCoordinator(alerts map[string]topics.Alert) error {
	var err error
	l.coordinator, err = coordinator.New(coordinator.Config{
		Space: l.config.space(), ID: l.data.ID, House: l.newHouse(), Name: l.config.Name, Version: program.Version(), Data: l.data.Path,
		Catalogue: l.catalogue, Timing: coordinator.Timing{LostAfter: l.config.LostAfter, BootGrace: l.config.BootGrace},
		Alerts: alerts, Gate: l.gate, Notices: l.gate.notices, Reload: l.reload, Turned: l.watchdog.Loop("planner"), Log: l.component("coordinator"),
	})
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	l.leads, err = client.New(client.Options{
		Space: l.config.space(), Node: topics.Coordinator, ID: l.data.ID, Shared: true,
		Filters: coordinator.Filters(l.config.space()), Broker: l.url, Dial: l.dial(), Log: l.component("bus"),
	})
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	return nil
}

// newHouse is an id for a house that is certainly new, so that nobody has to be
// waited for who may know its old one: no machine has joined, none comes in
// without, and nothing was kept here. Else it is "": the coordinator finds out.
func (l *leader) newHouse() topics.HouseID {
	if l.hidden.house != "" {
		return topics.HouseID(l.hidden.house)
	}
	kept := slices.ContainsFunc([]string{"coordinator.json", filepath.Join("domain", "desired.json")}, func(file string) bool {
		_, err := os.Stat(filepath.Join(l.data.Path, file))
		return err == nil
	})
	if kept || l.broker == nil || len(l.gate.accounts.Nodes()) > 0 || slices.Contains(l.config.Anonymous, topics.RoleNode) {
		return ""
	}
	return topics.HouseID(topics.NewID(6))
}

func (l *leader) openAgent(ctx context.Context) error {
	if l.config.Domain == "" {
		return nil
	}
	c := agent.Defaults()
	c.Name, c.Base, c.Traits = l.config.Domain, l.config.Base, l.config.Traits
	c.ServicesDir, c.Data = l.config.ServicesDir, filepath.Join(l.data.Path, "domain")
	link := agent.Link{Broker: l.url, Loopback: l.onLoopback()}
	if l.broker == nil {
		link.Loopback = agent.LoopbackOnly(ctx, l.url)
	} else {
		link.Dial = l.pipe(topics.Identity{Role: topics.RoleNode, Name: string(c.Name)})
	}
	if err := l.ownLogins(c, &link); err != nil {
		return err
	}
	var err error
	l.agent, err = agent.New(c, link, l.log)
	return err
}

// onLoopback tells whether our broker is reached from this machine alone.
func (l *leader) onLoopback() bool {
	for _, address := range slices.Concat(l.config.Listen, l.config.ListenTLS) {
		if host, _, err := net.SplitHostPort(address); err != nil || !isLoopback(host) {
			return false
		}
	}
	return true
}

func (l *leader) component(name string) zerolog.Logger {
	return l.log.With().Str("component", name).Logger()
}

// dial is how the leader's own rooms reach the bus; nil: as everybody does.
func (l *leader) dial() func(context.Context) (net.Conn, error) {
	if l.broker == nil {
		return nil
	}
	return l.pipe(topics.Identity{Role: topics.RoleCoordinator})
}

func (l *leader) pipe(who topics.Identity) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return l.broker.Pipe(who), nil }
}

// close gives everything free that open took.
func (l *leader) close() {
	if l.agent != nil {
		l.agent.Close()
	}
	if l.https != nil {
		l.https.Close()
	}
	if l.http != nil {
		l.http.Close()
		os.Remove(l.httpFile())
	}
	if l.data != nil {
		if l.broker != nil {
			l.broker.Close()
			os.Remove(l.addressFile())
		}
		l.data.Close()
	}
}

// run leads until ctx ends: then the rooms say goodbye, and when all have, the
// broker closes.
func (l *leader) run(ctx context.Context) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	floor, lower := context.WithCancel(context.WithoutCancel(ctx))
	defer lower()
	served := make(chan error, 1)
	go func() {
		var err error
		if l.broker != nil {
			err = l.broker.Run(floor)
			leave(err)
		}
		served <- err
	}()
	rooms, ctx := errgroup.WithContext(ctx)
	rooms.Go(func() error { return l.lead(ctx) })
	rooms.Go(func() error { return l.bridge(ctx) })
	rooms.Go(func() error { return l.showDevices(ctx) })
	if l.agent != nil {
		rooms.Go(func() error { return l.supervise(ctx) })
	}
	rooms.Go(func() error { return l.watchdog.Run(ctx, "leads the house") })
	rooms.Go(func() error { return l.gate.run(ctx) })
	rooms.Go(func() error { return l.announce(ctx) })
	rooms.Go(func() error { return l.serveWeb(ctx) })
	err := rooms.Wait()
	lower()
	return errors.Join(err, <-served)
}

func (l *leader) lead(ctx context.Context) error {
	return client.Live(ctx, l.leads, func(ctx context.Context) error { return l.coordinator.Run(ctx, l.leads) })
}

// supervise runs the agent. A house is led on without it.
func (l *leader) supervise(ctx context.Context) error {
	if err := l.agent.Run(ctx); err != nil {
		l.log.Error().Err(err).Str("domain", string(l.config.Domain)).Msg("this machine is no domain")
	}
	return nil
}

// bridge shows the house in Home Assistant, as soon as it has an identity.
func (l *leader) bridge(ctx context.Context) error {
	house, err := l.announced(ctx)
	if house == "" || err != nil {
		return err
	}
	l.house.Store(house)
	close(l.known)
	b := homeassistant.New(homeassistant.Config{
		Space: l.config.space(), Version: program.Version(), House: house, Ephemeral: l.hidden.ephemeral,
		Log: l.component("homeassistant"),
	})
	bus, err := client.New(client.Options{
		Space: l.config.space(), Filters: homeassistant.Filters(l.config.space()),
		Broker: l.url, Dial: l.dial(), Log: l.component("bus"),
	})
	if err != nil {
		return err
	}
	return client.Live(ctx, bus, func(ctx context.Context) error { return b.Run(ctx, bus) })
}

// showDevices speaks for the devices that have words of their own. A house is led
// on without them.
func (l *leader) showDevices(ctx context.Context) error {
	devices := firmware.Config{Space: l.config.space(), Entries: l.config.Microdomain, ID: l.data.ID, Broker: l.url, Log: l.component("devices")}
	if l.broker != nil {
		devices.Dial = l.pipe
	}
	if err := firmware.Run(ctx, devices); err != nil {
		l.log.Error().Err(err).Msg("devices with words of their own are not shown")
	}
	return nil
}

// announced waits until this leader has announced the house's id: a new
// leader may first have to learn it from the bus.
func (l *leader) announced(ctx context.Context) (topics.HouseID, error) {
	presence := l.config.space().Presence(topics.Coordinator)
	bus, err := client.New(client.Options{
		Space: l.config.space(), Filters: []string{presence}, Broker: l.url, Dial: l.dial(), Log: l.component("bus"),
	})
	if err != nil {
		return "", err
	}
	var house topics.HouseID
	return house, client.Live(ctx, bus, func(ctx context.Context) error {
		for {
			select {
			case in := <-bus.Inbound():
				p, err := topics.DecodePresence(in.Message.Payload)
				if in.Link == topics.LinkNone && err == nil && p.ID == l.data.ID && p.House != "" {
					house = p.House
					return nil
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
}
