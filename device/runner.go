package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dominion/device/journal"
	"dominion/device/process"
	"dominion/topics"
)

// The kinds of runners.
const (
	kindMake = "make"
	kindExec = "exec"
)

// runner runs services of one kind.
type runner interface {
	kind() string
	// start starts a service. The ledger has the entry before anything runs.
	start(ctx context.Context, p prepared) (instance, error)
	// adopt takes over what a former agent started; false: there is nothing to
	// watch.
	adopt(ctx context.Context, e entry) (instance, bool)
	// sweep ends what a former agent left and nobody can watch.
	sweep(ctx context.Context, e entry) error
}

// instance is one running service.
type instance interface {
	// Done is closed when nothing of it is left.
	Done() <-chan struct{}
	// Exit is how it ended, valid once Done is closed.
	Exit() process.Exit
	// Stop ends it: TERM, after the grace KILL. It returns when nothing is left,
	// or with the context's error.
	Stop(ctx context.Context, grace time.Duration) error
	// Identity is its first process; zero: it has none of ours.
	Identity() process.Identity
	// Processes are its live ones; nil: not known.
	Processes() []process.Identity
}

// commander is a runner that runs commands in a service's directory. A command
// line comes from that directory alone, never from the bus.
type commander interface {
	runner
	commands(ctx context.Context, at place, manifest Manifest) (commands, *topics.Why)
	// launch starts one of them, with the ledger's knowledge.
	launch(ctx context.Context, p prepared, argv []string) (instance, error)
}

// newRunners are the runners by their kinds.
func newRunners(cfg Config, l ledger, j *journal.Journal, sh shell, keepers map[string]keeper, watches *sync.WaitGroup) map[string]runner {
	shared := programs{ledger: l, journal: j, grace: cfg.Timing.Stop, log: cfg.Log, groups: cfg.Groups}
	runners := map[string]runner{}
	for _, r := range []runner{makeRunner{shared, sh, min(targetsTimeout, cfg.Timing.Start)}, execRunner{shared}} {
		runners[r.kind()] = r
	}
	for kind, k := range keepers {
		runners[kind] = external{k, l, watches}
	}
	return runners
}

// told is how a service ended as the bus says it, nil if nobody knows.
func told(e process.Exit) *topics.Exit {
	if !e.Known {
		return nil
	}
	if e.Signal != 0 {
		return &topics.Exit{Code: 128 + int(e.Signal), Signal: unix.SignalName(e.Signal)}
	}
	exit := topics.Exit{Code: e.Code}
	if e.Code > 128 { // as a shell says that a signal ended a program
		exit.Signal = unix.SignalName(syscall.Signal(e.Code - 128))
	}
	return &exit
}

// findRunner looks what a service's directory holds: the kind of its runner.
func findRunner(dir string, manifest Manifest) (string, *topics.Why) {
	if c, ok := manifest.charge(); ok {
		return c.kind, nil
	}
	if len(manifest.Command) > 0 {
		return kindExec, nil
	}
	for _, name := range []string{"GNUmakefile", "makefile", "Makefile"} {
		_, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			return kindMake, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &topics.Why{Code: topics.NoMakefile, Text: fmt.Sprintf("its Makefile cannot be read: %v", err)}
		}
	}
	return "", &topics.Why{
		Code: topics.NoMakefile,
		Text: fmt.Sprintf("%s has neither a Makefile nor a service.toml with a command", dir),
		Next: "write " + filepath.Join(dir, "Makefile") + " with a target start",
	}
}

// readManifest reads the service.toml of a directory; the zero Manifest if
// there is none.
func readManifest(dir string, read func(string) (Manifest, error)) (Manifest, error) {
	path := filepath.Join(dir, "service.toml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, nil
	}
	if read == nil {
		return Manifest{}, fmt.Errorf("%s: this agent reads no service.toml", path)
	}
	m, err := read(path)
	if err != nil {
		return Manifest{}, err
	}
	if m.Port < 0 || m.Port > 65535 {
		return Manifest{}, fmt.Errorf("%s: port is %d (want 1 to 65535)", path, m.Port)
	}
	if err := m.Terms.CheckTerms(); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}
