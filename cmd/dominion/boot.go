package main

import (
	"context"
	"errors"
	"io"
)

// bootable tells whether this machine can start the leader at boot.
func bootable() bool { return false }

// startAtBoot installs and starts the leader's unit.
func startAtBoot(_ context.Context, _ io.Writer, _ string) error {
	return errors.New("no unit can be installed yet")
}
