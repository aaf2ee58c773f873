package joining

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"dominion/identity"
)

const (
	longestFile = 1 << 20
	lockWait    = 5 * time.Second // a lock is held for milliseconds
	lockTurn    = 10 * time.Millisecond
)

// diskError is a file that could not be written or read.
type diskError struct{ error }

func (e diskError) Unwrap() error { return e.error }

// isDisk tells errors of the disk from others.
func isDisk(err error) bool {
	var ours diskError
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	return errors.As(err, &ours) || errors.As(err, &path) || errors.As(err, &link) || errors.As(err, &call)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	if err == nil && len(content) > longestFile {
		err = fmt.Errorf("%s is longer than %d KiB", path, longestFile>>10)
	}
	return content, err
}

// writeFile writes a secret whole or not at all, for the owner of the directory.
func writeFile(path string, content []byte) error { return identity.WriteWhole(path, content, 0o600) }

// lockFile keeps others, in this process or another, out until it is unlocked.
func lockFile(path string) (unlock func(), err error) {
	f, err := identity.OpenLock(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-time.After(lockTurn):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%s is held by another process for more than %v", path, lockWait)
		}
	}
}
