package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"dominion/device/notify"
	"dominion/topics"
	"dominion/topics/terms"
)

// prepared is a start with all it needs.
type prepared struct {
	job
	runner   runner
	entry    entry
	place    place
	commands commands
	out      *os.File
	socket   *notify.Socket // nil: it is not heard
	own      topics.Wanted  // what its service.toml says
	note     *topics.Why
	began    time.Time // zero: by a former agent
}

// deafen ends the hearing of a service.
func (p prepared) deafen() {
	if p.socket != nil {
		p.socket.Close()
	}
}

// unable is why a service cannot be started.
func unable(code, format string, args ...any) *report {
	return &report{why: &topics.Why{Code: code, Text: fmt.Sprintf(format, args...)}}
}

// notStarted is why a service was not started. For want of room on the disk it
// is tried again as if its directory was missing: it has not failed itself.
func (w *worker) notStarted(code string, err error) *report {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return unable(code, "%v", err)
	}
	return &report{missing: true, why: &topics.Why{
		Code: topics.DiskFull,
		Text: fmt.Sprintf("cannot be started while the disk of %s has no room: %v", w.cfg.Name, err),
		Next: "on " + string(w.cfg.Name) + ": df -h " + w.cfg.DataDir,
	}}
}

// prepare looks at the service's directory, and finds what it takes to start
// it. The second result says why it cannot be started.
func (w *worker) prepare(ctx context.Context, j job) (prepared, *report) {
	dir := filepath.Join(w.cfg.ServicesDir, string(j.name))
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return prepared{}, &report{missing: true, why: &topics.Why{
			Code: topics.NoDirectory,
			Text: fmt.Sprintf("%s has no directory %s", w.cfg.Name, dir),
			Next: "put the service's directory there, or give another domain its traits",
		}}
	} else if err != nil {
		return prepared{}, unable(topics.NoDirectory, "its directory cannot be read: %v", err)
	}
	manifest, err := readManifest(dir, w.cfg.Manifest)
	if err != nil {
		return prepared{}, unable(topics.StartFailed, "%v", err)
	}
	own := manifest.own()
	want, err := terms.Merged(j.want, own)
	if err != nil {
		return prepared{}, unable(topics.StartFailed, "catalogue and service.toml do not fit together: %v", err)
	}
	j.want = want
	if want.Schedule != "" && !j.due {
		return prepared{}, &report{early: true, own: &own}
	}
	if c, ok := manifest.charge(); ok {
		p, failed := w.prepareOutside(ctx, j, manifest, c)
		if p.own = own; want.Live != nil && asks(*want.Live) {
			p.entry.Live = want.Live
		}
		return p, failed
	}
	p, failed := w.prepareInside(ctx, j, dir, manifest)
	p.own = own
	return p, failed
}

// prepareInside finds what it takes to start what the house runs itself: its
// runner, its port, its commands and its environment.
func (w *worker) prepareInside(ctx context.Context, j job, dir string, manifest Manifest) (prepared, *report) {
	kind, why := findRunner(dir, manifest)
	if why != nil {
		return prepared{}, &report{missing: true, why: why}
	}
	secrets, err := readEnvFile(dir, manifest.EnvFile)
	if err != nil {
		return prepared{}, unable(topics.StartFailed, "%v", err)
	}
	port, note, err := w.ports.pick(j.name, j.want.Port)
	if errors.Is(err, errTaken) {
		rep := unable(topics.PortTaken, "%v", err)
		rep.why.Next = fmt.Sprintf("on %s: sudo ss -ltnp, for who has it", w.cfg.Name)
		return prepared{}, rep
	}
	if err != nil {
		return prepared{}, w.notStarted(topics.StartFailed, err)
	}
	at := place{dir: dir, start: j.start, status: filepath.Join(string(w.ledger), string(j.name)+".status"),
		env: append(w.cfg.environment(j.name, j.want, port, secrets), w.notifyEnv(j.name, j.want.Live)...)}
	todo, why := w.commands(ctx, kind, at, manifest)
	if why != nil {
		return prepared{}, &report{why: why}
	}
	at.env = append(at.env, todo.env...)
	if !todo.viaMake {
		at.status = ""
	}
	out, offset, err := w.journal.Begin(string(j.name), j.start, time.Now())
	if err != nil {
		return prepared{}, w.notStarted(topics.StartFailed, fmt.Errorf("its output file cannot be written: %w", err))
	}
	return prepared{job: j, runner: w.runners[kind], place: at, commands: todo, out: out, note: note, began: time.Now(), entry: entry{
		Service: j.name, Start: j.start, Runner: kind, Step: stepBuild, Port: port, Rev: j.want.Rev, Version: manifest.Version,
		Dependencies: j.want.Dependencies, Endpoints: j.want.Endpoints, Rule: w.rule(j.want), Live: j.want.Live, Host: j.host,
		Since: topics.At(time.Now()), Restarts: j.restarts, Offset: offset, Stop: todo.stop, Status: at.status,
	}}, nil
}

// rule is when a service is ready: as its terms say, else once it has lived a
// second. A oneshot is when it is done, and may take its time.
func (w *worker) rule(want topics.Wanted) topics.Readiness {
	rule := topics.Readiness{By: topics.ReadyDelay}
	switch {
	case want.Ready != nil:
		rule = *want.Ready
	case want.Ends():
		return topics.Readiness{By: topics.ReadyDone}
	}
	if rule.By == topics.ReadyDone {
		return rule
	}
	if rule.By == topics.ReadyDelay && rule.Delay == 0 {
		rule.Delay = defaultDelay.Seconds()
	}
	if rule.Timeout == 0 {
		rule.Timeout = w.cfg.Timing.Start.Seconds()
	}
	if rule.By == topics.ReadyDelay {
		rule.Timeout += rule.Delay
	}
	return rule
}

// commands are what a runner of the kind runs in the service's directory.
func (w *worker) commands(ctx context.Context, kind string, at place, manifest Manifest) (commands, *topics.Why) {
	r, ok := w.runners[kind].(commander)
	if !ok {
		return commands{}, nil
	}
	return r.commands(ctx, at, manifest)
}
