package broker

import (
	"context"
	"log/slog"

	"github.com/rs/zerolog"
)

// logBridge hands mochi's log lines to zerolog, one level quieter: what mochi
// calls news or a warning (a client's bad packet, a short keep-alive) matters
// to nobody in the house, and what does is logged by the guards. Whole packets
// are left out: they are large, and a CONNECT has the password in it.
type logBridge struct{ slog.Handler }

func newLogBridge(log zerolog.Logger) *slog.Logger {
	return slog.New(logBridge{zerolog.NewSlogHandler(log)})
}

func quieter(l slog.Level) slog.Level {
	if l < slog.LevelError {
		return min(l, slog.LevelDebug)
	}
	return l
}

func (b logBridge) Enabled(ctx context.Context, l slog.Level) bool {
	return b.Handler.Enabled(ctx, quieter(l))
}

func (b logBridge) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, quieter(r.Level), "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "pk" && a.Key != "packet" {
			out.AddAttrs(a)
		}
		return true
	})
	return b.Handler.Handle(ctx, out)
}

func (b logBridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logBridge{b.Handler.WithAttrs(attrs)}
}

func (b logBridge) WithGroup(name string) slog.Handler { return logBridge{b.Handler.WithGroup(name)} }
