package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/topics"
)

// verb is a command to the coordinator.
type verb struct {
	name, short, long string
	domain            bool // its subject is a domain
	reached           func(s topics.Summary, known bool) bool
}

func verbs() []verb {
	ready := func(s topics.Summary, known bool) bool { return known && s.Phase.Met() }
	stopped := func(s topics.Summary, known bool) bool { return !known || s.Phase == topics.SummaryStopped }
	return []verb{
		{name: "start", short: "Have a service run, whatever the catalogue says", reached: ready,
			long: "Start gives the word that the service is to run. It stands until `dominion stop`\nor `dominion run SERVICE auto`, also over restarts."},
		{name: "stop", short: "Have a service stopped, and in order what only it needed", reached: stopped,
			long: "Stop gives the word that the service is not to run. It stands until `dominion\nstart` or `dominion run SERVICE auto`, also over restarts."},
		{name: "restart", short: "Restart a service where it runs", reached: ready,
			long: "Restart ends the service where it runs and starts it again."},
		{name: "reset", short: "Leave a service to the catalogue again, and forget its failures", reached: settledAs,
			long: "Reset takes back the word of start and stop, and ends the waiting of a service\nthat failed too often: it is tried again at once."},
		{name: "remove", short: "Stop a service that has left the catalogue", reached: stopped,
			long: "Remove stops a service that still runs although the catalogue knows it no more."},
		{name: "forget", short: "Put a machine out of the house", domain: true,
			long: "Forget ends at once what a machine has of the house: its certificate, the logins\nof its services, its connections, and all that is kept of it. What runs there\nruns on, alone. It comes back only by joining again."},
	}
}

// settledAs tells that a service is as the house wants it, whatever that is.
func settledAs(s topics.Summary, known bool) bool {
	return known && (s.Phase.Met() || s.Phase == topics.SummaryStopped)
}

func verbCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, v := range verbs() {
		names, subject := screen.ServiceNames, "SERVICE"
		if v.domain {
			names, subject = screen.DomainNames, "DOMAIN"
		}
		all = append(all, ask(&cobra.Command{
			Use: v.name + " " + subject, Short: v.short, Long: v.long,
			Args: cobra.ExactArgs(1), ValidArgsFunction: complete(names),
		}, v))
	}
	run := ask(&cobra.Command{
		Use:   "run SERVICE on|off|auto",
		Short: "Say whether a service is to run, or leave it to the catalogue",
		Long:  "Run gives a word on a service: on (as start), off (as stop), or auto, which\ntakes the word back and leaves the service to the catalogue.",
		Args:  cobra.MatchAll(cobra.ExactArgs(2), cobra.OnlyValidArgs),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"on", "off", "auto"}, cobra.ShellCompDirectiveNoFileComp
			}
			return complete(screen.ServiceNames)(cmd, args, begun)
		},
	}, verb{name: "run", reached: settledAs})
	run.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 2 || !slices.Contains([]string{"on", "off", "auto"}, args[1]) {
			return errors.New("want a service, and on, off or auto")
		}
		return nil
	}
	return slices.Insert(all, 2, run)
}

// ask makes the command that sends a verb to the coordinator.
func ask(cmd *cobra.Command, v verb) *cobra.Command {
	var wait bool
	var atMost time.Duration
	cmd = remoteCommand(cmd, func(cmd *cobra.Command, args []string, l *line) error {
		view, err := l.led(cmd.Context())
		if err != nil {
			return err
		}
		service, domain := screen.Known(view, args[0])
		switch {
		case v.domain && !domain && v.name != "forget": // one may have joined and never come
			return unknown("domain", args[0], screen.DomainNames(view))
		case !v.domain && !service:
			return unknown("service", args[0], screen.ServiceNames(view))
		}
		fields := map[string]any{"by": by()}
		if len(args) > 1 {
			fields["run"] = args[1]
		}
		reply, err := l.Ask(cmd.Context(), client.Command{Node: topics.Coordinator, Method: v.name, Subject: args[0], Fields: fields})
		var refused *client.Refused
		if errors.As(err, &refused) && refused.Reply.Why != nil && refused.Reply.Why.Code == "UNKNOWN_DOMAIN" {
			return unknown("domain", args[0], screen.DomainNames(view))
		}
		if err != nil {
			return answer(err)
		}
		result := reply.Result
		if result == "" {
			result = fmt.Sprintf("%s %s: %s", v.name, args[0], reply.Status)
		}
		if _, err := fmt.Fprintln(l.out, result); err != nil || !wait {
			return err
		}
		return l.await(cmd.Context(), v, args, atMost)
	}, stateFilters)
	if v.reached != nil {
		cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has come about, and tell how it goes")
		cmd.Flags().DurationVar(&atMost, "timeout", 2*time.Minute, "with --wait: give up after that long")
	}
	return cmd
}

// answer is the exit for a command that was not done.
func answer(err error) error {
	var refused *client.Refused
	switch {
	case errors.As(err, &refused):
		text := string(refused.Reply.Status)
		if w := refused.Reply.Why; w != nil {
			text += ": " + w.Text
			if w.Next != "" {
				text += " (next: " + w.Next + ")"
			}
		} else if refused.Reply.Result != "" { // of a node that has no reasons
			text += ": " + refused.Reply.Result
		}
		return program.Fail(program.Unwell, "%s", text)
	case errors.Is(err, client.ErrUnanswered): // all of our commands look first whether it leads
		return program.Fail(program.Unwell, "the coordinator leads, but did not hear this: a login that may only look (a viewer's, or none) cannot command (on the leader's machine: sudo; elsewhere: --username of an operator)")
	case errors.Is(err, client.ErrDown):
		return &program.Exit{Code: program.NoAnswer, Err: err}
	}
	return &program.Exit{Code: program.Unwell, Err: err}
}

// await tells each step of a service until it is where the verb wants it. It
// must stay there for a moment: what the house says first may be from before.
func (l *line) await(ctx context.Context, v verb, args []string, atMost time.Duration) error {
	const moment = time.Second
	service := topics.Service(args[0])
	if len(args) > 1 && args[1] != "auto" {
		i := slices.IndexFunc(verbs(), func(o verb) bool { return o.name == map[string]string{"on": "start", "off": "stop"}[args[1]] })
		v = verbs()[i]
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began, since, told := time.Now(), time.Time{}, ""
	for {
		select {
		case in := <-l.Inbound():
			l.fold(in)
		case now := <-tick.C:
			sum, known := l.house.Summary(service, now)
			if text := screen.Sentence(sum); known && text != told {
				told = text
				fmt.Fprintf(l.out, "%6.1fs  %s\n", now.Sub(began).Seconds(), text)
			}
			switch {
			case !v.reached(sum, known):
				since = time.Time{}
			case since.IsZero():
				since = now
			case now.Sub(since) >= moment:
				return nil
			}
			if now.Sub(began) > atMost {
				return program.Fail(program.Unwell, "%s is not there after %s (dominion why %s)", service, screen.Lasting(atMost), service)
			}
		case <-ctx.Done():
			return &program.Exit{Code: program.Unwell}
		}
	}
}
