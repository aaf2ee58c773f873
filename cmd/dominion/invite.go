package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/coordinator"
	"dominion/identity/joining"
)

// invited is an invitation, as --json writes it.
type invited struct {
	Code    joining.Code `json:"code"`
	Command string       `json:"command"` // what is typed at the machine
	Until   time.Time    `json:"until"`
	Leads   bool         `json:"leads"` // the leader runs
}

func inviteCommand() *cobra.Command {
	var lasts time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a code with which one machine can join the house",
		Long: `Invite prints a line to type on the machine that is to join:

  domain join 4F7K-9QXM-2C

The code is for one machine, and ends by itself. Five wrong tries end it too.
For many machines at once see: dominion join-window

It works on the leader's machine.`,
		Example: "  dominion invite --for 1h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			here, _, err := openIdentity(cmd)
			if err != nil {
				return err
			}
			if lasts < time.Second || lasts > joining.MaxLife {
				return program.Fail(program.BadUsage, "--for %v is too short or too long (write 15m, 1h; seven days at most)", lasts)
			}
			code, err := joining.Invite(here.identityDir(), lasts)
			if err != nil {
				return denied(err, cmd.CommandPath())
			}
			made := invited{Code: code, Command: "domain join " + code.String(), Until: time.Now().Add(lasts).UTC().Truncate(time.Second), Leads: here.leads()}
			if asJSON {
				return told(cmd, true, made, nil)
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), made.Command); err != nil {
				return err
			}
			told := cmd.ErrOrStderr()
			says := append([]string{"Type that on the one machine that is to join. It is good for " + screen.Lasting(lasts) + ".", here.amongSeveral()}, here.closed(made.Leads)...)
			for _, text := range says {
				fmt.Fprint(told, styleOf(told).Paragraph(text, 0))
			}
			return nil
		},
	}
	program.AddFlags(cmd, localSettings())
	cmd.Flags().DurationVar(&lasts, "for", joining.DefaultLife, "how long the code is good (`duration`)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON; fields are added over time, never renamed")
	return cmd
}

// amongSeveral says how the house is told from others that the machine hears.
func (l *local) amongSeveral() string {
	const add = "Where it hears several houses, add to the line: --house "
	if id := coordinator.HouseIn(l.Data); id != "" {
		return add + string(id) + " (" + l.Name + ")"
	}
	return add + shellWord(l.Name)
}

// closed says why nobody can join now.
func (l *local) closed(leads bool) []string {
	var trouble []string
	if !leads {
		trouble = append(trouble, "No leader runs here: the code waits until one does (dominion serve).")
	}
	if l.HTTPS == "" {
		trouble = append(trouble, `The leader has no port where machines join: put https = ":8443" into its configuration file and start it again.`)
	}
	if l.Broker == "" && !reached(l.ListenTLS).elsewhere && !reached(l.Listen).elsewhere {
		trouble = append(trouble, `The house's broker is open to this machine only: put listen_tls = [":8883"] into its configuration file and start it again.`)
	}
	return trouble
}
