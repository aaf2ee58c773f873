package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"
)

// store keeps durable retained messages on the disk. Publishers only leave a
// topic's name here; a flush looks up what is retained on it by then, and
// writes what differs from the disk, one transaction and fsync for all. A quiet
// broker writes nothing, and neither does a message that says the same again.
//
// What is retained is in memory, so the store never holds up the house: what
// cannot be written waits and is tried again, and a file that is lost, damaged
// or of doubtful content while the broker runs is written anew.
type store struct {
	path    string
	log     zerolog.Logger
	every   time.Duration
	trouble func(error)
	current func(topic string) (packets.Packet, bool) // what is retained now
	// wasteful decides whether a file of a size is compacted, for what it holds.
	wasteful func(size, live int64) bool

	mu      sync.Mutex          // guards dirty, taken, shown
	dirty   map[string]struct{} // topics that may differ from the disk
	taken   int                 // how many of them a flush is writing
	shown   StoreFigures
	wake    chan struct{} // has an element when there is something to do
	writing sync.Mutex    // guards all below
	volume  *volume
	rewrite *rewrite  // nil: there is no new file under way
	resting time.Time // when a compaction may be tried again
	closed  bool
}

// StoreFigures are what is known of the store of retained messages.
type StoreFigures struct {
	Path    string    // of its file; empty: there is no store
	Bytes   int64     // size of the file
	Live    int64     // about the size that a compacted one would have
	Waiting int       // topics that are not on the disk yet
	Flushed time.Time // when it was last written, or had nothing to write; zero: never
	Trouble string    // why it cannot be written; empty: it can
}

// StoreError is why the store of retained messages is not written. The broker
// goes on with what it has in memory.
type StoreError struct {
	Path    string // of the store's file
	Waiting int    // messages that a power cut would lose
	Need    int64  // about the bytes that they need on the disk
	Full    bool   // that is all that is wrong: the disk, or the quota, has no room for them
	Err     error
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("write the store of retained messages %s: %v (%d messages wait in memory)", e.Path, e.Err, e.Waiting)
}

// Unwrap gives the error of the operating system.
func (e *StoreError) Unwrap() error { return e.Err }

// openStore opens or makes the store in a directory and returns what it holds.
// A damaged file is moved aside, to the path moved, and what could be read of
// it goes into a new one.
func openStore(o Options) (st *store, kept []packets.Packet, moved string, err error) {
	f, err := findStore(o.Data, o.Log)
	if err != nil {
		return nil, nil, "", err
	}
	st = &store{
		path:    f.path,
		log:     o.Log,
		every:   o.FlushEvery,
		trouble: o.StoreTrouble,
		dirty:   map[string]struct{}{},
		wake:    make(chan struct{}, 1),
		volume:  f.volume,

		wasteful: wasteful,
	}
	st.show()
	for _, pk := range f.kept {
		if f.moved != "" || f.volume.closed {
			st.touch(pk.TopicName)
		}
	}
	if f.volume.closed || st.worthwhile() {
		st.poke()
	}
	return st, f.kept, f.moved, nil
}

// touch says that what is retained on durable topics may have changed.
func (st *store) touch(topics ...string) {
	st.mu.Lock()
	for _, topic := range topics {
		st.dirty[topic] = struct{}{}
	}
	st.mu.Unlock()
	st.poke()
}

// poke has run look whether there is something to do.
func (st *store) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// take returns the topics that may differ from the disk, and forgets them.
func (st *store) take() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	taken := make([]string, 0, len(st.dirty))
	for topic := range st.dirty {
		taken = append(taken, topic)
	}
	clear(st.dirty)
	st.taken = len(taken)
	return taken
}

// How often a flush that failed is tried, and how often a quiet store looks
// whether its file is still there.
const (
	retryFirst = time.Second
	retryLast  = 30 * time.Second
	lookAfter  = time.Minute
)

// run flushes until done is closed. What cannot be written, as on a full disk,
// is tried again, and the house goes on without.
func (st *store) run(done <-chan struct{}) {
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	var told error
	wait := st.every
	for {
		select {
		case <-done:
			return
		case <-st.wake:
		case <-look.C:
		}
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		err := st.turn()
		if newer(told, err) {
			told = err
			st.tell(err)
		}
		if err == nil {
			wait = st.every
			continue
		}
		wait = min(max(2*wait, retryFirst), retryLast)
		st.poke()
	}
}

// newer tells whether there is more to say than was told: trouble begins, is
// another or grave by comparison, or ends.
func newer(told, now error) bool {
	var before, after *StoreError
	if !errors.As(told, &before) || !errors.As(now, &after) {
		return told != now
	}
	return before.Full != after.Full || after.Waiting >= 2*before.Waiting && after.Waiting > before.Waiting
}

func (st *store) tell(err error) {
	if err != nil {
		st.log.Error().Err(err).Msg("retained messages are not written to the disk, trying again")
	} else {
		st.log.Info().Str("path", st.path).Msg("retained messages are written to the disk again")
	}
	if st.trouble != nil {
		st.trouble(err)
	}
}

// turn writes what is dirty, and goes on with a new file if there is to be one.
func (st *store) turn() error {
	st.writing.Lock()
	defer st.writing.Unlock()
	if st.closed {
		return nil
	}
	err := st.flush()
	if err == nil {
		err = st.tend()
	}
	if err != nil {
		err = st.described(err)
	}
	st.show()
	st.note(err)
	return err
}

// flush writes what is dirty. After an error it is dirty again.
func (st *store) flush() error {
	if !st.volume.closed && !st.volume.inPlace() {
		st.log.Warn().Str("path", st.path).Msg("the store's file was taken away: it is written anew")
		_ = st.volume.close()
	}
	if st.volume.closed {
		return nil // tend makes a new one
	}
	waiting := st.take()
	for left := waiting; len(left) > 0; {
		n, err := st.volume.bring(left, st.current)
		if err != nil {
			st.touch(left...)
			if st.volume.closed {
				st.log.Warn().Err(err).Str("path", st.path).Msg("the store's file is not trusted any more: it is written anew")
				return nil
			}
			return err
		}
		left = left[n:]
	}
	if st.rewrite != nil {
		st.rewrite.again = append(st.rewrite.again, waiting...)
	}
	return nil
}

// tend writes a new file if that is wanted: a step at a time, or all of it when
// the old one is of no use.
func (st *store) tend() error {
	needed := st.volume.closed
	if !needed && st.rewrite == nil && !st.worthwhile() {
		return nil
	}
	var err error
	if st.rewrite == nil {
		err = st.begin()
	}
	for err == nil && st.rewrite != nil {
		if err = st.step(); !needed {
			break
		}
	}
	switch {
	case err == nil && st.rewrite != nil:
		st.poke()
	case err != nil && !needed && !st.volume.closed: // the old one does as well
		st.log.Warn().Err(err).Str("path", st.path).Msg("the store is not compacted, trying again in an hour")
		st.resting = time.Now().Add(compactPause)
		return nil
	}
	return err
}

// described adds to an error what somebody has to know who is to mend it.
func (st *store) described(err error) error {
	e := &StoreError{Path: st.path, Full: full(err), Err: err}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = at.Err // its path may be the name that the file had when it was new
	}
	st.mu.Lock()
	e.Waiting = len(st.dirty)
	e.Need = 64 << 10
	for topic := range st.dirty {
		if pk, ok := st.current(topic); ok {
			e.Need += int64(len(topic) + len(pk.Payload) + recordHead)
		}
	}
	st.mu.Unlock()
	e.Need = compacted(2 * e.Need) // a page is written whole, and with it those that point to it
	if st.volume.closed {
		e.Need += compacted(st.volume.live)
	}
	return e
}

// show keeps what figures tell.
func (st *store) show() {
	size, live := st.volume.size(), compacted(st.volume.live)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.shown.Path, st.shown.Bytes, st.shown.Live = st.path, size, live
}

// note keeps how a turn ended.
func (st *store) note(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.taken = 0
	if err != nil {
		st.shown.Trouble = err.Error()
		return
	}
	st.shown.Trouble, st.shown.Flushed = "", time.Now()
}

// figures may be called at any time, also when there is no store.
func (st *store) figures() StoreFigures {
	if st == nil {
		return StoreFigures{}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	now := st.shown
	now.Waiting = len(st.dirty) + st.taken
	return now
}

// close writes what is left and closes the file.
func (st *store) close() error {
	st.writing.Lock()
	defer st.writing.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	if !st.volume.closed {
		st.drop() // a compaction can wait
	}
	err := st.flush()
	if err == nil && st.volume.closed {
		err = st.tend()
	}
	if err != nil {
		err = st.described(err)
	}
	return errors.Join(err, st.volume.close())
}
