package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"dominion/device/process"
	"dominion/topics"
)

// writeFile replaces a file as a whole: whoever reads it finds the old or the
// new content. With sync it is on the disk when writeFile returns.
func writeFile(path string, content []byte, sync bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(content)
	if sync && err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if sync && err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes a rename in the directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// readJSON reads a file of the agent's own. A missing one leaves v as it is;
// one that cannot be read is moved aside, so that it is seen and not lost.
func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		if rerr := os.Rename(path, path+".corrupt"); rerr != nil {
			return rerr
		}
		return fmt.Errorf("%s is not readable (%w): moved aside to %s.corrupt", path, err, filepath.Base(path))
	}
	return nil
}

func mustJSON(v any) []byte {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only a type that cannot be written gets here
	}
	return append(raw, '\n')
}

// memory is desired.json: what this domain was last told.
type memory struct {
	House topics.HouseID `json:"house,omitempty"`
	// Document is the accepted document as it came.
	Document json.RawMessage `json:"document,omitempty"`
	// Kept are services of former documents that this one does not speak of,
	// or speaks of in a way that was refused.
	Kept map[topics.Service]topics.Wanted `json:"kept,omitempty"`
	// Known are services that some document named, and that are reported for
	// as long as they are on this machine.
	Known []topics.Service `json:"known,omitempty"`
}

// ledger is the folder runs/: one file for each service that has, or may
// have, processes. A file belongs to the one goroutine that runs its service.
type ledger string

// entry is one run. PID 0 means that the agent was about to start it.
type entry struct {
	Service topics.Service `json:"service"`
	Start   string         `json:"start"`
	Runner  string         `json:"runner,omitempty"`
	Outside string         `json:"outside,omitempty"` // what its keeper calls it, of one that a keeper keeps
	Step    step           `json:"step"`
	process.Identity

	Port         int                              `json:"port,omitempty"`
	Rev          string                           `json:"rev,omitempty"`
	Version      string                           `json:"version,omitempty"`
	Dependencies []topics.Service                 `json:"dependencies,omitempty"`
	Endpoints    map[topics.Service]topics.Target `json:"endpoints,omitempty"`
	Rule         topics.Readiness                 `json:"rule"`
	Live         *topics.Liveness                 `json:"live,omitempty"`
	Host         string                           `json:"host,omitempty"` // where it was reached when it was started
	Mark         string                           `json:"mark,omitempty"` // of the file that it is to write, from before
	Ready        bool                             `json:"ready"`
	Since        topics.Stamp                     `json:"since,omitempty"`
	Restarts     int                              `json:"restarts"`
	Offset       int64                            `json:"offset"`           // where in the output file the run begins
	Stop         []string                         `json:"stop,omitempty"`   // the command that stops it politely
	Status       string                           `json:"status,omitempty"` // the file in which make's shell writes
}

// step says which of a service's programs a run is.
type step string

const (
	stepBuild step = "build"
	stepStart step = "start"
)

func (l ledger) path(name topics.Service) string {
	return filepath.Join(string(l), string(name)+".json")
}

// put needs no sync: what a power cut takes from the file it took from the
// processes too.
func (l ledger) put(e entry) error { return writeFile(l.path(e.Service), mustJSON(e), false) }

func (l ledger) remove(name topics.Service) error {
	err := os.Remove(l.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// all reads the ledger; what is unreadable is moved aside and reported.
func (l ledger) all() ([]entry, error) {
	files, err := os.ReadDir(string(l))
	if err != nil {
		return nil, err
	}
	var entries []entry
	var bad []error
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || topics.Service(name).Check() != nil {
			continue
		}
		var e entry
		if err := readJSON(l.path(topics.Service(name)), &e); err != nil {
			bad = append(bad, err)
			continue
		}
		if e.Service == topics.Service(name) && e.Start != "" {
			entries = append(entries, e)
		}
	}
	return entries, errors.Join(bad...)
}
