package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"dominion/cmd/program/unit"
	"dominion/identity"
)

// machine is the one that is changed.
type machine struct {
	files      string // where its file system is: "/"
	root       bool   // this process may change it
	executable string // this program
	invoked    string // as its user typed it
	// run runs one of its programs and returns what it printed; the error has
	// what it complained of.
	run func(ctx context.Context, name string, args ...string) (string, error)
	// give gives a file below a directory to a user and his group.
	give func(dir *os.Root, name string, uid, gid int) error
}

// here is the machine of this process.
func here() machine {
	executable, err := os.Executable()
	if err == nil {
		if real, err := filepath.EvalSymlinks(executable); err == nil {
			executable = real
		}
	}
	return machine{
		files: "/", root: os.Geteuid() == 0, executable: executable, invoked: os.Args[0],
		run: run, give: (*os.Root).Lchown,
	}
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(complaint.String()); said != "" {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said)
		}
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return out.String(), nil
}

func (m machine) path(path string) string { return filepath.Join(m.files, path) }

func (m machine) exists(path string) bool {
	_, err := os.Stat(m.path(path))
	return err == nil
}

// booted tells whether systemd is the init, as sd_booted(3) does.
func (m machine) booted() bool {
	info, err := os.Lstat(m.path("/run/systemd/system"))
	return err == nil && info.IsDir()
}

func (m machine) systemctl(ctx context.Context, args ...string) error {
	_, err := m.run(ctx, "systemctl", args...)
	return err
}

// unitPath is where a unit is that was made on this machine, packagedPath where
// a package's is: the former counts.
func (m machine) unitPath(p unit.Part) string {
	return filepath.Join("/etc/systemd/system", p.File())
}

func (m machine) packagedPath(p unit.Part) string {
	return filepath.Join("/usr/lib/systemd/system", p.File())
}

// write writes a file whole or not at all, and flushes it to the disk.
func (m machine) write(path string, content []byte, mode os.FileMode) error {
	path = m.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return identity.WriteWhole(path, content, mode)
}
