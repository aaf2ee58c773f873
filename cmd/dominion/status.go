package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/topics"
)

const (
	drawAtMost  = 250 * time.Millisecond // between two pictures of --watch
	drawAtLeast = 5 * time.Second        // durations go on
)

func statusCommand() *cobra.Command {
	var asJSON, watch bool
	var near nearby
	cmd := remoteCommand(&cobra.Command{
		Use:   "status",
		Short: "The whole house on one screen",
		Long: `Status shows the leader, the domains, the services and the open alerts, and at
a terminal the machines in the local network that hear no leader (with --nearby
also elsewhere).

It exits with 0 when everything is as wanted, with 1 when something is not,
and with 4 when the broker does not answer or no coordinator leads.`,
		Example: "  dominion status --watch\n  dominion status --json | jq '.services[] | select(.well | not)'",
		Args:    cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, l *line) error {
		s := &statusScreen{line: l, json: asJSON, live: watch && !asJSON && program.Terminal(l.out)}
		v := l.view(cmd.Context())
		v.Lonely = near.heard()
		r := screen.Look(v)
		if watch {
			return s.follow(cmd, r.Leader.State == screen.Silent)
		}
		if err := s.draw(r); err != nil {
			return err
		}
		return wellness(r)
	}, stateFilters)
	dialled := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("nearby") {
			near.wanted = !asJSON && program.Terminal(cmd.OutOrStdout())
		}
		defer near.listen(cmd.Context(), watch)()
		return dialled(cmd, args)
	}
	cmd.Flags().BoolVar(&near.wanted, "nearby", false, "listen 1.5 s for machines that hear no leader; usual at a terminal")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON; fields are added over time, never renamed")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "stay, and show every change until Ctrl-C")
	return cmd
}

func wellness(r screen.Report) error {
	switch {
	case r.Well:
		return nil
	case r.Leader.State == screen.Leads || r.Leader.State == screen.Settles:
		return &program.Exit{Code: program.Unwell}
	}
	return &program.Exit{Code: program.NoAnswer}
}

type statusScreen struct {
	*line
	json, live bool
	last       string
}

// follow draws the house whenever it changes.
func (s *statusScreen) follow(cmd *cobra.Command, silent bool) error {
	ctx := cmd.Context()
	tick := time.NewTicker(drawAtMost)
	defer tick.Stop()
	changed, down, drawn := true, false, time.Time{}
	for {
		select {
		case in := <-s.Inbound():
			s.fold(in)
			changed = true
			switch in.Link {
			case topics.LinkDown:
				down = true
			case topics.LinkSynced:
				down = false
			}
			if in.Message.Topic == s.space.Presence(topics.Coordinator) && !in.Message.Retained {
				silent = false // it speaks
			}
		case now := <-tick.C:
			if !changed && (!s.live || now.Sub(drawn) < drawAtLeast) {
				continue
			}
			changed, drawn = false, now
			r := screen.Look(screen.View{House: s.house, Now: now, Broker: s.broker, Silent: silent})
			if down {
				r.Broker += " (lost, trying again)"
			}
			if err := s.draw(r); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// draw writes the house: on a live screen over the last one, as JSON or
// without a terminal below it, and only when it differs.
func (s *statusScreen) draw(r screen.Report) error {
	text := screen.Status(r, s.style)
	if s.json {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		text = string(b) + "\n"
	}
	if text == s.last {
		return nil
	}
	between := ""
	if s.last != "" && !s.json {
		between = "\n"
	}
	s.last = text
	if s.live {
		const home, restOfLine, restOfScreen = "\x1b[H", "\x1b[K", "\x1b[J"
		between, text = home, strings.ReplaceAll(text, "\n", restOfLine+"\n")+restOfScreen
	}
	_, err := fmt.Fprint(s.out, between+text)
	return err
}
