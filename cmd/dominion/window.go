package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/screen"
	"dominion/topics"
)

func joinWindowCommand() *cobra.Command {
	var noWait bool
	cmd := remoteCommand(&cobra.Command{
		Use:   "join-window DURATION|off",
		Short: "Let machines ask to join for a time, and show who asks",
		Long: `Join-window is for many machines at once, instead of a code for each. While it
is open, every machine that asks (domain join, without a code) is shown here
with its name, its address and four words. Compare the words with those on its
own screen: if they are the same, let it in with dominion accept NAME, else turn
it away with dominion reject NAME. Home Assistant shows them too.

It waits until the window closes. Ctrl-C ends the waiting, not the window.`,
		Example: "  dominion join-window 10m\n  dominion join-window off",
		Args:    wantsDuration,
	}, func(cmd *cobra.Command, args []string, l *line) error {
		lasts, _ := windowOf(args[0])
		result, err := l.order(cmd.Context(), client.Command{Method: "join", Subject: "window", Fields: map[string]any{"for": args[0]}})
		if err != nil {
			return err
		}
		fmt.Fprintln(l.out, result)
		if lasts == 0 || noWait {
			return nil
		}
		return l.showAsking(cmd.Context(), lasts)
	}, stateFilters)
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not stay to show who asks")
	return cmd
}

func wantsDuration(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("want for how long: 10m, or off")
	}
	_, err := windowOf(args[0])
	return err
}

// windowOf is for how long a window is wanted; off is 0.
func windowOf(text string) (time.Duration, error) {
	if strings.EqualFold(text, "off") {
		return 0, nil
	}
	lasts, err := time.ParseDuration(text)
	if err != nil || lasts < time.Second {
		return 0, fmt.Errorf("%q is no time to keep it open (write 10m, 1h, or off)", text)
	}
	return lasts, nil
}

// showAsking shows each machine that asks, once, until the window closes.
func (l *line) showAsking(ctx context.Context, lasts time.Duration) error {
	closes := time.NewTimer(lasts)
	defer closes.Stop()
	shown := map[string]string{}
	for {
		for _, a := range asking(screen.View{House: l.house, Now: time.Now()}) {
			if shown[a.ID] != a.Text {
				shown[a.ID] = a.Text
				a.Since = "" // it has just begun
				fmt.Fprint(l.out, l.style.Alert(a, time.Now()))
			}
		}
		select {
		case in := <-l.Inbound():
			l.fold(in)
		case <-closes.C:
			fmt.Fprintln(l.out, "The window is closed. Who asked may still be accepted.")
			return nil
		case <-ctx.Done():
			fmt.Fprintf(l.out, "The window stays open for what is left of %s. To close it: dominion join-window off\n", screen.Lasting(lasts))
			return nil
		}
	}
}

// asking are the machines that ask to join, as the house's alerts have them.
func asking(v screen.View) []screen.Alert {
	alerts := v.House.Alerts(v.Now)
	var all []screen.Alert
	for _, id := range slices.Sorted(maps.Keys(alerts)) {
		if strings.HasPrefix(id, "join-") {
			all = append(all, screen.Alert{ID: id, Alert: alerts[id]})
		}
	}
	return all
}

func askingNames(v screen.View) []string {
	var names []string
	for _, a := range asking(v) {
		names = append(names, a.About)
	}
	return names
}

func acceptCommand() *cobra.Command {
	return verdictCommand("accept", "Let a machine in that asks to join",
		"Accept lets a machine in that asks while the join window is open. Compare its\nfour words first: they must be those on its own screen.")
}

func rejectCommand() *cobra.Command {
	return verdictCommand("reject", "Turn a machine away that asks to join",
		"Reject turns a machine away that asks while the join window is open.")
}

func verdictCommand(verb, short, long string) *cobra.Command {
	return remoteCommand(&cobra.Command{
		Use: verb + " NAME", Short: short, Long: long,
		Args: cobra.ExactArgs(1), ValidArgsFunction: complete(askingNames),
	}, func(cmd *cobra.Command, args []string, l *line) error {
		node := topics.Node(args[0])
		if err := node.Check(); err != nil {
			return unknown("machine that asks", args[0], askingNames(screen.View{House: l.house, Now: time.Now()}))
		}
		result, err := l.order(cmd.Context(), client.Command{Method: verb, Subject: string(node)})
		asks := slices.Contains(askingNames(screen.View{House: l.house, Now: time.Now()}), string(node))
		if err != nil && verb == "accept" && !asks && l.online(node) { // typed twice
			result, err = fmt.Sprintf("%s is in the house already", node), nil
		}
		if err == nil {
			_, err = fmt.Fprintln(l.out, result)
		}
		return err
	}, stateFilters)
}

// online tells that the house hears a domain of that name.
func (l *line) online(node topics.Node) bool {
	j, ok := l.house.Judgement(node, time.Now())
	return ok && j.State == topics.JudgedOnline
}
