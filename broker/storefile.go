package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"
)

// storeFile is the name of the store in Options.Data; what is being written and
// will take its place has newSuffix.
const (
	storeFile = "retained.db"
	newSuffix = ".new"
)

// errCorrupt is why a store file is moved aside.
var errCorrupt = errors.New("the store file is damaged")

// found is what was there when the store was opened.
type found struct {
	path   string
	volume *volume // closed when there can be none for now, for the reason why
	why    error
	kept   []packets.Packet
	moved  string // where a damaged file is now
}

// findStore opens or makes the store file in a directory. A damaged one is moved
// aside, and what could be read of it is for a new one. No content and no full
// disk is an error: errors are what somebody has to mend first.
func findStore(dir string, log zerolog.Logger) (found, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return found{}, fmt.Errorf("make the data directory: %w (name one that this user may write)", err)
	}
	path := filepath.Join(dir, storeFile)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	file, err := takeFile(path)
	if err != nil {
		return found{}, err
	}
	f := found{path: path}
	if file != nil {
		if err := f.survey(file, log); err != nil {
			return found{}, err
		}
	}
	if f.volume == nil && f.why == nil {
		f.volume, f.why = newVolume(path + newSuffix)
		if f.why == nil {
			f.why = f.volume.moveTo(path)
		}
		if f.why != nil && f.volume != nil {
			_ = f.volume.close()
		}
	}
	if f.why != nil && !full(f.why) && !errors.Is(f.why, syscall.EIO) {
		return found{}, unopened(path, f.why)
	}
	if f.volume == nil {
		f.volume = &volume{path: path, closed: true}
	}
	// What a compaction left behind that was cut short.
	if err := os.Remove(path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn().Err(err).Msg("an unfinished copy of the store is not removed")
	}
	return f, nil
}

// survey reads a store file, and opens it or moves it aside.
func (f *found) survey(file *os.File, log zerolog.Logger) error {
	path := file.Name()
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return unopened(path, err)
	}
	s := surveyFile(file, info.Size())
	f.kept = make([]packets.Packet, 0, len(s.kept))
	for _, m := range s.kept {
		f.kept = append(f.kept, m.message)
	}
	if s.damage == nil {
		f.volume, err = openVolume(file)
		if err == nil {
			f.volume.remember(s.kept)
			return nil
		}
		if !errors.Is(err, errCorrupt) {
			f.why = err
			return nil
		}
		s.damage = err
	}
	_ = file.Close()
	f.moved = path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
	log.Error().Err(s.damage).Str("moved", f.moved).Int("saved", len(f.kept)).
		Msg("the store of retained messages is damaged: moved aside, starting anew; nodes publish their state again")
	if err := os.Rename(path, f.moved); err != nil {
		return fmt.Errorf("move the damaged store aside: %w (move %s away yourself)", err, path)
	}
	return nil
}

const lockPatience = time.Second

// takeFile opens a store file for this process alone; nil when there is none.
func takeFile(path string) (*os.File, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, unopened(path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open the store of retained messages: %s is no file (move it away, a new one is made)", path)
	case info.Size() == 0:
		return nil, nil // it was made and never written
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, unopened(path, err)
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, unopened(path, err)
	}
	return file, nil
}

// lockFile takes the lock that bbolt takes too, so that nobody writes the file
// while it is read. It waits a moment for a process that is about to end.
func lockFile(file *os.File) error {
	deadline := time.NewTimer(lockPatience)
	defer deadline.Stop()
	again := time.NewTicker(lockPatience / 20)
	defer again.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return err
		}
	}
}

// unopened says what somebody has to mend.
func unopened(path string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("open %s: another process has it open (is another dominion running? name another data directory)", path)
	case errors.Is(err, fs.ErrPermission):
		remedy = fmt.Sprintf(" (this user must be able to write %s and what is in it)", filepath.Dir(path))
	case errors.Is(err, syscall.EROFS):
		remedy = " (the disk is mounted read-only: if nobody meant that, it is failing; look at dmesg)"
	}
	return fmt.Errorf("open the store of retained messages: %w%s", err, remedy)
}
