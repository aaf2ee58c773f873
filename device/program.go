package device

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rs/zerolog"

	"dominion/device/cgroup"
	"dominion/device/journal"
	"dominion/device/process"
	"dominion/topics"
)

// place is where and as what something is run.
type place struct {
	dir    string
	env    []string
	start  string
	status string // a file for make's shell to write; "": it is not make
}

// commands are argument lists; build and stop may be nil.
type commands struct {
	build, start, stop []string
	env                []string // beside the service's own
	viaMake            bool     // their first process is make
}

// programs is what the runners share that run programs of a service's
// directory.
type programs struct {
	ledger  ledger
	journal *journal.Journal
	grace   time.Duration
	log     zerolog.Logger
	groups  cgroup.Maker // nil: there are none
}

// program is an instance that consists of processes.
type program struct {
	*process.Run
	status string // the file in which make's shell writes; "": it is not make
	lines  func() []string
}

func (p program) Identity() process.Identity { return p.Run.Identity }

func (p program) Exit() process.Exit {
	if p.status == "" {
		return p.Run.Exit()
	}
	return truth(p.Run.Exit(), p.status, p.lines())
}

func (p program) Processes() []process.Identity { return p.Members() }

func (g programs) instance(run *process.Run, e entry) instance {
	return program{Run: run, status: e.Status, lines: func() []string { return g.journal.Last(string(e.Service), e.Offset) }}
}

// start starts a service's start command.
func (g programs) start(ctx context.Context, p prepared) (instance, error) {
	return g.launch(ctx, p, p.commands.start)
}

// launch starts one command. The ledger knows of it before it exists, and of
// its process as soon as that does.
func (g programs) launch(ctx context.Context, p prepared, argv []string) (instance, error) {
	if p.place.status != "" {
		if err := os.WriteFile(p.place.status, nil, 0o600); err != nil {
			return nil, err
		}
	}
	if err := g.ledger.put(p.entry); err != nil {
		return nil, err
	}
	running, err := process.Start(ctx, process.Command{
		Dir: p.place.dir, Argv: argv, Env: p.place.env, Start: p.start, Output: p.out, Grace: g.grace, Place: g.pen(ctx, p),
	})
	if err != nil {
		return nil, errors.Join(err, g.ledger.remove(p.name))
	}
	known := p.entry
	known.Identity = running.Identity
	if err := g.ledger.put(known); err != nil {
		g.log.Error().Err(err).Str("service", string(p.name)).Msg("the run is not in the ledger: the next agent will find it by its mark only")
	}
	return g.instance(running, p.entry), nil
}

// pen puts the first process of a start into a control group of its own; nil
// where there are none. A service that cannot be held or limited runs all the
// same: a lamp that may take too much memory is better than none.
func (g programs) pen(ctx context.Context, p prepared) func(int) string {
	limits := cgroup.Limits{Memory: p.want.Memory, CPU: p.want.CPU}
	if g.groups == nil {
		if limits != (cgroup.Limits{}) {
			g.log.Warn().Str("service", string(p.name)).Msg("its limits do not hold: this machine gives the agent no control groups")
		}
		return nil
	}
	return func(pid int) string {
		group, err := g.groups.Place(ctx, string(p.name), p.start, pid, limits)
		if err != nil {
			g.log.Warn().Err(err).Str("service", string(p.name)).Msg("it is not held, or not limited, as it should be")
		}
		return group
	}
}

func (g programs) adopt(ctx context.Context, e entry) (instance, bool) {
	if e.Step != stepStart || e.PID == 0 {
		return nil, false
	}
	running, ok := process.Adopt(ctx, e.Identity, e.Start, g.grace, func() process.Exit { return recorded(e.Status) })
	if !ok {
		return nil, false
	}
	return g.instance(running, e), true
}

func (g programs) sweep(ctx context.Context, e entry) error {
	return process.End(ctx, e.Identity, e.Start, g.grace)
}

// execRunner starts the command that a service.toml names.
type execRunner struct{ programs }

func (execRunner) kind() string { return kindExec }

func (execRunner) commands(_ context.Context, _ place, manifest Manifest) (commands, *topics.Why) {
	return commands{start: manifest.Command}, nil
}
