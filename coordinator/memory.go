package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dominion/topics"
)

// memory is what the leader keeps on its own disk beside the bus: the house's
// identity, its highest term, the domains it knows, the operator's words.
type memory struct {
	House    topics.HouseID                        `json:"house"`
	Term     uint64                                `json:"term"`
	Domains  []topics.Node                         `json:"domains,omitempty"`
	Services map[topics.Service]topics.ServiceWord `json:"services,omitempty"`
	Drains   map[topics.Node]topics.DomainWord     `json:"drains,omitempty"`
	Removed  map[topics.Service]bool               `json:"removed,omitempty"`
}

const memoryFile = "coordinator.json"

// HouseIn is the house that a leader's data directory is of, "" while it is not
// known: no leader ever ran there, or the file cannot be read.
func HouseIn(dir string) topics.HouseID {
	var read memory
	text, err := os.ReadFile(filepath.Join(dir, memoryFile))
	if err != nil || json.Unmarshal(text, &read) != nil || topics.CheckName(string(read.House)) != nil {
		return ""
	}
	return read.House
}

// openMemory reads the data directory's file. An unreadable one is moved
// aside and its new name returned: the house is rebuilt from the bus.
func openMemory(dir string, now time.Time) (m memory, aside string, err error) {
	m = memory{Services: map[topics.Service]topics.ServiceWord{}, Drains: map[topics.Node]topics.DomainWord{}, Removed: map[topics.Service]bool{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, "", fmt.Errorf("make the data directory: %w (choose another with --data)", err)
	}
	path := filepath.Join(dir, memoryFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, "", m.save(dir) // so that a directory that cannot be written is found now
	}
	if err != nil {
		return m, "", fmt.Errorf("read what the leader keeps: %w", err)
	}
	var read memory
	if err := json.Unmarshal(text, &read); err != nil {
		aside = path + ".corrupt-" + now.UTC().Format("20060102T150405Z")
		if err := os.Rename(path, aside); err != nil {
			return m, "", fmt.Errorf("move the unreadable %s aside: %w", path, err)
		}
		return m, aside, m.save(dir)
	}
	m.House, m.Term, m.Domains = read.House, read.Term, read.Domains
	if read.Services != nil {
		m.Services = read.Services
	}
	if read.Removed != nil {
		m.Removed = read.Removed
	}
	if read.Drains != nil {
		m.Drains = read.Drains
	}
	return m, "", nil
}

// save writes the file whole and durably: a new one, synced, then renamed.
func (m *memory) save(dir string) error {
	slices.Sort(m.Domains)
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("write what the leader keeps: %w", err)
	}
	path := filepath.Join(dir, memoryFile)
	if err := writeDurably(path, append(text, '\n')); err != nil {
		return fmt.Errorf("write what the leader keeps: %w (is the disk full, the directory writable?)", err)
	}
	return nil
}

func writeDurably(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
