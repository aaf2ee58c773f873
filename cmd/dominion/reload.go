package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/program"
	"dominion/topics"
)

func reloadCommand() *cobra.Command {
	return remoteCommand(&cobra.Command{
		Use:   "reload",
		Short: "Have the leader read its catalogue again",
		Long: `Reload has the running leader read the services of its configuration file again.
A file with faults changes nothing: the answer names them. What left the file
keeps running until: dominion remove SERVICE. All other settings count from the
leader's next start.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, l *line) error {
		result, err := l.order(cmd.Context(), reloading())
		if err == nil {
			_, err = fmt.Fprintln(l.out, result)
		}
		return err
	}, stateFilters)
}

func reloading() client.Command {
	return client.Command{Method: "reload", Subject: "catalogue"}
}

// order sends a command to the coordinator that leads, in the operator's name,
// and returns its result for people. Its error is an Exit.
func (l *line) order(ctx context.Context, c client.Command) (string, error) {
	if _, err := l.led(ctx); err != nil {
		return "", err
	}
	c.Node = topics.Coordinator
	if c.Fields == nil {
		c.Fields = map[string]any{}
	}
	c.Fields["by"] = by()
	reply, err := l.Ask(ctx, c)
	if err != nil {
		return "", answer(err)
	}
	return cmp.Or(reply.Result, fmt.Sprintf("%s: %s", c.Method, reply.Status)), nil
}

// reloadHere is reload for the leader of this machine. Its error is an Exit
// with NoAnswer when there is none to ask.
func reloadHere(cmd *cobra.Command, here *local) (string, error) {
	if !here.leads() {
		return "", program.Fail(program.NoAnswer, "no leader runs on this machine")
	}
	l, err := here.dial(cmd)
	if err != nil {
		return "", err
	}
	defer l.hangUp()
	result, err := l.order(cmd.Context(), reloading())
	var exit *program.Exit
	if errors.As(err, &exit) && exit.Code != program.NoAnswer {
		return "", program.Fail(exit.Code, "the file is written, but the leader did not take it over: %w", err)
	}
	return result, err
}
