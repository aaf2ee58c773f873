package main

import (
	"context"
	"io"
	"os"

	"dominion/cmd/program"
	"dominion/cmd/program/install"
	"dominion/cmd/program/unit"
	"dominion/configs"
)

// bootable tells whether this machine can start the leader at boot.
func bootable() bool { return install.HasSystemd() }

// startAtBoot installs and starts the leader's unit, for the house whose
// configuration file that is. Files are those that it names and must read;
// changed says that a leader that runs has other settings.
func startAtBoot(ctx context.Context, out io.Writer, path string, files []string, changed bool) error {
	leader := unit.Leader()
	leader.Config = path
	leader, err := asConfigured(leader)
	if err != nil {
		return err
	}
	return install.Install(ctx, install.Options{Part: leader, Files: files, Changed: changed, Out: out})
}

// asConfigured is the leader's unit as its configuration file wants it: one
// that is a domain too runs services, and its data may be elsewhere.
func asConfigured(leader unit.Part) (unit.Part, error) {
	if _, err := os.Stat(leader.Config); err != nil {
		return leader, nil // the unit says what is missing
	}
	c := defaults()
	if _, err := configs.Load(&c, configs.Source{Path: leader.Config}); err != nil {
		return leader, &program.Exit{Code: program.BadUsage, Err: err}
	}
	if c.Domain != "" {
		leader.Runs = true
	}
	if c.Data != "" && c.Data != leader.StatePath() {
		leader.Writes = append(leader.Writes, c.Data)
	}
	return leader, nil
}
