package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/around"
	"dominion/cmd/program"
	"dominion/device/docker"
	"dominion/device/outside"
	"dominion/device/systemd"
	"dominion/identity"
	"dominion/topics"
)

func adoptCommand() *cobra.Command {
	var a adoption
	cmd := &cobra.Command{
		Use:   "adopt [UNIT | NAME]",
		Short: "Make a service of the house what runs here already",
		Long: `Adopt makes a unit of systemd, a container or a process that runs on this
machine a service of the house. At first it is only observed: the house shows
its state, tells why it is down, and lets others find it; it neither starts nor
stops it. With --own the house does that too, by systemd or the container's
engine. Nothing is restarted by either, or by --undo.

It is written down in services_dir/NAME/service.toml; the agent that runs here
notices by itself. --list shows what is here and could be adopted.`,
		Example: `  domain adopt --list
  sudo domain adopt zigbee2mqtt.service
  sudo domain adopt --docker frigate --ready tcp
  sudo domain adopt --pid-of mosquitto --port 1883
  sudo domain adopt zigbee2mqtt --own
  sudo domain adopt --undo zigbee2mqtt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, args) },
	}
	program.AddFlags(cmd, []program.Setting{{Key: "services_dir", Kind: "directory", Help: "the services this machine can run, default " + ServicesDir}})
	f := cmd.Flags()
	f.StringVar(&a.docker, "docker", "", "adopt a `container` of Docker or Podman")
	f.StringVar(&a.pidOf, "pid-of", "", "adopt the process of a `program`, by its name")
	f.StringVar(&a.name, "name", "", "what the house calls it, a `name`; default is its own")
	f.IntVar(&a.port, "port", 0, "its `port`, default the one that it is seen to listen on")
	f.StringVar(&a.ready, "ready", "", "what else shows that it is ready: tcp, http:/PATH or delay:5s, a `rule`")
	f.BoolVar(&a.own, "own", false, "the house starts and stops it from now on; --own=false: no more")
	f.StringVar(&a.undo, "undo", "", "let go of the service `NAME`; it goes on as it is")
	f.BoolVar(&a.list, "list", false, "show what is here and could be adopted")
	f.BoolVar(&a.json, "json", false, "write the list as JSON; fields are added over time, never renamed")
	return cmd
}

// adoption is one `domain adopt`.
type adoption struct {
	docker, pidOf, name, ready, undo string
	port                             int
	own, list, json                  bool

	ownSaid bool // --own was typed
	dir     string
	out     io.Writer
}

func (a adoption) run(cmd *cobra.Command, args []string) error {
	l, err := newLife(cmd, hiddenFlags{})
	if err != nil {
		return err
	}
	a.dir, a.out, a.ownSaid = l.config.ServicesDir, cmd.OutOrStdout(), cmd.Flags().Changed("own")
	switch given := len(args) + count(a.docker != "", a.pidOf != "", a.undo != "", a.list); {
	case given == 0:
		return program.Fail(program.BadUsage, "nothing is named that could be adopted (domain adopt --list shows what is here)")
	case given > 1:
		return program.Fail(program.BadUsage, "one at a time: a unit, --docker, --pid-of, --undo or --list")
	case a.json && !a.list:
		return program.Fail(program.BadUsage, "--json is for --list")
	case a.list:
		return a.show(cmd.Context())
	case a.undo != "":
		return a.letGo(a.undo)
	case a.docker != "":
		return a.adopt(cmd.Context(), around.Container, a.docker)
	case a.pidOf != "":
		return a.adopt(cmd.Context(), around.Process, a.pidOf)
	}
	if entry, err := a.read(args[0]); err == nil && entry != nil { // by the name that the house has for it
		a.name = args[0]
		return a.adopt(cmd.Context(), entry.kind, entry.thing)
	}
	return a.adopt(cmd.Context(), around.Unit, systemd.UnitName(args[0]))
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

// adopt makes a service of something, or changes how it is one.
func (a adoption) adopt(ctx context.Context, kind, thing string) error {
	name, err := a.called(kind, thing)
	if err != nil {
		return err
	}
	before, err := a.free(name, kind, thing)
	if err != nil {
		return err
	}
	found, err := around.Look(ctx, kind, thing)
	if err != nil {
		return cannotLook(kind, err)
	}
	if found.State == outside.Missing && before == nil {
		return program.Fail(program.BadUsage, "%s %s (domain adopt --list shows what is here)", thing, found.Says)
	}
	next, err := a.next(before, kind, thing, found)
	if err != nil {
		return err
	}
	content := next.file(name)
	if have, err := os.ReadFile(a.path(name)); err == nil && string(have) == content {
		fmt.Fprintf(a.out, "%s is %s already, and nothing was changed.\n", name, next.words())
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(a.path(name)), 0o755); err != nil {
		return denied(err)
	}
	if err := identity.WriteWhole(a.path(name), []byte(content), 0o644); err != nil {
		return denied(err)
	}
	a.tell(name, next, found)
	return nil
}

// called is the name of the service that a thing is to be, and an error for
// what cannot be one.
func (a adoption) called(kind, thing string) (string, error) {
	name := a.name
	known := a.adoptedAs(kind, thing)
	switch {
	case known != "" && name != "" && name != known:
		return "", program.Fail(program.BadUsage, "%s is adopted already, as %s (to rename it: domain adopt --undo %[2]s, then adopt it again)", thing, known)
	case known != "":
		name = known
	case name == "":
		name = nameOf(thing)
	}
	if kind == around.Unit && strings.HasPrefix(thing, "dominion") {
		return "", program.Fail(program.BadUsage, "%s is the house itself, and no service of it", thing)
	}
	if err := topics.Service(name).Check(); err != nil {
		return "", program.Fail(program.BadUsage, "%w (give it another with --name)", err)
	}
	if kind == around.Process && a.own {
		return "", program.Fail(program.BadUsage, "%s cannot be the house's own: nobody knows how to start it again (write a unit for it, or a service with a Makefile: docs/services.md)", thing)
	}
	return name, nil
}

// nameOf is what the house calls a thing whose owner says nothing else.
func nameOf(thing string) string {
	for _, kind := range []string{".service", ".socket", ".timer", ".target", ".mount", ".path"} {
		thing = strings.TrimSuffix(thing, kind)
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, thing), "-_")
}

// free tells what a name stands for now, and an error if that is another.
func (a adoption) free(name, kind, thing string) (*adopted, error) {
	before, err := a.read(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, denied(err)
	case err != nil:
		return nil, &program.Exit{Code: program.CannotRun, Err: err}
	case before != nil && (before.kind != kind || before.thing != thing):
		return nil, program.Fail(program.BadUsage, "%s is %s already (choose another name with --name, or: domain adopt --undo %s)", name, before.thing, name)
	case before != nil:
		return before, nil
	}
	files, err := os.ReadDir(filepath.Join(a.dir, name))
	if err == nil && len(files) > 0 {
		return nil, program.Fail(program.BadUsage, "%s is a service that somebody wrote: %s (choose another name with --name)", name, filepath.Join(a.dir, name))
	}
	return nil, nil
}

// tell says what was done, and what can be typed next.
func (a adoption) tell(name string, n adopted, found around.Thing) {
	state := "which runs"
	if found.State != outside.Up {
		state = "which " + found.Says
		if found.Says == "" {
			state = "which does not run"
		}
	}
	fmt.Fprint(a.out, program.Wrap(fmt.Sprintf("%s is %s now: %s %s, %s.", name, n.words(), kindWord(n.kind), n.thing, state)+"\n"))
	if len(found.Ports) > 1 && a.port == 0 && n.port == found.Ports[0] {
		fmt.Fprintf(a.out, "It listens on several ports; %d was taken (--port says another).\n", n.port)
	}
	fmt.Fprintln(a.out, "The agent that runs here shows it to the house within half a minute.")
	if n.own {
		fmt.Fprintf(a.out, "So that the house wants it to run, type on the leader:\n  dominion add %s --priority required\n", name)
		return
	}
	fmt.Fprintf(a.out, "So that other services can depend on it, type on the leader:\n  dominion add %s --priority external\n", name)
	if n.kind != around.Process {
		fmt.Fprintf(a.out, "So that the house starts and stops it:\n  sudo domain adopt %s --own\n", name)
	}
}

func kindWord(kind string) string {
	return map[string]string{around.Unit: "the unit", around.Container: "the container", around.Process: "the process"}[kind]
}

// letGo takes back what adopt wrote.
func (a adoption) letGo(name string) error {
	before, err := a.read(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return denied(err)
	case err != nil:
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	if before == nil {
		if _, err := os.Stat(filepath.Join(a.dir, name)); err == nil && name != "" {
			return program.Fail(program.BadUsage, "%s was not adopted: somebody wrote %s", name, filepath.Join(a.dir, name))
		}
		fmt.Fprintf(a.out, "%s is not adopted, and nothing was changed.\n", name)
		return nil
	}
	if err := os.Remove(a.path(name)); err != nil {
		return denied(err)
	}
	_ = os.Remove(filepath.Dir(a.path(name))) // it stays when there is more in it
	fmt.Fprintf(a.out, "%s is no service of the house any more. %s goes on as it is.\n", name, before.thing)
	return nil
}

func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return program.Fail(program.CannotRun, "%w (type sudo before it)", err)
	}
	return &program.Exit{Code: program.CannotRun, Err: err}
}

// cannotLook says what a keeper's error means.
func cannotLook(kind string, err error) error {
	switch {
	case errors.Is(err, docker.ErrRefused), errors.Is(err, systemd.ErrNoBus):
		return program.Fail(program.CannotRun, "%w (type sudo before it)", err)
	case errors.Is(err, systemd.ErrNone), errors.Is(err, docker.ErrNone):
		return program.Fail(program.CannotRun, "%w, so it has no %s that could be adopted (domain adopt --list shows what it has)", err, strings.TrimPrefix(kindWord(kind), "the "))
	}
	return &program.Exit{Code: program.CannotRun, Err: err}
}
