package device

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dominion/device/docker"
	"dominion/device/outside"
	"dominion/device/process"
	"dominion/device/systemd"
	"dominion/topics"
)

// The kinds of runners of what runs without the house.
const (
	kindSystemd = "systemd"
	kindDocker  = "docker"
	kindPid     = "pid"
)

// keeper keeps what runs without the house: systemd, a container engine, or
// for a lone process just the kernel.
type keeper interface {
	kind() string
	// available says why there is none on this machine; nil: there is one.
	available(ctx context.Context) error
	// watch tells how one of its things is, at once and at every change, until
	// ctx ends; an error while the keeper cannot be asked.
	watch(ctx context.Context, name string, tell func(outside.State, error))
	look(ctx context.Context, name string) (outside.State, error)
	start(ctx context.Context, name string) error
	// stop has it ended politely; it may return before that is done.
	stop(ctx context.Context, name string, grace time.Duration) error
	kill(ctx context.Context, name string) error
	// lines are the last n that it printed; nil: nobody knows.
	lines(ctx context.Context, name string, n int) []string
	// logs is what a person types to read more of them.
	logs(name string) string
}

// external is the runner of what a keeper keeps and the house may start and
// stop.
type external struct {
	keeper  keeper
	ledger  ledger
	watches *sync.WaitGroup
}

func (x external) kind() string { return x.keeper.kind() }

func (x external) start(ctx context.Context, p prepared) (instance, error) {
	if err := x.ledger.put(p.entry); err != nil {
		return nil, err
	}
	if err := x.keeper.start(ctx, p.entry.Outside); err != nil {
		return nil, errors.Join(err, x.ledger.remove(p.name))
	}
	return x.hold(ctx, p.entry.Outside), nil
}

// keeperPatience is how long the agent's start, and what it says of this machine,
// wait for a keeper's word.
const keeperPatience = 2 * time.Second

// adopt takes up what runs. While the keeper does not answer it is not known
// to have ended, and what is unknown is not over.
func (x external) adopt(ctx context.Context, e entry) (instance, bool) {
	brief, done := context.WithTimeout(ctx, keeperPatience)
	defer done()
	s, err := x.keeper.look(brief, e.Outside)
	if e.Outside == "" || err == nil && !s.Alive() {
		return nil, false
	}
	return x.hold(ctx, e.Outside), true
}

// sweep has nothing to end: what a keeper keeps is never there twice.
func (external) sweep(context.Context, entry) error { return nil }

// ward is an instance that a keeper keeps.
type ward struct {
	keeper keeper
	name   string
	up     chan struct{} // closed: its keeper calls it well
	done   chan struct{}
	last   outside.State // valid once done is closed
	pid    atomic.Int64

	// opinions are what its keeper thinks of it while it runs: why it is not
	// well, nil when it is again. Who is late hears the last one only.
	opinions chan *topics.Why
}

// hold watches one of the keeper's things until it has ended.
func (x external) hold(ctx context.Context, name string) *ward {
	w := &ward{keeper: x.keeper, name: name, up: make(chan struct{}), done: make(chan struct{}), opinions: make(chan *topics.Why, 1)}
	ctx, cancel := context.WithCancel(ctx)
	x.watches.Go(func() {
		defer cancel()
		up, ill := false, false
		w.keeper.watch(ctx, name, patiently(func(s outside.State, err error) {
			switch {
			case ctx.Err() != nil:
			case err != nil:
				ill = true
				w.think(cannot(name, err))
			case !s.Alive():
				w.last = s
				close(w.done)
				cancel()
			default:
				w.pid.Store(int64(s.PID))
				well := s.Stage == outside.Up
				if well && !up {
					up = true
					close(w.up)
				}
				switch {
				case well && ill:
					w.think(nil)
				case !well && up:
					w.think(&topics.Why{Code: topics.NotReady, Text: s.Says})
				}
				ill = !well && up
			}
		}))
	})
	return w
}

func (w *ward) think(why *topics.Why) {
	select {
	case <-w.opinions:
	default:
	}
	w.opinions <- why
}

// patiently tells on what a keeper says, cut and cleaned, but not at once that it
// does not answer any more: it may just be starting anew.
func patiently(tell func(outside.State, error)) func(outside.State, error) {
	const enough = 3
	heard, silent := false, 0
	return func(s outside.State, err error) {
		if err == nil {
			heard, silent = true, 0
		} else if silent++; heard && silent < enough {
			return
		}
		tell(fit(s), err)
	}
}

func (w *ward) Done() <-chan struct{} { return w.done }

func (w *ward) Exit() process.Exit { return w.last.Exit }

// Identity is zero: its keeper is its parent.
func (w *ward) Identity() process.Identity { return process.Identity{} }

func (w *ward) Processes() []process.Identity {
	id, err := process.Identify(int(w.pid.Load()))
	if w.pid.Load() == 0 || err != nil {
		return nil
	}
	return []process.Identity{id}
}

func (w *ward) Stop(ctx context.Context, grace time.Duration) error {
	if err := w.keeper.stop(ctx, w.name, grace); err != nil {
		return err
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
	}
	if err := w.keeper.kill(ctx, w.name); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// words is why it ended, as its keeper says.
func (w *ward) words() string { return or(w.last.Says, "ended") }

// cannot says what to do about a keeper's error.
func cannot(name string, err error) *topics.Why {
	why := &topics.Why{Code: topics.StartFailed, Text: err.Error()}
	switch {
	case errors.Is(err, systemd.ErrNoBus):
		why.Text = fmt.Sprintf("%s cannot be watched: %v", name, systemd.ErrNoBus)
		why.Next = "sudo apt install dbus"
	case errors.Is(err, systemd.ErrNone), errors.Is(err, docker.ErrNone):
		why.Text = fmt.Sprintf("%s is not run by this machine: %v", name, err)
		why.Next = "domain adopt --list"
	case errors.Is(err, systemd.ErrRefused):
		why.Text = fmt.Sprintf("the agent's user may not start or stop %s: run the agent as root, or let polkit allow it (docs/services.md, What already runs)", name)
		why.Next = "systemctl show --property=User dominion-domain"
	case errors.Is(err, docker.ErrRefused):
		why.Text = fmt.Sprintf("the agent's user may not speak to the container engine (%v)", err)
		why.Next = "sudo usermod -aG docker dominion-domain; sudo systemctl restart dominion-domain"
	}
	return why
}
