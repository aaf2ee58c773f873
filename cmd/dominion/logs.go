package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/screen"
	"dominion/cmd/program"
	"dominion/device/journal"
	"dominion/topics"
)

// A reader of logs asks for them again each third of the time for which it is
// told them.
const (
	logsLease = 30 * time.Second
	logsAgain = logsLease / 3
)

func logsCommand() *cobra.Command {
	r := logReader{}
	var on string
	cmd := remoteCommand(&cobra.Command{
		Use:   "logs SERVICE|DOMAIN",
		Short: "What a service prints, or the agent of a machine",
		Long: `Logs tells the last lines that a service printed, from any machine of the house,
with a mark for each start and end; of a service that runs on several machines
with the machine's name before each line. Given a domain, it tells what the
agent there logs.

With --follow it goes on until Ctrl-C. Lines travel only while somebody follows.`,
		Example: "  dominion logs -f webServer",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: complete(bothNames),
	}, func(cmd *cobra.Command, args []string, l *line) error {
		r.line = l
		domains, subject, err := r.sources(cmd.Context(), args[0], topics.Node(on))
		if err != nil {
			return err
		}
		return r.run(cmd, domains, subject)
	}, func(s topics.Space) []string {
		return append(stateFilters(s), s.Occurrence("+", "log", "+"))
	})
	cmd.Flags().BoolVarP(&r.follow, "follow", "f", false, "go on with what it prints from now on")
	cmd.Flags().IntVarP(&r.lines, "lines", "n", 100, "how many of the last lines, up to 2000")
	cmd.Flags().StringVar(&on, "on", "", "of the service on this domain alone")
	return cmd
}

// lineWidth is how many characters of a line are shown.
const lineWidth = 2000

// logReader asks domains for lines and writes those that come.
type logReader struct {
	*line
	lines  int
	follow bool

	stream, subject string
	named           bool                 // lines come from several domains
	heard           map[topics.Node]int  // the last message of each
	ended           map[topics.Node]bool // no more come from it
}

// sources are the domains that know what was asked for: where a service runs
// or, if it runs nowhere, where it ran.
func (r *logReader) sources(ctx context.Context, name string, on topics.Node) (domains []topics.Node, subject string, err error) {
	v := r.view(ctx)
	service, domain := screen.Known(v, name)
	switch {
	case on != "":
		if _, known := screen.Known(v, string(on)); !known {
			return nil, "", unknown("domain", string(on), screen.DomainNames(v))
		}
		return []topics.Node{on}, name, nil
	case !service && domain:
		return []topics.Node{topics.Node(name)}, "host", nil
	case !service:
		return nil, "", unknown("service or domain", name, bothNames(v))
	}
	var once []topics.Node
	for _, node := range r.house.Domains() {
		state, known := node.Service(topics.Service(name), v.Now)
		switch {
		case !known || node.Presence.State != topics.Online:
		case state.Phase.Alive():
			domains = append(domains, node.Name)
		default:
			once = append(once, node.Name)
		}
	}
	if len(domains) == 0 {
		domains = once
	}
	if len(domains) == 0 {
		return nil, "", program.Fail(program.Unwell, "no domain that is online has anything that %s printed (dominion why %[1]s)", name)
	}
	return domains, name, nil
}

// answered is what came of asking a domain.
type answered struct {
	domain topics.Node
	err    error
}

func (r *logReader) run(cmd *cobra.Command, domains []topics.Node, subject string) error {
	ctx, end := context.WithCancel(cmd.Context())
	defer end()
	r.stream, r.subject, r.named = topics.NewID(12), subject, len(domains) > 1
	r.heard, r.ended = map[topics.Node]int{}, map[topics.Node]bool{}
	answers := make(chan answered)
	ask := func(domain topics.Node, lines int) {
		_, err := r.Ask(ctx, r.command(domain, lines))
		select {
		case answers <- answered{domain, err}:
		case <-ctx.Done():
		}
	}
	for _, domain := range domains {
		go ask(domain, r.lines)
	}
	again := time.NewTicker(logsAgain)
	defer again.Stop()
	asked := map[topics.Node]int{} // how often each has answered
	for len(r.ended) < len(domains) {
		select {
		case in := <-r.Inbound():
			if err := r.write(in); err != nil {
				return err
			}
		case a := <-answers:
			if asked[a.domain]++; a.err == nil {
				continue
			}
			if asked[a.domain] == 1 && ctx.Err() == nil {
				return unansweredBy(a.domain, a.err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s does not answer, trying again\n", a.domain)
		case <-again.C:
			for _, domain := range domains {
				if r.follow && asked[domain] > 0 {
					go ask(domain, 0)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (r *logReader) command(domain topics.Node, lines int) client.Command {
	fields := map[string]any{"by": by(), "lines": lines, "stream": r.stream}
	if r.follow {
		fields["follow"] = int(logsLease.Seconds())
	}
	return client.Command{Node: domain, Method: "tail", Subject: r.subject, Fields: fields}
}

// write writes the lines of one message, if it is one of ours.
func (r *logReader) write(in topics.Inbound) error {
	switch {
	case in.Link == topics.LinkDown && !r.follow:
		return program.Fail(program.NoAnswer, "the broker at %s has gone meanwhile", r.broker)
	case in.Link != topics.LinkNone:
		return nil
	}
	at, err := r.space.Parse(in.Message.Topic)
	if err != nil || at.Class != topics.Event || at.Kind != "log" || at.Subject != r.subject {
		return nil
	}
	l, err := topics.Decode[topics.LogLines](in.Message.Payload)
	if err != nil || l.Stream != r.stream {
		return nil
	}
	prefix := ""
	if r.named {
		prefix = fmt.Sprintf("%-12s ", at.Node)
	}
	if last := r.heard[at.Node]; last > 0 && l.Seq != last+1 {
		fmt.Fprintf(r.out, "%s--- some lines did not come\n", prefix)
	}
	if r.heard[at.Node] = l.Seq; l.Last {
		r.ended[at.Node] = true
	}
	if l.Skipped > 0 {
		fmt.Fprintf(r.out, "%s--- %.0f KB were left out: it prints faster than is told\n", prefix, max(1, float64(l.Skipped)/1e3))
	}
	for _, text := range l.Lines {
		// Any node can say what it likes, and this is a person's terminal.
		if _, err := fmt.Fprintln(r.out, prefix+journal.Printable(text, lineWidth)); err != nil {
			return err
		}
	}
	return nil
}
