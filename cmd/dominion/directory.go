package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"dominion/cmd/domain/agent"
	"dominion/cmd/dominion/setup"
)

// Bounds of what is read of a service's directory.
const (
	maxProgram  = 64 << 10
	maxPrograms = 64
)

// readDirectory reads what a service's directory says of it.
func readDirectory(dir string) (setup.Directory, error) {
	d := setup.Directory{Path: dir}
	files, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, fmt.Errorf("there is no directory %s (name the one that has the service's Makefile)", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return d, fmt.Errorf("%s is no directory (name the one that it is in)", dir)
	case err != nil:
		return d, err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch name := f.Name(); {
		case name == "service.toml":
			if d.Manifest, err = readManifest(path); err != nil {
				return d, err
			}
		case name == "Makefile" || name == "makefile" || name == "GNUmakefile":
			text, err := os.ReadFile(path)
			if err != nil {
				return d, err
			}
			if d.Makefile == "" || name != "Makefile" { // as make looks for them
				d.Makefile = string(text)
			}
		case isProgram(f) && len(d.Programs) < maxPrograms:
			if text, err := os.ReadFile(path); err == nil && !bytes.ContainsRune(text, 0) {
				d.Programs = append(d.Programs, string(text))
			}
		}
	}
	return d, nil
}

// isProgram tells whether a file may say what a service uses: not prose.
func isProgram(f fs.DirEntry) bool {
	name := strings.ToLower(f.Name())
	switch filepath.Ext(name) {
	case ".md", ".txt", ".rst", ".log", ".json", ".lock":
		return false
	}
	info, err := f.Info()
	return err == nil && info.Mode().IsRegular() && info.Size() <= maxProgram && name[0] != '.' && !strings.HasPrefix(name, "readme")
}

func readManifest(path string) (setup.Manifest, error) {
	m, err := agent.Manifest(path)
	if err != nil {
		return setup.Manifest{}, err
	}
	out := setup.Manifest{
		Outside: cmp.Or(m.Unit, m.Container, m.PIDOf), Own: m.Own,
		Command: m.Command, Version: m.Version, Port: m.Port, Ends: m.Terms.Ends(),
	}
	if m.Terms.Ready != nil {
		out.Ready = m.Terms.Ready.By
	}
	return out, nil
}

// copyDirectory copies a service's directory, with its modes, whole or not at
// all. The error is fs.ErrExist when there is something already.
func copyDirectory(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	services := filepath.Dir(to)
	if err := os.MkdirAll(services, 0o755); err != nil {
		return err
	}
	if inside, err := filepath.Rel(from, services); err == nil && filepath.IsLocal(inside) {
		return fmt.Errorf("%s is within %s, which cannot be copied into itself", services, from)
	}
	return copyInto(from, services, filepath.Base(to))
}

// copyInto copies a directory into another under a name. The one it goes into
// may be another user's, who must not lead root elsewhere meanwhile: all is done
// below opened directories.
func copyInto(from, services, name string) error {
	into, err := os.OpenRoot(services)
	if err != nil {
		return err
	}
	defer into.Close()
	like, err := into.Stat(".")
	if err != nil {
		return err
	}
	temporary := ".adding-" + rand.Text() // no service's name: the agent passes it by
	if err := into.Mkdir(temporary, 0o700); err != nil {
		return err
	}
	defer into.RemoveAll(temporary)
	inside, err := into.OpenRoot(temporary)
	if err != nil {
		return err
	}
	defer inside.Close()
	if opened, err := inside.Stat("."); err != nil {
		return err
	} else if made, err := into.Lstat(temporary); err != nil || !os.SameFile(opened, made) {
		return fmt.Errorf("%s is being changed by somebody else", services)
	}
	if err := copyTree(from, inside, name, like); err != nil {
		return err
	}
	return into.Rename(filepath.Join(temporary, name), name)
}

// copyTree copies directories, files and links below a directory, under a
// name; their owner is like's, as far as this user may give things away.
func copyTree(from string, into *os.Root, name string, like fs.FileInfo) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == ".git" {
			return fs.SkipDir
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(name, relative)
		if err := copyOne(path, into, target, e); err != nil {
			return err
		}
		if owner, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			return into.Lchown(target, int(owner.Uid), int(owner.Gid))
		}
		return nil
	})
}

func copyOne(path string, into *os.Root, target string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case e.IsDir():
		return into.Mkdir(target, info.Mode().Perm()|0o700)
	case info.Mode().IsRegular():
		return copyFile(path, into, target, info.Mode().Perm())
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return into.Symlink(link, target)
	}
	return fmt.Errorf("%s is neither file nor directory, and cannot be copied", path)
}

func copyFile(path string, into *os.Root, target string, mode fs.FileMode) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := into.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	if err == nil {
		err = out.Chmod(mode) // whatever the umask is
	}
	return errors.Join(err, out.Close())
}
