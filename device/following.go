package device

import (
	"context"
	"fmt"
	"time"

	"dominion/device/journal"
	"dominion/device/notify"
	"dominion/topics"
)

// following is what the goroutine of a start knows of its running service. A
// nil channel is one that nothing more comes from.
type following struct {
	*worker
	p       prepared
	r       *run
	running instance

	ready    <-chan struct{} // its rule is met
	pulses   <-chan pulse
	words    <-chan notify.Word
	opinions <-chan *topics.Why
	end      <-chan struct{}
	again    <-chan time.Time // it could not be stopped: try again

	store <-chan time.Time // the ledger does not know yet that it is ready: try again

	status *string          // what it said of itself, and nobody was told yet
	pause  <-chan time.Time // no new status is told before
}

func (f *following) say(ctx context.Context, rep report) {
	rep.name, rep.start = f.p.name, f.p.start
	f.tell(ctx, rep)
}

// isReady takes in that the service has become ready.
func (f *following) isReady(ctx context.Context) {
	f.ready = nil
	f.p.entry.Ready = true
	f.stores()
	f.say(ctx, report{stage: ready})
}

// stores writes down that the service is ready, once there is room for that: the
// next agent would ask it to say so again.
func (f *following) stores() {
	f.store = nil
	if err := f.ledger.put(f.p.entry); err != nil {
		f.cfg.Log.Error().Err(err).Str("service", string(f.p.name)).Msg("the ledger does not know that it is ready")
		f.store = time.After(f.cfg.Timing.Missing)
	}
}

// beats takes in a change of how the service is; true: it is to be ended.
func (f *following) beats(ctx context.Context, now pulse) bool {
	asked := asks(*f.p.entry.Live)
	switch {
	case now.over:
		rule := f.p.entry.Live.WithDefaults()
		f.say(ctx, report{stage: failing, why: &topics.Why{
			Code: topics.NotLive,
			Text: fmt.Sprintf("failed its liveness rule %d times in a row (%s): %v", rule.Failures, tried(f.p.entry), now.err),
			Next: f.tailOf(f.p.name),
		}})
		return true
	case now.err == nil && asked:
		f.say(ctx, report{stage: ready})
	case asked:
		f.say(ctx, report{stage: unwell, why: &topics.Why{
			Code: topics.NotReady, Text: fmt.Sprintf("runs, and does not answer (%s): %v", tried(f.p.entry), now.err), Next: f.tailOf(f.p.name),
		}})
	}
	return false
}

// hears takes in what the service says of itself.
func (f *following) hears(ctx context.Context, word notify.Word) {
	if word.Ready && f.p.entry.Rule.By == topics.ReadyNotify {
		signal(f.r.heard)
	}
	if word.Watchdog && f.p.entry.Live != nil && f.p.entry.Live.By == topics.ReadyNotify {
		signal(f.r.beat)
	}
	if word.Stopping {
		f.say(ctx, report{stage: leaving})
	}
	if word.Status != nil {
		f.status = word.Status
		if f.pause == nil {
			f.says(ctx)
		}
	}
}

// says tells the last status, and has the next one wait.
func (f *following) says(ctx context.Context) {
	f.pause = nil
	if f.status == nil {
		return
	}
	f.say(ctx, report{stage: status, text: journal.Printable(*f.status, statusWidth)})
	f.status, f.pause = nil, time.After(statusPause)
}

// stop ends the service, and listens no more to how it is.
func (f *following) stop(ctx context.Context) {
	f.end, f.ready, f.pulses = nil, nil, nil
	f.again = f.worker.stop(ctx, f.running, f.p)
}
