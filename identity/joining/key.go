package joining

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dominion/identity"
)

const joiningKey = "joining.key"

// KeepKey is the key to join with: it is made and kept in dir (0600) before the
// first try, so that a full disk shows before the code is spent, and is the
// same at the next. DropKey it when the membership was saved.
func KeepKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, joiningKey)
	key, err := readFile(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = identity.NewKey(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := writeFile(path, key); err != nil {
		return nil, fmt.Errorf("keep the key to join with: %w", err)
	}
	return key, nil
}

// DropKey removes what KeepKey kept.
func DropKey(dir string) error {
	if err := os.Remove(filepath.Join(dir, joiningKey)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
