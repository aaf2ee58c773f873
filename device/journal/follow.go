package journal

import (
	"context"
	"io"
	"os"
	"strings"
)

// Batch is what was printed in one Pause. Skipped is how many bytes before
// Lines were left out because there were too many.
type Batch struct {
	Lines   []string
	Skipped int64
}

// Follow returns the last n lines, and what is printed after them, in order,
// until ctx ends. The batches are to be read without delay; what finds no room
// is left out and counted. ok is false when ctx ended before Run, which it
// needs, took notice.
func (j *Journal) Follow(ctx context.Context, name string, n int) (lines []string, batches <-chan Batch, ok bool) {
	join := join{&follower{name: name, batches: make(chan Batch, 16), done: ctx.Done()}, n, make(chan []string, 1)}
	select {
	case j.joins <- join:
		return <-join.lines, join.batches, true
	case <-ctx.Done():
		return nil, nil, false
	}
}

// join is somebody who wants to follow, and to be told the last n lines.
type join struct {
	*follower
	n     int
	lines chan []string
}

// follower is told what is printed. It belongs to Run.
type follower struct {
	name    string
	batches chan Batch
	done    <-chan struct{}

	at      int64  // the next byte to read
	partial string // of it: a line that has not ended yet
	skipped int64  // not told yet
}

// readBytes is how much of one file a follower is told at once.
const readBytes = 64 << 10

// read hands on what a file has beyond what was read.
func (f *follower) read(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return
	}
	if info.Size() < f.at { // somebody else emptied it
		f.again()
	}
	if more := info.Size() - f.at - readBytes; more > 0 {
		f.skipped += more + int64(len(f.partial))
		f.at, f.partial = f.at+more, ""
	}
	raw, err := io.ReadAll(io.NewSectionReader(file, f.at, info.Size()-f.at))
	if err != nil || len(raw) == 0 {
		return
	}
	f.at += int64(len(raw))
	text := f.partial + string(raw)
	whole := strings.LastIndexByte(text, '\n') + 1
	if whole == 0 && len(text) > lineWidth { // it may never end
		whole = len(text)
	}
	if f.partial = text[whole:]; whole == 0 {
		return
	}
	select {
	case f.batches <- Batch{Lines: split(text[:whole]), Skipped: f.skipped}:
		f.skipped = 0
	default:
		f.skipped += int64(whole)
	}
}

// again is for a file that begins anew.
func (f *follower) again() { f.at = 0 }
