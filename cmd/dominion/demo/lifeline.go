package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// startedByGo tells whether this program's parent is the go command, as in
// go run: when that is killed its program must end by itself.
func startedByGo(ctx context.Context) bool {
	parent := strconv.Itoa(os.Getppid())
	name, err := os.ReadFile(filepath.Join("/proc", parent, "comm"))
	if err != nil {
		name, err = exec.CommandContext(ctx, "ps", "-o", "comm=", "-p", parent).Output()
	}
	return err == nil && filepath.Base(strings.TrimSpace(string(name))) == "go"
}

// cleanEnvironment is this program's environment without what would steer the
// house: settings of the user's own house, and of a make that runs this.
func cleanEnvironment(environ []string) []string {
	var clean []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "DOMINION_"), strings.HasPrefix(name, "DOMAIN_"):
		case name == "MAKEFLAGS", name == "MFLAGS", name == "MAKELEVEL", name == "MAKEFILES", name == "NOTIFY_SOCKET":
		default:
			clean = append(clean, v)
		}
	}
	return clean
}

// lastLine is the last line of a log that says something.
func lastLine(path string) string {
	log, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	log = bytes.TrimSpace(log)
	return string(log[bytes.LastIndexByte(log, '\n')+1:])
}
