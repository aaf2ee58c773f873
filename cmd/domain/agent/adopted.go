package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dominion/cmd/domain/around"
	"dominion/cmd/program"
	"dominion/device"
	"dominion/topics"
)

// adopted is what stands in a service.toml that adopt wrote.
type adopted struct {
	kind, thing string
	own         bool
	port        int
	ready       []string // lines
}

// mark begins every file that adopt wrote: others are not touched.
const mark = "# Written by domain adopt: "

func (a adoption) path(name string) string { return filepath.Join(a.dir, name, "service.toml") }

// read is what adopt wrote of a service before; nil if it did not.
func (a adoption) read(name string) (*adopted, error) {
	if topics.Service(name).Check() != nil {
		return nil, nil
	}
	raw, err := os.ReadFile(a.path(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.HasPrefix(string(raw), mark) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := Manifest(a.path(name))
	if err != nil {
		return nil, err
	}
	e := adopted{own: m.Own, port: m.Port}
	e.kind, e.thing = keptBy(m)
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "ready") {
			e.ready = append(e.ready, strings.TrimSpace(line))
		}
	}
	return &e, nil
}

// adoptedAs is the service that a thing was adopted as; "": it was not.
func (a adoption) adoptedAs(kind, thing string) string {
	dirs, _ := os.ReadDir(a.dir) // none: nothing was adopted
	for _, d := range dirs {
		if e, err := a.read(d.Name()); err == nil && e != nil && e.kind == kind && e.thing == thing {
			return d.Name()
		}
	}
	return ""
}

// keptBy is what a service.toml names that runs without the house.
func keptBy(m device.Manifest) (kind, thing string) {
	switch {
	case m.Unit != "":
		return around.Unit, m.Unit
	case m.Container != "":
		return around.Container, m.Container
	case m.PIDOf != "":
		return around.Process, m.PIDOf
	}
	return "", ""
}

// next is what is to be written: what the flags say, else what stood there,
// else what was seen.
func (a adoption) next(before *adopted, kind, thing string, found around.Thing) (adopted, error) {
	n := adopted{kind: kind, thing: thing}
	if before != nil {
		n = *before
	}
	if a.ownSaid {
		n.own = a.own
	}
	if a.port < 0 || a.port > 65535 {
		return n, program.Fail(program.BadUsage, "--port %d: a port is 1 to 65535", a.port)
	}
	if a.port != 0 {
		n.port = a.port
	} else if before == nil && len(found.Ports) > 0 {
		n.port = found.Ports[0]
	}
	if a.ready != "" {
		lines, err := readyLines(a.ready)
		if err != nil {
			return n, err
		}
		n.ready = lines
	} else if before == nil && n.port != 0 {
		n.ready = []string{`ready = "tcp"`}
	}
	if n.port == 0 && slices.ContainsFunc(n.ready, func(line string) bool {
		return strings.Contains(line, `"tcp"`) || strings.Contains(line, `"http"`)
	}) {
		return n, program.Fail(program.BadUsage, "no port of %s is known that could be knocked at (give it with --port)", thing)
	}
	return n, nil
}

// readyLines are the keys of service.toml for a rule as it is typed.
func readyLines(rule string) ([]string, error) {
	by, rest, more := strings.Cut(rule, ":")
	switch {
	case by == topics.ReadyTCP && !more:
		return []string{`ready = "tcp"`}, nil
	case by == topics.ReadyHTTP && strings.HasPrefix(rest, "/"):
		return []string{`ready = "http"`, "ready_path = " + strconv.Quote(rest)}, nil
	case by == topics.ReadyDelay && more:
		return []string{`ready = "delay"`, "ready_delay = " + strconv.Quote(rest)}, nil
	}
	return nil, program.Fail(program.BadUsage, "--ready %s: what runs without the house is ready by tcp, http:/PATH or delay:5s", rule)
}

// file is the service.toml.
func (n adopted) file(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, mark+"%s runs on this machine without the\n# house. domain adopt --undo %s lets go of it, and it goes on as it is.\n", n.thing, name)
	key := map[string]string{around.Unit: "unit", around.Container: "container", around.Process: "pid_of"}[n.kind]
	fmt.Fprintf(&b, "%s = %s\n", key, strconv.Quote(n.thing))
	if n.kind != around.Process {
		fmt.Fprintf(&b, "own = %t # whether the house starts and stops it\n", n.own)
	}
	if n.port != 0 {
		fmt.Fprintf(&b, "port = %d\n", n.port)
	}
	for _, line := range n.ready {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

func (n adopted) words() string {
	if n.own {
		return "the house's own"
	}
	return "observed"
}
