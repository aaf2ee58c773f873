package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"dominion/cmd/program"
)

func (m machine) uninstall(ctx context.Context, o Options) error {
	if err := m.may(o, "uninstall"); err != nil {
		return err
	}
	here, err := os.ReadFile(m.path(m.unitPath(o.Part)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cannot("uninstall "+o.Part.Name, err)
	}
	if len(here) > 0 && !ours(o.Part, here) {
		return program.Fail(program.CannotRun, "%s is not one that Dominion wrote, and is left alone", m.unitPath(o.Part))
	}
	if len(here) == 0 && !m.exists(m.packagedPath(o.Part)) {
		fmt.Fprintf(o.Out, "%s is not installed\n", o.Part.Name)
		m.tellKept(o)
		return nil
	}
	if err := m.stop(ctx, o); err != nil {
		return cannot("stop "+o.Part.Name, err)
	}
	if len(here) > 0 {
		if err := os.Remove(m.path(m.unitPath(o.Part))); err != nil {
			return cannot("remove the unit", err)
		}
	}
	if err := m.systemctl(ctx, "daemon-reload"); err != nil {
		return cannot("remove the unit", err)
	}
	fmt.Fprintf(o.Out, "%s runs no more, and not at the next boot\n", o.Part.Name)
	m.tellKept(o)
	return nil
}

// lastWord is, for as long as the unit is being stopped, the signal that ends
// the services too: SIGTERM, the usual one, keeps them.
const lastWord = "[Service]\nKillSignal=SIGINT\n"

func (m machine) stop(ctx context.Context, o Options) (err error) {
	if m.systemctl(ctx, "is-active", "--quiet", o.Part.File()) == nil {
		dir := filepath.Join("/run/systemd/system", o.Part.File()+".d")
		if err := m.write(filepath.Join(dir, "last-word.conf"), []byte(lastWord), 0o644); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(m.path(dir))) }()
		if err := m.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	return m.systemctl(ctx, "disable", "--now", "--quiet", o.Part.File())
}

// tellKept says what of the part is still there.
func (m machine) tellKept(o Options) {
	paths := []string{o.Part.Config, o.Part.StatePath()}
	if program, err := place(m.executable); err == nil {
		paths = append(paths, program)
	}
	paths = append(paths, filepath.Join("/etc/systemd/system", o.Part.File()+".d"))
	var kept []string
	for _, path := range paths {
		if m.exists(path) {
			kept = append(kept, path)
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(o.Out, "kept: %s\n", strings.Join(kept, ", "))
	}
}
