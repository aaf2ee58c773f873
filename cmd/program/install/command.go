package install

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/cmd/program/unit"
)

// Commands are `install` and `uninstall` of a part, for below its own command.
// AsConfigured makes of the part what its configuration wants of it; nil: it
// stays as it is.
func Commands(part unit.Part, asConfigured func(unit.Part) (unit.Part, error)) []*cobra.Command {
	if asConfigured == nil {
		asConfigured = func(p unit.Part) (unit.Part, error) { return p, nil }
	}
	return []*cobra.Command{installCommand(part, asConfigured), uninstallCommand(part)}
}

// As is an Options' As for a command that stands beside install: nothing for
// `domain join`, "domain" for `dominion domain join`.
func As(cmd *cobra.Command) []string {
	return strings.Fields(cmd.Parent().CommandPath())[1:]
}

func installCommand(part unit.Part, asConfigured func(unit.Part) (unit.Part, error)) *cobra.Command {
	var printed bool
	var o Options
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Have systemd run it, now and at each boot",
		Long:  installHelp(part),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Part, err = asConfigured(part); err != nil {
				return err
			}
			o.As, o.Out = As(cmd), cmd.OutOrStdout()
			if printed {
				return printUnit(o)
			}
			return Install(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&printed, "print", false, "write the unit to standard output, and do nothing")
	if !part.Leads {
		cmd.Flags().StringVar(&o.User, "user", "", "run it and all services as this user, by `name`;\ndefault the one so far, else "+part.Name)
	}
	return cmd
}

// installHelp says what is done, for the part.
func installHelp(part unit.Part) string {
	text := fmt.Sprintf(`Install writes a systemd unit, %s, and starts it.
The program is copied to /usr/local/bin unless it is in a system directory. It
runs as a user of its own, %s, which is made, keeps its data in
%s and reads %s.
`, part.File(), part.Name, part.StatePath(), part.Config)
	if part.Runs {
		text += `
The services run as that user too. It is put into the groups of the machine's
devices (` + strings.Join(part.Groups()[:4], ", ") + `, …). For services that
need your own files: --user NAME. Upgrading, restarting and installing again
keep services running.
`
	}
	return text + `
It may be typed again without harm: what is as it should be stays. Settings of
the unit's own are changed with systemctl edit.

` + program.ExitCodes
}

func printUnit(o Options) error {
	path, err := place(here().executable)
	if err != nil {
		return err
	}
	user := o.User
	if user == "" {
		user = o.Part.Name
	}
	_, err = fmt.Fprint(o.Out, o.Part.Render(user, append([]string{path}, o.As...)...))
	return err
}

func uninstallCommand(part unit.Part) *cobra.Command {
	text := `Uninstall stops the unit and takes it away. Configuration, data and program stay
where they are, and it says where that is: install takes them up again.`
	if part.Runs {
		text += `

The services on this machine are stopped: nobody would look after them.`
	}
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Have systemd run it no more; configuration and data stay",
		Long:  text + "\n\n" + program.ExitCodes,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Uninstall(cmd.Context(), Options{Part: part, As: As(cmd), Out: cmd.OutOrStdout()})
		},
	}
}
