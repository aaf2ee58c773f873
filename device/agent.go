package device

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dominion/device/host"
	"dominion/device/journal"
	"dominion/topics"
)

// ErrStopServices, as the cause of the context that ends Run, has it stop all
// services first. With any other cause they are kept running.
var ErrStopServices = errors.New("the services are to be stopped too")

// ErrStopStarted, as that cause, has Run stop the services that it started
// itself; those that it took over from a former agent are kept running.
var ErrStopStarted = errors.New("the services that were started in this run are to be stopped too")

// Bus is what the agent needs of the bus: docs/protocol.md says what a client
// does for it.
type Bus interface {
	// Publish hands a message to the connection, in order; an error when the
	// link is down.
	Publish(ctx context.Context, m topics.Message) error
	// Inbound is the one ordered stream of all that comes.
	Inbound() <-chan topics.Inbound
}

// Agent supervises the services of one machine. Run owns all that changes.
type Agent struct {
	cfg    Config
	work   *worker
	memory memory
	past   past
	began  time.Time

	clockRead time.Time // when the clock was last looked at

	// What the house wants here and what is here.
	wanted  map[topics.Service]topics.Wanted
	refused map[topics.Service]*topics.Why // of the document: services that it speaks of in vain
	units   map[topics.Service]*unit
	term    uint64
	gen     uint64
	pause   *topics.Why // nothing is started yet
	ending  bool

	link link
	lead lead
	view view

	blinks  atomic.Bool // the board's light
	tails   tails
	reports chan report
	running sync.WaitGroup // the goroutines of the starts

	watched   map[topics.Service]*watched // what a keeper keeps and this machine has
	sightings chan sighting
}

// link is the connection to the bus.
type link struct {
	bus      Bus
	sid      topics.Sid
	up       bool // also during the replay
	synced   bool
	born     bool
	document []byte // the desired document of the replay; nil: it held none
	seq      uint64
	beat     time.Time // of the last heartbeat
	faults   map[string]*heldFault
	blamed   map[string]time.Time // when an error was last said, by subject
}

// lead is what is known of the coordinator.
type lead struct {
	beat    time.Time // its planner was heard; zero: not since the start
	house   topics.HouseID
	lonely  bool
	offered []byte // a document that waits for a heartbeat, or for the disk
	enough  func() // ends the knocking at other machines' services; nil: nobody knocks
}

// view is what this machine is and how it fares.
type view struct {
	facts     host.Facts
	inventory *inventory
	traits    []topics.Trait // all that it has; nil until it was looked what is plugged in
	echoes    map[topics.Target]Echo
	said      topics.Host // the readings as last sent
	saidAt    time.Time
	measured  topics.Host // the readings as last taken
	looked    time.Time
	looking   bool
	seen      chan sight
}

// New checks the configuration, prepares the data directory and loads what was
// stored there. A services directory that is missing is logged: it may come.
func New(cfg Config) (*Agent, error) {
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	cfg.Timing = cfg.Timing.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := cfg.directories(); err != nil {
		return nil, err
	}
	output, err := journal.Open(outputDir(cfg.DataDir), cfg.Output)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	sh, err := newShell(filepath.Join(cfg.DataDir, "runs"))
	if err != nil { // a disk that is full keeps no machine from booting
		cfg.Log.Error().Err(err).Msg("make has a shell of its own: how a recipe ended is not known exactly")
	}
	a := &Agent{
		cfg:     cfg,
		began:   time.Now(),
		wanted:  map[topics.Service]topics.Wanted{},
		refused: map[topics.Service]*topics.Why{},
		units:   map[topics.Service]*unit{},
		reports: make(chan report),

		watched: map[topics.Service]*watched{}, sightings: make(chan sighting),
		link: link{faults: map[string]*heldFault{}, blamed: map[string]time.Time{}},
		view: view{seen: make(chan sight)},
	}
	runs := ledger(filepath.Join(cfg.DataDir, "runs"))
	a.work = &worker{cfg: cfg, ledger: runs, journal: output, keepers: newKeepers(), shell: sh, reports: a.reports}
	a.work.runners = newRunners(cfg, runs, output, sh, a.work.keepers, &a.work.probes)
	if a.work.ports, err = loadPorts(filepath.Join(cfg.DataDir, "ports.json")); err != nil {
		cfg.Log.Error().Err(err).Msg("the chosen ports are lost: services will get others")
	}
	a.load()
	if err := readJSON(a.pastPath(), &a.past); err != nil {
		cfg.Log.Error().Err(err).Msg("what has ended is forgotten: it is run again")
	}
	a.recall()
	a.recallPast()
	return a, nil
}

func (a *Agent) memoryPath() string { return filepath.Join(a.cfg.DataDir, "desired.json") }

// lockPatience is how long a lock may outlive the agent that held it: a
// process that it was just starting has the lock too, until that is a program
// of its own.
const lockPatience = 2 * time.Second

// lock keeps a second agent from the same data directory. The lock ends with
// this process, however that ends.
func (a *Agent) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(a.cfg.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	again := time.NewTicker(lockPatience / 40)
	defer again.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another agent runs with the data directory %s (end it, or name another with data)", a.cfg.DataDir)
		}
	}
}

// Run supervises until ctx ends, with or without a bus that works. Services
// outlive it, unless the cause of ctx's end is ErrStopServices or ErrStopStarted. It returns an
// error only if it cannot begin. An Agent runs once.
func (a *Agent) Run(ctx context.Context, bus Bus) error {
	held, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer held.Close()
	a.link.bus = bus
	// The effects end with Run, not with ctx: there may be services to stop.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer a.work.probes.Wait()
	defer a.running.Wait()
	defer cancel()

	if len(a.wanted) > 0 {
		a.pause = &topics.Why{Code: topics.WaitDomain, Text: "waits a moment for newer word from the house"}
	}
	a.adopt(work)
	a.watchDevices(work)
	a.knock(work)
	a.running.Go(func() { a.work.journal.Run(work, a.journalTrouble) })
	a.loop(ctx, work)
	a.goodbye(work)
	return nil
}

func (a *Agent) loop(ctx, work context.Context) {
	inbound, end := a.link.bus.Inbound(), ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if a.cfg.Turned != nil {
			a.cfg.Turned()
		}
		a.act(work, time.Now())
		if a.ending && !a.anyAlive() {
			return
		}
		timer.Reset(time.Until(a.nextLook(time.Now())))
		select {
		case in, ok := <-inbound:
			if !ok {
				inbound = nil
				a.linkDown()
				continue
			}
			a.hear(work, in)
		case rep := <-a.reports:
			a.fold(work, rep)
		case s := <-a.view.seen:
			a.see(work, s)
		case s := <-a.sightings:
			a.sighted(work, s)
		case <-timer.C:
		case <-end:
			switch cause := context.Cause(ctx); {
			case errors.Is(cause, ErrStopStarted):
				maps.DeleteFunc(a.units, func(_ topics.Service, u *unit) bool { return u.adopted })
			case !errors.Is(cause, ErrStopServices):
				return
			}
			end, a.ending = nil, true
		}
	}
}

// act does all that is due: it looks at the host, carries the plan out, says
// what changed, and beats.
func (a *Agent) act(work context.Context, now time.Time) {
	if a.pause != nil && now.Sub(a.began) >= a.cfg.Timing.Boot {
		a.cfg.Log.Info().Msg("nothing heard of the house: starting what was stored")
		a.pause = nil
	}
	a.clock(now)
	a.look(work, now)
	a.retry(work, now)
	for _, action := range Plan(a.input(now)) {
		a.carryOut(work, action, now)
	}
	a.settle(work, now)
	a.say(work, now)
	a.loneliness(now)
}

func (a *Agent) input(now time.Time) Input {
	in := Input{Now: now, Wanted: a.wanted, Have: map[topics.Service]Have{}, Pause: a.pause, Ending: a.ending}
	if a.lead.beat.IsZero() {
		in.Alone = &Alone{Long: now.Sub(a.began) >= a.cfg.Timing.Depend, Echoes: a.view.echoes}
	}
	for name, u := range a.units {
		if u.seen != nil { // nothing is done about it
			continue
		}
		have := a.have(u, now)
		if u.entry.Outside != "" { // it is given nothing that could have changed
			have.Rev, have.Endpoints = a.wanted[name].Rev, nil
		}
		in.Have[name] = have
	}
	return in
}

// nextLook is when something is due at the latest.
func (a *Agent) nextLook(now time.Time) time.Time {
	next := now.Add(a.cfg.Timing.Readings)
	if !a.view.looking {
		next = a.nextSight()
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if a.link.born {
		sooner(a.link.beat.Add(a.cfg.Timing.Heartbeat))
		for _, f := range a.link.faults {
			sooner(a.link.blamed[f.subject].Add(time.Second))
		}
	}
	if a.pause != nil {
		sooner(a.began.Add(a.cfg.Timing.Boot))
	}
	if until := a.began.Add(a.cfg.Timing.Depend); a.lead.beat.IsZero() && now.Before(until) {
		sooner(until)
	}
	if !a.lead.lonely {
		sooner(a.lastHeard().Add(a.cfg.Timing.Lonely))
	}
	for _, u := range a.units {
		if !a.ending {
			sooner(u.next)
			if due := u.due(now); due.After(now) {
				sooner(now.Add(due.Sub(now.Round(0))))
			}
		}
		sooner(u.deadline)
		if len(u.answers) > 0 && u.phase != topics.PhaseBuilding { // settle answers the others
			sooner(u.answers[0].deadline)
		}
	}
	if next.Before(now) {
		return now
	}
	return next
}

func (a *Agent) anyAlive() bool {
	for _, u := range a.units {
		if u.phase.Alive() && u.seen == nil {
			return true
		}
	}
	return false
}

// carryOut does one action of the plan.
func (a *Agent) carryOut(work context.Context, action Action, now time.Time) {
	u := a.units[action.Service]
	switch action.Do {
	case Rest:
		again := u.again
		u.rest(action.Phase, action.Why, now)
		if a.wanted[u.name].Run {
			u.again = again
		} else {
			u.failed = false
		}
		a.answer(work, u, topics.Failed, action.Why)
	case Stop:
		a.log(u.name).Str("why", action.Why.Text).Msg("stops")
		u.become(topics.PhaseStopping, now)
		u.why, u.again, u.anew, u.deadline = action.Why, false, u.again, time.Time{}
		if u.run != nil {
			close(u.run.end)
		}
	case Start:
		j := job{name: u.name, start: topics.NewID(10), want: a.wanted[u.name], host: a.host(), restarts: u.restarts, due: u.again || u.table != nil}
		if u.failed {
			j.restarts++
		}
		a.log(u.name).Str("start", j.start).Msg("starts")
		a.forgetOver(u.name)
		a.attended(u, now)
		r := newRun()
		u.begin(j, r, now)
		a.running.Go(func() { a.work.start(work, j, r) })
	}
}

// adopt takes over what a former agent left in the ledger, before anything is
// started.
func (a *Agent) adopt(work context.Context) {
	entries, err := a.work.ledger.all()
	if err != nil {
		a.cfg.Log.Error().Err(err).Msg("the ledger of runs is not whole: what it hides is ended, and started anew")
	}
	entries = append(entries, a.strays(entries)...)
	left := make([]instance, len(entries))
	var looking sync.WaitGroup // at all at once: a keeper may take its time
	for i, e := range entries {
		looking.Go(func() {
			if running, ok := a.work.runnerOf(e).adopt(work, e); ok {
				left[i] = running
			}
		})
	}
	looking.Wait()
	now := time.Now()
	for i, e := range entries {
		u := a.unit(e.Service)
		r := newRun()
		if running := left[i]; running != nil {
			a.log(e.Service).Int("pid", e.PID).Str("start", e.Start).Msg("adopted")
			u.adopt(e, r, now)
			u.running = running
			want := a.wanted[e.Service]
			a.running.Go(func() { a.work.resume(work, e, want, r, running) })
			continue
		}
		a.log(e.Service).Str("start", e.Start).Msg("its processes ended while no agent was here; what is left of them is ended")
		u.become(topics.PhaseStopping, now)
		u.start, u.left, u.entry = e.Start, true, entry{Rev: e.Rev, Rule: e.Rule}
		u.why = &topics.Why{Code: topics.Starting, Text: "what a former agent left is ended first"}
		a.running.Go(func() { a.work.sweep(work, e) })
	}
}

// chance is the jitter of a backoff.
func chance() float64 { return rand.Float64() }
