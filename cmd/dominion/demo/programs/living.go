package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dominion/topics"
)

// Living is one process of a service that lives now.
type Living struct {
	Service topics.Service
	Domain  topics.Node
	Start   string // the START_ID it was started with
	PID     int
}

const runs = "runs"

// enrol writes a process into the folder's list; it stays there as long as the
// file is open.
func enrol(folder string, l Living) (*os.File, error) {
	dir := filepath.Join(folder, runs)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	name := strings.Join([]string{string(l.Service), string(l.Domain), l.Start, strconv.Itoa(l.PID)}, ".")
	return Hold(filepath.Join(dir, name), "")
}

// Census lists the services' processes that live now and were started with
// this folder, by service, domain and pid. It asks the kernel's locks, so it
// counts right also when a process was killed a moment ago.
func Census(folder string) ([]Living, error) {
	entries, err := os.ReadDir(filepath.Join(folder, runs))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Living
	for _, entry := range entries {
		parts := strings.Split(entry.Name(), ".")
		if len(parts) != 4 {
			continue // on its way to its name
		}
		pid, err := strconv.Atoi(parts[3])
		if err != nil {
			continue
		}
		held, err := Held(filepath.Join(folder, runs, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("count the services: %w", err)
		}
		if held {
			all = append(all, Living{topics.Service(parts[0]), topics.Node(parts[1]), parts[2], pid})
		}
	}
	slices.SortFunc(all, func(a, b Living) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all, nil
}
