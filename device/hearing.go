package device

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dominion/device/notify"
	"dominion/device/process"
	"dominion/topics"
)

// envWatchdog is how often a service says that it lives, in microseconds, as
// sd_watchdog_enabled(3) reads it.
const envWatchdog = "WATCHDOG_USEC"

// statusPause is how long a new status waits after the last one: it is
// published.
const statusPause = time.Second

// statusWidth is how many characters of a status are told.
const statusWidth = 200

// hears tells whether a service is judged by what it says on its socket.
func (e entry) hears() bool {
	return e.Rule.By == topics.ReadyNotify || e.Live != nil && e.Live.By == topics.ReadyNotify
}

// socketOf is where a service is heard. It stays the same, so that one that
// outlives the agent is heard by the next.
func (w *worker) socketOf(name topics.Service) string {
	return notify.Address(filepath.Join(string(w.ledger), string(name)+".notify"))
}

// notifyEnv is what a service is told of its socket.
func (w *worker) notifyEnv(name topics.Service, live *topics.Liveness) []string {
	env := []string{notify.Variable + "=" + w.socketOf(name)}
	if live != nil && live.By == topics.ReadyNotify {
		usec := seconds(live.WithDefaults().Interval).Microseconds()
		env = append(env, envWatchdog+"="+strconv.FormatInt(usec, 10))
	}
	return env
}

// hear opens a service's socket, which it finds from its start on. Without
// one only those cannot be run that are judged by it.
func (w *worker) hear(e entry) (*notify.Socket, error) {
	s, err := notify.Listen(w.socketOf(e.Service))
	if err != nil && !e.hears() {
		w.cfg.Log.Debug().Err(err).Str("service", string(e.Service)).Msg("what it says of itself is not heard")
		return nil, nil
	}
	return s, err
}

// listen hands over what a service says on its socket, and by nobody else.
func (w *worker) listen(ctx context.Context, p prepared) <-chan notify.Word {
	if p.socket == nil {
		return nil
	}
	words := make(chan notify.Word)
	w.probes.Go(func() {
		p.socket.Run(ctx, w.memberOf(p), func(word notify.Word) {
			select {
			case words <- word:
			case <-ctx.Done():
			}
		})
	})
	return words
}

// memberOf tells whether who sent a word is of the service. A sender that has
// ended already, as systemd-notify(1) may have, is believed: only this user's
// processes reach the socket.
func (w *worker) memberOf(p prepared) func(notify.Sender) bool {
	known := map[int]process.Identity{}
	return func(from notify.Sender) bool {
		if from.PID <= 0 {
			return from.UID == os.Getuid()
		}
		if id, ok := known[from.PID]; ok && id.Alive() {
			return true
		}
		ours, err := process.Belongs(from.PID, p.entry.Identity, p.start)
		if errors.Is(err, process.ErrGone) {
			return from.UID == os.Getuid()
		}
		if !ours {
			w.cfg.Log.Debug().Str("service", string(p.name)).Int("pid", from.PID).Msg("a stranger speaks for it, and is not heard")
			return false
		}
		if id, err := process.Identify(from.PID); err == nil {
			clear(known)
			known[from.PID] = id
		}
		return true
	}
}

// signal leaves a mark in a channel of one place.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
