package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"dominion/bench/table"
	"dominion/topics"
)

// byMake is how many of an agent's services are started by make, patience how
// often one may end before the agent takes it for a loop.
const (
	byMake   = 4
	patience = 4
)

// game is one run of the benchmark.
type game struct {
	todo        size
	bell        *bell
	house       *house
	contestants []contestant
	results     *table.Results
	progress    io.Writer

	players [][]*player // by services, then by contestants
}

// player is a supervisor that runs, with its services.
type player struct {
	*child
	label    string
	services []string // as they call themselves at the bell
	before   cost
}

func (g *game) play(ctx context.Context, scratch string) error {
	for _, n := range g.todo.services {
		g.players = append(g.players, nil)
		row := &g.players[len(g.players)-1]
		for _, c := range g.contestants {
			p, err := g.enter(ctx, filepath.Join(scratch, fmt.Sprintf("%s-%d", c.name, n)), c, n)
			if err != nil {
				return fmt.Errorf("start %s with %d services: %w", c.name, n, err)
			}
			*row = append(*row, p)
		}
	}
	if err := g.each(func(_, _ int, p *player) error {
		if err := g.bell.all(ctx, p.services); err != nil {
			return fmt.Errorf("%w\n%s", err, p.said())
		}
		return nil
	}); err != nil {
		return err
	}
	fmt.Fprintf(g.progress, "%d supervisors run, and calm down for %v\n", len(g.todo.services)*len(g.contestants), g.todo.calm)
	if err := pause(ctx, g.todo.calm); err != nil {
		return err
	}
	if err := g.idle(ctx); err != nil {
		return err
	}
	return g.crash(ctx)
}

// enter starts a supervisor with its services.
func (g *game) enter(ctx context.Context, dir string, c contestant, n int) (*player, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	p := &player{label: fmt.Sprintf("%s with %d", c.name, n)}
	var all []keep
	for i := range n {
		name := fmt.Sprintf("s%02d", i)
		at := fmt.Sprintf("%s-%d-%s", c.name, n, name)
		p.services = append(p.services, at)
		all = append(all, keep{name: topics.Service(name), command: g.bell.command(at)})
	}
	var err error
	p.child, err = c.start(ctx, dir, all)
	return p, err
}

// stop ends all of them at once.
func (g *game) stop() error {
	players := slices.Concat(g.players...)
	ended := make(chan error, len(players))
	for _, p := range players {
		go func() { ended <- p.stop() }()
	}
	var bad []error
	for range players {
		bad = append(bad, <-ended)
	}
	return errors.Join(bad...)
}

// cost is what a player has taken so far.
func (p *player) cost() (cost, error) {
	c, err := costOf(p.pid)
	if err != nil {
		return c, fmt.Errorf("%s: %w\n%s", p.label, err, p.said())
	}
	if p.sent != nil {
		c.sent = float64(p.sent())
	}
	c.files, err = filesIn(p.data)
	return c, err
}

// progressEvery is how often it is said that nothing happens.
const progressEvery = 30 * time.Second

// idle measures all of them while nothing happens.
func (g *game) idle(ctx context.Context) error {
	if err := g.each(func(_, _ int, p *player) (err error) {
		p.before, err = p.cost()
		return err
	}); err != nil {
		return err
	}
	began := time.Now()
	for left := g.todo.idle; left > 0; left = g.todo.idle - time.Since(began) {
		fmt.Fprintf(g.progress, "nothing happens for another %v\n", left.Round(time.Second))
		if err := pause(ctx, min(left, progressEvery)); err != nil {
			return err
		}
	}
	took := time.Since(began)
	return g.each(func(n, i int, p *player) error {
		after, err := p.cost()
		if err != nil {
			return err
		}
		for _, path := range changed(p.before.files, after.files) {
			fmt.Fprintf(g.progress, "%s wrote %s while nothing happened\n", p.label, path)
		}
		g.tell(i, n, p, after, took)
		return nil
	})
}

// tell adds the lines of the idle time.
func (g *game) tell(i, n int, p *player, after cost, took time.Duration) {
	add := func(what string, unit table.Unit, value float64) {
		g.results.Add(i, table.Figure{Line: fmt.Sprintf("%s, %d", what, n), Unit: unit, Value: value})
	}
	add("memory", table.Kibibytes, after.resident)
	if after.share > 0 {
		add("its share", table.Kibibytes, after.share)
	}
	add("processor", table.Percent, 100*float64(after.processor-p.before.processor)/float64(took))
	add("wakes", table.PerMinute, (after.wakes-p.before.wakes)/took.Minutes())
	add("written", table.Bytes, after.written-p.before.written)
	if p.sent != nil {
		add("sent", table.PerMinute, (after.sent-p.before.sent)/took.Minutes())
	}
}

// each does something with every player: for services, with contestants in turn.
func (g *game) each(do func(services, contestant int, p *player) error) error {
	for at, row := range g.players {
		for i, p := range row {
			if err := do(g.todo.services[at], i, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// crash kills services, each round one of every supervisor in turn.
func (g *game) crash(ctx context.Context) error {
	before, err := g.written()
	if err != nil {
		return err
	}
	crashes := make([][]int, len(g.players))
	for at := range crashes {
		crashes[at] = make([]int, len(g.contestants))
	}
	for round := range g.todo.rounds {
		fmt.Fprintf(g.progress, "crashes: round %d of %d\n", round+1, g.todo.rounds)
		for at, row := range g.players {
			n := g.todo.services[at]
			if n <= byMake {
				continue
			}
			for i := range row {
				i := (i + round) % len(row)
				if err := g.kill(ctx, row[i], i, byMake+round%(n-byMake), fmt.Sprintf("restart, %d", n)); err != nil {
					return err
				}
				crashes[at][i]++
				if !row[i].make {
					continue
				}
				if err := g.kill(ctx, row[i], i, round%byMake, fmt.Sprintf("restart by make, %d", n)); err != nil {
					return err
				}
				crashes[at][i]++
			}
		}
	}
	after, err := g.written()
	for at, row := range g.players {
		for i := range row {
			if n := crashes[at][i]; n > 0 {
				g.results.Add(i, table.Figure{Line: fmt.Sprintf("written for a crash, %d", g.todo.services[at]), Unit: table.Bytes, Value: (after[at][i] - before[at][i]) / float64(n)})
			}
		}
	}
	return err
}

// written is what all have had the disk take, in bytes.
func (g *game) written() ([][]float64, error) {
	all := make([][]float64, len(g.players))
	for at, row := range g.players {
		for _, p := range row {
			c, err := costOf(p.pid)
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", p.label, err, p.said())
			}
			all[at] = append(all[at], c.written)
		}
	}
	return all, nil
}

// between is how long a supervisor is let alone between two crashes.
const between = 200 * time.Millisecond

// kill kills one service and waits until it runs again, and until the house
// knows that it does.
func (g *game) kill(ctx context.Context, p *player, contestant, service int, line string) error {
	name := p.services[service]
	add := func(line string, took time.Duration) {
		g.results.Add(contestant, table.Figure{Line: line, Unit: table.Milliseconds, Value: took.Seconds() * 1000})
	}
	g.forget()
	began := time.Now()
	if err := syscall.Kill(g.bell.pids[name], syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	again, err := g.bell.await(ctx, name)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.said())
	}
	add(line, again.at.Sub(began))
	if p.node != "" {
		told, err := g.reported(ctx, p.node, topics.Service(fmt.Sprintf("s%02d", service)))
		if err != nil {
			return err
		}
		add(line+", told", told.Sub(began))
	}
	return pause(ctx, between)
}

// forget empties what was reported before.
func (g *game) forget() {
	for {
		select {
		case <-g.house.states:
		default:
			return
		}
	}
}

// reported waits until the house hears that a service runs again.
func (g *game) reported(ctx context.Context, node topics.Node, service topics.Service) (time.Time, error) {
	late := time.NewTimer(startPatience)
	defer late.Stop()
	for {
		select {
		case s := <-g.house.states:
			if s.node == node && s.service == service && s.PID > 0 && s.Phase.Alive() {
				return s.at, nil
			}
		case <-late.C:
			return time.Time{}, fmt.Errorf("%s does not say that %s runs again", node, service)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
