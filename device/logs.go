package device

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"dominion/device/journal"
	"dominion/topics"
)

// methodTail has what a service printed told: the last lines and, for as long as
// somebody keeps asking, those that come.
const methodTail = "tail"

// Bounds of tail.
const (
	tailLines   = 100             // when nobody says how many
	tailMost    = 2000            // lines
	tailLease   = 5 * time.Minute // the longest that lines follow without being asked for again
	tailStreams = 16              // at once
	tailMessage = 100             // lines in one message
)

// ownLog is the name of the agent's own log in the journal; no service has one
// like it.
const ownLog = "_agent"

// OwnLog opens the file in an agent's data directory that is told as its own
// log, to write lines of text to. Writing never fails: a full disk keeps nobody
// from working.
func OwnLog(dataDir string) (io.WriteCloser, error) {
	j, err := journal.Open(outputDir(dataDir), journal.Bounds{})
	if err != nil {
		return nil, err
	}
	f, err := j.Append(ownLog)
	if err != nil {
		return nil, err
	}
	return careless{f}, nil
}

func outputDir(dataDir string) string { return filepath.Join(dataDir, "output") }

// careless is a file that takes all that is written to it.
type careless struct{ *os.File }

func (c careless) Write(b []byte) (int, error) {
	_, _ = c.File.Write(b)
	return len(b), nil
}

// tails are the streams of lines that are followed now.
type tails struct {
	mu   sync.Mutex // guards open
	open map[string]chan time.Duration
}

// begin opens a stream; extended says that it was open, and lasts longer now.
func (t *tails) begin(stream string, lease time.Duration) (longer <-chan time.Duration, extended bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.open[stream]; known != nil {
		select {
		case known <- lease:
		default: // it is being extended
		}
		return nil, true, nil
	}
	if len(t.open) >= tailStreams {
		return nil, false, fmt.Errorf("%d streams of lines are followed here already (one ends a moment after its reader has)", tailStreams)
	}
	if t.open == nil {
		t.open = map[string]chan time.Duration{}
	}
	c := make(chan time.Duration, 1)
	t.open[stream] = c
	return c, false, nil
}

func (t *tails) end(stream string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, stream)
}

// tail answers a request for lines.
func (a *Agent) tail(work context.Context, req topics.Request) {
	name, ok := a.printer(req.Subject)
	if !ok {
		a.refuse(work, req, topics.NoDirectory, fmt.Sprintf("%s knows no service %q, and has nothing that one printed", a.cfg.Name, req.Subject), "dominion status")
		return
	}
	lines, err := whole(req, "lines", tailLines, tailMost)
	follow, ferr := whole(req, "follow", 0, int(tailLease.Seconds()))
	if err != nil || ferr != nil {
		a.refuse(work, req, topics.FaultBad, fmt.Sprint(or(err, ferr)), "")
		return
	}
	t := stream{word: or(req.Arg("stream"), req.ID), lines: lines, lease: time.Duration(follow) * time.Second}
	if err := topics.CheckName(t.word); err != nil {
		a.refuse(work, req, topics.FaultBad, "stream: "+err.Error(), "")
		return
	}
	if t.message.Topic = a.cfg.Space.Occurrence(a.cfg.Name, "log", req.Subject); name != ownLog {
		t.service = topics.Service(req.Subject)
	}
	outside := a.watched[t.service]
	longer, extended, err := a.tails.begin(t.word, t.lease)
	switch {
	case err != nil:
		a.refuse(work, req, topics.FaultAccess, err.Error(), "")
	case extended:
		a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Result: fmt.Sprintf("follows for %d s more", follow), Topic: req.Topic})
	default:
		t.longer = longer
		a.running.Go(func() {
			defer a.tails.end(t.word)
			if outside != nil {
				a.tailOutside(work, req, t, outside.charge)
				return
			}
			a.follow(work, name, req, t)
		})
	}
}

// printer is the name in the journal of what a subject prints.
func (a *Agent) printer(subject string) (string, bool) {
	if subject == subjectHost {
		return ownLog, true
	}
	if topics.Service(subject).Check() != nil {
		return "", false
	}
	if _, known := a.units[topics.Service(subject)]; known {
		return subject, true
	}
	_, err := os.Stat(a.work.journal.Path(subject)) // of one that is forgotten
	return subject, err == nil
}

// whole is a number of a request, from 0 to most.
func whole(req topics.Request, field string, usual, most int) (int, error) {
	text := req.Arg(field)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s is %.20q (want 0 to %d)", field, text, most)
	}
	return n, nil
}

// stream is lines that somebody follows, under a word of theirs.
type stream struct {
	word    string
	service topics.Service // empty: the agent's own
	lines   int
	lease   time.Duration // 0: the last lines are all
	longer  <-chan time.Duration
	message topics.Message
	seq     int
}

// follow tells the last lines, answers, and goes on for as long as the lease.
func (a *Agent) follow(work context.Context, name string, req topics.Request, t stream) {
	ctx, cancel := context.WithCancel(work)
	defer cancel()
	last, news, ok := a.work.journal.Follow(ctx, name, t.lines)
	if !ok {
		return
	}
	a.sayLines(work, &t, journal.Batch{Lines: last})
	done := topics.Reply{ID: req.ID, Status: topics.Done, Result: many(len(last), "line", "s"), Topic: req.Topic}
	if t.lease > 0 {
		done.Result += fmt.Sprintf(", follows for %v", t.lease)
	}
	a.reply(work, done)
	lease := time.NewTimer(t.lease)
	defer lease.Stop()
	for {
		select {
		case batch := <-news:
			a.sayLines(work, &t, batch)
		case more := <-t.longer:
			lease.Reset(more)
		case <-lease.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) sayLines(work context.Context, t *stream, b journal.Batch) {
	for last := false; !last; {
		n := min(len(b.Lines), tailMessage)
		t.seq++
		last = n == len(b.Lines)
		t.message.Payload = topics.Encode(topics.LogLines{Stream: t.word, Service: t.service, Seq: t.seq, Lines: b.Lines[:n], Skipped: b.Skipped, Last: last && t.lease == 0})
		t.message.QoS = 1
		_ = a.publish(work, t.message) // who misses one sees it by seq
		b.Lines, b.Skipped = b.Lines[n:], 0
	}
}

// journalTrouble says what went wrong with what services print.
func (a *Agent) journalTrouble(err error) {
	a.cfg.Log.Warn().Err(err).Msg("what services print cannot be kept as it should")
}
