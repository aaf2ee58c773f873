package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// longestFile bounds what is read: a house has tens of nodes, not thousands.
const longestFile = 4 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	if err == nil && len(content) > longestFile {
		err = fmt.Errorf("%s is longer than %d MiB", path, longestFile>>20)
	}
	return content, err
}

// writeWhole writes a file whole or not at all, and flushes it and its
// directory to the disk. It gives the file to whoever has the directory, so that
// what root writes can be read by the leader's own user.
func writeWhole(path string, content []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, written := f.Write(content)
	if err := errors.Join(written, f.Chmod(mode), giveTo(f, dir), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func giveTo(f *os.File, dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// lock keeps other processes from changing the files of a directory until the
// returned function is called, or this process ends.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := giveTo(f, dir); err != nil {
		f.Close()
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// file is a JSON file that another process may change. A value that was read
// is shared and must not be changed.
type file[T any] struct {
	path  string
	check func(*T) error

	mu    sync.Mutex // guards what follows
	value *T
	seen  state
}

// state is what tells that a file is another one than before.
type state struct {
	modified time.Time
	size     int64
	inode    uint64
}

func stateOf(path string) (state, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	s := state{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

// read is what the file holds; nothing when there is none.
func (f *file[T]) read() (*T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := stateOf(f.path)
	if err == nil && f.value != nil && now == f.seen {
		return f.value, nil
	}
	var content []byte
	if err == nil && now != (state{}) {
		content, err = readBounded(f.path)
	}
	if err != nil {
		return nil, fmt.Errorf("read who belongs to the house: %w", err)
	}
	value := new(T)
	if len(content) > 0 {
		if err := json.Unmarshal(content, value); err != nil {
			return nil, damagedList(f.path, err)
		}
	}
	if err := f.check(value); err != nil {
		return nil, damagedList(f.path, err)
	}
	f.value, f.seen = value, now
	return value, nil
}

func damagedList(path string, err error) error {
	return fmt.Errorf("%s is damaged: %w (put it back from a backup, or move it away: who stands in it must then join, or be added, again)", path, err)
}

// change reads the file, changes it and writes it, with nobody in between.
func (f *file[T]) change(do func(*T) error) error {
	unlock, err := lock(filepath.Dir(f.path))
	if err != nil {
		return unwritable(filepath.Dir(f.path), err)
	}
	defer unlock()
	current, err := f.read()
	if err != nil {
		return err
	}
	content, err := json.Marshal(current)
	if err != nil {
		return err
	}
	next := new(T)
	if err := json.Unmarshal(content, next); err != nil { // a copy, so that readers keep theirs
		return err
	}
	if err := f.check(next); err != nil {
		return err
	}
	if err := do(next); err != nil {
		return err
	}
	if content, err = json.MarshalIndent(next, "", " "); err != nil {
		return err
	}
	if err := writeWhole(f.path, append(content, '\n'), 0o600); err != nil {
		return unwritable(filepath.Dir(f.path), err)
	}
	return nil
}
