package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
)

func leaveCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Make this machine belong to no house",
		Long: `Leave deletes what the house gave this machine: its certificate and the logins.
The services' directories stay, and what runs goes on, until this machine joins
a house that says otherwise. An agent that runs here notices by itself.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := newLife(cmd, hiddenFlags{})
			if err != nil {
				return err
			}
			return leave(cmd, whereabouts.Papers(l.config.Data), yes)
		},
	}
	program.AddFlags(cmd, []program.Setting{{Key: "data", Kind: "directory", Help: "the agent's, where it is not in its usual place"}})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func leave(cmd *cobra.Command, papers whereabouts.Papers, yes bool) error {
	out := cmd.OutOrStdout()
	m, err := papers.Load()
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(out, "This machine belongs to no house.")
		return nil
	}
	name := "the house"
	if err == nil {
		name = fmt.Sprintf("%s (%s)", m.Name, m.House)
	} // what is damaged can be left too
	if !yes {
		in := terminal(cmd)
		if in == nil {
			return program.Fail(program.BadUsage, "nobody is here to ask whether this machine is to leave %s (add --yes)", name)
		}
		fmt.Fprintf(out, "Leave %s? To come back, this machine needs a new code. [y/N] ", name)
		answer, _ := bufio.NewReader(in).ReadString('\n')
		if word := strings.ToLower(strings.TrimSpace(answer)); word != "y" && word != "yes" {
			return program.Fail(program.Unwell, "nothing was changed")
		}
	}
	if err := papers.Remove(); err != nil {
		return program.Fail(program.CannotRun, "leave %s: %w", name, err)
	}
	fmt.Fprintf(out, "This machine has left %s. What runs goes on.\n", name)
	if m != nil {
		fmt.Fprintf(out, "So that the house knows, type on its leader:  dominion forget %s\n", m.Node)
	}
	return nil
}
