package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
	"dominion/configs"
)

func checkCommand() *cobra.Command {
	var ofAgent bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Read a configuration file and say all that is wrong with it",
		Long: `Check reads the leader's configuration file as serve would, changes nothing, and
names every fault with its line. It exits with 2 when there is one.`,
		Example: "  dominion check house.toml\n  dominion check --agent domain.toml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			says, err := checkFile(args[0], ofAgent)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing is wrong with it%s\n", args[0], says)
			return err
		},
	}
	cmd.Flags().BoolVar(&ofAgent, "agent", false, "it is an agent's file")
	return cmd
}

func checkFile(path string, ofAgent bool) (says string, err error) {
	src := configs.Source{Path: path}
	if ofAgent {
		c := agent.Defaults()
		file, err := configs.Load(&c, src)
		if err == nil {
			err = configs.Join(c.Check(file)...)
		}
		if err != nil {
			return "", &program.Exit{Code: program.BadUsage, Err: err}
		}
		return "", nil
	}
	c := defaults()
	file, err := configs.Load(&c, src)
	if err != nil {
		return "", &program.Exit{Code: program.BadUsage, Err: err}
	}
	catalogue, err := c.check(file)
	if err != nil {
		return "", err
	}
	order := make([]string, 0, len(c.Services))
	for _, s := range catalogue.Services() {
		order = append(order, string(s))
	}
	if len(order) == 0 {
		return "; it has no [services.NAME], so nothing will be started", nil
	}
	return "; services start in the order " + strings.Join(order, ", "), nil
}

func exampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "example leader|agent|service",
		Short:     "A commented configuration file with every setting",
		Long:      "Example writes the commented example of the leader's file, an agent's file, or a\nservice.toml: every setting with its default.",
		Example:   "  dominion example leader > house.toml",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"leader", "agent", "service"},
		RunE: func(cmd *cobra.Command, args []string) error {
			text := map[string]string{
				"leader": configs.DominionExample(), "agent": configs.DomainExample(), "service": configs.ServiceExample(),
			}[args[0]]
			_, err := fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
}
