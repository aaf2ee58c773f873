package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// longestFile bounds what is read: a house has tens of nodes, not thousands.
const longestFile = 4 << 20

var errTooLong = errors.New("it is longer than 4 MiB")

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	if err == nil && len(content) > longestFile {
		err = errTooLong
	}
	return content, err
}

// WriteWhole writes a file whole or not at all, and flushes it and its
// directory to the disk. It gives the file to whoever has the directory, so that
// what root writes can be read by the leader's own user.
func WriteWhole(path string, content []byte, mode fs.FileMode) (err error) {
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
	if err := fill(f, content, mode, dir); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// fill writes a file, flushes and closes it.
func fill(f *os.File, content []byte, mode fs.FileMode, dir string) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = giveTo(f, dir)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// giveDirectory gives a new directory to whoever has the one that it is in.
func giveDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return giveTo(d, filepath.Dir(dir))
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
	f, err := OpenLock(filepath.Join(dir, "lock"))
	if err != nil {
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

// OpenLock opens a lock file, made if there is none. Root follows no link there,
// and gives away only what it has made: the directory is another user's.
func OpenLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := giveTo(f, filepath.Dir(path)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// file is a JSON file that another process may change. A value that was read
// is shared and must not be changed.
type file[T any] struct {
	path  string
	check func(*T) error

	mu    sync.Mutex // guards what follows
	value *T         // as last read without an error
	err   error      // of the file as it was last seen
	seen  fs.FileInfo
	// held keeps the file that was read open, so that no other one can have its
	// inode: one that was put in its place is always told apart.
	held *os.File
}

// read is what the file holds. One that is damaged or lost while this process
// runs ends nobody: what it held before goes on, and trouble says why.
func (f *file[T]) read() (*T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	if f.value == nil {
		return nil, f.err
	}
	return f.value, nil
}

// trouble is why the file as it is cannot be read, or nil.
func (f *file[T]) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return f.err
}

// latest is what the file holds now, for who wants to change it.
func (f *file[T]) latest() (*T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return f.value, f.err
}

// look reads the file if it is not the one that was last seen. f.mu is held.
func (f *file[T]) look() {
	if now, err := os.Stat(f.path); err == nil && f.held != nil && unchanged(f.seen, now) {
		return
	}
	if f.held != nil {
		f.held.Close()
		f.held = nil
	}
	opened, err := os.Open(f.path)
	if err == nil {
		if f.seen, err = opened.Stat(); err != nil {
			opened.Close()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.err = damagedList(f.path, errMissing)
	case err != nil: // not kept: the next call tries again
		f.err = fmt.Errorf("read who belongs to the house: %w", err)
	default:
		f.held = opened
		f.take(opened)
	}
}

func (f *file[T]) take(opened *os.File) {
	value := new(T)
	content, err := readAll(opened)
	if err == nil && !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		err = errors.New("it holds no list")
	}
	if err == nil {
		err = json.Unmarshal(content, value)
	}
	if err == nil {
		err = f.check(value)
	}
	if err != nil {
		f.err = damagedList(f.path, err)
		return
	}
	f.value, f.err = value, nil
}

func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func damagedList(path string, err error) error {
	return fmt.Errorf("%s is damaged: %w (put it back from a backup, or write {} into it: who stood in it must then join, or be added, again)", path, err)
}

// change reads the file, changes it and writes it, with nobody in between.
func (f *file[T]) change(do func(*T) error) error {
	unlock, err := lock(filepath.Dir(f.path))
	if err != nil {
		return unwritable(filepath.Dir(f.path), err)
	}
	defer unlock()
	current, err := f.latest()
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
	if err := WriteWhole(f.path, append(content, '\n'), 0o600); err != nil {
		return unwritable(filepath.Dir(f.path), err)
	}
	return nil
}
