package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/identity"
	"dominion/topics"
	"dominion/topics/house"
)

const (
	connectAtMost = 15 * time.Second // until the retained replay is whole
	answerAtMost  = 2 * time.Second  // until a coordinator that says online is called silent
)

// remote is where the house is that a command speaks to.
type remote struct {
	Broker       string      `toml:"broker"`
	Username     string      `toml:"username"`
	PasswordFile string      `toml:"password_file"`
	Base         topics.Base `toml:"base"`
	Prefix       string      `toml:"prefix"`
	CA           string      `toml:"ca"`
}

func remoteSettings() []program.Setting {
	return []program.Setting{
		{Key: "broker", Kind: "address", Help: "the house's broker, default that of this machine; also DOMINION_BROKER"},
		{Key: "username", Kind: "name", Help: "the login for the broker"},
		{Key: "password_file", Kind: "file", Help: "a file whose first line is the password"},
		{Key: "ca", Kind: "file", Help: "the house's authority (house.crt), for a broker with TLS (mqtts://)"},
		{Key: "base", Kind: "topic", Help: "the first level of the house's topics, default dominion"},
		{Key: "prefix", Kind: "topic", Help: "Home Assistant's discovery prefix, default homeassistant"},
	}
}

// remoteCommand makes a command that speaks to a house over its broker.
func remoteCommand(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, l *line) error, filters func(topics.Space) []string) *cobra.Command {
	program.AddFlags(cmd, remoteSettings())
	cmd.Flags().Lookup("config").Hidden = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := dial(cmd, filters)
		if err != nil {
			return err
		}
		defer l.hangUp()
		return run(cmd, args, l)
	}
	return cmd
}

// stateFilters are the subscriptions of a command that looks at a house.
func stateFilters(s topics.Space) []string {
	return []string{s.Filter(topics.State), s.Filter(topics.Desired)}
}

// line is one command's connection to a house. The house is folded by whoever
// reads Inbound: dial, until the retained replay is whole, then the command.
type line struct {
	*client.Client
	space  topics.Space
	at     to
	broker string // for people
	locked string // a file with this machine's login that this user may not read
	house  *house.House
	out    io.Writer
	style  screen.Style

	ping   chan error // the coordinator's answer to a ping
	hangUp func()
}

// defaultBroker is where a house on this machine is reached.
const defaultBroker = "mqtt://127.0.0.1:1883"

// dial connects, and returns when all that is retained was heard. Its error
// is an Exit with NoAnswer when the broker cannot be reached.
func dial(cmd *cobra.Command, filters func(topics.Space) []string) (*line, error) {
	var r remote
	if err := program.LoadFlags(cmd, &r, "DOMINION", remoteSettings()); err != nil {
		return nil, err
	}
	here := leaderHere(cmd)
	if r.Broker == "" { // the house of this machine
		r.Base, r.Prefix = cmp.Or(r.Base, here.Base), cmp.Or(r.Prefix, here.Prefix)
	}
	url, locked, err := r.url(here.Data)
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	authority, err := authorityTLS(r.CA)
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return connect(cmd, to{url, locked, authority}, topics.Space{Base: r.Base, Prefix: r.Prefix}, filters)
}

// to is a broker that a command connects to.
type to struct {
	url    string // with its login
	locked string // a file with a login that this user may not read
	tls    *tls.Config
}

// connect is dial, for a broker that is known.
func connect(cmd *cobra.Command, at to, space topics.Space, filters func(topics.Space) []string) (*line, error) {
	l := &line{space: space, at: at, broker: bare(at.url), locked: at.locked, out: cmd.OutOrStdout(), ping: make(chan error, 1)}
	l.style = screen.Style{Colour: program.Colour(l.out), Width: program.Columns(l.out)}
	l.house = house.New(space)
	var err error
	l.Client, err = client.New(client.Options{Space: space, Filters: filters(space), Broker: at.url, TLS: at.tls, Log: zerolog.Nop()})
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	l.open(cmd.Context())
	if err := l.synced(cmd.Context()); err != nil {
		l.hangUp()
		return nil, err
	}
	return l, nil
}

// url is the broker's address with a login: what was given, else what a leader
// on this machine, with this data directory or a usual one, has left for its
// command line. Locked is a file that would
// have the login, and may not be read.
func (r remote) url(data string) (url, locked string, err error) {
	url, err = program.BrokerURL(r.Broker, r.Username, r.PasswordFile)
	if user, _ := loginOf(url); err != nil || user != "" {
		return url, "", err
	}
	login, locked := localLogin(url, data)
	if login != "" {
		return login, "", nil
	}
	return cmp.Or(url, defaultBroker), locked, nil
}

// open runs the connection until hangUp, and asks the coordinator for a sign
// of life: a retained "online" may be older than the broker.
func (l *line) open(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{}, 2)
	go func() {
		l.Run(ctx)
		ended <- struct{}{}
	}()
	go func() {
		_, err := l.Ask(ctx, client.Command{Node: topics.Coordinator, Method: "ping", Subject: "host"})
		l.ping <- err
		ended <- struct{}{}
	}()
	l.hangUp = func() {
		cancel()
		<-ended
		<-ended
	}
}

func (l *line) synced(ctx context.Context) error {
	timeout := time.NewTimer(connectAtMost)
	defer timeout.Stop()
	ping := l.ping
	for {
		select {
		case in := <-l.Inbound():
			if in.Link == topics.LinkSynced {
				return nil
			}
			l.fold(in)
		case err := <-ping:
			if errors.Is(err, client.ErrDown) {
				return l.unreachable(err)
			}
			l.ping <- err // for view; the replay is still on its way
			ping = nil
		case <-timeout.C:
			return l.unreachable(fmt.Errorf("the broker at %s does not answer in %s", l.broker, screen.Lasting(connectAtMost)))
		case <-ctx.Done():
			return &program.Exit{Code: program.NoAnswer}
		}
	}
}

func (l *line) unreachable(err error) error {
	text := strings.TrimPrefix(err.Error(), "ask "+l.space.Command(topics.Coordinator, "ping", "host")+": ")
	text = strings.TrimPrefix(text, client.ErrDown.Error()+": ")
	if house := joinedHouse(); errors.Is(err, syscall.ECONNREFUSED) && house != "" {
		text += house
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		text += " (start one: dominion serve; or name another: --broker)"
	}
	if l.locked != "" {
		text += fmt.Sprintf(" (this machine's login is in %s, which you may not read: try sudo)", l.locked)
	}
	return program.Fail(program.NoAnswer, "%s", text)
}

// joinedHouse says where the house is that this machine has joined, if it has.
func joinedHouse() string {
	dir, err := program.DataDir("domain")
	if err != nil {
		return ""
	}
	m, err := identity.LoadMembership(dir)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (this machine belongs to the house %s: look on its leader, at %s)", m.Name, withoutPort(m.Door))
}

// fold takes one thing in. Unreadable messages change nothing.
func (l *line) fold(in topics.Inbound) {
	switch in.Link {
	case topics.LinkNone:
		_ = l.house.Apply(in.Message, time.Now())
	case topics.LinkUp:
		l.house.Began(time.Now())
	case topics.LinkSynced:
		l.house.Synced(time.Now())
	}
}

// view is the house as it is known now. The first one waits for the
// coordinator's sign of life, if that one says it is online.
func (l *line) view(ctx context.Context) screen.View {
	v := screen.View{House: l.house, Broker: l.broker}
	if leader := l.house.Leader(); leader != nil && leader.Presence.State == topics.Online {
		select {
		case err := <-l.ping:
			v.Silent = err != nil
			l.ping <- err
		case <-time.After(answerAtMost):
			v.Silent = true
		case <-ctx.Done():
		}
	}
	v.Now = time.Now()
	return v
}

// led is the view of a house that somebody leads; else an Exit with NoAnswer
// that says how it stands.
func (l *line) led(ctx context.Context) (screen.View, error) {
	v := l.view(ctx)
	switch screen.Look(v).Leader.State {
	case screen.Leads, screen.Settles:
		return v, nil
	case screen.Leadless:
		return v, program.Fail(program.NoAnswer, "the broker at %s answers, but no coordinator was ever heard there (start one: dominion serve; or is it another --base?)", l.broker)
	}
	return v, program.Fail(program.NoAnswer, "the broker at %s answers, but no coordinator leads (start one: dominion serve)", l.broker)
}

// unknown is the error for a name that the house does not know.
func unknown(what, name string, known []string) error {
	remedy := "dominion status shows what there is"
	if near := configs.Nearest(name, known); near != "" {
		remedy = near + "?"
	} else if len(known) > 0 && len(known) <= 8 {
		remedy = "there are " + strings.Join(known, ", ")
	}
	return program.Fail(program.BadUsage, "the house knows no %s %q (%s)", what, name, remedy)
}

// complete offers names of the house to the shell, if it answers soon.
func complete(names func(screen.View) []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		defer cancel()
		cmd.SetContext(ctx)
		l, err := dial(cmd, stateFilters)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer l.hangUp()
		all := names(screen.View{House: l.house, Now: time.Now()})
		return slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func bothNames(v screen.View) []string {
	return append(screen.ServiceNames(v), screen.DomainNames(v)...)
}

// by is who asks, for people: ann@laptop.
func by() string {
	host, err := os.Hostname()
	if err != nil {
		host = "somewhere"
	}
	user := os.Getenv("SUDO_USER")
	for _, name := range []string{"USER", "LOGNAME"} {
		if user == "" {
			user = os.Getenv(name)
		}
	}
	if user == "" {
		return host
	}
	return user + "@" + host
}
