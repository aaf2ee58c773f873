package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dominion/device/process"
	"dominion/topics"
)

// pulse is a change in how a ready service is: err is what came of the last
// look, nil when it was good again.
type pulse struct {
	err  error
	over bool // it has failed too often in a row
}

// errUnasked is a look that could not be made: it counts neither way.
var errUnasked = errors.New("it cannot be asked now")

// watchLive looks at a ready service again and again, and tells what changes.
// It begins after one interval, or at once. It returns when that has failed
// too often, or with ctx.
func watchLive(ctx context.Context, rule topics.Liveness, atOnce bool, try look, tell func(pulse)) {
	every := time.NewTicker(seconds(rule.Interval))
	defer every.Stop()
	first := make(chan struct{}, 1)
	if atOnce {
		signal(first)
	}
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-first:
		case <-every.C:
		}
		once, cancel := context.WithTimeout(ctx, seconds(rule.Timeout))
		err := try(once)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errUnasked):
		case err != nil:
			failures++
			tell(pulse{err, failures >= rule.Failures})
			if failures >= rule.Failures {
				return
			}
		case failures > 0:
			failures = 0
			tell(pulse{})
		}
	}
}

// live looks at a ready service by its rule of liveness, if it has one.
func (w *worker) live(ctx context.Context, p prepared, r *run) <-chan pulse {
	if p.entry.Live == nil {
		return nil
	}
	rule := p.entry.Live.WithDefaults()
	try := w.liveness(p, rule, r)
	// What was taken over may have gone deaf while no agent was there.
	atOnce := p.began.IsZero() && asks(rule)
	pulses := make(chan pulse)
	w.probes.Go(func() {
		watchLive(ctx, rule, atOnce, try, func(now pulse) {
			select {
			case pulses <- now:
			case <-ctx.Done():
			}
		})
	})
	return pulses
}

// liveness is the look that a rule asks for.
func (w *worker) liveness(p prepared, rule topics.Liveness, r *run) look {
	switch rule.By {
	case topics.ReadyFile:
		return written(p.fileOf(rule.Path))
	case topics.ReadyNotify, topics.ReadyTopic:
		return func(context.Context) error {
			select {
			case <-r.beat:
				return nil
			default:
			}
			if rule.By == topics.ReadyTopic && !w.linked.Load() {
				return errUnasked
			}
			return errors.New("nothing came")
		}
	}
	answers := w.answers(p, rule.By, rule.Path)
	if rule.By == topics.ReadyHTTP {
		return answers
	}
	return func(ctx context.Context) error {
		// The kernel goes on to accept connections for a process that is halted.
		if pid := process.Halted(p.entry.Identity, p.start); pid != 0 {
			return fmt.Errorf("its process %d is halted (a signal such as SIGSTOP)", pid)
		}
		return answers(ctx)
	}
}

// written looks whether a file was written since the last look.
func written(path string) look {
	before := markOf(path)
	return func(context.Context) error {
		now := markOf(path)
		defer func() { before = now }()
		switch now {
		case "":
			return errors.New("it is not there")
		case before:
			return errors.New("it was not written")
		}
		return nil
	}
}

// asks tells whether a rule finds out what a client of the service would: one
// that does not answer is not ready.
func asks(rule topics.Liveness) bool {
	return rule.By == topics.ReadyTCP || rule.By == topics.ReadyHTTP
}

// tried says what a look at a service was.
func tried(e entry) string {
	rule := e.Live.WithDefaults()
	switch rule.By {
	case topics.ReadyTCP:
		return fmt.Sprintf("a connection to its port %d", e.Port)
	case topics.ReadyHTTP:
		return fmt.Sprintf("GET http://127.0.0.1:%d%s", e.Port, or(rule.Path, "/"))
	case topics.ReadyFile:
		return fmt.Sprintf("the file %s, to be written every %v", rule.Path, seconds(rule.Interval))
	case topics.ReadyNotify:
		return fmt.Sprintf("WATCHDOG=1 on its NOTIFY_SOCKET, every %v", seconds(rule.Interval))
	}
	return fmt.Sprintf("its START_ID on SERVICE_TOPIC/alive, every %v", seconds(rule.Interval))
}
