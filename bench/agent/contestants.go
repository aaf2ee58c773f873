package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dominion/topics"
)

// contestant is a supervisor that can be started.
type contestant struct {
	name, version string
	// start starts one in an empty directory, to keep services.
	start func(ctx context.Context, dir string, services []keep) (*child, error)
}

// keep is a service to be kept.
type keep struct {
	name    topics.Service
	command []string
}

// child is a supervisor that runs.
type child struct {
	pid  int    // its own
	data string // where it keeps what must survive
	// node is what it is called on the bus, empty: it is on none. Then sent is
	// how many bytes it has sent.
	node topics.Node
	sent func() int64
	make bool // some of its services are started by make

	stop func() error
	said func() string // what it complained of
}

// all are the contestants that this machine has, ours first.
func all(ctx context.Context, scratch string, h *house, alone bool, out io.Writer) ([]contestant, error) {
	ours, err := domain(ctx, scratch, h)
	if err != nil {
		return nil, err
	}
	found := []contestant{ours}
	if alone {
		return found, nil
	}
	if c, ok := supervisord(ctx); ok {
		found = append(found, c)
	} else {
		fmt.Fprintln(out, "supervisord is not installed (apt-get install supervisor)")
	}
	if c, err := systemd(ctx); err == nil {
		found = append(found, c)
	} else {
		fmt.Fprintf(out, "systemd is left out: %v\n", err)
	}
	return found, nil
}

// goodbye is how long a supervisor may take to end with its services.
const goodbye = 20 * time.Second

// launch starts a supervisor that ends, and its services with it, by a signal.
func launch(cmd *exec.Cmd, dir string, end syscall.Signal) (*child, error) {
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = said, said, dir
	cmd.Cancel = func() error { return cmd.Process.Signal(end) }
	cmd.WaitDelay = goodbye
	if err := errors.Join(cmd.Start(), said.Close()); err != nil {
		return nil, err
	}
	c := &child{pid: cmd.Process.Pid, data: dir}
	c.said = func() string {
		raw, _ := os.ReadFile(said.Name())
		return string(raw[max(0, len(raw)-2000):])
	}
	return c, nil
}

// domain is the agent as it is shipped, on the house's bus.
func domain(ctx context.Context, scratch string, h *house) (contestant, error) {
	program := filepath.Join(scratch, "domain")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "dominion/cmd/domain")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if said, err := build.CombinedOutput(); err != nil {
		return contestant{}, fmt.Errorf("build the agent: %w\n%s", err, said)
	}
	info, err := os.Stat(program)
	if err != nil {
		return contestant{}, err
	}
	version := fmt.Sprintf("of %.1f MiB", float64(info.Size())/(1<<20))
	return contestant{"domain", version, func(ctx context.Context, dir string, services []keep) (*child, error) {
		return startDomain(ctx, program, dir, h, services)
	}}, nil
}

func startDomain(ctx context.Context, program, dir string, h *house, services []keep) (*child, error) {
	node := topics.Node(fmt.Sprintf("bench%d", len(services)))
	for i, s := range services {
		if err := writeService(filepath.Join(dir, "services", string(s.name)), s, i < byMake); err != nil {
			return nil, err
		}
	}
	door, err := newMeter(h.server.Addrs()[0].String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, "--ephemeral", "--until-eof=3", "--name", string(node), "--broker", "mqtt://"+door.Addr().String(),
		"--services-dir", filepath.Join(dir, "services"), "--data", filepath.Join(dir, "data"))
	alive, held, err := os.Pipe() // its end tells the agent that this process is gone, however it went
	if err == nil {
		cmd.ExtraFiles = []*os.File{alive}
	}
	c, lerr := launch(cmd, dir, syscall.SIGINT)
	if err := errors.Join(err, lerr, alive.Close()); err != nil {
		cancel()
		return nil, errors.Join(err, door.Close())
	}
	c.node, c.make, c.data, c.sent = node, true, filepath.Join(dir, "data"), door.sent.Load
	c.stop = func() error {
		cancel()
		_ = cmd.Wait()
		return errors.Join(held.Close(), door.Close())
	}
	var names []topics.Service
	for _, s := range services {
		names = append(names, s.name)
	}
	if err := h.want(ctx, node, names); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// writeService makes the directory of a service.
func writeService(dir string, s keep, viaMake bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if viaMake {
		return os.WriteFile(filepath.Join(dir, "Makefile"), []byte("start:\n\t@exec "+strings.Join(s.command, " ")+"\n"), 0o600)
	}
	var argv []string
	for _, word := range s.command {
		argv = append(argv, strconv.Quote(word))
	}
	return os.WriteFile(filepath.Join(dir, "service.toml"), []byte("command = ["+strings.Join(argv, ", ")+"]\n"), 0o600)
}

// supervisord is Debian's; ok tells whether there is one.
func supervisord(ctx context.Context) (c contestant, ok bool) {
	version, err := exec.CommandContext(ctx, "supervisord", "--version").Output()
	return contestant{"supervisord", strings.TrimSpace(string(version)), startSupervisord}, err == nil
}

// supervisordSettings are those of Debian's package, and a program that is
// started again at once whenever it ends.
const supervisordSettings = `[supervisord]
nodaemon=true
logfile=%[1]s/supervisord.log
pidfile=%[1]s/supervisord.pid
childlogdir=%[1]s
[unix_http_server]
file=%[1]s/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
`

func startSupervisord(ctx context.Context, dir string, services []keep) (*child, error) {
	var settings strings.Builder
	fmt.Fprintf(&settings, supervisordSettings, dir)
	for _, s := range services {
		fmt.Fprintf(&settings, "[program:%s]\ncommand=%s\nautorestart=true\nstartsecs=0\nredirect_stderr=true\n", s.name, strings.Join(s.command, " "))
	}
	file := filepath.Join(dir, "supervisord.conf")
	if err := os.WriteFile(file, []byte(settings.String()), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "supervisord", "-c", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	c, err := launch(cmd, dir, syscall.SIGTERM)
	if err != nil {
		cancel()
		return nil, err
	}
	c.stop = func() error {
		cancel()
		_ = cmd.Wait()
		return nil
	}
	return c, nil
}

// systemd is the manager of a user's services, in a machine of its own as far as
// it can see: its units are none of this machine's. That takes root.
func systemd(ctx context.Context) (contestant, error) {
	said, err := exec.CommandContext(ctx, "systemd", "--version").Output()
	if err != nil {
		return contestant{}, err
	}
	if os.Geteuid() != 0 {
		return contestant{}, errors.New("only root can start one that has nothing to do with this machine's own")
	}
	fields := strings.Fields(string(said))
	if len(fields) < 2 {
		return contestant{}, fmt.Errorf("its version is %q", said)
	}
	if _, err := controlGroups(); err != nil {
		return contestant{}, err
	}
	return contestant{"systemd", fields[1], startSystemd}, nil
}

// controlGroups is where version 2 of them is.
func controlGroups() (string, error) {
	for _, at := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(at, "cgroup.controllers")); err == nil {
			return at, nil
		}
	}
	return "", errors.New("this machine has no control groups of version 2")
}

// systemdMachine starts systemd in a control group and a view of the file system
// of its own. $1 is the group, $2 a directory for /run.
const systemdMachine = `
echo $$ >"$1/cgroup.procs"
exec unshare --mount --cgroup --propagation private sh -ec '
	mount --bind "$1" /run
	mount -t cgroup2 cgroup /sys/fs/cgroup
	export XDG_RUNTIME_DIR=/run XDG_CONFIG_HOME=/run/config HOME=/run
	exec systemd --user --unit=bench.target --log-target=null
' sh "$2"
`

func startSystemd(ctx context.Context, dir string, services []keep) (*child, error) {
	mount, err := controlGroups()
	if err != nil {
		return nil, err
	}
	units := filepath.Join(dir, "config/systemd/user")
	if err := errors.Join(os.MkdirAll(units, 0o700), os.MkdirAll(filepath.Join(dir, "systemd/system"), 0o700)); err != nil {
		return nil, err
	}
	var wants []string
	for _, s := range services {
		unit := string(s.name) + ".service"
		text := "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=" + strings.Join(s.command, " ") + "\nRestart=always\nRestartSec=0\n"
		if err := os.WriteFile(filepath.Join(units, unit), []byte(text), 0o600); err != nil {
			return nil, err
		}
		wants = append(wants, unit)
	}
	target := "[Unit]\nWants=" + strings.Join(wants, " ") + "\n"
	if err := os.WriteFile(filepath.Join(units, "bench.target"), []byte(target), 0o600); err != nil {
		return nil, err
	}
	group, err := os.MkdirTemp(mount, "dominion-bench-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "sh", "-ec", systemdMachine, "sh", group, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	c, err := launch(cmd, dir, syscall.SIGTERM)
	if err != nil {
		cancel()
		return nil, errors.Join(err, os.Remove(group))
	}
	c.stop = func() error {
		cancel()
		_ = cmd.Wait()
		return empty(group)
	}
	return c, nil
}

// empty ends what is left in a control group and removes it.
func empty(group string) error {
	_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
	var dirs []string
	_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	var last error
	for _, dir := range slices.Backward(dirs) {
		for range 100 {
			if last = os.Remove(dir); !errors.Is(last, syscall.EBUSY) {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return last
}
