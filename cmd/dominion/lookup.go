package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/topics"
)

func lookupCommand() *cobra.Command {
	var asJSON bool
	cmd := remoteCommand(&cobra.Command{
		Use:   "lookup SERVICE",
		Short: "Where a service is reached: host:port, one ready instance a line",
		Long: `Lookup writes host:port of every ready instance of a service, one a line.

It exits with 1 when the service has no ready instance, and with 2 when the
house does not know it. A program can read the same, and follow it, retained
on <base>/coordinator/state/lookup/<service>.`,
		Example:           "  curl http://$(dominion lookup webServer | head -1)/",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: complete(screen.ServiceNames),
	}, func(cmd *cobra.Command, args []string, l *line) error {
		name := topics.Service(args[0])
		v, err := l.led(cmd.Context())
		if err != nil {
			return err
		}
		found, ok := v.House.Lookup(name, v.Now)
		if known, _ := screen.Known(v, args[0]); !ok && !known {
			return unknown("service", args[0], screen.ServiceNames(v))
		}
		text := screen.Lookup(found)
		if asJSON {
			found.Service = name
			text = string(topics.Encode(found)) + "\n"
		}
		if _, err := fmt.Fprint(l.out, text); err != nil {
			return err
		}
		if found.Ready == 0 {
			text, next := screen.Missing(v, name)
			return program.Fail(program.Unwell, "%s (%s)", text, next)
		}
		return nil
	}, stateFilters)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the lookup as it stands on the bus")
	return cmd
}
