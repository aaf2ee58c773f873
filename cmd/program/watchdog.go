package program

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// Watchdog tells the service manager that started this program (sd_notify)
// when it is ready, and from then on that its loops turn. When one stands
// still it says no more, and the service manager ends the program and starts
// it anew. Where no service manager listens it does nothing.
type Watchdog struct {
	log   zerolog.Logger
	made  time.Time
	loops []*loop
}

// loop is one that must turn.
type loop struct {
	name  string
	begun chan struct{}
	last  atomic.Int64 // when it turned: nanoseconds since the watchdog was made
}

// NewWatchdog makes a watchdog that watches nothing yet.
func NewWatchdog(log zerolog.Logger) *Watchdog { return &Watchdog{log: log, made: time.Now()} }

// Loop has the watchdog watch a loop of that name. The loop calls what is
// returned at each of its turns, at least every half of what the unit's
// WatchdogSec is, also while it has nothing to do. All loops are named before
// Run.
func (w *Watchdog) Loop(name string) (turned func()) {
	l := &loop{name: name, begun: make(chan struct{})}
	w.loops = append(w.loops, l)
	var first sync.Once
	return func() {
		l.last.Store(int64(time.Since(w.made)))
		first.Do(func() { close(l.begun) })
	}
}

// Run says that the program is ready, and the status, a short line for people,
// as soon as each loop has turned once; that it lives, as long as all turn; and
// at the end of ctx that it stops. It returns nil.
func (w *Watchdog) Run(ctx context.Context, status string) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	defer w.tell(daemon.SdNotifyStopping)
	for _, l := range w.loops {
		select {
		case <-l.begun:
		case <-ctx.Done():
			return nil
		}
	}
	w.tell(daemon.SdNotifyReady + "\nSTATUS=" + status)
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		w.log.Warn().Err(err).Msg("the service manager's watchdog is off")
	}
	if patience == 0 {
		<-ctx.Done()
		return nil
	}
	w.watch(ctx, patience)
	return nil
}

// watch pets the service manager's watchdog until ctx ends. What stands still
// for half of its patience is not believed to turn again.
func (w *Watchdog) watch(ctx context.Context, patience time.Duration) {
	look := time.NewTicker(patience / 4)
	defer look.Stop()
	for silent := false; ; {
		still := w.Still(patience / 2)
		if still == "" {
			w.tell(daemon.SdNotifyWatchdog)
		} else if !silent {
			w.log.Error().Str("loop", still).Msg("stands still: the service manager will start this program anew")
		}
		silent = still != ""
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// Still is the name of a loop that has not turned for so long, or not yet at
// all; "" if there is none. It may be called by anybody, at any time after the
// last Loop.
func (w *Watchdog) Still(limit time.Duration) string {
	for _, l := range w.loops {
		select {
		case <-l.begun:
		default:
			return l.name
		}
		if time.Since(w.made)-time.Duration(l.last.Load()) >= limit {
			return l.name
		}
	}
	return ""
}

func (w *Watchdog) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		w.log.Warn().Err(err).Msg("the service manager does not hear this program")
	}
}
