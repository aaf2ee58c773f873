package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"dominion/device/journal"
	"dominion/device/process"
	"dominion/topics"
)

// defaultDelay is how long a service that says nothing of readiness must have
// lived.
const defaultDelay = time.Second

// job is what one start is given. Nothing of it changes afterwards.
type job struct {
	name     topics.Service
	start    string
	want     topics.Wanted
	restarts int
	host     string // where services of this machine are reached
	due      bool   // it may be started now, though it has a schedule
}

// run is how Run reaches the goroutine of a start.
type run struct {
	end   chan struct{} // closed: stop the service
	leave chan struct{} // closed: let it run, and look away
	heard chan struct{} // it said that it is ready: on its topic, or on its socket
	beat  chan struct{} // it said that it lives

	last atomic.Pointer[error] // why it was not ready when it was looked at last
}

func newRun() *run {
	return &run{end: make(chan struct{}), leave: make(chan struct{}), heard: make(chan struct{}, 1), beat: make(chan struct{}, 1)}
}

// stage is how far a start came.
type stage int

const (
	building stage = iota
	started
	taken // it was taken over from a former agent
	ready
	unwell  // it is ready no more, until it answers again
	failing // it failed its liveness rule, and is being ended
	leaving // it says that it is about to end
	status  // what it says of itself
	stuck   // it cannot be stopped
	ended
)

// report is what the goroutine of a start tells Run.
type report struct {
	stage   stage
	name    topics.Service
	start   string
	entry   entry          // of building and started
	running instance       // of started
	own     *topics.Wanted // what its service.toml says; nil: nobody has looked
	text    string         // of status
	note    *topics.Why    // of started: something worth telling
	exit    *topics.Exit
	lines   []string      // the last ones that were printed
	why     *topics.Why   // of unwell, failing and ended: why it could not run; nil: it ran and ended
	early   bool          // of ended: it has a schedule, and was not due
	missed  bool          // of ended: it had ended before it could be watched
	missing bool          // of ended: its directory or Makefile is not there (yet), or no room on the disk
	lived   time.Duration // of ended: since it was started; 0: not known
}

// worker does what takes time, each start in a goroutine of its own.
type worker struct {
	cfg     Config
	ledger  ledger
	journal *journal.Journal
	ports   *ports
	runners map[string]runner
	keepers map[string]keeper
	shell   shell
	reports chan<- report
	probes  sync.WaitGroup // the goroutines that follow services and look at them
	linked  atomic.Bool    // what services say by the bus can be heard
}

// tell hands a report to Run, unless Run has ended.
func (w *worker) tell(ctx context.Context, r report) {
	select {
	case w.reports <- r:
	case <-ctx.Done():
	}
}

// start prepares, builds and starts a service, has it watched, and reports what
// happens to it.
func (w *worker) start(ctx context.Context, j job, r *run) {
	done := func(rep report) {
		rep.stage, rep.name, rep.start = ended, j.name, j.start
		w.tell(ctx, rep)
	}
	p, failed := w.prepare(ctx, j)
	if failed != nil {
		done(*failed)
		return
	}
	defer p.out.Close()
	if p.commands.build != nil {
		rep, ok := w.build(ctx, r, p)
		if ctx.Err() != nil {
			return
		}
		if !ok {
			done(rep)
			return
		}
	}
	select {
	case <-r.end:
		done(report{})
		return
	default:
	}
	p.entry.Step = stepStart
	if p.entry.Outside == "" {
		var err error
		if p.socket, err = w.hear(p.entry); err != nil {
			done(*w.notStarted(topics.StartFailed, fmt.Errorf("it cannot be heard: %w", err)))
			return
		}
		p.entry.Mark = markOf(p.fileOf(p.entry.Rule.Path))
	}
	running, err := p.runner.start(ctx, p)
	if err != nil {
		p.deafen()
	}
	if err != nil && p.entry.Outside != "" {
		done(report{why: cannot(p.entry.Outside, err)})
		return
	}
	if err != nil {
		done(*w.notStarted(topics.StartFailed, err))
		return
	}
	p.entry.Identity = running.Identity()
	w.tell(ctx, report{stage: started, name: j.name, start: j.start, entry: p.entry, running: running, own: &p.own, note: p.note})
	// On a stack of its own: this one has grown, and would stay so for as long as
	// the service lives.
	w.probes.Go(func() { w.follow(ctx, r, running, p) })
}

// build runs the build to its end. If it is not ok, the report says how it
// failed.
func (w *worker) build(ctx context.Context, r *run, p prepared) (report, bool) {
	w.tell(ctx, report{stage: building, name: p.name, start: p.start, entry: p.entry, own: &p.own})
	building, err := p.runner.(commander).launch(ctx, p, p.commands.build)
	if err != nil {
		return *w.notStarted(topics.BuildFailed, err), false
	}
	asked := false
	select {
	case <-building.Done():
	case <-r.end:
		asked = true
		_ = building.Stop(ctx, w.cfg.Timing.Stop)
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return report{}, false
	}
	w.forget(p.name)
	lines := w.journal.Last(string(p.name), p.entry.Offset)
	exit := told(building.Exit())
	if !asked && exit != nil && exit.Code == 0 {
		return report{}, true
	}
	rep := report{exit: exit, lines: lines, lived: time.Since(p.began)}
	if !asked {
		rep.why = &topics.Why{Code: topics.BuildFailed, Text: "make build " + ending(exit) + quoted(lines), Next: w.tailOf(p.name)}
	}
	return rep, false
}

func (w *worker) forget(name topics.Service) {
	if err := w.ledger.remove(name); err != nil {
		w.cfg.Log.Error().Err(err).Str("service", string(name)).Msg("the ledger still has a run that is over")
	}
}

func (w *worker) tailOf(name topics.Service) string {
	return "dominion logs " + string(name)
}

// runnerOf is the runner of a former agent's run.
func (w *worker) runnerOf(e entry) runner {
	if r, ok := w.runners[e.Runner]; ok {
		return r
	}
	return w.runners[kindExec] // an agent before there were others did not say
}

// resume is start for a run that was adopted.
func (w *worker) resume(ctx context.Context, e entry, want topics.Wanted, r *run, running instance) {
	dir := filepath.Join(w.cfg.ServicesDir, string(e.Service))
	want.Endpoints = e.Endpoints
	manifest, err := readManifest(dir, w.cfg.Manifest)
	secrets, serr := readEnvFile(dir, manifest.EnvFile)
	if err := errors.Join(err, serr); err != nil {
		w.cfg.Log.Warn().Err(err).Str("service", string(e.Service)).Msg("what stops this service will lack its secrets")
	}
	at := place{dir: dir, start: e.Start, status: e.Status, env: w.cfg.environment(e.Service, want, e.Port, secrets)}
	if e.Status != "" {
		at.env = append(at.env, w.shell.env(e.Status)...)
	}
	p := prepared{
		job: job{name: e.Service, start: e.Start, want: want}, entry: e, place: at,
		commands: commands{stop: e.Stop}, own: manifest.own(),
	}
	if e.Outside == "" {
		if p.socket, err = w.hear(e); err != nil {
			w.cfg.Log.Error().Err(err).Str("service", string(e.Service)).Msg("this service is not heard any more")
		}
	}
	w.tell(ctx, report{stage: taken, name: e.Service, start: e.Start, own: &p.own})
	w.follow(ctx, r, running, p)
}

// sweep ends what a former agent left and nobody can watch.
func (w *worker) sweep(ctx context.Context, e entry) {
	if err := w.runnerOf(e).sweep(ctx, e); err != nil {
		return
	}
	w.forget(e.Service)
	rep := report{stage: ended, name: e.Service, start: e.Start}
	if e.Step == stepStart && e.Boot == bootID() {
		rep.exit = told(recorded(e.Status))
	}
	w.tell(ctx, rep)
}

// follow watches a running service until it ends or is asked to.
func (w *worker) follow(ctx context.Context, r *run, running instance, p prepared) {
	hearing, deaf := context.WithCancel(ctx)
	defer deaf()
	f := following{worker: w, p: p, r: r, running: running, words: w.listen(hearing, p), opinions: opinions(running), end: r.end}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.entry.Ready {
		f.pulses = w.live(watch, p, r)
	} else {
		f.ready = w.whenReady(watch, running, p, r)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.leave:
			w.forget(p.name)
			return
		case <-running.Done():
			w.ended(ctx, running, p)
			return
		case <-f.ready:
			f.isReady(ctx)
			f.pulses = w.live(watch, f.p, r)
		case now := <-f.pulses:
			if f.beats(ctx, now) {
				cancel()
				f.stop(ctx)
			}
		case why := <-f.opinions:
			f.thinks(ctx, why)
		case word := <-f.words:
			f.hears(ctx, word)
		case <-f.pause:
			f.says(ctx)
		case <-f.store:
			f.stores()
		case <-f.end:
			cancel()
			f.stop(ctx)
		case <-f.again:
			f.again = w.stop(ctx, running, p)
		}
	}
}

// stop ends a running service: politely by its own target if it has one, then
// TERM, then KILL. What could not be stopped, because its keeper did not let
// us, is to be stopped again when the result says so.
func (w *worker) stop(ctx context.Context, running instance, p prepared) <-chan time.Time {
	if p.commands.stop != nil {
		w.stopPolitely(ctx, running, p)
	}
	err := running.Stop(ctx, w.cfg.Timing.Stop)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	w.tell(ctx, report{stage: stuck, name: p.name, start: p.start, why: cannot(p.entry.Outside, err)})
	return time.After(w.cfg.Timing.Stop)
}

func (w *worker) stopPolitely(ctx context.Context, running instance, p prepared) {
	out, err := w.journal.Append(string(p.name))
	if err != nil {
		return
	}
	defer out.Close()
	env := p.place.env
	if p.place.status != "" { // its own end is none of the service's
		env = append(append([]string(nil), env...), envStatus+"=")
	}
	stopping, err := process.Start(ctx, process.Command{
		Dir: p.place.dir, Argv: p.commands.stop, Env: env, Start: p.start + stopMark, Output: out, Grace: 0,
	})
	if err != nil {
		w.cfg.Log.Warn().Err(err).Str("service", string(p.name)).Msg("its stop target cannot be run")
		return
	}
	patience := time.NewTimer(w.cfg.Timing.Stop)
	defer patience.Stop()
	select {
	case <-stopping.Done():
		return
	case <-running.Done():
	case <-patience.C:
	case <-ctx.Done():
	}
	_ = stopping.Stop(ctx, 0)
}

// stopMark tells the processes that stop a run from the run's own.
const stopMark = "-stop"

func (w *worker) ended(ctx context.Context, running instance, p prepared) {
	lines := w.journal.Last(string(p.name), p.entry.Offset)
	exit := told(running.Exit())
	w.journal.Mark(string(p.name), ending(exit), time.Now())
	w.forget(p.name)
	if p.socket != nil {
		_ = os.Remove(w.socketOf(p.name)) // there is none for a name
	}
	rep := report{stage: ended, name: p.name, start: p.start, exit: exit, lines: lines}
	if program, ok := running.(program); ok && program.Starved() {
		rep.why = starved(exit, p.want.Memory)
	}
	if ward, ok := running.(*ward); ok {
		rep.lines = printed(ctx, ward.keeper, ward.name, lastLines, statusWidth)
		rep.why = &topics.Why{Code: topics.Exited, Text: ward.words() + quoted(rep.lines), Next: ward.keeper.logs(ward.name)}
	}
	if !p.began.IsZero() {
		rep.lived = time.Since(p.began)
	}
	w.tell(ctx, rep)
}

// starved is why a service ended of which the kernel killed something for memory.
func starved(exit *topics.Exit, limit uint64) *topics.Why {
	why := topics.Why{Code: topics.OutOfMemory, Text: ending(exit) + ": the kernel killed it because this machine's memory had run out", Next: "dominion ps, for what takes it"}
	if limit > 0 {
		why.Text = ending(exit) + fmt.Sprintf(": the kernel killed it because it took more than its %.0f MB of memory", float64(limit)/1e6)
		why.Next = "give it more (memory in the catalogue or its service.toml), or have it take less"
	}
	return &why
}

// ending says in words how something ended.
func ending(exit *topics.Exit) string {
	switch {
	case exit == nil:
		return "ended while nobody watched"
	case exit.Signal != "":
		return "was ended by " + exit.Signal
	default:
		return fmt.Sprintf("exited with code %d", exit.Code)
	}
}

// quoted is the line that tells most, to be put behind a sentence.
func quoted(lines []string) string {
	if line := telling(lines); line != "" {
		return ": " + line
	}
	return ""
}
