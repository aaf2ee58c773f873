package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// What a machine can be told to do with itself.
const (
	Reboot   = "reboot"
	Shutdown = "shutdown"
)

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
	said, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if text := strings.TrimSpace(string(said)); err != nil && text != "" {
		return errors.New(strings.ReplaceAll(text, "\n", ": "))
	}
	return err
}
