package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/configs"
)

func initCommand() *cobra.Command {
	f := &founding{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a house: this machine becomes its leader",
		Long: `Init makes a house. It asks what the house is called, whether it has a broker
of its own or is on the one that Home Assistant uses, and whether it starts at
boot; flags answer before it asks. Then it writes the leader's configuration
file, and in its data directory the house's authority and logins.

As root the house belongs to the machine (/etc/dominion, /var/lib/dominion) and
can start at boot; as another user it is that user's.

A house that is there already is never overwritten: init says what is there. One
that was interrupted, or ran out of disk, can be typed again.`,
		Example: `  sudo dominion init
  sudo dominion init --yes --name Home
  dominion init --broker mqtt://192.168.1.5 --username dominion`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	program.AddFlags(cmd, foundingSettings())
	flags := cmd.Flags()
	flags.BoolVar(&f.boot.wanted, "boot", false, "start at boot (root, systemd); --boot=false: do not")
	flags.BoolVar(&f.homeAssistant.wanted, "home-assistant", true, "make a login for Home Assistant at our broker")
	flags.BoolVarP(&f.yes, "yes", "y", false, "take what is usual for all that is not said with flags")
	flags.BoolVar(&f.json, "json", false, "write what was made as JSON; asks nothing, as with --yes")
	return cmd
}

// foundingSettings are the keys of the leader's file that can be said when a
// house is made.
func foundingSettings() []program.Setting {
	keys := []string{
		"name", "broker", "username", "password_file", "logins", "node_username", "node_password_file",
		"listen", "listen_tls", "https", "data", "domain", "traits", "services_dir", "base", "prefix",
	}
	all := slices.DeleteFunc(settings(), func(s program.Setting) bool { return !slices.Contains(keys, s.Key) })
	for i := range all {
		switch all[i].Key {
		case "listen_tls":
			all[i].Help = "where our broker listens with TLS, default :8883"
		case "https":
			all[i].Help = "where machines join the house, default :8443"
		}
	}
	return all
}

// choice is a flag of yes and no, which may also not be said.
type choice struct{ said, wanted bool }

// founding is one run of dominion init.
type founding struct {
	yes, json           bool
	boot, homeAssistant choice

	path   string            // of the configuration file, which the house will have
	said   map[string]string // the settings that flags gave, by key
	config config            // what the house will be

	secrets []secretFile
}

func (f *founding) run(cmd *cobra.Command) error {
	f.read(cmd)
	if _, err := os.Stat(f.path); err == nil {
		return f.again(cmd)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return denied(err, "dominion init")
	}
	f.config = unfounded()
	file, err := configs.Load(&f.config, configs.Source{Flags: f.said})
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	if err := f.usual(cmd); err != nil {
		return err
	}
	if err := f.settle(file); err != nil {
		return err
	}
	return f.make(cmd)
}

// read takes in the flags.
func (f *founding) read(cmd *cobra.Command) {
	f.boot.said, f.homeAssistant.said = cmd.Flags().Changed("boot"), cmd.Flags().Changed("home-assistant")
	f.said = map[string]string{}
	for _, s := range foundingSettings() {
		if flag := cmd.Flags().Lookup(strings.TrimPrefix(configs.FlagName(s.Key), "--")); flag.Changed {
			f.said[s.Key] = flag.Value.String()
		}
	}
	f.path = configPath(cmd)
	if whole, err := filepath.Abs(f.path); err == nil {
		f.path = whole
	}
}

// configPath is the leader's file: the one that is named, else the one that is
// there, else the one that is to be made.
func configPath(cmd *cobra.Command) string {
	path := cmd.Flags().Lookup("config").Value.String()
	for _, other := range []string{os.Getenv("DOMINION_CONFIG_FILE"), program.ConfigFile("dominion"), program.NewConfigFile("dominion")} {
		if path == "" {
			path = other
		}
	}
	return path
}

// unfounded is a house that nobody has said anything of. It is open to other
// machines, with TLS.
func unfounded() config {
	c := defaults()
	c.ListenTLS, c.HTTPS = []string{":8883"}, ":8443"
	return c
}

// usual asks for what flags did not say, or takes what is usual.
func (f *founding) usual(cmd *cobra.Command) error {
	if !f.yes && !f.json {
		someone, ok := atTerminal(cmd)
		if !ok {
			return unasked("take what is usual with --yes; dominion init --help has the flags that answer")
		}
		if err := f.ask(cmd, someone); err != nil {
			return err
		}
	} else if err := f.agree(); err != nil {
		return err
	}
	if !f.boot.said {
		f.boot.wanted = os.Geteuid() == 0 && bootable()
	}
	return nil
}

// agree refuses flags that want two houses at once.
func (f *founding) agree() error {
	c := &f.config
	said := func(key string) bool { _, said := f.said[key]; return said }
	contrary := func(key, with string) error {
		return program.Fail(program.BadUsage, "%s %s", configs.FlagName(key), with)
	}
	for _, key := range []string{"listen", "listen_tls"} {
		if c.Broker != "" && said(key) {
			return contrary(key, "is for a broker of its own, but --broker has the house on another (leave one of them out)")
		}
	}
	if c.Broker != "" && f.homeAssistant.said && f.homeAssistant.wanted {
		return contrary("home_assistant", "makes a login at a broker of its own, but --broker has the house on another (leave one of them out; that other broker's owner gives Home Assistant its login)")
	}
	for _, key := range []string{"username", "password_file", "logins", "node_username", "node_password_file"} {
		if c.Broker == "" && said(key) {
			return contrary(key, "is for another broker than its own, and there is no --broker (add --broker mqtt://HOST, or leave it out)")
		}
	}
	for _, key := range []string{"traits", "services_dir"} {
		if c.Domain == "" && said(key) {
			return contrary(key, "is of a machine that runs services, and there is no --domain (add --domain NAME, or leave it out)")
		}
	}
	return nil
}

// bootDenied says why the house cannot be started at boot, if it cannot.
func (f *founding) bootDenied() error {
	why := ""
	switch {
	case !f.boot.wanted:
		return nil
	case os.Geteuid() != 0:
		why = "only root can have it start at boot: sudo dominion init makes a house of root's."
	case !bootable():
		why = "no systemd runs here that could start it at boot."
	default:
		return nil
	}
	return program.Fail(program.CannotRun, "%s\nWithout --boot, have your own init run this:\n  %s", why, f.serve())
}

// serve is what starts the leader of this house from everywhere.
func (f *founding) serve() string {
	data := f.config.Data
	if whole, err := filepath.Abs(data); err == nil {
		data = whole
	}
	return "dominion serve --config " + shellWord(f.path) + " --data " + shellWord(data)
}

// settle completes and checks what the house will be. Paths are written as
// they are found from everywhere.
func (f *founding) settle(file *configs.File) error {
	c := &f.config
	if err := checkHouseName(c.Name); err != nil {
		return &program.Exit{Code: program.BadUsage, Err: configs.Join(file.Errorf("name", "name: %w", err))}
	}
	if _, err := c.check(file); err != nil {
		return err
	}
	for _, path := range []*string{&c.Data, &c.PasswordFile, &c.NodePasswordFile, &c.ServicesDir} {
		if *path == "" {
			continue
		}
		whole, err := filepath.Abs(*path)
		if err != nil {
			return &program.Exit{Code: program.CannotRun, Err: err}
		}
		*path = whole
	}
	if _, err := program.BrokerURL(c.Broker, c.Username, c.PasswordFile); err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	if c.NodeUsername == "" && c.Logins == loginsShared {
		c.NodeUsername, c.NodePasswordFile = c.Username, c.PasswordFile
	}
	return f.bootDenied()
}

func checkHouseName(name string) error {
	const longest = 60
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("the house needs a name (any will do: Home)")
	case utf8.RuneCountInString(name) > longest:
		return fmt.Errorf("is longer than %d letters", longest)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("has a letter that cannot be shown")
	}
	return nil
}
