package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dominion/identity"
	"dominion/topics"
)

// UserData is this user's directory for the data of programs:
// $XDG_DATA_HOME, else ~/.local/share.
func UserData() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find this user's data directory: %w (name one with --data)", err)
	}
	return filepath.Join(home, ".local", "share"), nil
}

// Data is a program's data directory, which it has for itself.
type Data struct {
	Path string
	ID   topics.MachineID // of this machine, made at the first use, in the file machine-id
	lock *os.File
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("in use")

// MachineID is the machine's id in a data directory, which is made if it is not
// there; OpenData's too. Who has the directory does not matter.
func MachineID(path string) (topics.MachineID, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", unusable(path, err)
	}
	id, err := machineID(filepath.Join(path, "machine-id"))
	if err != nil {
		return "", unusable(path, err)
	}
	return id, nil
}

// OpenData makes a data directory if there is none, takes it for this process
// alone, and reads the machine's id. Errors name the path and the remedy.
func OpenData(path string) (*Data, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unusable(path, err)
	}
	lock, err := hold(path)
	if err != nil {
		return nil, err
	}
	id, err := machineID(filepath.Join(path, "machine-id"))
	if err != nil {
		lock.Close()
		return nil, unusable(path, err)
	}
	return &Data{path, id, lock}, nil
}

// Close gives the directory free.
func (d *Data) Close() error { return d.lock.Close() }

const lockPatience = 2 * time.Second

// hold takes the lock file. The lock ends with the process, however it ends;
// the pid in it is for people.
func hold(path string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, "in-use"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, unusable(path, err)
	}
	// A process that was killed may leave the lock to a child of its own for a
	// moment: one that it had just begun to start.
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(50 * time.Millisecond) {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		defer lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, unusable(path, err)
		}
		owner := make([]byte, 16)
		n, _ := lock.ReadAt(owner, 0)
		return nil, fmt.Errorf("data directory %s is %w by process %s (stop that one, or name another directory with --data)", path, ErrInUse, strings.TrimSpace(string(owner[:n])))
	}
	// As long as any, in the place of the one before: a disk that is full has room
	// for that, and if not, it keeps no machine from booting.
	_, err = lock.WriteAt(fmt.Appendf(nil, "%-15d\n", os.Getpid()), 0)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		lock.Close()
		return nil, unusable(path, err)
	}
	return lock, nil
}

func unusable(path string, err error) error {
	remedy := "name another with --data"
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		remedy = "make it writable for this user, or " + remedy
	case errors.Is(err, syscall.ENOSPC):
		remedy = "make room there, or " + remedy
	}
	return fmt.Errorf("data directory %s cannot be used: %w (%s)", path, err, remedy)
}

// machineID reads the id, or makes one. An unreadable one is made anew: then
// this machine is a stranger that bears a known name, which heals in 12 s.
func machineID(path string) (topics.MachineID, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := strings.TrimSpace(string(content))
	if topics.CheckName(id) == nil {
		return topics.MachineID(id), nil
	}
	id = topics.NewID(26)
	return topics.MachineID(id), WriteFile(path, []byte(id+"\n"))
}

// WriteFile writes a file whole or not at all, and flushes it to the disk. What
// root writes belongs to whoever has the directory: a program that runs as a
// user of its own must be able to read what was typed with sudo.
func WriteFile(path string, content []byte) error { return identity.WriteWhole(path, content, 0o600) }
