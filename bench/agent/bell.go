package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// service is what every supervisor keeps running: it says at the bell that it
// has started, and sleeps. $1 is its name, $2 the bell.
const service = `echo "$1 $$" >"$2"
exec sleep 1000000
`

// bell is a named pipe at which services say that they have started.
type bell struct {
	path   string
	script string
	file   *os.File
	rings  chan ring
	pids   map[string]int // of the services that have said so
}

// ring is one start.
type ring struct {
	name string
	pid  int
	at   time.Time
}

// newBell hangs a bell into a directory, and puts the service beside it.
func newBell(dir string) (*bell, error) {
	b := &bell{path: filepath.Join(dir, "bell"), script: filepath.Join(dir, "service.sh"), rings: make(chan ring, 1000), pids: map[string]int{}}
	if err := os.WriteFile(b.script, []byte(service), 0o600); err != nil {
		return nil, err
	}
	if err := syscall.Mkfifo(b.path, 0o600); err != nil {
		return nil, err
	}
	var err error
	if b.file, err = os.OpenFile(b.path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	go b.listen()
	return b, nil
}

func (b *bell) listen() {
	defer close(b.rings)
	for lines := bufio.NewScanner(b.file); lines.Scan(); {
		at := time.Now()
		name, rest, _ := strings.Cut(lines.Text(), " ")
		if pid, err := strconv.Atoi(rest); err == nil {
			b.rings <- ring{name, pid, at}
		}
	}
}

func (b *bell) close() { b.file.Close() }

// command is what runs the service of that name.
func (b *bell) command(name string) []string { return []string{"/bin/sh", b.script, name, b.path} }

// startPatience is how long a supervisor may take to start a service.
const startPatience = 30 * time.Second

// await waits until a service has started.
func (b *bell) await(ctx context.Context, name string) (ring, error) {
	late := time.NewTimer(startPatience)
	defer late.Stop()
	for {
		select {
		case r := <-b.rings:
			b.pids[r.name] = r.pid
			if r.name == name {
				return r, nil
			}
		case <-late.C:
			return ring{}, fmt.Errorf("%s did not start within %v", name, startPatience)
		case <-ctx.Done():
			return ring{}, ctx.Err()
		}
	}
}

// all waits until every service of a supervisor has started at least once.
func (b *bell) all(ctx context.Context, names []string) error {
	for _, name := range names {
		if b.pids[name] != 0 {
			continue
		}
		if _, err := b.await(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
