// Command agent measures what the device agent costs, beside Debian's
// supervisord and systemd: the same services, at the same time, on this machine.
//
//	go run ./bench/agent
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"dominion/bench/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/agent:", err)
		os.Exit(1)
	}
}

// size is how much there is to do.
type size struct {
	services []int         // how many each supervisor has, in turn
	idle     time.Duration // how long they are watched
	calm     time.Duration // before that
	rounds   int           // of crashes
	alone    bool          // without peers
}

// mostRounds is how many crashes no supervisor takes for a loop.
const mostRounds = byMake * patience

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench/agent", flag.ContinueOnError)
	todo := size{services: []int{0, 10, 50}, calm: 20 * time.Second}
	flags.DurationVar(&todo.idle, "idle", 5*time.Minute, "how long the supervisors are watched while nothing happens")
	flags.IntVar(&todo.rounds, "rounds", mostRounds-1, "how many services crash, of each supervisor")
	flags.BoolVar(&todo.alone, "alone", false, "leave supervisord and systemd out")
	short := flags.Bool("short", false, "a look of less than a minute: what is idle is watched for 10 s")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *short {
		todo.idle, todo.calm, todo.rounds = 10*time.Second, 4*time.Second, 3
	}
	if todo.rounds < 1 || todo.rounds > mostRounds || todo.idle <= 0 || todo.idle > time.Hour {
		return fmt.Errorf("-rounds %d -idle %v: up to %d rounds and an hour", todo.rounds, todo.idle, mostRounds)
	}
	if _, err := os.Stat("/proc/self/io"); err != nil {
		return fmt.Errorf("what a process costs is read from Linux's /proc: %w", err)
	}
	results, versions, err := measure(ctx, todo, out, progress)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted, the supervisors and their services are stopped")
	case err != nil:
		return err
	}
	fmt.Fprintf(out, "%s/%s, %d cores, %s, %s; %v idle, medians of %d crashes\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), versions, todo.idle, todo.rounds)
	return results.Write(out)
}

// measure has every supervisor keep services, does nothing for a while, and then
// has services crash.
func measure(ctx context.Context, todo size, out, progress io.Writer) (_ *table.Results, versions string, err error) {
	scratch, err := os.MkdirTemp("", "dominion-bench-")
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	bell, err := newBell(scratch)
	if err != nil {
		return nil, "", err
	}
	defer bell.close()
	ctx, end := context.WithCancel(ctx)
	house, err := openHouse()
	if err != nil {
		end()
		return nil, "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- house.run(ctx) }()
	defer func() {
		end()
		err = errors.Join(err, <-ended)
	}()
	contestants, err := all(ctx, scratch, house, todo.alone, out)
	if err != nil {
		return nil, "", err
	}
	var names []string
	for _, c := range contestants {
		names = append(names, c.name)
		versions += ", " + c.name + " " + c.version
	}
	g := game{todo: todo, bell: bell, house: house, contestants: contestants, results: table.New(names...), progress: progress}
	defer func() { err = errors.Join(err, g.stop()) }()
	if err := g.play(ctx, scratch); err != nil {
		return nil, "", err
	}
	return g.results, versions[2:], nil
}
