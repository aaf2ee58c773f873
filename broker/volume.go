package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
)

// bucketName is the one bucket of a file: topic to record, see record.go.
const bucketName = "retained"

// One transaction writes at most this much; more takes several.
const (
	batchTopics = 2000
	batchBytes  = 4 << 20
)

// A file larger than 1 MiB grows by so much at a time; bbolt's 16 MiB would
// be most of a house's file.
const growBytes = 1 << 20

var (
	// errClosed is of a volume on which a transaction failed in a way that leaves
	// open what the disk has: nothing more is written to it.
	errClosed = errors.New("this file is written no more")
	// errNothing ends a transaction that has nothing to write.
	errNothing = errors.New("nothing to write")
)

// volume is one bbolt file, and what it holds.
type volume struct {
	path   string
	db     *bbolt.DB
	file   *os.File
	known  map[string]entry // by topic
	live   int64            // bytes of their records and topics
	sum    tally            // of them all
	closed bool
}

// entry is what is on the disk for one topic.
type entry struct {
	hash uint64
	size int
}

// tally is the sum of the hashes of all that a file holds. It is kept as the
// sequence number of the bucket, so that pages of several transactions, each
// of which is sound, are not taken for one: a disk that says that it has
// written what it has not leaves those. 0 says nothing.
type tally uint64

func (t *tally) add(e entry)    { *t += tally(e.hash) }
func (t *tally) remove(e entry) { *t -= tally(e.hash) }

// openVolume has bbolt work on a file that surveyFile found sound, or that is
// empty. It closes the file if it cannot.
func openVolume(file *os.File) (*volume, error) {
	v := &volume{path: file.Name(), file: file, known: map[string]entry{}}
	err := soundly(func() (err error) {
		v.db, err = bbolt.Open(v.path, 0o600, &bbolt.Options{
			Timeout:      time.Second, // the lock is ours already
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return file, nil },
		})
		if err != nil {
			return err
		}
		v.db.AllocSize = growBytes
		return v.db.Update(func(tx *bbolt.Tx) error {
			if tx.Bucket([]byte(bucketName)) != nil {
				return errNothing
			}
			_, err := tx.CreateBucket([]byte(bucketName))
			return err
		})
	})
	if err != nil && !errors.Is(err, errNothing) {
		v.abandon(err)
		return nil, err
	}
	return v, nil
}

// newVolume makes a file, in the place of one that is there.
func newVolume(path string) (*volume, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	v, err := openVolume(file)
	if err != nil {
		_ = os.Remove(path)
	}
	return v, err
}

// soundly runs f, in which bbolt takes the file for memory: what happens where
// it is none, because the disk cannot read it or somebody cut it, becomes
// errCorrupt. (A SIGBUS is then a panic of this goroutine; bbolt has no other.)
func soundly(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	return f()
}

// remember notes what is on the disk.
func (v *volume) remember(found map[string]stored) {
	for topic, m := range found {
		v.known[topic] = m.entry
		v.live += int64(m.entry.size)
		v.sum.add(m.entry)
	}
}

// bring makes the disk agree with what is retained on topics, from the first on:
// as many as one transaction takes. It returns how many that were.
func (v *volume) bring(list []string, current func(string) (packets.Packet, bool)) (int, error) {
	if v.closed {
		return 0, errClosed
	}
	b := batch{puts: map[string][]byte{}, now: map[string]entry{}}
	n := 0
	for n < len(list) && !b.full() {
		v.change(&b, list[n], current)
		n++
	}
	if err := v.commit(b); err != nil {
		return 0, err
	}
	return n, nil
}

// batch is what one transaction does to the disk.
type batch struct {
	puts    map[string][]byte
	now     map[string]entry
	deletes []string
	bytes   int
}

func (b *batch) full() bool {
	return len(b.puts)+len(b.deletes) >= batchTopics || b.bytes >= batchBytes
}

// change adds a topic to a batch, if the disk differs from the memory.
func (v *volume) change(b *batch, topic string, current func(string) (packets.Packet, bool)) {
	old, stored := v.known[topic]
	pk, retained := current(topic)
	if !retained {
		if stored {
			b.deletes = append(b.deletes, topic)
		}
		return
	}
	value := encodeRecord(pk)
	hash := recordHash(value)
	if stored && hash == old.hash {
		return
	}
	b.puts[topic], b.now[topic] = value, entry{hash, len(topic) + len(value)}
	b.bytes += len(topic) + len(value)
}

func (v *volume) commit(b batch) error {
	if len(b.puts)+len(b.deletes) == 0 {
		return nil
	}
	sum := v.sum
	for topic := range b.puts {
		sum.remove(v.known[topic])
		sum.add(b.now[topic])
	}
	for _, topic := range b.deletes {
		sum.remove(v.known[topic])
	}
	err := soundly(func() error {
		return v.db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte(bucketName))
			if err := bucket.SetSequence(uint64(sum)); err != nil {
				return err
			}
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
		if !harmless(err) {
			v.abandon(err)
		}
		return err
	}
	v.sum = sum
	for topic, e := range b.now {
		v.live += int64(e.size - v.known[topic].size)
		v.known[topic] = e
	}
	for _, topic := range b.deletes {
		v.live -= int64(v.known[topic].size)
		delete(v.known, topic)
	}
	return nil
}

// harmless tells whether a transaction failed at writing to pages that are free:
// then bbolt rolls it back and goes on as before. After anything else, fsync
// above all, nobody knows what the disk has: Linux reports a page that it could
// not write once, and then takes it for written.
func harmless(err error) bool {
	var write *fs.PathError
	atWriting := errors.As(err, &write) || strings.HasPrefix(err.Error(), "file resize error")
	return atWriting && full(err) && !errors.Is(err, errCorrupt)
}

// full tells whether there is no place, as the disk, the quota or the limit of
// the process has it.
func full(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) || err != nil && strings.Contains(err.Error(), e.Error()) { // bbolt wraps some as text
			return true
		}
	}
	return false
}

// size is how large the file is; 0 when that cannot be told.
func (v *volume) size() int64 {
	if v.closed {
		return 0
	}
	info, err := v.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// inPlace tells whether the volume's file is still the one at its path.
func (v *volume) inPlace() bool {
	there, err := os.Lstat(v.path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	own, err := v.file.Stat()
	return err == nil && os.SameFile(there, own)
}

// moveTo gives the file another name, so that it survives a power cut.
func (v *volume) moveTo(path string) error {
	if err := os.Rename(v.path, path); err != nil {
		return err
	}
	v.path = path
	return syncFolder(filepath.Dir(path))
}

// syncFolder puts the names in a folder on the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// abandon ends a volume after an error. After a panic bbolt may hold its locks
// for ever, so that only the file is closed; its memory map stays.
func (v *volume) abandon(why error) {
	if errors.Is(why, errCorrupt) || v.db == nil {
		v.closed = true
		if v.file != nil {
			_ = v.file.Close() // bbolt has closed it, unless it panicked
		}
		return
	}
	_ = v.close()
}

func (v *volume) close() error {
	if v.closed {
		return nil
	}
	v.closed = true
	return soundly(v.db.Close)
}
