// Package install brings a part of Dominion onto a machine that has systemd:
// its program, its user, its directories and its unit. All of it may be done
// again without harm, and nothing that a house knows is ever taken away.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"dominion/cmd/program"
	"dominion/cmd/program/unit"
)

// Options say what is installed.
type Options struct {
	Part unit.Part
	// As is what stands between the program and the part's own arguments:
	// "domain" where the agent is a part of the program dominion.
	As []string
	// User runs the unit; "" is the one that runs it so far, else the part's
	// own, which is made.
	User string
	// Files are those that the part must be able to read beside its
	// configuration: password files.
	Files []string
	// Changed says that what the part reads at its start is not what it was:
	// one that runs is started anew.
	Changed bool
	// Out is told what was done, a line each.
	Out io.Writer
}

// HasSystemd tells whether this machine was started by systemd.
func HasSystemd() bool { return here().booted() }

// Install has the machine run the part now and at each boot. Its errors are
// Exits. An agent that is started anew keeps its services.
func Install(ctx context.Context, o Options) error { return here().install(ctx, o) }

// Uninstall ends the part and has the machine start it no more. Its
// configuration, its data and its program stay, and Out is told where. The
// services of an agent end with it.
func Uninstall(ctx context.Context, o Options) error { return here().uninstall(ctx, o) }

func (m machine) install(ctx context.Context, o Options) error {
	if err := m.may(o, "install"); err != nil {
		return err
	}
	if o.Part.Leads {
		if err := m.mayLead(o.Part.Config); err != nil {
			return err
		}
	}
	path, copied, err := m.putProgram(o)
	if err != nil {
		return cannot("put the program in its place", err)
	}
	if o.User == "" {
		o.User = m.userSoFar(o.Part)
	}
	user, err := m.putUser(ctx, o)
	if err != nil {
		return cannot("make the user "+o.Part.Name, err)
	}
	if err := m.putDirectories(o, user); err != nil {
		return cannot("prepare the directories", err)
	}
	written, err := m.putUnit(ctx, o, o.Part.Render(user.name, append([]string{path}, o.As...)...))
	if err != nil {
		return cannot("write the unit", err)
	}
	if err := m.start(ctx, o, copied || written || o.Changed); err != nil {
		return cannot("start "+o.Part.Name, err)
	}
	return nil
}

// may tells why the machine cannot be changed.
func (m machine) may(o Options, verb string) error {
	own := []string{o.Part.Program}
	if len(o.As) > 0 {
		own = append([]string{"dominion"}, o.As...)
	}
	command := strings.Join(append(own, verb), " ")
	switch {
	case !m.booted() && verb == "uninstall":
		return program.Fail(program.CannotRun, `this machine has no systemd: there is nothing to uninstall.
Whatever else starts it at boot, have that start it no more.`)
	case !m.booted():
		serve := between(o.Part.Render(o.Part.Name, own...), "\nExecStart=", "\n")
		return program.Fail(program.CannotRun, `this machine has no systemd that would start it at boot.
Have your own init run this at boot, as a user who owns %s:
  %s --data %s`, o.Part.StatePath(), serve, o.Part.StatePath())
	case !m.root:
		return program.Fail(program.CannotRun, "only root may do that: sudo %s", m.typed(command))
	}
	return nil
}

// mayLead tells why there is no house that a unit could lead.
func (m machine) mayLead(config string) error {
	for _, home := range []string{"/home/", "/root/"} {
		if strings.HasPrefix(config, home) {
			return program.Fail(program.BadUsage, "%s is a user's own, whose house does not start at boot (make one that does: sudo dominion init)", config)
		}
	}
	if !m.exists(config) {
		return program.Fail(program.BadUsage, "there is no house on this machine: %s is missing (make one: sudo dominion init)", config)
	}
	return nil
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// typed is a command as its user has to type it: with the program's path where
// he typed one, since sudo may not find it otherwise.
func (m machine) typed(command string) string {
	name, rest, _ := strings.Cut(command, " ")
	if strings.Contains(m.invoked, "/") && filepath.Base(m.invoked) == name {
		name = m.invoked
	}
	return name + " " + rest
}

func cannot(what string, err error) error {
	var exit *program.Exit
	if errors.As(err, &exit) {
		return err
	}
	return program.Fail(program.CannotRun, "%s: %w", what, err)
}

// putUnit writes the unit, unless a package brought the same, and tells whether
// anything is new.
func (m machine) putUnit(ctx context.Context, o Options, text string) (bool, error) {
	path := m.unitPath(o.Part)
	before, err := os.ReadFile(m.path(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case !ours(o.Part, before):
		return false, program.Fail(program.CannotRun, "%s is not one that Dominion wrote, and is left alone (move it away, and type it again)", path)
	}
	if packaged, err := os.ReadFile(m.path(m.packagedPath(o.Part))); err == nil && string(packaged) == text {
		if before == nil {
			return false, nil
		}
		if err := os.Remove(m.path(path)); err != nil {
			return false, err
		}
		fmt.Fprintf(o.Out, "removed %s: the package's own is the same\n", path)
		return true, m.systemctl(ctx, "daemon-reload")
	}
	if string(before) == text {
		return false, nil
	}
	if err := m.write(path, []byte(text), 0o644); err != nil {
		return false, err
	}
	fmt.Fprintf(o.Out, "wrote %s\n", path)
	return true, m.systemctl(ctx, "daemon-reload")
}

// ours tells whether Dominion wrote a unit: they have their first words in common.
func ours(p unit.Part, text []byte) bool {
	first, _, _ := strings.Cut(p.Render("x", "x"), ":")
	return strings.HasPrefix(string(text), first)
}

// userSoFar is the user of the unit that was made on this machine, "" if there
// is none.
func (m machine) userSoFar(p unit.Part) string {
	text, err := os.ReadFile(m.path(m.unitPath(p)))
	if err != nil || !ours(p, text) {
		return ""
	}
	return between(string(text), "\nUser=", "\n")
}

func (m machine) start(ctx context.Context, o Options, anew bool) error {
	runs := m.systemctl(ctx, "is-active", "--quiet", o.Part.File()) == nil
	enabled := m.systemctl(ctx, "is-enabled", "--quiet", o.Part.File()) == nil
	if !enabled {
		if err := m.systemctl(ctx, "enable", "--quiet", o.Part.File()); err != nil {
			return err
		}
	}
	var err error
	switch {
	case !runs:
		err = m.systemctl(ctx, "start", o.Part.File())
	case anew:
		err = m.systemctl(ctx, "restart", o.Part.File())
	}
	if err != nil {
		return fmt.Errorf("%w (why: journalctl -u %s -n 20; it is tried again at each boot)", err, o.Part.Name)
	}
	switch {
	case runs && enabled && !anew:
		fmt.Fprintf(o.Out, "%s runs already, and will at each boot\n", o.Part.Name)
	default:
		fmt.Fprintf(o.Out, "%s runs, now and at each boot; its log: journalctl -u %s\n", o.Part.Name, o.Part.Name)
	}
	return nil
}
