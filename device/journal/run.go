package journal

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Pause is how long after something was printed the journal is looked at: what
// is printed meanwhile is looked at with it. An idle journal is not looked at.
const Pause = 200 * time.Millisecond

// unwatched is how often all of it is looked at where it cannot be watched.
const unwatched = time.Second

// Run keeps the journal until ctx ends: it bounds the files and tells those who
// follow. trouble is told what went wrong.
func (j *Journal) Run(ctx context.Context, trouble func(error)) {
	k := keeper{Journal: j, trouble: trouble, followers: map[*follower]struct{}{}}
	if j.bounds.Every > 0 {
		k.keep(ctx, nil, nil, j.bounds.Every)
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(j.dir)
	}
	if err != nil {
		trouble(err)
		k.keep(ctx, nil, nil, unwatched)
		return
	}
	k.keep(ctx, watcher.Events, watcher.Errors, 0)
}

// keeper is what Run has beside the journal.
type keeper struct {
	*Journal
	trouble   func(error)
	followers map[*follower]struct{}
}

func (k *keeper) keep(ctx context.Context, events <-chan fsnotify.Event, lost <-chan error, every time.Duration) {
	look := time.NewTimer(0) // at what was printed while nobody kept it
	defer look.Stop()
	printed := k.all()
	listening := events
	for {
		select {
		case e := <-listening:
			if name, rest, ok := strings.Cut(filepath.Base(e.Name), suffix); ok && rest == "" {
				printed[name] = true
				listening = nil // the kernel makes one event of many meanwhile
				look.Reset(Pause)
			}
		case <-lost:
			printed = k.all()
			look.Reset(Pause)
		case <-look.C:
			if every > 0 {
				printed = k.all()
				look.Reset(every)
			}
			for name := range printed {
				k.attend(name)
			}
			listening = events
			clear(printed)
		case join := <-k.joins:
			k.join(join)
		case <-ctx.Done():
			return
		}
	}
}

// all are the names that have something in the journal.
func (k *keeper) all() map[string]bool {
	names := map[string]bool{}
	for _, f := range k.files() {
		names[f.name] = true
	}
	return names
}

// attend tells the followers what is new in a file, and bounds it.
func (k *keeper) attend(name string) {
	k.tell(name)
	err := k.bound(name, func() {
		for _, f := range k.tell(name) {
			f.again()
		}
	})
	if err != nil {
		k.trouble(err)
	}
}

// tell tells those who follow, and returns them.
func (k *keeper) tell(name string) (told []*follower) {
	for f := range k.followers {
		select {
		case <-f.done:
			delete(k.followers, f)
			continue
		default:
		}
		if f.name == name {
			f.read(k.Path(name))
			told = append(told, f)
		}
	}
	return told
}

// join has somebody follow from the end of the last whole line.
func (k *keeper) join(new join) {
	if info, err := os.Stat(k.Path(new.name)); err == nil {
		new.at = info.Size()
	}
	lines, partial := k.tail(new.name, new.at, new.n)
	new.at -= partial
	k.followers[new.follower] = struct{}{}
	new.lines <- lines
}
