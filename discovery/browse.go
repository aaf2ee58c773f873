package discovery

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// soon is the pause before it is asked again: after a browse that could not be
// made, or that missed somebody.
const soon = 2 * time.Second

// Search is what is browsed for, and how often.
type Search struct {
	Service string
	Every   time.Duration // the pause after a browse that brought nothing new; 30 s if zero
	Listen  time.Duration // how long each browse takes; 4 s if zero
	Log     zerolog.Logger
}

// Browse watches for a service: see [Search.Browse].
func Browse(ctx context.Context, service string, log zerolog.Logger) <-chan []Entry {
	return Search{Service: service, Log: log}.Browse(ctx)
}

// Browse watches for a service until ctx ends, and closes the channel then. It
// gives the whole list after the first browse, and each time it changed; a
// reader who was slow finds the newest. Who does not answer in three browses is
// gone, about half a minute after it has been missed first. A browse that could
// not be made, for want of a network, says nothing of anybody.
func (s Search) Browse(ctx context.Context) <-chan []Entry { return s.browse(ctx, hear) }

func (s Search) browse(ctx context.Context, listen ear) <-chan []Entry {
	news := make(chan []Entry, 1)
	go func() {
		defer close(news)
		s.watch(ctx, listen, news)
	}()
	return news
}

// watch browses again and again. News holds one list: what was not taken is
// replaced.
func (s Search) watch(ctx context.Context, listen ear, news chan []Entry) {
	var list []known
	var trouble string
	for first := true; ctx.Err() == nil; {
		var heard []Entry
		done, err := listen(ctx, s.Service, positive(s.Listen, window), func(e Entry) bool {
			heard = append(heard, e)
			return false
		})
		if ctx.Err() != nil {
			return
		}
		trouble = s.tell(err, trouble)
		after := merge(list, heard, done.whole)
		changed := !same(list, after)
		list = after
		if changed || first && err == nil {
			select {
			case <-news:
			default:
			}
			news <- entries(list)
			first = false
		}
		if !wait(ctx, s.pause(err != nil || changed || doubtful(list))) {
			return
		}
	}
}

// tell logs what keeps from browsing, once.
func (s Search) tell(err error, before string) string {
	switch {
	case err == nil:
		return ""
	case err.Error() != before:
		s.Log.Warn().Err(err).Str("service", s.Service).Msg("cannot look for others")
	}
	return err.Error()
}

func (s Search) pause(again bool) time.Duration {
	every := positive(s.Every, 30*time.Second)
	if again {
		return min(soon, every)
	}
	return every
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// wait says false if ctx ended before the time was over.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
