package main

import (
	"github.com/spf13/cobra"

	"dominion/cmd/domain/agent"
	"dominion/cmd/dominion/demo"
	"dominion/cmd/program"
	"dominion/cmd/program/install"
	"dominion/cmd/program/unit"
)

// root is the whole command line.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dominion",
		Short: "Keeps the right programs running on the right machines of a house, over MQTT",
		Long: `Dominion keeps the right programs running on the right machines of a house,
lets them find one another, and shows all of it in Home Assistant.

Begin with:  dominion demo      a whole house on this machine, to look at
             dominion init      your own house: this machine becomes its leader

` + program.ExitCodes,
		Version: program.Version(),
	}
	cmd.SetVersionTemplate(program.VersionLine("dominion"))
	program.WrapHelp(cmd)
	const run, look, act, more = "run", "look", "act", "more"
	for _, g := range []struct{ id, title string }{
		{run, "Run a house:"}, {look, "Look at it:"}, {act, "Change it:"}, {more, "And:"},
	} {
		cmd.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
	}
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			cmd.AddCommand(c)
		}
	}
	add(run, demo.Command(), initCommand(), serveCommand(), agent.Command())
	cmd.AddCommand(demo.ServiceCommand())
	add(look, statusCommand(), whyCommand(), lookupCommand(), watchCommand(), logsCommand())
	add(act, addCommand(), reloadCommand(), inviteCommand(), joinWindowCommand(), acceptCommand(), rejectCommand(), userCommand())
	add(act, verbCommands()...)
	add(act, machineCommands()...)
	add(more, checkCommand(), verifyCommand(), exampleCommand(), aclCommand(), program.VersionCommand())
	add(more, install.Commands(unit.Leader(), asConfigured)...)
	cmd.SetHelpCommandGroupID(more)
	cmd.SetCompletionCommandGroupID(more)
	return cmd
}
