package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/device"
	"dominion/discovery"
	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// localBroker is where a machine that belongs to no house looks for one.
const localBroker = "mqtt://127.0.0.1:1883"

// way is how the agent gets to the broker, wherever that is.
type way interface {
	Dial(ctx context.Context) (net.Conn, error)
	Address() string
	Access(topics.Service) device.Access
	// Run looks for the broker until ctx ends.
	Run(ctx context.Context) error
}

// life is one agent from its start until it ends, or until this machine
// becomes another: then the next begins, and adopts the services.
type life struct {
	config Config
	file   *configs.File
	hidden hiddenFlags
	turned func() // called at each turn of the supervising loop
	stderr io.Writer
	log    zerolog.Logger // to stderr and, once its data directory is open, to the file that the house is told of
}

// live is all lives of the agent until ctx ends. Its errors are Exits.
func (l life) live(ctx context.Context) error {
	for {
		err := l.once(ctx)
		if !errors.Is(err, whereabouts.ErrChanged) {
			return err
		}
		l.log.Info().Msg(err.Error() + ": the agent begins anew, the services go on")
	}
}

func (l life) once(ctx context.Context) error {
	data, err := program.OpenData(l.config.Data)
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	defer data.Close()
	if own, err := device.OwnLog(l.config.Data); err == nil {
		defer own.Close()
		l.log, _ = program.NewLog(l.stderr, l.config.LogLevel, own) // the level is known to be one
	}
	c, papers := l.config, whereabouts.Papers(l.config.Data)
	belongs, err := papers.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	m := belongs
	if c.Broker != "" && !borne(c, m) {
		m = nil
	}
	if err := c.as(m, l.file); err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	link, way, err := l.link(ctx, c, m)
	if err != nil {
		return err
	}
	lonely := newLoneliness(c.Name, data.ID, m, way)
	link.Lonely, link.Turned = lonely.lonely.Store, l.turned
	a, err := newAgent(c, link, data, l.log)
	if err != nil {
		return err
	}
	a.ephemeral = l.hidden.ephemeral
	return l.run(ctx, a, way, lonely, papers, belongs)
}

// run has the agent live, with all that goes on beside it.
func (l life) run(ctx context.Context, a *Agent, way way, lonely *loneliness, papers whereabouts.Papers, m *identity.Membership) error {
	beside, end := context.WithCancel(context.WithoutCancel(ctx)) // until the agent has said goodbye
	defer end()
	ctx, become := context.WithCancelCause(ctx)
	defer become(nil)
	var all sync.WaitGroup
	if way != nil {
		all.Go(func() { way.Run(beside) })
	}
	all.Go(func() { discovery.Advertise(beside, l.house(), lonely.announcements) })
	if m != nil {
		all.Go(func() { renewal{papers, joining.Renew, l.house()}.run(beside) })
	}
	all.Go(func() {
		if err := papers.Watch(beside, m); err != nil {
			become(err)
		}
	})
	err := exit(a.Run(ctx))
	end()
	all.Wait()
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, whereabouts.ErrChanged) {
		return cause
	}
	return err
}

// house is the log of what has to do with belonging to one.
func (l life) house() zerolog.Logger { return l.log.With().Str("component", "house").Logger() }

// borne tells whether a broker that the owner named is his house's own, so that
// this machine shows it what it got when it joined.
func borne(c Config, m *identity.Membership) bool {
	return m != nil && c.Username == "" && strings.HasPrefix(c.Broker, "mqtts://") && !strings.Contains(c.Broker, "@") && whereabouts.Vouched(m)
}

// link is how this machine gets to the bus: as its owner says, else as a
// member of its house, else as a stranger. Nil is the way of a broker that is
// neither looked for nor proven by the house.
func (l life) link(ctx context.Context, c Config, m *identity.Membership) (Link, way, error) {
	switch {
	case m != nil:
		f := whereabouts.New(whereabouts.Options{
			Papers: whereabouts.Papers(c.Data), Broker: c.Broker, Find: whereabouts.Leaders, Log: l.house(),
		})
		return linkOf(f, loginURL(f, m), m.House, false), f, nil
	case c.Broker == "":
		s := whereabouts.NewStranger(localBroker, l.house())
		return linkOf(s, localBroker, "", LoopbackOnly(ctx, localBroker)), s, nil
	}
	broker, err := program.BrokerURL(c.Broker, c.Username, c.PasswordFile)
	if err != nil {
		return Link{}, nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return Link{Broker: broker, Loopback: LoopbackOnly(ctx, broker)}, nil, nil
}

// loginURL is the bus's login, as a URL; the Finder does the rest.
func loginURL(f *whereabouts.Finder, m *identity.Membership) string {
	u := url.URL{Scheme: "mqtt", User: whereabouts.Login(m), Host: f.Address()}
	if whereabouts.Vouched(m) {
		u.Scheme = "mqtts" // its certificate is its login
	}
	return u.String()
}

func linkOf(w way, broker string, house topics.HouseID, loopback bool) Link {
	return Link{Broker: broker, Dial: w.Dial, Address: w.Address, Access: w.Access, House: house, Loopback: loopback}
}
