package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
	"dominion/cmd/program/install"
	"dominion/cmd/program/unit"
	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

func joinCommand() *cobra.Command {
	var j join
	cmd := &cobra.Command{
		Use:   "join [CODE]",
		Short: "Make this machine belong to a house",
		Long: `Join finds the house in the local network, proves to it and has it prove by the
code that both are who they should be, and keeps what the house gives this
machine: a certificate of its own, and logins for its services. Then the agent
runs: as a systemd unit for root where there is systemd, else here.

The code is what "dominion invite" prints on the leader; it brings one machine
in. Without a code, join asks while the owner holds the window open there
("dominion join-window 10m"): both screens show the same four words.

A machine that has joined may join again: it gets new papers of its house, and
no service stops. To move to another house: domain leave.

` + program.ExitCodes,
		Example: "  domain join 4F7K-9QXM-2C\n  domain join 4F7K-9QXM-2C --leader 192.168.1.2 --traits compute,usb-zigbee",
		Args:    cobra.ArbitraryArgs, // a code may be typed with blanks
		RunE:    func(cmd *cobra.Command, args []string) error { return j.run(cmd, args) },
	}
	program.AddFlags(cmd, joinSettings())
	cmd.Flags().StringVar(&j.leader, "leader", "", "the leader's `address`, host or host:port, when it cannot be found")
	cmd.Flags().StringVar(&j.house, "house", "", "the `name` or id of the house, when there are several")
	cmd.Flags().BoolVar(&j.noRun, "no-run", false, "only join: neither install nor run the agent")
	return cmd
}

// joinSettings are the agent's that are not about another way to the broker.
func joinSettings() []program.Setting {
	return slices.DeleteFunc(Settings(), func(s program.Setting) bool {
		return slices.Contains([]string{"broker", "username", "password_file", "base"}, s.Key)
	})
}

// join is one `domain join`.
type join struct {
	life
	leader, house string // as the flags say
	noRun         bool

	command string // as it was typed, for what to type next
	code    string // as it was typed
	says    io.Writer
	answers io.Reader // nil: nobody is there to ask
	papers  whereabouts.Papers
	before  *identity.Membership // nil: the machine belongs to no house
}

func (j join) run(cmd *cobra.Command, args []string) error {
	var code joining.Code
	var err error
	if len(args) > 0 {
		if code, err = joining.ParseCode(strings.Join(args, " ")); err != nil {
			return &program.Exit{Code: program.BadUsage, Err: err}
		}
		j.code = " " + code.String()
	}
	if j.life, err = newLife(cmd, hiddenFlags{}); err != nil {
		return err
	}
	j.command, j.says, j.answers = cmd.CommandPath(), cmd.ErrOrStderr(), terminal(cmd)
	j.papers = whereabouts.Papers(j.config.Data)
	if j.before, err = j.papers.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	newcomer, err := j.newcomer(code)
	if err != nil {
		return err
	}
	m, err := j.enter(cmd.Context(), newcomer)
	if err != nil {
		return err
	}
	if err := j.keep(m); err != nil {
		return err
	}
	fmt.Fprintf(j.says, "This machine is %s of the house %s (%s).\n", m.Node, m.Name, m.House)
	j.keepSettings(cmd)
	if j.config.Broker != "" {
		fmt.Fprintf(j.says, "%v\n", said(j.file, "broker", errors.New("broker is named: the agent goes there and nowhere else; leave it empty to have the house found")))
	}
	if j.noRun {
		parent := cmd.Parent().CommandPath()
		fmt.Fprintf(j.says, "Start it with:  %s   (at each boot:  %[1]s install)\n", parent)
		return nil
	}
	return j.start(cmd)
}

// newcomer is what this machine brings to the door. The key is made before the
// first try: a full disk shows before the code is spent.
func (j join) newcomer(code joining.Code) (joining.Options, error) {
	o := joining.Options{Code: code, Node: j.config.Name}
	if o.Node == "" && j.before != nil {
		o.Node = j.before.Node
	}
	if o.Node = cmp.Or(o.Node, program.HostName()); o.Node == "" {
		return o, program.Fail(program.BadUsage, "the host name is none for a domain: choose one with --name (letters, digits, - and _)")
	}
	var err error
	if o.ID, err = program.MachineID(j.config.Data); err != nil {
		return o, &program.Exit{Code: program.CannotRun, Err: err}
	}
	if o.Key, err = joining.KeepKey(j.config.Data); err != nil {
		return o, program.Fail(program.CannotRun, "%w (%s; the code was not used)", err, remedy(err))
	}
	return o, nil
}

// enter finds the house and goes in.
func (j join) enter(ctx context.Context, o joining.Options) (*identity.Membership, error) {
	doors, err := j.doors(ctx)
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, door := range doors {
		if err := j.sameHouse(ctx, door); err != nil {
			return nil, err
		}
		o.Door = door
		m, err := j.knock(ctx, o)
		switch {
		case err == nil:
			return j.check(m, door)
		case ctx.Err() != nil:
			return nil, j.interrupted()
		case j.wasOurs(err):
			return j.before, nil
		case !unreached(err):
			return nil, &program.Exit{Code: program.Unwell, Err: err}
		}
		bad = append(bad, err)
	}
	return nil, program.Fail(program.NoAnswer, "no leader answers: %w (is its https port open, and this the right address?)", errors.Join(bad...))
}

// interrupted says what has become of a join that its owner ended.
func (j join) interrupted() error {
	if j.code == "" {
		return program.Fail(program.Unwell, "interrupted: nothing was changed here")
	}
	return program.Fail(program.Unwell, "interrupted: nothing was changed here, and the same code can be used again")
}

// knock brings the code, or asks.
func (j join) knock(ctx context.Context, o joining.Options) (*identity.Membership, error) {
	if j.code != "" {
		return joining.Join(ctx, o)
	}
	return joining.Ask(ctx, o, func(as topics.Node, words string) {
		fmt.Fprintf(j.says, `Asking to be let in as %s. On the leader these must be the words
beside %s:

    %s

If they are, type there:  dominion accept %[2]s
`, o.Node, as, words)
	})
}

// wasOurs tells whether a code was refused because it is this machine's own
// that let it in: the same was typed once more.
func (j join) wasOurs(err error) bool {
	var refusal *joining.Refusal
	return errors.As(err, &refusal) && refusal.Why == joining.Used && j.before != nil && refusal.Node == j.before.Node
}

// unreached tells whether there was no leader to refuse or to break anything:
// the house may have another address.
func unreached(err error) bool {
	var refusal *joining.Refusal
	var broken *joining.BrokenAnswer
	var taken *identity.NameTaken
	return !errors.As(err, &refusal) && !errors.As(err, &broken) && !errors.As(err, &taken)
}

// check looks at what a house gave, and makes it good for the way it was
// reached by: a leader need not know the address that others see.
func (j join) check(m *identity.Membership, door string) (*identity.Membership, error) {
	if j.before != nil && j.before.House != m.House {
		return nil, j.otherHouse(fmt.Sprintf("at %s is %s (%s)", door, m.Name, m.House))
	}
	return whereabouts.Beside(m, door), nil
}

// keep stores the membership, whole or not at all.
func (j join) keep(m *identity.Membership) error {
	if err := j.papers.Replace(m); err != nil {
		if j.before == nil {
			err = errors.Join(err, j.papers.Remove())
		}
		return program.Fail(program.CannotRun, "%w\nNothing was stored: %s, then type the same again. Until it expires, the code is good for this machine", err, remedy(err))
	}
	if err := joining.DropKey(j.config.Data); err != nil {
		j.log.Warn().Err(err).Msg("a file of the join is left behind")
	}
	return nil
}

// remedy is what to do for a directory that could not be written.
func remedy(err error) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return "make room there"
	}
	return "let this user write there"
}

// start has the agent run: by systemd, by an agent that does already, or here.
func (j join) start(cmd *cobra.Command) error {
	agent := unit.Agent()
	if install.HasSystemd() && os.Geteuid() == 0 && j.config.Data == agent.StatePath() {
		return install.Install(cmd.Context(), install.Options{Part: agent, As: install.As(cmd), Changed: true, Out: j.says})
	}
	j.life.config.Name = "" // as it joined
	err := j.live(cmd.Context())
	if errors.Is(err, program.ErrInUse) {
		fmt.Fprintln(j.says, "An agent runs here already; it takes this up by itself.")
		return nil
	}
	return err
}
