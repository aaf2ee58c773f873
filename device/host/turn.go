package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// What a machine can be told to do with itself.
const (
	Reboot   = "reboot"
	Shutdown = "shutdown"
)

// turnTimeout is how long an init may take to begin.
const turnTimeout = 30 * time.Second

// Turn has this machine reboot or shut down, through its init. It returns once
// that has begun; the error has the words of the program that refused.
func Turn(ctx context.Context, what string) error {
	argv := map[string][]string{Reboot: {"reboot"}, Shutdown: {"poweroff"}}[what]
	if argv == nil {
		return fmt.Errorf("%q is neither %s nor %s", what, Reboot, Shutdown)
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		argv = append([]string{"systemctl"}, argv...)
	}
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second // for what it started and left with its output
	said, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(said)); err != nil && text != "" {
		return errors.New(strings.ReplaceAll(text, "\n", ": "))
	}
	return err
}
