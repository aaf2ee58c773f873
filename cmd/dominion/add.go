package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/agent"
	"dominion/cmd/dominion/screen"
	"dominion/cmd/dominion/setup"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/coordinator"
	"dominion/topics"
)

func addCommand() *cobra.Command {
	a := &addition{}
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Add a service to the catalogue: the directory with its Makefile",
		Long: `Add looks at a service's directory (its Makefile, its service.toml), proposes an
entry for the catalogue, shows it, and adds it to the end of the leader's
configuration file when you agree. The running leader takes it over at once.

The directory itself stays where it is. It must also be in services_dir on the
machines that are to run the service; --install copies it there on this one.

What was adopted on another machine (domain adopt) has no directory here: it is
added by its name, with a --priority.

To add what is there already changes nothing.`,
		Example: `  dominion add ./webServer
  dominion add ./lamp --trait neoPixelLight --depends webServer --yes
  dominion add zigbee2mqtt --priority external`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, args[0]) },
	}
	program.AddFlags(cmd, localSettings())
	f := cmd.Flags()
	f.StringVar(&a.wish.Name, "name", "", "its `name`, default the directory's")
	f.StringVar(&a.wish.Priority, "priority", "", "required (default), dependency, manual or external: `when` it runs")
	f.IntVar(&a.wish.Instances, "instances", 0, "on how `many` machines, default one, or all that have its traits")
	f.StringSliceVar(&a.wish.Traits, "trait", nil, "a `trait` that a machine must have to run it; may be repeated")
	f.StringSliceVar(&a.wish.Dependencies, "depends", nil, "a `service` that must be ready before it; may be repeated")
	f.IntVar(&a.wish.Port, "port", 0, "its `port`, default one that is free")
	f.StringVar(&a.wish.Ready, "ready", "", "tcp, http, notify, topic or delay: `how` it shows that it is ready")
	f.BoolVar(&a.install, "install", false, "copy the directory into services_dir of this machine")
	f.BoolVarP(&a.yes, "yes", "y", false, "add what is proposed without asking")
	f.BoolVar(&a.json, "json", false, "write what was done as JSON; asks nothing, as with --yes")
	return cmd
}

// addition is one service that is to be added.
type addition struct {
	wish               setup.Wish
	install, yes, json bool
}

// added is what came of it, as --json writes it.
type added struct {
	Service   string   `json:"service"`
	File      string   `json:"file"`
	Entry     string   `json:"entry,omitempty"` // the lines that were added; none if it was there
	Doubt     []string `json:"doubt,omitempty"`
	Added     bool     `json:"added"`
	Installed string   `json:"installed,omitempty"` // where it was copied to
	Reloaded  bool     `json:"reloaded"`
	Note      string   `json:"note,omitempty"` // why it was not reloaded
}

func (a *addition) run(cmd *cobra.Command, dir string) error {
	house, err := loadLocal(cmd)
	if err != nil {
		return err
	}
	if house.file.Path() == "" {
		return program.Fail(program.BadUsage, "this machine has no house that a service could be added to: there is no configuration file (dominion init makes one; or name it with --config)")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	found, err := a.look(dir)
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	proposal, err := setup.Propose(found, a.wish, house.catalogue.Services())
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	done := added{Service: proposal.Name, File: house.file.Path(), Doubt: proposal.Doubt}
	w := cmd.OutOrStdout()
	if a.json {
		w = io.Discard
	}
	if err := a.enter(cmd, w, house, proposal, &done); err != nil {
		return err
	}
	if err := a.place(w, house, dir, proposal, &done); err != nil {
		return err
	}
	if err := a.takeOver(cmd, w, house, &done); err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
	}
	return nil
}

// look reads the directory. What was adopted on another machine has none here:
// its name and its priority are enough.
func (a *addition) look(dir string) (setup.Directory, error) {
	name := filepath.Base(dir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && a.wish.Priority != "" && topics.Service(name).Check() == nil {
		a.wish.Name = cmp.Or(a.wish.Name, name)
		return setup.Directory{}, nil
	}
	return readDirectory(dir)
}

// enter writes the entry, unless there is one.
func (a *addition) enter(cmd *cobra.Command, w io.Writer, house *local, p setup.Proposal, done *added) error {
	if have, ok := house.Services[p.Name]; ok {
		line := fmt.Sprintf("%s:%d", done.File, house.file.Line("services."+p.Name))
		if changes := a.differs(have); changes != "" {
			return program.Fail(program.Unwell, "%s is in the catalogue already, differs in %s, and was not changed (edit it: %s; then: dominion reload)", p.Name, changes, line)
		}
		fmt.Fprintf(w, "%s is in the catalogue already (%s), and was not changed.\n", p.Name, line)
		return nil
	}
	old, err := os.ReadFile(done.File)
	if err != nil {
		return denied(err, "dominion add "+strings.Join(cmd.Flags().Args(), " "))
	}
	a.show(w, p, done.File)
	if !a.yes && !a.json {
		someone, ok := atTerminal(cmd)
		if !ok {
			return unasked("to add that, add --yes")
		}
		agreed, err := someone.yes(cmd.Context(), "Add it?", true)
		if err != nil {
			return err
		}
		if !agreed {
			return program.Fail(program.Unwell, "nothing was changed (dominion add --help shows what can be said with flags)")
		}
	}
	if err := appendEntry(done.File, old, p.TOML()); err != nil {
		return denied(err, "dominion add "+strings.Join(cmd.Flags().Args(), " "))
	}
	done.Added, done.Entry = true, p.TOML()
	fmt.Fprintf(w, "%s was added to %s.\n", p.Name, done.File)
	return nil
}

// differs names what of an entry that exists is other than the flags say.
func (a *addition) differs(have coordinator.Entry) string {
	var other []string
	said := func(name string, wanted, has any) {
		if v := reflect.ValueOf(wanted); !v.IsZero() && !reflect.DeepEqual(wanted, has) {
			other = append(other, name)
		}
	}
	said("priority", a.wish.Priority, have.Priority)
	said("instances", a.wish.Instances, have.Instances)
	said("traits", a.wish.Traits, have.Traits)
	said("dependencies", a.wish.Dependencies, have.Dependencies)
	said("port", a.wish.Port, have.Port)
	said("ready", a.wish.Ready, have.Ready)
	return strings.Join(other, ", ")
}

func (a *addition) show(w io.Writer, p setup.Proposal, file string) {
	style := screen.Style{Width: program.Columns(w)}
	if len(p.Found) > 0 {
		fmt.Fprint(w, style.Paragraph("Found: "+strings.Join(p.Found, "; ")+".", 2))
	}
	for _, d := range p.Doubt {
		fmt.Fprint(w, style.Paragraph("Look at this: "+d+".", 2))
	}
	fmt.Fprintf(w, "For the end of %s:\n\n", file)
	for line := range strings.Lines(p.TOML()) {
		fmt.Fprint(w, "  "+line)
	}
	fmt.Fprintln(w)
}

// place copies the directory to where this machine looks for it, if asked,
// and says where it must be.
func (a *addition) place(w io.Writer, house *local, dir string, p setup.Proposal, done *added) error {
	services, runsHere := servicesHere(house.config)
	there := filepath.Join(services, p.Name)
	if !sameFile(dir, there) && a.install {
		switch err := copyDirectory(dir, there); {
		case errors.Is(err, fs.ErrExist):
			fmt.Fprintf(w, "%s is there already, and was left as it is.\n", there)
		case err != nil:
			return denied(err, "dominion add "+shellWord(dir)+" --install")
		default:
			done.Installed = there
			fmt.Fprintf(w, "%s was copied to %s.\n", dir, there)
		}
	}
	entry := p.Entry
	if have, ok := house.Services[p.Name]; ok {
		entry = have
	}
	if _, err := os.Stat(dir); entry.Priority == coordinator.External || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	style := screen.Style{Width: program.Columns(w)}
	fmt.Fprint(w, style.Paragraph("It runs "+setup.Where(entry)+". Its directory must be in services_dir there.", 0))
	if _, err := os.Stat(there); errors.Is(err, fs.ErrNotExist) && runsHere {
		fmt.Fprintf(w, "To copy it there on this machine:\n  dominion add %s --install\n", shellWord(dir))
	}
	fmt.Fprintf(w, "To copy it to another machine, whose name is typed for MACHINE:\n  scp -r %s MACHINE:%s\n", shellWord(dir), filepath.Join(agent.ServicesDir, p.Name))
	return nil
}

// servicesHere is where this machine looks for services, and whether it is
// known to run any.
func servicesHere(c config) (dir string, runs bool) {
	if c.Domain != "" {
		return c.ServicesDir, true
	}
	own := agent.Defaults()
	file, err := configs.Load(&own, configs.Source{Path: program.ConfigFile("domain"), EnvPrefix: "DOMAIN", Environ: os.Environ()})
	if err != nil {
		return agent.ServicesDir, true // the agent itself says what is wrong with its file
	}
	return own.ServicesDir, file.Path() != ""
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// shellWord is a path as it is typed.
func shellWord(path string) string {
	if topics.Travels(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// takeOver has the running leader read the catalogue again.
func (a *addition) takeOver(cmd *cobra.Command, w io.Writer, house *local, done *added) error {
	result, err := reloadHere(cmd, house)
	if err != nil {
		var exit *program.Exit
		if !errors.As(err, &exit) || exit.Code != program.NoAnswer {
			return err
		}
		done.Note = err.Error()
		fmt.Fprintf(w, "No leader answers: it counts from the next start (dominion serve).\n")
		return nil
	}
	done.Reloaded = true
	fmt.Fprintf(w, "The leader has taken it over: %s.\nnext: dominion status\n", result)
	return nil
}
