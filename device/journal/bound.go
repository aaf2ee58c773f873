package journal

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
)

// keepEnd copies the last bytes of a file to another, whole or not at all.
func keepEnd(from *os.File, path string, size int64) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	at := max(0, info.Size()-size)
	_, err = io.Copy(to, io.NewSectionReader(from, at, info.Size()-at))
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// boundAll takes away the oldest files until all together are no more than is
// to be kept; at last it empties the largest that is being written.
func (j *Journal) boundAll() error {
	all := j.files()
	var sum int64
	for _, f := range all {
		sum += f.size
	}
	slices.SortFunc(all, func(a, b file) int {
		switch {
		case a.live != b.live && b.live:
			return -1
		case a.live != b.live:
			return 1
		case a.live:
			return cmp.Compare(b.size, a.size)
		}
		return a.at.Compare(b.at)
	})
	var bad []error
	for _, f := range all {
		if sum <= j.bounds.Total {
			break
		}
		var err error
		if f.live {
			err = os.Truncate(f.path, 0)
		} else {
			err = os.Remove(f.path)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		sum -= f.size
	}
	return errors.Join(bad...)
}
