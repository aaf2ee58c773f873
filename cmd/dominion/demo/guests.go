package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dominion/topics"
)

// guest is a service of the owner's own that the demo's house runs too.
type guest struct {
	name topics.Service
	path string // its directory
}

// readGuests finds the services in a folder: each directory in it with a
// Makefile or a service.toml. "" is no folder.
func readGuests(dir string) ([]guest, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []guest
	for _, entry := range entries {
		g := guest{topics.Service(entry.Name()), filepath.Join(dir, entry.Name())}
		if !g.isService() {
			continue
		}
		if err := g.name.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", g.path, err)
		}
		for _, own := range ownServices() {
			if strings.EqualFold(string(own), string(g.name)) {
				return nil, fmt.Errorf("%s: the demo has a service %s of its own (name the directory otherwise)", g.path, own)
			}
		}
		all = append(all, g)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no directory with a Makefile or a service.toml (name the folder that holds the services' directories)", dir)
	}
	return all, nil
}

func (g guest) isService() bool {
	for _, name := range []string{"Makefile", "service.toml"} {
		if info, err := os.Stat(filepath.Join(g.path, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// settings is its entry in the demo's catalogue: what else is to be said, its
// own service.toml says.
func (g guest) settings() string {
	return fmt.Sprintf("\n[services.%s]\npriority = \"required\"\ninstances = 1\ntraits = [\"compute\"]\n", g.name)
}

// install copies it to where an agent looks for it.
func (g guest) install(services string) error {
	to := filepath.Join(services, string(g.name))
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(g.path))
}
