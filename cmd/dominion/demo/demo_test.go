package demo_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dominion/cmd/dominion/demo/programs"
)

// TestMain builds the program once: the demo starts itself as leader, agents
// and services.
func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

const builtVariable = "DEMO_TEST_PROGRAM"

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dominion-demo-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built := filepath.Join(dir, "dominion")
	if out, err := exec.Command("go", "build", "-o", built, "dominion/cmd/dominion").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	os.Setenv(builtVariable, built)
	flag.Parse()
	flag.Set("test.parallel", "8") // the demos mostly wait
	return m.Run()
}

// demo is a running one, with a folder for temporary files of its own, which
// marks all its processes.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	tmp  string
	done chan struct{} // closed when it has ended

	lock sync.Mutex // guards said, which the reader of its output appends to
	said bytes.Buffer
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	d := &running{t: t, tmp: t.TempDir(), done: make(chan struct{})}
	d.cmd = exec.Command(os.Getenv(builtVariable), append([]string{"demo", port(t)}, args...)...)
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.launch()
	return d
}

// port keeps the demos of parallel tests apart: a leader that is killed frees
// its port for a second, in which another demo would take it.
func port(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprintf("--port=%d", listener.Addr().(*net.TCPAddr).Port)
}

// needMake skips a test on a machine without make: a demo says there what is
// missing, and ends.
func needMake(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
}

func (d *running) launch() {
	d.t.Helper()
	needMake(d.t)
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // its state is looked at
		close(d.done)
	}()
	d.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.done
		if d.t.Failed() {
			d.t.Logf("the demo said:\n%s\nits processes:\n%s", d.text(), strings.Join(d.processes(), "\n"))
			logs, _ := filepath.Glob(filepath.Join(d.tmp, "*", "log", "*"))
			for _, name := range logs {
				log, _ := os.ReadFile(name)
				d.t.Logf("%s:\n%s", filepath.Base(name), log)
			}
		}
	})
}

func (d *running) Write(p []byte) (int, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.said.Write(p)
}

func (d *running) text() string {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.said.String()
}

// await waits until the demo has said what the pattern matches, n times.
func (d *running) await(limit time.Duration, n int, pattern string) {
	d.t.Helper()
	p := regexp.MustCompile(pattern)
	d.eventually(limit, "it says "+pattern, func() (bool, string) {
		select {
		case <-d.done:
			return len(p.FindAllString(d.text(), -1)) >= n, "it has ended"
		default:
		}
		return len(p.FindAllString(d.text(), -1)) >= n, "not yet"
	})
}

func (d *running) eventually(limit time.Duration, what string, is func() (bool, string)) {
	d.t.Helper()
	var last string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ok, text := is()
		if ok {
			return
		}
		last = text
	}
	d.t.Fatalf("%s: not within %v; last: %s", what, limit, last)
}

// exits waits for its end and returns the exit code.
func (d *running) exits(limit time.Duration) int {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(limit):
		d.t.Fatalf("it did not end within %v", limit)
	}
	return d.cmd.ProcessState.ExitCode()
}

// folder is the demo's own.
func (d *running) folder() string {
	d.t.Helper()
	found, _ := filepath.Glob(filepath.Join(d.tmp, "dominion-demo-*"))
	if len(found) != 1 {
		d.t.Fatalf("folders of the demo: %v", found)
	}
	return found[0]
}

// processes are those that carry the demo's mark in their environment, or in
// what they were started with.
func (d *running) processes() []string {
	if runtime.GOOS != "linux" {
		out, _ := exec.Command("ps", "-axwwE", "-o", "pid=,command=").Output()
		var found []string
		for l := range strings.Lines(string(out)) {
			if strings.Contains(l, d.tmp) {
				found = append(found, l)
			}
		}
		return found
	}
	var found []string
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		environ, _ := os.ReadFile(filepath.Join(p, "environ"))
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if bytes.Contains(environ, []byte(d.tmp)) || bytes.Contains(line, []byte(d.tmp)) {
			found = append(found, filepath.Base(p)+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// pid is that of the leader or an agent.
func (d *running) pid(name string) int {
	d.t.Helper()
	for _, p := range d.processes() {
		if strings.Contains(p, filepath.Join(d.folder(), name+".toml")) && !strings.Contains(p, "demo-service") {
			pid, err := strconv.Atoi(strings.Fields(p)[0])
			if err == nil {
				return pid
			}
		}
	}
	d.t.Fatalf("no process of %s in\n%s", name, strings.Join(d.processes(), "\n"))
	return 0
}

func (d *running) gone(limit time.Duration) {
	d.t.Helper()
	d.eventually(limit, "no process is left", func() (bool, string) {
		left := d.processes()
		return len(left) == 0, strings.Join(left, "\n")
	})
}

func (d *running) nothingLeft() {
	d.t.Helper()
	d.gone(0 + 50*time.Millisecond)
	if left, _ := os.ReadDir(d.tmp); len(left) > 0 {
		d.t.Errorf("it left %v", left)
	}
}

// stands is what the demo says when everything is ready.
const stands = `(?m)^webServer +ready `

const soon = 20 * time.Second

func TestTheDemoStandsAndEndsByItself(t *testing.T) {
	t.Parallel()
	d := start(t, "--for", "12s")
	if code := d.exits(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.nothingLeft()
	said := d.text()
	for _, want := range []string{
		`(?m)^Dominion \S+  demo house [a-z0-9]{4}  broker 127\.0\.0\.1:\d+`,
		`(?m)^ +\d+\.\ds  coordinator +leads · kitchen, attic, porch joined$`,
		`(?m)^ +\d+\.\ds  webServer +ready on (attic|kitchen) +http://127\.0\.0\.1:\d+$`,
		`(?m)^ +\d+\.\ds  lightOrchestrator +ready on (attic|kitchen) +found webServer by lookup$`,
		`(?m)^ +\d+\.\ds  npBar +ready on porch +lamp: on$`,
		`(?m)^SERVICE +STATE +WHERE +BECAUSE$`,
		`(?m)^npBar +ready +porch +required where trait neoPixelLight$`,
		`(?m)^lightOrchestrator +ready +(attic|kitchen) +npBar needs it$`,
		`(?m)^webServer +ready +(attic|kitchen) +lightOrchestrator needs it$`,
		`(?m)nothing is left of it$`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("it did not say %s", want)
		}
	}
	if strings.Contains(said, "\x1b") || strings.Contains(said, "\r") {
		t.Error("it steers a terminal that is none")
	}
	for l := range strings.Lines(said) {
		if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

func TestTheDemoEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"hangup": syscall.SIGHUP, "interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			d.await(soon, 1, `npBar +ready on porch`)
			if err := d.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := d.exits(10 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			d.nothingLeft()
		})
	}
}

func TestNothingOutlivesAKilledDemo(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.await(soon, 1, stands)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.gone(10 * time.Second)
	left := d.folder() // there is nobody who could remove it

	next := exec.Command(os.Getenv(builtVariable), "demo", "--for", "10ms", port(t))
	next.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	out, err := next.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "a service was not ready at the end") {
		t.Errorf("a demo that had no time: %v\n%s", err, out)
	}
	if _, err := os.Stat(left); err == nil {
		t.Errorf("the next demo did not remove %s", left)
	}
	d.nothingLeft()
}

func TestNothingOutlivesAKilledGoRun(t *testing.T) {
	t.Parallel()
	d := &running{t: t, tmp: t.TempDir(), done: make(chan struct{})}
	d.cmd = exec.Command("go", "run", "dominion/cmd/dominion", "demo", port(t))
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.cmd.WaitDelay = time.Second // the demo has its output, and is not its child
	d.launch()
	d.await(2*soon, 1, `leads · kitchen, attic, porch joined`)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.gone(10 * time.Second)
	if left, _ := filepath.Glob(filepath.Join(d.tmp, "dominion-demo-*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestServicesEndEvenWhenAllElseIsKilled(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.await(soon, 1, stands)
	pids := []int{d.cmd.Process.Pid}
	for _, name := range []string{"kitchen", "attic", "porch", "dominion"} {
		pids = append(pids, d.pid(name))
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.gone(10 * time.Second)
}

func TestKilledProcessesComeBack(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.await(soon, 1, stands)
	before, err := programs.Census(d.folder())
	if err != nil || len(before) != 3 {
		t.Fatalf("services %v, %v", before, err)
	}
	for _, name := range []string{"dominion", "kitchen"} {
		if err := syscall.Kill(d.pid(name), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if name == "dominion" {
			d.await(soon, 1, `coordinator +its process ended \(killed\), starts again in 1 s`)
			d.await(soon, 1, `coordinator +leads again, term 2 · no service was restarted`)
		}
	}
	d.await(soon, 1, `kitchen +its process ended \(killed\), starts again in 3 s`)
	d.await(soon, 1, `kitchen +back · nothing started twice`)
	after, err := programs.Census(d.folder())
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("services before %v, after %v, %v", before, after, err)
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.exits(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.nothingLeft()
}

func TestWithoutMake(t *testing.T) {
	cmd := exec.Command(os.Getenv(builtVariable), "demo")
	cmd.Env = []string{"PATH=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(out), "apt install make") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAClosedPipeEndsIt(t *testing.T) {
	t.Parallel()
	d := &running{t: t, tmp: t.TempDir(), done: make(chan struct{})}
	d.cmd = exec.Command(os.Getenv(builtVariable), "demo", port(t))
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stdout, d.cmd.Stderr = write, d
	d.launch()
	write.Close()
	if _, err := io.ReadFull(read, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	read.Close() // as `dominion demo | head -1` does
	d.exits(soon)
	d.nothingLeft()
}

func TestServicesThatCannotBeShown(t *testing.T) {
	needMake(t)
	dir := t.TempDir()
	for _, c := range []struct{ path, want string }{
		{"", "has no directory with a Makefile"},
		{"my radio/Makefile", "name \"my radio\" has ' '"},
		{"webserver/Makefile", "the demo has a service webServer of its own"},
	} {
		folder := filepath.Join(dir, strconv.Itoa(len(c.path)))
		path := filepath.Join(folder, c.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if c.path != "" {
			if err := os.WriteFile(path, []byte("start:\n\t@true\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		d := start(t, "--services", folder)
		<-d.done
		if code := d.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(strings.Join(strings.Fields(d.text()), " "), c.want) {
			t.Errorf("%q: exit %d, %s", c.path, code, d.text())
		}
	}
}
