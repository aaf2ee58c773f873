// Command broker measures Dominion's embedded broker beside Debian's mosquitto:
// the same work, in alternating rounds, on this machine.
//
//	go run ./bench/broker
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"dominion/bench/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/broker:", err)
		os.Exit(1)
	}
}

// run is the command. A child that serves the embedded broker is the same
// program with -serve.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench/broker", flag.ContinueOnError)
	rounds := flags.Int("rounds", 3, "how often each broker does all the work")
	seconds := flags.Float64("seconds", 2, "how long each flow of messages lasts")
	only := flags.String("only", "", "only the work whose name matches this `regexp`: memory, 1->1 QoS 0, connects, latency, replay, ...")
	serve := flags.String("serve", "", "serve the embedded broker with its data in this `directory`, until standard input ends (the command starts itself so)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *serve != "" {
		return serveEmbedded(ctx, *serve, os.Stdin, out)
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if *rounds < 1 || *rounds > 100 || !(*seconds > 0 && *seconds <= 60) {
		return fmt.Errorf("-rounds %d -seconds %g: up to 100 rounds and 60 seconds", *rounds, *seconds)
	}
	var todo []work
	for _, w := range works(full(time.Duration(*seconds * float64(time.Second)))) {
		if chosen.MatchString(w.name) {
			todo = append(todo, w)
		}
	}
	if len(todo) == 0 {
		return fmt.Errorf("-only %q: no work has such a name", *only)
	}
	brokers := []contestant{embedded()}
	if other, ok := mosquitto(ctx); ok {
		brokers = append(brokers, other)
	} else {
		fmt.Fprintln(out, "mosquitto is not installed: ours runs alone (apt-get install mosquitto)")
	}
	results, err := compete(ctx, brokers, todo, *rounds, progress)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted, the brokers are stopped")
	case err != nil:
		return err
	}
	fmt.Fprintf(out, "%s/%s, %d cores, %s; medians of %d rounds\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), *rounds)
	return results.Write(out)
}

// compete has every broker do all the work in every round: piece by piece in
// turn, the other one first in every second round, each round with fresh
// processes.
func compete(ctx context.Context, brokers []contestant, todo []work, rounds int, progress io.Writer) (*table.Results, error) {
	var names []string
	for _, b := range brokers {
		names = append(names, b.name)
	}
	all := table.New(names...)
	for round := range rounds {
		if err := oneRound(ctx, brokers, todo, round, all, progress); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return all, nil
}

func oneRound(ctx context.Context, brokers []contestant, todo []work, round int, all *table.Results, progress io.Writer) (err error) {
	children := make([]*child, len(brokers))
	defer func() {
		for _, c := range children {
			if c == nil {
				continue
			}
			if e := c.stop(); e != nil && err == nil {
				err = e
			}
		}
	}()
	for i, b := range brokers {
		if children[i], err = b.start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", b.name, err)
		}
	}
	for _, w := range todo {
		for i := range brokers {
			i := (i + round) % len(brokers)
			began := time.Now()
			figures, err := w.do(ctx, children[i])
			if err != nil {
				return fmt.Errorf("%s: %s: %w", brokers[i].name, w.name, err)
			}
			fmt.Fprintf(progress, "round %d  %-22s %-12s %5.1f s\n", round+1, brokers[i].name, w.name, time.Since(began).Seconds())
			for _, f := range figures {
				if f.remark != "" {
					fmt.Fprintln(progress, "        "+f.remark)
				}
				all.Add(i, f.Figure)
			}
		}
	}
	return nil
}
