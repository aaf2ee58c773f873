package device

import (
	"os"
	"slices"
	"strings"

	"dominion/device/notify"
	"dominion/device/process"
	"dominion/topics"
)

// strays are runs of a former agent that the ledger knows nothing of, because
// it was damaged or deleted. Their processes are found by their marks: there
// are never two copies.
func (a *Agent) strays(known []entry) []entry {
	starts := process.Starts(notify.Variable)
	var found []entry
	for _, name := range a.names() {
		for _, start := range starts[a.work.socketOf(name)] {
			run := strings.TrimSuffix(start, stopMark)
			if !slices.ContainsFunc(known, func(e entry) bool { return e.Start == run }) {
				found = append(found, entry{Service: name, Start: start, Step: stepStart})
			}
		}
	}
	return found
}

// names are all services that may be here: those that were known, and those on
// the disk.
func (a *Agent) names() []topics.Service {
	var all []topics.Service
	for name := range a.units {
		all = append(all, name)
	}
	entries, _ := os.ReadDir(a.cfg.ServicesDir)
	for _, e := range entries {
		if name := topics.Service(e.Name()); name.Check() == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
