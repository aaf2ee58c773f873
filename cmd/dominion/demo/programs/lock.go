package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Hold makes the file at path with the text in it and locks it for as long as
// the returned file is open; however the process ends, the kernel gives the
// lock back. Nobody ever sees the file unlocked before.
func Hold(path, text string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".hold-*")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, fmt.Errorf("hold %s: %w", path, err)
	}
	return f, nil
}

// Held tells whether a living process holds the file at path. A file that
// does not exist is held by nobody.
func Held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := flock(f, syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look at the lock of %s: %w", path, err)
	}
	return false, nil
}

// untilFree blocks until nobody holds the file at path any more, or it is gone.
func untilFree(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return flock(f, syscall.LOCK_SH)
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
