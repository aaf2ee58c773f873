package device

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dominion/topics"
)

// foldEnded takes in that nothing is left of a run.
func (a *Agent) foldEnded(work context.Context, u *unit, rep report, now time.Time) {
	reason, want, anew := u.why, u.termsOfRun(), u.anew || u.again
	forced := u.phase == topics.PhaseStopping && isFailure(reason.Code)
	byItself := forced || u.left && rep.exit != nil && want.RestartPolicy() != topics.RestartAlways
	asked := u.phase == topics.PhaseStopping && !byItself || u.again
	if u.ready {
		u.history = a.cfg.Timing.Backoff.Ready(u.history, now.Sub(u.readyAt))
	}
	if rep.exit != nil {
		u.exit = rep.exit
	}
	if !rep.early {
		a.attended(u, now)
	}
	switch {
	case asked:
		u.rest(topics.PhaseStopped, reason, now)
		u.again = anew
		a.log(u.name).Msg("stopped")
		if !a.wanted[u.name].Run {
			a.answer(work, u, topics.Failed, reason)
		}
	case rep.early:
		u.rest(topics.PhaseWaiting, scheduled(u.due(now)), now)
		return
	case rep.missed:
		u.rest(topics.PhaseStopped, &topics.Why{Code: topics.Exited, Text: "ended again at once"}, now)
	case rep.missing:
		u.rest(topics.PhaseBackoff, rep.why, now)
		u.missing = true
		a.cfg.Log.Warn().Str("service", string(u.name)).Msg(rep.why.Text)
	default:
		clean := !forced && rep.exit != nil && rep.exit.Code == 0 && (rep.why == nil || rep.why.Code == topics.Exited)
		a.conclude(u, AfterEnd(want, clean), a.whyEnded(u, reason, rep, forced), now)
	}
	if !asked || rep.exit != nil {
		a.tellExit(work, u, rep, asked)
	}
	if !asked {
		a.answer(work, u, topics.Failed, u.why)
	}
}

// termsOfRun are the terms of what has just ended, also of a oneshot whose
// service.toml was not read again yet.
func (u *unit) termsOfRun() topics.Wanted {
	want := u.terms
	if u.entry.Rule.By == topics.ReadyDone {
		want.Type = topics.Oneshot
	}
	return want
}

// isFailure tells whether a service that is stopped for that reason has
// failed: nobody wants it to rest.
func isFailure(code string) bool {
	return code == topics.StartTimeout || code == topics.BuildFailed || code == topics.NotLive
}

// whyEnded says how a service ended, with what it printed last.
func (a *Agent) whyEnded(u *unit, reason *topics.Why, rep report, forced bool) *topics.Why {
	switch {
	case forced && reason.Code == topics.NotLive:
		return &topics.Why{Code: reason.Code, Text: reason.Text + quoted(rep.lines), Next: a.work.tailOf(u.name)}
	case forced:
		return &topics.Why{Code: reason.Code, Text: a.lateness(u, reason) + quoted(rep.lines), Next: a.work.tailOf(u.name)}
	case rep.why == nil:
		return &topics.Why{Code: topics.Exited, Text: ending(rep.exit) + after(rep.lived) + quoted(rep.lines), Next: a.work.tailOf(u.name)}
	}
	return rep.why
}

// conclude gives a service that ended by itself what its terms have for it.
func (a *Agent) conclude(u *unit, outcome Outcome, why *topics.Why, now time.Time) {
	if outcome == Retried {
		a.failure(u, why, now)
		return
	}
	if outcome == Complete {
		a.isOver(u, topics.PhaseDone, true, nil, now)
		a.log(u.name).Msg("done")
		return
	}
	said := &topics.Why{Code: why.Code, Next: "dominion restart " + string(u.name),
		Text: fmt.Sprintf("%s; it is not started again (restart = %q)", strings.TrimSuffix(why.Text, "."), u.terms.RestartPolicy())}
	if due := u.due(now); !due.IsZero() {
		said.Text = fmt.Sprintf("%s; it runs next at %s", strings.TrimSuffix(why.Text, "."), shown(due))
	}
	if outcome == Ended {
		a.isOver(u, topics.PhaseDone, false, said, now)
		a.log(u.name).Str("why", why.Text).Msg("ended")
		return
	}
	a.isOver(u, topics.PhaseStopped, false, said, now)
	a.cfg.Log.Warn().Str("service", string(u.name)).Str("why", why.Text).Msg("failed, and is not started again")
}

// lateness says what a service was not in time.
func (a *Agent) lateness(u *unit, reason *topics.Why) string {
	if reason.Code == topics.BuildFailed {
		return fmt.Sprintf("was not built within %v", a.cfg.Timing.Build)
	}
	if u.entry.Rule.By == topics.ReadyDone {
		return fmt.Sprintf("was not done within %v", seconds(u.entry.Rule.Timeout))
	}
	text := fmt.Sprintf("was not ready within %v (it %s)", seconds(u.entry.Rule.Timeout), waitsFor(u.entry).Text)
	if u.run != nil && u.run.last.Load() != nil {
		text += fmt.Sprintf("; the last look: %v", *u.run.last.Load())
	}
	return text
}

// failure sends a unit into its backoff.
func (a *Agent) failure(u *unit, why *topics.Why, now time.Time) {
	history, wait := a.cfg.Timing.Backoff.of(u.terms.Restart).Failed(u.history, now, chance())
	phase := topics.PhaseBackoff
	text := strings.TrimSuffix(why.Text, ".") + fmt.Sprintf("; next try in %v", wait.Round(100*time.Millisecond))
	said := &topics.Why{Code: why.Code, Text: text, Next: why.Next}
	if history.Looping {
		phase = topics.PhaseCrashloop
		said = &topics.Why{Code: topics.CrashLoop, Text: fmt.Sprintf("failed again and again: %s", text), Next: or(why.Next, "dominion reset "+string(u.name))}
	}
	u.rest(phase, said, now)
	u.since = now
	u.history, u.failed, u.next = history, true, now.Add(wait)
	a.cfg.Log.Warn().Str("service", string(u.name)).Str("why", why.Text).Stringer("wait", wait.Round(time.Millisecond)).Msg(string(phase))
}

func after(lived time.Duration) string {
	if lived <= 0 {
		return ""
	}
	if lived < 10*time.Second {
		return fmt.Sprintf(" after %v", lived.Round(100*time.Millisecond))
	}
	return fmt.Sprintf(" after %v", lived.Round(time.Second))
}
