package demo

import (
	"fmt"
	"os"
	"time"

	"dominion/cmd/dominion/demo/programs"
	"dominion/cmd/program"

	"github.com/spf13/cobra"
)

// Command is `dominion demo`.
func Command() *cobra.Command {
	var limit time.Duration
	var port int
	var services string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a whole house on this machine, which heals before your eyes",
		Long: `Show a whole house on this machine: a leader and three agents as processes of
their own, and three services, started by make. Nothing of it is played, and
nothing is left of it when it ends.

On a terminal it takes keys: pull the plug of a machine, stop a service, ask
why. All of it can also be watched and changed from outside, with
mosquitto_sub, mosquitto_pub, Home Assistant, and the other commands:

  dominion status --broker 127.0.0.1:1883

With --services the house runs services of yours too: each directory in that
folder, on one of its machines.

With --for it ends by itself, with exit code 1 if a service was not ready.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program, to start the house with it: %w", err)
			}
			if cmd.Flags().Changed("for") && limit <= 0 {
				return program.Fail(program.BadUsage, "--for %v is no time to show anything in (as: --for 20s)", limit)
			}
			if port < 1 || port > 65535 {
				return program.Fail(program.BadUsage, "--port %d is no port (1 to 65535)", port)
			}
			return Run(cmd.Context(), Config{
				Executable: executable, Version: program.Version(), For: limit, Port: port,
				In: os.Stdin, Out: cmd.OutOrStdout(), Services: services,
			})
		},
	}
	cmd.Flags().DurationVar(&limit, "for", 0, "end by itself after this `time`, as 20s")
	cmd.Flags().StringVar(&services, "services", "", "run the services in this `folder` too, as examples/services")
	cmd.Flags().IntVar(&port, "port", usualPort, "the broker's `port`, or the next one that is free")
	return cmd
}

// ServiceCommand is `dominion demo-service NAME`, with which make starts one
// of the demo's services.
func ServiceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-service NAME",
		Short:  "Be one of the demo's services",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := program.NewLog(cmd.OutOrStdout(), "info")
			if err != nil {
				return err
			}
			return programs.Run(cmd.Context(), args[0], os.Environ(), log)
		},
	}
}
