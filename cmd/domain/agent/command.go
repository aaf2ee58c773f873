// Package agent wires the device agent: its settings, its connection to the
// bus, its signals and exit codes. The program domain and `dominion domain`
// are this; `dominion serve --domain NAME` runs it beside the leader.
package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/program"
	"dominion/cmd/program/install"
	"dominion/cmd/program/unit"
	"dominion/configs"
)

// Command is the agent as a command.
func Command() *cobra.Command {
	var hidden hiddenFlags
	var version bool
	cmd := &cobra.Command{
		Use:   "domain",
		Short: "The agent: makes this machine a domain of the house",
		Long: `The agent says that this machine is there, starts and supervises the services
that the house wants here, and reports them. Services are directories below
services_dir, each with a Makefile whose target start runs it.

It finds the house that this machine has joined (domain join CODE), also when
the leader has moved. --broker names a broker instead.

SIGTERM and SIGHUP end the agent and keep the services running: the next agent
adopts them. SIGINT (Ctrl-C) ends the services too. Without a leader the agent
keeps running what it was told last.

Every setting can stand in a file (--config, DOMAIN_CONFIG_FILE, else
/etc/dominion/domain.toml), in the environment (DOMAIN_SERVICES_DIR) or in a
flag; the flag wins.

` + program.ExitCodes,
		Example: "  domain join 4F7K-9QXM-2C\n  domain --broker mqtt://192.168.1.2:1883 --traits compute,usb-zigbee",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				_, err := fmt.Fprint(cmd.OutOrStdout(), program.VersionLine(cmd.Root().Name()))
				return err
			}
			return run(cmd, hidden)
		},
	}
	program.WrapHelp(cmd)
	program.AddFlags(cmd, Settings())
	// cobra's own would make the program larger by a fourth: it links templates.
	cmd.Flags().BoolVar(&version, "version", false, "write the version")
	cmd.Flags().IntVar(&hidden.untilEOF, "until-eof", -1, "end when this file `descriptor` of a pipe reaches its end")
	cmd.Flags().BoolVar(&hidden.ephemeral, "ephemeral", false, "stop the services at every end")
	for _, name := range []string{"until-eof", "ephemeral"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	cmd.AddCommand(joinCommand(), leaveCommand(), adoptCommand(), program.VersionCommand())
	cmd.AddCommand(install.Commands(unit.Agent(), nil)...)
	return cmd
}

// hiddenFlags are for whoever starts an agent as a part of something else.
type hiddenFlags struct {
	untilEOF  int
	ephemeral bool
}

func run(cmd *cobra.Command, hidden hiddenFlags) error {
	l, err := newLife(cmd, hidden)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if hidden.untilEOF >= 0 {
		var release context.CancelFunc
		ctx, release = program.UntilEOF(ctx, program.Inherited(hidden.untilEOF))
		defer release()
	}
	watchdog := program.NewWatchdog(l.log)
	l.turned = watchdog.Loop("supervisor")
	beside, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { watchdog.Run(beside, "supervises this machine's services") })
	defer watching.Wait()
	defer end()
	return l.live(ctx)
}

// newLife reads the settings. Its errors are Exits.
func newLife(cmd *cobra.Command, hidden hiddenFlags) (life, error) {
	c := Defaults()
	file, err := program.LoadOwn(cmd, &c, "DOMAIN", Settings())
	if err != nil {
		return life{}, err
	}
	log, err := program.NewLog(cmd.ErrOrStderr(), c.LogLevel)
	if err := configs.Join(append(c.Check(file), said(file, "log_level", err))...); err != nil {
		return life{}, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return life{config: c, file: file, hidden: hidden, stderr: cmd.ErrOrStderr(), log: log}, nil
}

func exit(err error) error {
	var inUse *client.NameInUse
	switch {
	case err == nil:
		return nil
	case errors.As(err, &inUse):
		return &program.Exit{Code: program.NameInUse, Err: err}
	}
	return &program.Exit{Code: program.CannotRun, Err: err}
}

// said puts the place where a key was set in front of an error about it.
func said(file *configs.File, key string, err error) error {
	if err == nil {
		return nil
	}
	return file.Errorf(key, "%w", err)
}
