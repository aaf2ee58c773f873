package broker

import (
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// storeFile is the name of the store in Options.Data.
const storeFile = "retained.db"

// One transaction writes at most this much; more takes several.
const (
	batchTopics = 2000
	batchBytes  = 4 << 20
)

// errCorrupt is why a store file is moved aside.
var errCorrupt = errors.New("the store file is damaged")

// store keeps durable retained messages on the disk. Publishers only leave a
// topic's name here; a flush looks up what is retained on it by then, and
// writes what differs from the disk, one transaction and fsync for all. A quiet
// broker writes nothing, and neither does a message that says the same again.
type store struct {
	path    string
	db      *bbolt.DB
	log     zerolog.Logger
	every   time.Duration
	current func(topic string) (packets.Packet, bool) // what is retained now

	mu    sync.Mutex          // guards dirty
	dirty map[string]struct{} // topics that may differ from the disk
	wake  chan struct{}       // has an element when dirty is not empty

	writing sync.Mutex        // guards the file, known and closed
	known   map[string]uint64 // hash of what is on the disk, by topic
	seed    maphash.Seed
	closed  bool
}

// bucketName is the one bucket of the file: topic to record, see record.go.
const bucketName = "retained"

// openStore opens or makes the store in a directory and returns what it holds.
// A damaged file is moved aside, to the path moved, and what could be read of
// it goes into a new one.
func openStore(o Options) (st *store, kept []packets.Packet, moved string, err error) {
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, nil, "", fmt.Errorf("make the data directory: %w (name one that this user may write)", err)
	}
	path := filepath.Join(o.Data, storeFile)
	db, kept, err := loadStore(path)
	if errors.Is(err, errCorrupt) {
		moved = path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
		o.Log.Error().Err(err).Str("moved", moved).Int("saved", len(kept)).
			Msg("the store of retained messages is damaged: moved aside, starting anew; nodes publish their state again")
		if err := os.Rename(path, moved); err != nil {
			return nil, nil, "", fmt.Errorf("move the damaged store aside: %w", err)
		}
		db, _, err = loadStore(path)
	}
	switch {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout):
		return nil, nil, "", fmt.Errorf("open %s: another process has it open (is another dominion running? name another data directory)", path)
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS):
		return nil, nil, "", fmt.Errorf("open the store of retained messages: %w (this user must be able to write %s)", err, o.Data)
	default:
		return nil, nil, "", fmt.Errorf("open the store of retained messages %s: %w", path, err)
	}
	st = &store{
		path:  path,
		db:    db,
		log:   o.Log,
		every: o.FlushEvery,
		dirty: map[string]struct{}{},
		wake:  make(chan struct{}, 1),
		seed:  maphash.MakeSeed(),
		known: make(map[string]uint64, len(kept)),
	}
	for _, pk := range kept {
		if moved != "" {
			st.touch(pk.TopicName)
		} else {
			st.known[pk.TopicName] = recordHash(st.seed, pk)
		}
	}
	return st, kept, moved, nil
}

// loadStore opens a file and reads all of it. With errCorrupt the messages are
// those that were sound, and the file is closed.
func loadStore(path string) (db *bbolt.DB, kept []packets.Packet, err error) {
	var file *os.File
	defer func() {
		if err != nil && file != nil {
			_ = file.Close() // as bbolt does, unless it panicked
		}
	}()
	err = soundly(func() error {
		var err error
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      time.Second,
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		if err != nil {
			return foundCorrupt(err)
		}
		if err = db.Update(func(tx *bbolt.Tx) error {
			if tx.Bucket([]byte(bucketName)) != nil {
				return nil
			}
			_, err := tx.CreateBucket([]byte(bucketName))
			return err
		}); err != nil {
			return err
		}
		bad := 0
		err = db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketName)).ForEach(func(topic, value []byte) error {
				if pk, err := decodeRecord(topic, value); err != nil {
					bad++
				} else {
					kept = append(kept, pk)
				}
				return nil
			})
		})
		if err == nil && bad > 0 {
			err = fmt.Errorf("%w: %d of its %d messages", errCorrupt, bad, bad+len(kept))
		}
		return err
	})
	if err != nil && db != nil {
		_ = soundly(db.Close)
	}
	return db, kept, err
}

// soundly runs f, in which bbolt reads a file as if it were sound memory: what
// happens where it is not becomes errCorrupt.
func soundly(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	return f()
}

// foundCorrupt tells damage from what the operating system refuses.
func foundCorrupt(err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok || errors.Is(err, berrors.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", errCorrupt, err)
}

// touch says that what is retained on a durable topic may have changed.
func (st *store) touch(topic string) {
	st.mu.Lock()
	st.dirty[topic] = struct{}{}
	st.mu.Unlock()
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// run flushes until done is closed. What cannot be written, as on a full disk,
// is tried again, and the house goes on without.
func (st *store) run(done <-chan struct{}) {
	const longest = 30 * time.Second
	wait := st.every
	for {
		select {
		case <-done:
			return
		case <-st.wake:
		}
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		if err := st.flush(); err != nil {
			if wait == st.every {
				st.log.Error().Err(err).Msg("retained messages are not written to the disk, trying again")
			}
			wait = min(max(2*wait, time.Second), longest)
			continue
		}
		if wait != st.every {
			st.log.Info().Str("path", st.path).Msg("retained messages are written to the disk again")
			wait = st.every
		}
	}
}

// flush writes what is dirty. After an error it is dirty again.
func (st *store) flush() error {
	st.writing.Lock()
	defer st.writing.Unlock()
	if st.closed {
		return nil
	}
	st.mu.Lock()
	dirty := st.dirty
	st.dirty = map[string]struct{}{}
	st.mu.Unlock()
	var err error
	batch := newBatch()
	for topic := range dirty {
		if st.change(batch, topic) && batch.full() {
			err = errors.Join(err, st.write(batch))
			batch = newBatch()
		}
	}
	return errors.Join(err, st.write(batch))
}

// batch is what one transaction does to the disk.
type batch struct {
	puts    map[string][]byte
	hashes  map[string]uint64
	deletes []string
	bytes   int
}

func newBatch() *batch { return &batch{puts: map[string][]byte{}, hashes: map[string]uint64{}} }

func (b *batch) full() bool {
	return len(b.puts)+len(b.deletes) >= batchTopics || b.bytes >= batchBytes
}

// change adds a topic to a batch, if the disk differs from the memory.
func (st *store) change(b *batch, topic string) bool {
	hash, stored := st.known[topic]
	pk, retained := st.current(topic)
	if !retained {
		if stored {
			b.deletes = append(b.deletes, topic)
		}
		return stored
	}
	now := recordHash(st.seed, pk)
	if stored && now == hash {
		return false
	}
	value := encodeRecord(pk)
	b.puts[topic], b.hashes[topic] = value, now
	b.bytes += len(topic) + len(value)
	return true
}

func (st *store) write(b *batch) error {
	if len(b.puts)+len(b.deletes) == 0 {
		return nil
	}
	err := soundly(func() error {
		return st.db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte(bucketName))
			for topic, value := range b.puts {
				if err := bucket.Put([]byte(topic), value); err != nil {
					return err
				}
			}
			for _, topic := range b.deletes {
				if err := bucket.Delete([]byte(topic)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		for topic := range b.puts {
			st.touch(topic)
		}
		for _, topic := range b.deletes {
			st.touch(topic)
		}
		return fmt.Errorf("write %s: %w", st.path, err)
	}
	for topic, hash := range b.hashes {
		st.known[topic] = hash
	}
	for _, topic := range b.deletes {
		delete(st.known, topic)
	}
	return nil
}

// close writes what is left and closes the file.
func (st *store) close() error {
	err := st.flush()
	st.writing.Lock()
	defer st.writing.Unlock()
	st.closed = true
	return errors.Join(err, soundly(st.db.Close))
}
