package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"dominion/cmd/dominion/setup"
	"dominion/configs"
)

// errMeanwhile is a configuration file that somebody else changed.
var errMeanwhile = errors.New("was changed by somebody else meanwhile (nothing was added: type it again)")

// appendEntry adds an entry to the end of a configuration file. The new file
// is read as the leader would before it takes the old one's place: it is
// there whole and right, or not at all. Old is what was read of it before.
func appendEntry(path string, old []byte, entry string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	release, err := alone(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer release()
	now, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(now) != string(old) {
		return fmt.Errorf("%s %w", path, errMeanwhile)
	}
	return replaceFile(path, setup.Append(string(old), entry))
}

// alone keeps others that add to a file of that directory away.
func alone(dir string) (release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// replaceFile puts a checked text in the place of a configuration file, with
// its mode and owner.
func replaceFile(path, text string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return putFile(path, text, func(f *os.File) error {
		err := f.Chmod(info.Mode().Perm())
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil && os.Geteuid() == 0 {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
		return err
	})
}

// newFile makes a configuration file, which holds no secret, of a checked text.
func newFile(path, text string) error {
	return putFile(path, text, func(f *os.File) error { return f.Chmod(0o644) })
}

// putFile writes a configuration file whole or not at all, and only one that
// the leader would take.
func putFile(path, text string, dress func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err == nil {
		err = dress(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := checkedAs(f.Name(), path); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// checkedAs reads a file as the leader would, and reports its faults as those
// of the path that it is to have.
func checkedAs(temporary, path string) error {
	_, err := checkFile(temporary, false)
	var faults configs.Errors
	if !errors.As(err, &faults) {
		return err
	}
	for _, fault := range faults {
		var placed *configs.Error
		if errors.As(fault, &placed) && placed.Where == temporary {
			placed.Where = path
		}
	}
	return err
}
