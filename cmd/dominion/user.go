package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/device/host"
	"dominion/identity"
	"dominion/topics"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Who logs in to the house's broker with a password",
		Long: `Users are who, and what, logs in to the house's broker with a name and a
password: Home Assistant, a device, a person. The machines of the house are
none: they have certificates (dominion invite).

A change counts at once, also for a leader that runs. These commands work on the
leader's machine.

What a user may do is his role:
  homeassistant  what Home Assistant's MQTT integration needs
  operator       read all, and send commands
  viewer         read all
  node           be the node of that name: a device whose firmware is a service
  service        be the service of that name`,
	}
	cmd.AddCommand(userAddCommand(), userListCommand(), userRemoveCommand(), userPasswordCommand())
	return cmd
}

// openIdentity reads the house's identity on the leader's machine. As is the
// command, for those who must type it with sudo.
func openIdentity(cmd *cobra.Command) (*local, *identity.House, error) {
	here, err := loadLocal(cmd)
	if err != nil {
		return nil, nil, err
	}
	house, err := identity.Open(here.identityDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, program.Fail(program.BadUsage, "this machine has no house in %s (dominion init makes one; if the leader is on another machine, type this there; if it has another directory: --data)", here.Data)
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return nil, nil, program.Fail(program.CannotRun, "%s is for root and the leader's own user alone: sudo %s", here.identityDir(), cmd.CommandPath())
	case err != nil:
		return nil, nil, denied(err, cmd.CommandPath())
	}
	return here, house, nil
}

// userLogin is a user with a password, as --json writes it.
type userLogin struct {
	User     string      `json:"user"`
	Role     topics.Role `json:"role"`
	Password string      `json:"password,omitempty"` // only one that was made
	Changed  bool        `json:"changed"`
}

// passwordFlags say where a password comes from.
type passwordFlags struct {
	file  string
	stdin bool
}

func (p *passwordFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "password-file", "", "a `file` whose first line is the password")
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of the input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
}

// password is the one that was given, or a new one.
func (p *passwordFlags) password(cmd *cobra.Command) (password string, made bool, err error) {
	switch {
	case p.stdin:
		password, err = firstLine(cmd.InOrStdin(), "the input")
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return "", false, program.Fail(program.BadUsage, "read the password: %w", err)
		}
		defer f.Close()
		if password, err = firstLine(f, p.file); err != nil {
			return "", false, err
		}
	default:
		return identity.NewPassword(), true, nil
	}
	return password, false, err
}

func firstLine(r io.Reader, what string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 1024)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", program.Fail(program.BadUsage, "read the password from %s: %w", what, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", program.Fail(program.BadUsage, "the first line of %s is empty (write the password there)", what)
	}
	return line, nil
}

func userAddCommand() *cobra.Command {
	var role string
	var asJSON bool
	var from passwordFlags
	cmd := &cobra.Command{
		Use:   "add NAME --role ROLE",
		Short: "Add a user, with a password that is made and shown once",
		Long: `Add makes a user. Without --password-file or --password-stdin it makes a
password and shows it: this once, for only a hash of it is kept.

A user that is there already is not changed.`,
		Example: `  dominion user add homeassistant --role homeassistant
  dominion user add plug1 --role node --password-file plug1.password`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			here, house, err := openIdentity(cmd)
			if err != nil {
				return err
			}
			password, made, err := from.password(cmd)
			if err != nil {
				return err
			}
			u := userLogin{User: args[0], Role: topics.Role(role)}
			if i := slices.IndexFunc(house.Users(), func(o identity.User) bool { return o.Name == u.User }); i >= 0 {
				if err := sameUser(house, house.Users()[i], u.Role, password, made); err != nil {
					return err
				}
				return told(cmd, asJSON, u, func(w io.Writer) {
					fmt.Fprintf(w, "%s is a user already, with that role, and was not changed.\nA new password: dominion user password %s\n", u.User, u.User)
				})
			}
			if err := house.SetUser(u.User, u.Role, password); err != nil {
				return userError(err, cmd)
			}
			u.Changed = true
			if made {
				u.Password = password
			}
			return told(cmd, asJSON, u, func(w io.Writer) {
				fmt.Fprintf(w, "%s was added, role %s.\n", u.User, u.Role)
				showPassword(w, here, u)
			})
		},
	}
	program.AddFlags(cmd, localSettings())
	cmd.Flags().StringVar(&role, "role", "", "what it may do: the `role` homeassistant, operator, viewer, node or service")
	_ = cmd.MarkFlagRequired("role")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"homeassistant", "operator", "viewer", "node", "service"}, cobra.ShellCompDirectiveNoFileComp))
	from.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// sameUser refuses to add a user that is there with another role or password.
func sameUser(house *identity.House, have identity.User, role topics.Role, password string, made bool) error {
	if have.Role != role {
		return program.Fail(program.Unwell, "%s is a user already, with the role %s, and was not changed (dominion user remove %s, then add it again)", have.Name, have.Role, have.Name)
	}
	if made {
		return nil
	}
	if _, err := house.Password(have.Name, password); err != nil {
		return program.Fail(program.Unwell, "%s is a user already, with another password, and was not changed (dominion user password %s)", have.Name, have.Name)
	}
	return nil
}

// userError is the exit for a user that could not be written.
func userError(err error, cmd *cobra.Command) error {
	var taken *identity.NameTaken
	var path *fs.PathError
	switch {
	case errors.As(err, &taken):
		return program.Fail(program.Unwell, "%s is a machine of the house, and needs no user (another name; or: dominion forget %s)", taken.Node, taken.Node)
	case errors.As(err, &path):
		return denied(err, cmd.CommandPath())
	}
	return &program.Exit{Code: program.BadUsage, Err: err}
}

// told writes a result for people, or as JSON.
func told(cmd *cobra.Command, asJSON bool, result any, people func(io.Writer)) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
	}
	people(cmd.OutOrStdout())
	return nil
}

// showPassword writes a password that was made, and where it is typed.
func showPassword(w io.Writer, here *local, u userLogin) {
	switch {
	case u.Password == "":
		return
	case u.Role == topics.RoleHomeAssistant && here.Broker == "":
		fmt.Fprint(w, homeAssistantTable(here.config, u, host.Addresses(), filepath.Join(here.identityDir(), "authority.crt")))
	default:
		fmt.Fprintf(w, "  password  %s\n", u.Password)
	}
	fmt.Fprintln(w, "The password is shown this once: only a hash of it is kept.")
	if here.Broker != "" {
		fmt.Fprintln(w, "The house's broker is another's, which must be told: dominion acl --help")
	}
}

func userListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Who there is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, house, err := openIdentity(cmd)
			if err != nil {
				return err
			}
			type listed struct {
				User  string      `json:"user"`
				Role  topics.Role `json:"role"`
				Since time.Time   `json:"since"`
			}
			all := []listed{}
			for _, u := range house.Users() {
				all = append(all, listed{u.Name, u.Role, u.Since})
			}
			return told(cmd, asJSON, all, func(w io.Writer) {
				if len(all) == 0 {
					fmt.Fprintln(w, "There is no user yet: dominion user add NAME --role ROLE")
					return
				}
				rows := [][]string{}
				for _, u := range all {
					rows = append(rows, []string{u.User, string(u.Role), u.Since.Local().Format(time.DateOnly)})
				}
				fmt.Fprint(w, styleOf(w).Table([]string{"USER", "ROLE", "SINCE"}, rows))
			})
		},
	}
	program.AddFlags(cmd, localSettings())
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON; fields are added over time, never renamed")
	return cmd
}

// styleOf is how text may look there.
func styleOf(w io.Writer) screen.Style {
	return screen.Style{Colour: program.Colour(w), Width: program.Columns(w)}
}

func userRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a user's login away, and end its connections",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			here, house, err := openIdentity(cmd)
			if err != nil {
				return err
			}
			name, w := args[0], cmd.OutOrStdout()
			err = house.RemoveUser(name)
			switch {
			case errors.Is(err, identity.ErrNoUser):
				fmt.Fprintf(w, "There is no user %s: nothing was changed.\n", name)
				return nil
			case err != nil:
				return userError(err, cmd)
			}
			fmt.Fprintf(w, "%s was removed.\n", name)
			if name == operatorName && here.Broker == "" {
				fmt.Fprintln(w, "The leader makes that user anew when it starts: its own command line needs it.")
			}
			return nil
		},
	}
	program.AddFlags(cmd, localSettings())
	return cmd
}

func userPasswordCommand() *cobra.Command {
	var asJSON bool
	var from passwordFlags
	cmd := &cobra.Command{
		Use:   "password NAME",
		Short: "Give a user another password, and end its connections",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			here, house, err := openIdentity(cmd)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(house.Users(), func(u identity.User) bool { return u.Name == args[0] })
			if i < 0 {
				return program.Fail(program.BadUsage, "there is no user %s (dominion user list)", args[0])
			}
			if args[0] == operatorName && here.Broker == "" {
				return program.Fail(program.BadUsage, "%s is the login of this machine's own command line, which the leader keeps in %s (to have another: dominion user remove %s, and restart the leader)",
					operatorName, operatorFile, operatorName)
			}
			password, made, err := from.password(cmd)
			if err != nil {
				return err
			}
			u := userLogin{User: args[0], Role: house.Users()[i].Role, Changed: true}
			if err := house.SetUser(u.User, u.Role, password); err != nil {
				return userError(err, cmd)
			}
			if made {
				u.Password = password
			}
			return told(cmd, asJSON, u, func(w io.Writer) {
				fmt.Fprintf(w, "%s has a new password.\n", u.User)
				showPassword(w, here, u)
			})
		},
	}
	program.AddFlags(cmd, localSettings())
	from.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
