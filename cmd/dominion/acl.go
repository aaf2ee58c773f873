package main

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/mosquitto"
	"dominion/cmd/program"
	"dominion/identity"
	"dominion/topics"
)

func aclCommand() *cobra.Command {
	var format string
	var users bool
	var foreign []string
	cmd := &cobra.Command{
		Use:   "acl --format mosquitto",
		Short: "Write who may do what as the files of another broker",
		Long: `Acl writes the rights of this house as an acl_file for mosquitto 2.0 or later,
and with --users the logins as its password_file. They are for a house that
lives on your own mosquitto; Dominion's own broker needs neither. Run it on the
leader's machine. The acl_file says on top how both are used, and what mosquitto
does otherwise than our own broker.

The leader's login there is username and password_file of its configuration;
nodes and services log in with their own (logins = "own"), or share
node_username. Write both files again after a machine joined or was forgotten, a
user was added or removed, or the catalogue got a service.`,
		Example: `  dominion acl --format mosquitto > /etc/mosquitto/dominion.acl
  dominion acl --format mosquitto --users > /etc/mosquitto/dominion.passwords
  dominion acl --format mosquitto --foreign zigbee2mqtt --foreign tasmota`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "mosquitto" {
				return program.Fail(program.BadUsage, "--format %q is unknown (mosquitto is the one there is)", format)
			}
			e, err := newExport(cmd)
			if err != nil {
				return err
			}
			text, err := e.rules(foreign)
			if users {
				text, err = e.passwords()
			}
			if err != nil {
				return err
			}
			for _, lack := range e.lacks {
				fmt.Fprintln(cmd.ErrOrStderr(), lack)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	program.AddFlags(cmd, localSettings())
	cmd.Flags().StringVar(&format, "format", "mosquitto", "the `broker` that it is for")
	cmd.Flags().BoolVar(&users, "users", false, "write the password_file")
	cmd.Flags().StringArrayVar(&foreign, "foreign", nil, "a `topic` of other programs, with all below it, that operators and Home Assistant may write")
	return cmd
}

// export is what another broker is to be told of this house.
type export struct {
	*local
	accounts *identity.House
	leader   *url.Userinfo // the leader's login there
	shared   *url.Userinfo // the one that nodes and services share; nil: they have their own
	lacks    []string      // what the owner has still to do
}

func newExport(cmd *cobra.Command) (*export, error) {
	l, accounts, err := openIdentity(cmd)
	if err != nil {
		return nil, err
	}
	e := &export{local: l, accounts: accounts}
	if e.leader, err = login(l.Broker, l.Username, l.PasswordFile); err != nil {
		return nil, err
	}
	if e.leader == nil {
		e.leader = url.User("dominion")
		e.lacks = append(e.lacks, `the leader has no login at another broker yet (in its file: broker, username = "dominion", password_file)`)
	}
	if l.Logins == loginsShared && l.NodeUsername != "" {
		e.shared, err = login("", l.NodeUsername, l.NodePasswordFile)
	}
	if e.shared != nil && e.shared.Username() == e.leader.Username() {
		e.lacks = append(e.lacks, fmt.Sprintf(`every machine logs in as %s, as the leader does, and may do what it may: set logins = "own", or another node_username`, e.shared.Username()))
	}
	return e, err
}

// login is the user and password of a broker's address; nil when it has none.
func login(broker, username, passwordFile string) (*url.Userinfo, error) {
	text, err := program.BrokerURL(cmp.Or(broker, "mqtt://localhost"), username, passwordFile)
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, program.Fail(program.BadUsage, "broker: %s is no address of a broker (write mqtt://192.168.1.5)", program.Redacted(broker))
	}
	if u.User == nil || u.User.Username() == "" {
		return nil, nil
	}
	return u.User, nil
}

// services are those of the catalogue, which have logins.
func (e *export) services() []topics.Service { return e.catalogue.Services() }

func (e *export) rules(foreign []string) (string, error) {
	for _, topic := range foreign {
		if err := mosquitto.CheckForeign(e.space(), topic); err != nil {
			return "", program.Fail(program.BadUsage, "--foreign %w", err)
		}
	}
	return mosquitto.Rules(e.space(), e.accounts.Name(), e.logins(), foreign), nil
}

// logins are all logins at the broker, with what each is in the house.
func (e *export) logins() []mosquitto.Login {
	leader := mosquitto.Login{User: e.leader.Username(), About: "the leader", Who: []topics.Identity{{Role: topics.RoleCoordinator}}}
	if e.Domain != "" { // its agent is in the leader's process
		leader.Who = append(leader.Who, nodeOf(e.Domain))
	}
	all := []mosquitto.Login{leader}
	for _, u := range e.accounts.Users() {
		all = append(all, mosquitto.Login{User: u.Name, About: fmt.Sprintf("user %s: %s", u.Name, u.Role), Who: []topics.Identity{{Role: u.Role, Name: u.Name}}})
	}
	nodes := e.accounts.Nodes()
	if e.shared != nil {
		return append(all, e.sharedLogin(nodes))
	}
	for _, n := range nodes {
		all = append(all, mosquitto.Login{User: string(n.Name), About: "node " + string(n.Name), Who: []topics.Identity{nodeOf(n.Name)}})
		for _, s := range e.services() {
			all = append(all, mosquitto.Login{
				User: string(n.Name) + "." + string(s), About: fmt.Sprintf("service %s on %s", s, n.Name), Who: []topics.Identity{serviceOf(s)},
			})
		}
	}
	return all
}

func (e *export) sharedLogin(nodes []identity.Node) mosquitto.Login {
	l := mosquitto.Login{User: e.shared.Username(), About: "all nodes, and their services"}
	for _, n := range nodes {
		l.Who = append(l.Who, nodeOf(n.Name))
	}
	for _, s := range e.services() {
		l.Who = append(l.Who, serviceOf(s))
	}
	return l
}

func nodeOf(n topics.Node) topics.Identity {
	return topics.Identity{Role: topics.RoleNode, Name: string(n)}
}

func serviceOf(s topics.Service) topics.Identity {
	return topics.Identity{Role: topics.RoleService, Name: string(s)}
}

// passwords is the password_file: the logins above, as far as their passwords
// are known here.
func (e *export) passwords() (string, error) {
	own, err := e.accounts.Mosquitto(e.services())
	if err != nil {
		return "", &program.Exit{Code: program.CannotRun, Err: err}
	}
	lines := map[string]identity.PasswordLine{}
	for _, line := range own {
		lines[line.User] = line
	}
	for _, u := range []*url.Userinfo{e.leader, e.shared} {
		if password, ok := u.Password(); u != nil && ok {
			line, err := identity.NewPasswordLine(u.Username(), password)
			if err != nil {
				return "", err
			}
			lines[u.Username()] = line
		}
	}
	var b strings.Builder
	var written []string
	for _, l := range e.logins() {
		line, known := lines[l.User]
		switch {
		case slices.Contains(written, l.User):
		case known:
			fmt.Fprintln(&b, line)
		default:
			e.lacks = append(e.lacks, fmt.Sprintf("the password of %s is not known here (add it: mosquitto_passwd FILE %s)", l.User, l.User))
		}
		written = append(written, l.User)
	}
	return b.String(), nil
}
