package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/coordinator"
	"dominion/topics"
)

func serveCommand() *cobra.Command {
	var hidden hiddenFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Lead the house: broker, coordinator, Home Assistant bridge",
		Long: `Serve is the leader of the house: an MQTT broker on loopback, the coordinator
that keeps the configured services running, and the bridge that shows the house
in Home Assistant. With --broker it leads on your own broker instead.

Without a configuration file it leads a house in which nothing is started: it
shows what is there. The services that should run stand in the file
(--config or DOMINION_CONFIG_FILE; see: dominion example leader). Every other
setting can also stand in the environment (DOMINION_LOST_AFTER) or in a flag;
the flag wins.

SIGINT (Ctrl-C), SIGTERM and SIGHUP end it in order; what the domains run goes
on. With --domain, SIGINT ends this machine's services too.

` + program.ExitCodes,
		Example: "  dominion serve --config house.toml\n  dominion serve --broker mqtt://ha@192.168.1.2 --password-file mqtt.password",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd, hidden)
		},
	}
	program.AddFlags(cmd, settings())
	cmd.Flags().IntVar(&hidden.untilEOF, "until-eof", -1, "end when this file `descriptor` of a pipe reaches its end")
	cmd.Flags().BoolVar(&hidden.ephemeral, "ephemeral", false, "take the house's devices out of Home Assistant at the end")
	cmd.Flags().StringVar(&hidden.house, "house", "", "the `id` of a house that is new: it is not looked for on the bus")
	for _, name := range []string{"until-eof", "ephemeral", "house"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	return cmd
}

// hiddenFlags are for whoever starts a leader as a part of something else.
type hiddenFlags struct {
	untilEOF  int
	ephemeral bool
	house     string
}

func serve(cmd *cobra.Command, hidden hiddenFlags) error {
	c := defaults()
	file, err := program.LoadOwn(cmd, &c, "DOMINION", settings())
	if err != nil {
		return err
	}
	catalogue, err := c.check(file)
	if err != nil {
		return err
	}
	log, err := program.NewLog(cmd.ErrOrStderr(), c.LogLevel)
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: file.Errorf("log_level", "%w", err)}
	}
	ctx := cmd.Context()
	if hidden.untilEOF >= 0 {
		var release context.CancelFunc
		ctx, release = program.UntilEOF(ctx, program.Inherited(hidden.untilEOF))
		defer release()
	}
	if hidden.house != "" {
		if err := topics.CheckName(hidden.house); err != nil {
			return program.Fail(program.BadUsage, "--house: %w", err)
		}
	}
	l := &leader{watchdog: program.NewWatchdog(log), known: make(chan struct{}), config: c, catalogue: catalogue, hidden: hidden, reload: func() (*coordinator.Catalogue, error) { return readCatalogue(cmd) }, log: log}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	if err := l.firstLogin(cmd.ErrOrStderr()); err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	l.welcome(cmd.ErrOrStderr(), file.Path())
	if err := l.run(ctx); err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	return nil
}

// readCatalogue reads the configuration again, and takes the services from it:
// the rest holds from the next start.
func readCatalogue(cmd *cobra.Command) (*coordinator.Catalogue, error) {
	c := defaults()
	file, err := program.LoadOwn(cmd, &c, "DOMINION", settings())
	if err != nil {
		return nil, err
	}
	return c.check(file)
}

// welcome says where the house is, and what to do next when there is little in it.
func (l *leader) welcome(w io.Writer, path string) {
	url := program.Redacted(l.url)
	doing, elsewhere, named := "leads on", "", ""
	if l.broker == nil {
		doing = "joins the broker at" // it leads once that has let it in
		if os.Getenv("DOMINION_BROKER") == l.config.Broker {
			named = "\n(DOMINION_BROKER names it; unset that to lead on a broker of its own)"
		}
	}
	if url != defaultBroker {
		elsewhere = " --broker " + url
	}
	fmt.Fprintf(w, "Dominion %s %s %s, its data in %s%s\n", program.Version(), doing, url, l.config.Data, named)
	if path == "" {
		fmt.Fprintf(w, `There is no configuration file: the house is shown, and nothing is started.
  look at it      dominion status%s
  add an agent    domain%s   (or: dominion serve --domain NAME)
  add services    dominion example leader > house.toml; dominion serve --config house.toml
  Home Assistant  its MQTT integration, broker %s
`, elsewhere, elsewhere, url)
	}
}
