package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dominion/bench/load"
	"dominion/broker"
	"dominion/topics"
)

// contestant is a broker that can be started.
type contestant struct {
	name  string // and its version, where it has one
	start func(context.Context) (*child, error)
}

// child is a broker that runs in a process of its own.
type child struct {
	addr string
	cmd  *exec.Cmd
	dir  string       // its data
	said bytes.Buffer // what it complained of, to be read after stop
	stop func() error
}

// goodbye is how long a child may take to end before it is killed.
const goodbye = 10 * time.Second

// spawn starts a child in a directory of its own. It is told to end when ctx
// does or stop is called.
func spawn(ctx context.Context, command func(ctx context.Context, dir string) (*exec.Cmd, error)) (*child, error) {
	dir, err := os.MkdirTemp("", "dominion-bench-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := command(ctx, dir)
	if err != nil {
		cancel()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = goodbye
	c := &child{cmd: cmd, dir: dir}
	cmd.Stderr = &c.said
	c.stop = func() error {
		cancel()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) && !errors.As(err, &exit) {
			return errors.Join(err, os.RemoveAll(dir))
		}
		return os.RemoveAll(dir)
	}
	return c, nil
}

// embedded is package broker as `dominion serve` opens it.
func embedded() contestant {
	return contestant{"dominion", func(ctx context.Context) (*child, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		var said io.ReadCloser
		c, err := spawn(ctx, func(ctx context.Context, dir string) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, self, "-serve", dir)
			// Never written to: its end tells the child that this process is gone,
			// however it went.
			_, in := cmd.StdinPipe()
			var out error
			said, out = cmd.StdoutPipe()
			return cmd, errors.Join(in, out)
		})
		if err != nil {
			return nil, err
		}
		if err := c.cmd.Start(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(c.dir))
		}
		addr, err := bufio.NewReader(said).ReadString('\n')
		if err != nil {
			return nil, errors.Join(fmt.Errorf("it did not say its address: %w", err), c.stop(), errors.New(c.said.String()))
		}
		c.addr = strings.TrimSpace(addr)
		return c, nil
	}}
}

// serveEmbedded is the child. It says its address when it serves.
func serveEmbedded(ctx context.Context, dir string, alive io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := broker.Open(broker.Options{
		Listen: []string{"127.0.0.1:0"}, Data: dir, Rules: topics.Space{},
		Anonymous: []topics.Identity{
			{Role: topics.RoleOperator}, {Role: topics.RoleHomeAssistant}, {Role: topics.RoleNode}, {Role: topics.RoleService},
		},
		MaxRetained: 50_000, // by default one client retains less than the replay is measured with
	})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, alive)
		cancel()
	}()
	fmt.Fprintln(out, server.Addrs()[0])
	return server.Run(ctx)
}

// mosquitto is the one installed here; ok tells whether there is one.
func mosquitto(ctx context.Context) (m contestant, ok bool) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not in everybody's PATH on Debian
	}
	help, _ := exec.CommandContext(ctx, path, "-h").Output() // it exits with 3
	first, _, _ := strings.Cut(string(help), "\n")
	version, ok := strings.CutPrefix(first, "mosquitto version ")
	if !ok {
		return contestant{}, false
	}
	return contestant{"mosquitto " + strings.TrimSpace(version), func(ctx context.Context) (*child, error) {
		return startMosquitto(ctx, path)
	}}, true
}

// settings are mosquitto's: no limits that lose messages, no 40 ms of Nagle's
// algorithm, and a store, as ours has one.
const settings = `listener %s 127.0.0.1
allow_anonymous true
user root
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
persistence true
persistence_location %s/
log_type error
log_dest stderr
`

func startMosquitto(ctx context.Context, path string) (*child, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := spawn(ctx, func(ctx context.Context, dir string) (*exec.Cmd, error) {
		file := filepath.Join(dir, "mosquitto.conf")
		return exec.CommandContext(ctx, path, "-c", file), os.WriteFile(file, fmt.Appendf(nil, settings, port, dir), 0o600)
	})
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	c.addr = addr
	if err := answers(ctx, addr); err != nil {
		return nil, errors.Join(err, c.stop(), errors.New(c.said.String()))
	}
	return c, nil
}

// freeAddr is a loopback address that nobody listened on a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until a broker lets a client in.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := load.Dial(ctx, addr, "bench-knocks")
		if err == nil {
			return c.Leave()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// resident is the memory of a child, in KiB, as Linux counts it.
func (c *child) resident() (float64, error) {
	path := fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid)
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("memory is measured on Linux only, leave it out with -only: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, fmt.Errorf("%s: no VmRSS", path)
}
