package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/device/journal"
	"dominion/topics"
)

// machineCommands ask a node to do something with itself.
func machineCommands() []*cobra.Command {
	blink := 15 * time.Second
	identify := askNode("identify", "Have a machine's light blink, to find it", `Identify has the light on a machine's board blink for 15 seconds. On a Pi it is
the one that shows the use of the card.`, func() map[string]any { return map[string]any{"seconds": blink.Seconds()} })
	identify.Flags().DurationVar(&blink, "for", blink, "how long")
	allowed := func(what string) string {
		return fmt.Sprintf("It is off unless the machine's own domain.toml says allow = [%q].\nServices that shall not move meanwhile need nothing: lost_after gives it time.", what)
	}
	return []*cobra.Command{
		askNode("ping", "Ask a machine whether it hears the house", "Ping asks a machine's agent, or another node, to answer.", nil),
		askNode("ps", "What the services on a machine take", `Ps lists the processes of the services on a machine: service, pid, resident
memory, processor (percent of one core, since it began), age and program.`, nil),
		identify,
		askNode("reboot", "Have a machine boot anew", "Reboot has a machine boot anew.\n"+allowed("reboot"), nil),
		askNode("shutdown", "Have a machine switch itself off", "Shutdown has a machine switch itself off.\n"+allowed("shutdown"), nil),
	}
}

// askNode makes a command that sends a method to a node, about itself.
func askNode(method, short, long string, fields func() map[string]any) *cobra.Command {
	return remoteCommand(&cobra.Command{
		Use: method + " DOMAIN", Short: short, Long: long,
		Args: cobra.ExactArgs(1), ValidArgsFunction: complete(screen.DomainNames),
	}, func(cmd *cobra.Command, args []string, l *line) error {
		v := l.view(cmd.Context())
		if _, known := screen.Known(v, args[0]); !known {
			return unknown("domain", args[0], screen.DomainNames(v))
		}
		all := map[string]any{"by": by()}
		if fields != nil {
			for name, value := range fields() {
				all[name] = value
			}
		}
		reply, err := l.Ask(cmd.Context(), client.Command{Node: topics.Node(args[0]), Method: method, Subject: "host", Fields: all})
		if err != nil {
			return unansweredBy(topics.Node(args[0]), err)
		}
		for _, text := range append(slices.Clip(reply.Lines), reply.Result) {
			if _, err := fmt.Fprintln(l.out, journal.Printable(text, lineWidth)); err != nil {
				return err
			}
		}
		return nil
	}, stateFilters)
}

// unansweredBy is the exit for a command that a node did not do.
func unansweredBy(node topics.Node, err error) error {
	if errors.Is(err, client.ErrUnanswered) {
		return program.Fail(program.Unwell, "%s does not answer (dominion why %[1]s; or this login may not command: sudo, or --username of an operator)", node)
	}
	return answer(err)
}
