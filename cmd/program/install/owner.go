package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"dominion/cmd/program"
	"dominion/cmd/program/unit"
)

// owner is the user that a unit runs as.
type owner struct {
	name     string
	uid, gid int
}

// putUser makes the part's own user, and puts it into the groups of the
// machine's devices; a user that was named must be there.
func (m machine) putUser(ctx context.Context, o Options) (owner, error) {
	if o.User != "" && o.User != o.Part.Name {
		u, ok := m.lookUp(ctx, o.User)
		if !ok {
			return owner{}, program.Fail(program.BadUsage, "this machine has no user %q (make it first: sudo adduser %s)", o.User, o.User)
		}
		return u, nil
	}
	u, ok := m.lookUp(ctx, o.Part.Name)
	if !ok {
		if _, err := m.run(ctx, "useradd", "--system", "--user-group", "--no-create-home",
			"--home-dir", o.Part.StatePath(), "--shell", "/usr/sbin/nologin", "--comment", "Dominion", o.Part.Name); err != nil {
			return owner{}, err
		}
		if u, ok = m.lookUp(ctx, o.Part.Name); !ok {
			return owner{}, fmt.Errorf("user %s was made and is not there", o.Part.Name)
		}
		fmt.Fprintf(o.Out, "made the user %s\n", u.name)
	}
	return u, m.joinGroups(ctx, o, u)
}

// lookUp finds a user by name.
func (m machine) lookUp(ctx context.Context, name string) (owner, bool) {
	line, err := m.run(ctx, "getent", "passwd", name)
	fields := strings.Split(strings.TrimSpace(line), ":")
	if err != nil || len(fields) < 4 {
		return owner{}, false
	}
	uid, uidErr := strconv.Atoi(fields[2])
	gid, gidErr := strconv.Atoi(fields[3])
	return owner{fields[0], uid, gid}, uidErr == nil && gidErr == nil
}

// joinGroups puts the user into those of the part's groups that the machine has.
func (m machine) joinGroups(ctx context.Context, o Options, u owner) error {
	var missing []string
	for _, group := range o.Part.Groups() {
		line, err := m.run(ctx, "getent", "group", group)
		if err != nil {
			continue
		}
		members := line[strings.LastIndex(line, ":")+1:]
		if !strings.Contains(","+strings.TrimSpace(members)+",", ","+u.name+",") {
			missing = append(missing, group)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := m.run(ctx, "usermod", "--append", "--groups", strings.Join(missing, ","), u.name); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "put the user %s into %s\n", u.name, strings.Join(missing, ", "))
	return nil
}

// putDirectories gives the user what is the part's: its state, whoever wrote
// that so far, and the right to read its configuration.
func (m machine) putDirectories(o Options, u owner) error {
	state := o.Part.StatePath()
	mode := os.FileMode(0o711) // others' parts are below it
	if !o.Part.Leads {
		mode = 0o700
	}
	if o.Part.Runs {
		if err := m.putServices(u); err != nil {
			return err
		}
	}
	if err := m.putState(state, mode); err != nil {
		return err
	}
	for _, dir := range append([]string{state}, o.Part.Writes...) {
		if err := m.giveTree(dir, o.Part, u); err != nil {
			return err
		}
	}
	if err := os.Chmod(m.path(filepath.Dir(o.Part.Config)), 0o755); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, file := range append([]string{o.Part.Config}, o.Files...) {
		if err := m.letRead(file, u); err != nil {
			return err
		}
	}
	return nil
}

// putState makes the part's directory with its mode.
func (m machine) putState(state string, mode os.FileMode) error {
	above, err := m.openTree(filepath.Dir(state), 0o755)
	if err != nil {
		return err
	}
	defer above.Close()
	dir, err := within(above, filepath.Base(state), mode) // also where above is root's: nobody links a state
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Chmod(".", mode)
}

// openTree opens a directory, and makes what is missing. Where a directory on
// the way is not root's, its user could lead root elsewhere: from there on it
// goes level by level, and a symbolic link is refused.
func (m machine) openTree(dir string, mode os.FileMode) (*os.Root, error) {
	path, levels := m.files, strings.Split(strings.Trim(dir, "/"), "/")
	for len(levels) > 0 && rootOwns(path) {
		next := filepath.Join(path, levels[0])
		if err := os.Mkdir(next, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		var err error
		if path, err = filepath.EvalSymlinks(next); err != nil {
			return nil, err
		}
		levels = levels[1:]
	}
	root, err := os.OpenRoot(path)
	for _, level := range levels {
		if err != nil {
			break
		}
		above := root
		root, err = within(above, level, mode)
		above.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return root, nil
}

func rootOwns(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && owner.Uid == 0
}

// within opens a directory within another, made if there is none.
func within(above *os.Root, name string, mode os.FileMode) (*os.Root, error) {
	if err := above.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	below, err := above.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := below.Stat(".")
	if err == nil {
		var named fs.FileInfo
		if named, err = above.Lstat(name); err == nil && !os.SameFile(opened, named) {
			err = fmt.Errorf("%s is a symbolic link (put a directory there)", name)
		}
	}
	if err != nil {
		below.Close()
		return nil, err
	}
	return below, nil
}

// putServices makes the directory of services, for the agent's user: what is
// built there is built by him.
func (m machine) putServices(u owner) error {
	services := m.path("/usr/local/dominion/services")
	if _, err := os.Stat(services); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(services, 0o755); err != nil {
		return err
	}
	return m.giveFile(services, u.uid, u.gid)
}

func (m machine) giveFile(path string, uid, gid int) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return m.give(dir, filepath.Base(path), uid, gid)
}

// giveTree gives the user a directory with all in it, but not what is another
// part's. It works below an opened directory, so that no symbolic link that
// its user makes meanwhile leads it elsewhere.
func (m machine) giveTree(dir string, part unit.Part, u owner) error {
	if _, err := os.Lstat(m.path(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	root, err := m.openTree(dir, 0o755)
	if err != nil {
		return err
	}
	defer root.Close()
	others := ""
	if part.Leads && !part.Runs && dir == part.StatePath() {
		others, _ = filepath.Rel(part.State, unit.Agent().State)
	}
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
			return nil
		case err != nil:
			return err
		case path == others:
			return fs.SkipDir
		}
		return m.give(root, path, u.uid, u.gid)
	})
}

// letRead lets the user's group read a file that root keeps, if it is there.
func (m machine) letRead(file string, u owner) error {
	path := m.path(file)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o004 != 0 {
		return nil // all may read it; or it is a link, to be judged by who made it
	}
	if err := m.giveFile(path, 0, u.gid); err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()|0o040)
}
