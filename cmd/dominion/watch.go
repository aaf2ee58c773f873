package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dominion/cmd/dominion/screen"
	"dominion/topics"
)

func watchCommand() *cobra.Command {
	var asJSON bool
	cmd := remoteCommand(&cobra.Command{
		Use:   "watch",
		Short: "The bus in human words, live, one line an event",
		Long: `Watch tells what happens in the house, until Ctrl-C: who comes and goes, what
services do, what is asked and answered, what is refused. Heartbeats and
readings are left out. The bus itself: mosquitto_sub -v -t 'dominion/#'.`,
		Example: "  dominion watch\n  dominion watch --json | jq -r .text",
		Args:    cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, l *line) error {
		w := watcher{line: l, json: asJSON, teller: screen.NewTeller(l.space)}
		return w.run(cmd)
	}, watchFilters)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write one JSON object a line")
	return cmd
}

func watchFilters(s topics.Space) []string {
	return []string{s.Filter(topics.State), s.Filter(topics.Event), s.Filter(topics.Desired), s.Filter(topics.Command)}
}

type watcher struct {
	*line
	json   bool
	teller *screen.Teller
}

func (w *watcher) run(cmd *cobra.Command) error {
	w.teller.Know(w.house)
	r := screen.Look(screen.View{House: w.house, Now: time.Now()})
	w.note(cmd, fmt.Sprintf("watching %s: %d domains, %d services; Ctrl-C ends", w.broker, len(r.Domains), len(r.Services)))
	for {
		select {
		case in := <-w.Inbound():
			switch in.Link {
			case topics.LinkDown:
				w.note(cmd, "the broker is gone; trying again")
			case topics.LinkSynced:
				w.note(cmd, "the broker is back")
			}
			if in.Link != topics.LinkNone {
				continue
			}
			if err := w.tell(in.Message); err != nil {
				return err
			}
		case <-cmd.Context().Done():
			return nil
		}
	}
}

func (w *watcher) tell(m topics.Message) error {
	line, told := w.teller.Tell(m, time.Now())
	if !told {
		return nil
	}
	text := line.Render(w.style)
	if w.json {
		b, err := json.Marshal(line)
		if err != nil {
			return err
		}
		text = string(b)
	}
	_, err := fmt.Fprintln(w.out, text)
	return err
}

// note tells of the watching itself, on the side.
func (w *watcher) note(cmd *cobra.Command, text string) {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s  %s\n", time.Now().Format(time.TimeOnly), text)
}
