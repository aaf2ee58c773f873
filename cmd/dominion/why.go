package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/topics"
)

func whyCommand() *cobra.Command {
	return remoteCommand(&cobra.Command{
		Use:               "why NAME",
		Short:             "Why a service or a domain is as it is, and what to do next",
		Long:              "Why tells the chain of reasons behind a service or a domain, what depends on\nwhat, and the next thing to type. It exits with 1 when that is not as wanted.",
		Example:           "  dominion why webServer",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: complete(bothNames),
	}, func(cmd *cobra.Command, args []string, l *line) error {
		v, name := l.view(cmd.Context()), args[0]
		service, domain := screen.Known(v, name)
		if !service && !domain {
			if _, err := l.led(cmd.Context()); err != nil {
				return err
			}
			return unknown("service or domain", name, bothNames(v))
		}
		if _, err := fmt.Fprint(l.out, screen.Why(v, name, l.style)); err != nil {
			return err
		}
		r := screen.Look(v)
		if r.Leader.State != screen.Leads && r.Leader.State != screen.Settles {
			return &program.Exit{Code: program.NoAnswer}
		}
		for _, s := range r.Services {
			if s.Service == topics.Service(name) && !s.Well {
				return &program.Exit{Code: program.Unwell}
			}
		}
		for _, d := range r.Domains {
			if d.Name == topics.Node(name) && !d.Well {
				return &program.Exit{Code: program.Unwell}
			}
		}
		return nil
	}, stateFilters)
}
