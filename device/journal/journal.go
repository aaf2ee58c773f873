package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Bounds are how much is kept. Zero fields are the defaults named here.
type Bounds struct {
	Size  int64 // bytes of one file, 1 MiB; what a service prints within Pause may be more for that long
	Count int   // files of that size beside it, with what was before: 4
	Total int64 // bytes of all files of all services: 64 MiB
	// Every is how often all of it is looked at where the kernel cannot tell
	// when something is printed; 0: where it can, it does.
	Every time.Duration
}

func (b Bounds) withDefaults() Bounds {
	if b.Size <= 0 {
		b.Size = 1 << 20
	}
	if b.Count <= 0 {
		b.Count = 4
	}
	if b.Total <= 0 {
		b.Total = 64 << 20
	}
	return b
}

// Journal is a folder of such files: NAME.log is being written, NAME.log.1 is
// what was before, and so on.
type Journal struct {
	dir    string
	bounds Bounds
	joins  chan join // those who want to follow, to Run
}

// Open makes the folder if it is missing.
func Open(dir string, b Bounds) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Journal{dir: dir, bounds: b.withDefaults(), joins: make(chan join)}, nil
}

// Path is the file that something prints into now.
func (j *Journal) Path(name string) string { return filepath.Join(j.dir, name+suffix) }

const suffix = ".log"

func (j *Journal) rotated(name string, n int) string { return j.Path(name) + "." + strconv.Itoa(n) }

// Begin opens the file for one start, marks it there, and says at which byte
// the start's own words begin. A disk that is full keeps nothing from starting.
func (j *Journal) Begin(name, start string, now time.Time) (*os.File, int64, error) {
	if err := j.bound(name, func() {}); err != nil {
		return nil, 0, err
	}
	f, err := j.Append(name)
	if err != nil {
		return nil, 0, err
	}
	_, _ = fmt.Fprintf(f, "%sstart %s %s\n", mark, start, now.UTC().Format(time.RFC3339))
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Append opens the file to print into.
func (j *Journal) Append(name string) (*os.File, error) {
	return os.OpenFile(j.Path(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// mark begins the lines that the service did not print itself.
const mark = "--- "

// Mark writes a line of ours between what the service prints, if there is room.
func (j *Journal) Mark(name, text string, now time.Time) {
	f, err := j.Append(name)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%s%s %s\n", mark, text, now.UTC().Format(time.RFC3339))
}

// bound moves what is in a file that has grown too long to the next one, and
// those on, in place of the oldest. The file itself stays the same, because a
// service may hold it open; what it writes in the moment after lastLook may be
// lost.
func (j *Journal) bound(name string, lastLook func()) error {
	info, err := os.Stat(j.Path(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= j.bounds.Size {
		return nil
	}
	if err != nil {
		return err
	}
	for n := j.bounds.Count - 1; n >= 1; n-- {
		if err := os.Rename(j.rotated(name, n), j.rotated(name, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	from, err := os.OpenFile(j.Path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	// A disk that is full gets room by this, whether or not the copy fits.
	err = keepEnd(from, j.rotated(name, 1), j.bounds.Size)
	lastLook()
	return errors.Join(err, from.Truncate(0), j.boundAll())
}

// files are all that the folder holds of the journal.
func (j *Journal) files() []file {
	entries, _ := os.ReadDir(j.dir)
	var all []file
	for _, e := range entries {
		name, rest, ok := strings.Cut(e.Name(), suffix)
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		all = append(all, file{path: filepath.Join(j.dir, e.Name()), name: name, live: rest == "", size: info.Size(), at: info.ModTime()})
	}
	return all
}

type file struct {
	path, name string
	live       bool // it is being written
	size       int64
	at         time.Time
}
