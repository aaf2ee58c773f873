package device

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"dominion/device/process"
	"dominion/topics"
)

// envStatus names the file in which make's shell writes how a recipe ended.
const envStatus = "DOMAIN_STATUS_FILE"

// makeRunner starts the targets build, start and stop of a Makefile.
type makeRunner struct {
	programs
	shell    shell
	patience time.Duration // of the look at a Makefile's targets
}

func (makeRunner) kind() string { return kindMake }

// targetsTimeout bounds the look at a Makefile's targets, which a start that has
// less time ends sooner.
const targetsTimeout = 30 * time.Second

func (m makeRunner) commands(ctx context.Context, at place, _ Manifest) (commands, *topics.Why) {
	program, err := exec.LookPath("make")
	if err != nil {
		return commands{}, &topics.Why{Code: topics.StartFailed, Text: "make is not installed on this machine", Next: "sudo apt install make"}
	}
	c := commands{env: m.shell.env(at.status), viaMake: true}
	targets, said, err := m.targets(ctx, program, at)
	switch {
	case err != nil:
		return commands{}, &topics.Why{Code: topics.StartFailed, Text: fmt.Sprintf("make cannot read the Makefile: %v", err), Next: "make -C " + at.dir + " -n start"}
	case targets["start"]:
	case said != "":
		return commands{}, &topics.Why{Code: topics.StartFailed, Text: "make cannot read the Makefile: " + said, Next: "make -C " + at.dir + " -n start"}
	default:
		return commands{}, &topics.Why{Code: topics.StartFailed, Text: "the Makefile has no target start", Next: "add a target start to " + filepath.Join(at.dir, "Makefile")}
	}
	argv := func(target string) []string {
		return []string{program, "--no-print-directory", "-C", at.dir, target}
	}
	c.start = argv("start")
	if targets["build"] {
		c.build = argv("build")
	}
	if targets["stop"] {
		c.stop = argv("stop")
	}
	return c, nil
}

// rule is a line of make's data base that begins an explicit rule.
var rule = regexp.MustCompile(`^([A-Za-z0-9_-]+):($|[^=])`)

// targets asks make for its data base, in which every explicit rule stands, also
// those of included files. said is what make complained of.
func (m makeRunner) targets(ctx context.Context, program string, at place) (targets map[string]bool, said string, err error) {
	raw, err := m.database(ctx, program, at)
	if err != nil {
		return nil, "", err
	}
	targets = map[string]bool{}
	file := false // the rule that follows is none: make speaks of a file
	for line := range bytes.Lines(raw) {
		line = bytes.TrimRight(line, "\n")
		if found := rule.FindSubmatch(line); found != nil && !file {
			targets[string(found[1])] = true
		}
		file = bytes.HasPrefix(line, []byte("# Not a target"))
		if bytes.Contains(line, []byte(": *** ")) && !bytes.Contains(line, []byte("a-target-that-nobody-has")) && said == "" {
			said = clean(string(line))
		}
	}
	return targets, said, nil
}

// database is what make prints of a Makefile.
func (m makeRunner) database(ctx context.Context, program string, at place) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	run, err := process.Start(ctx, process.Command{
		Dir: at.dir, Start: at.start, Output: w,
		// -q asks only, and a goal that nobody has ends it before anything is made.
		Argv: []string{program, "--no-print-directory", "-C", at.dir, "-pRrq", "a-target-that-nobody-has"},
		Env:  append(append([]string(nil), at.env...), "LC_ALL=C"),
	})
	w.Close()
	if err != nil {
		return nil, err
	}
	ended := context.AfterFunc(ctx, func() {
		_ = r.SetReadDeadline(time.Now()) // what a $(shell …) let escape may hold the pipe for ever
		_ = run.Stop(context.WithoutCancel(ctx), 0)
	})
	defer ended()
	raw, err := io.ReadAll(io.LimitReader(r, 16<<20))
	if err == nil {
		// Until then what is left of this run is looked for by its START_ID,
		// which the service is about to be started with.
		select {
		case <-run.Done():
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("that takes more than %v (does a $(shell …) in it not end?)", m.patience)
	}
	return raw, err
}

// shell is a folder with the shell that make is given: make exits 2 whatever
// its recipe did, so this shell writes down what really happened. A Makefile
// that sets SHELL itself keeps its own. Empty: make uses what it wants.
type shell string

const shellScript = `#!/bin/sh
# The shell that make is given here: it runs a recipe as /bin/sh does, and
# writes down how that ended, since make itself always says 2.
# TERM is for the whole process group: the recipe has it already, and this
# shell stays to see how the recipe takes it.
trap : TERM INT HUP
[ -n "$DOMAIN_STATUS_FILE" ] || exec /bin/sh "$@"
: > "$DOMAIN_STATUS_FILE"
/bin/sh "$@"
status=$?
# A make within the recipe says 2, and has written the truth already.
[ $status = 2 ] && [ -s "$DOMAIN_STATUS_FILE" ] || echo $status > "$DOMAIN_STATUS_FILE"
exit $status
`

// newShell writes the shell into a folder. make reads lists of words: a path
// that is more than one cannot be given to it.
func newShell(dir string) (shell, error) {
	if !topics.Travels(dir) {
		return "", nil
	}
	if err := replace(filepath.Join(dir, "shell"), shellScript, 0o700); err != nil {
		return "", err
	}
	// The list of Makefiles begins with the service's own, as if this was not there.
	include := "SHELL := " + filepath.Join(dir, "shell") + "\nMAKEFILE_LIST :=\n"
	if err := replace(filepath.Join(dir, "shell.mk"), include, 0o600); err != nil {
		return "", err
	}
	return shell(dir), nil
}

// replace writes a file if it does not have that content yet. The mode is set
// in any case: the agent may have been killed before it came to that.
func replace(path, content string, mode fs.FileMode) error {
	if have, err := os.ReadFile(path); err != nil || string(have) != content {
		if err := writeFile(path, []byte(content), false); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

func (s shell) env(status string) []string {
	if s == "" {
		return nil
	}
	return []string{"MAKEFILES=" + filepath.Join(string(s), "shell.mk"), envStatus + "=" + status}
}

// recorded is what make's shell wrote of how the last recipe ended.
func recorded(status string) process.Exit {
	if status == "" {
		return process.Exit{}
	}
	raw, err := os.ReadFile(status)
	if err != nil {
		return process.Exit{}
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	return process.Exit{Known: err == nil, Code: code}
}

// makeFailed is the status of make itself when a recipe failed.
const makeFailed = 2

// truth is how a service really ended: what its first process said or, if
// that was make, what its recipe did.
func truth(e process.Exit, status string, lines []string) process.Exit {
	if status == "" || e.Known && e.Signal == 0 && e.Code != makeFailed {
		return e
	}
	r := recorded(status)
	code, said := saidByMake(lines)
	switch {
	case r.Known && (r.Code != 0 || e.Code != makeFailed):
		return r
	case said && e.Code == makeFailed:
		e.Code = code
	}
	return e
}

func saidByMake(lines []string) (int, bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		if found := makesError.FindStringSubmatch(lines[i]); found != nil {
			code, err := strconv.Atoi(found[1])
			return code, err == nil
		}
	}
	return 0, false
}

// makesError is make's own word on how a recipe ended.
var makesError = regexp.MustCompile(`^g?make(?:\[\d+\])?: \*\*\* \[.*\] Error (\d+)`)
