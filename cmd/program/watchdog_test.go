package program_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/cmd/program"
)

// manager is a service manager's socket.
type manager struct {
	t  *testing.T
	fd int
}

// newManager listens as a service manager does, which waits for signs of life
// for so many microseconds.
func newManager(t *testing.T, patience string) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	m := manager{t: t}
	if err := raw.Control(func(fd uintptr) { m.fd = int(fd) }); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", patience)
	t.Setenv("WATCHDOG_PID", "")
	return m
}

// heard is all that was said since the last time. It waits for nothing: the
// clock of the test stands still meanwhile.
func (m manager) heard() []string {
	m.t.Helper()
	var all []string
	for buffer := make([]byte, 1024); ; {
		n, _, err := syscall.Recvfrom(m.fd, buffer, syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN {
			return all
		}
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, string(buffer[:n]))
	}
}

func (m manager) expect(when string, want ...string) {
	m.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, m.heard()); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func TestWatchdog(t *testing.T) {
	m := newManager(t, "120000000")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := program.NewWatchdog(zerolog.New(&log))
		plan, supervise := w.Loop("planner"), w.Loop("supervisor")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx, "leads") }()

		plan()
		m.expect("one loop has begun")
		supervise()
		m.expect("both have", "READY=1\nSTATUS=leads", "WATCHDOG=1")

		turn := func(d time.Duration, loops ...func()) {
			for range d / time.Second {
				time.Sleep(time.Second)
				for _, l := range loops {
					l()
				}
			}
		}
		turn(65*time.Second, plan, supervise)
		m.expect("both turn", "WATCHDOG=1", "WATCHDOG=1")

		turn(10*time.Minute, plan)
		m.expect("one stands still", "WATCHDOG=1", "WATCHDOG=1")
		if got := log.String(); !strings.Contains(got, "supervisor") || strings.Count(got, "\n") != 1 {
			t.Errorf("logged %q", got)
		}

		turn(40*time.Second, plan, supervise)
		m.expect("it turns again", "WATCHDOG=1")

		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		m.expect("the end", "STOPPING=1")
	})
}

func TestWatchdogWithoutPatience(t *testing.T) {
	m := newManager(t, "")
	synctest.Test(t, func(t *testing.T) {
		w := program.NewWatchdog(zerolog.Nop())
		turned := w.Loop("planner")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx, "leads") }()
		turned()
		time.Sleep(time.Hour)
		m.expect("nobody asked for signs of life", "READY=1\nSTATUS=leads")
		cancel()
		<-ended
		m.expect("the end", "STOPPING=1")
	})
}

func TestWatchdogStopsBeforeItIsReady(t *testing.T) {
	m := newManager(t, "120000000")
	synctest.Test(t, func(t *testing.T) {
		w := program.NewWatchdog(zerolog.Nop())
		w.Loop("planner")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Run(ctx, "leads"); err != nil {
			t.Error(err)
		}
		m.expect("never ready", "STOPPING=1")
	})
}

func TestWatchdogWithoutAServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	w := program.NewWatchdog(zerolog.Nop())
	w.Loop("planner")()
	if err := w.Run(t.Context(), "leads"); err != nil {
		t.Error(err)
	}
}

func TestWhatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := program.NewWatchdog(zerolog.Nop())
		expect := func(when, want string) {
			t.Helper()
			if got := w.Still(10 * time.Second); got != want {
				t.Errorf("%s: %q stands still, want %q", when, got, want)
			}
		}
		expect("nothing is watched", "")
		plan, supervise := w.Loop("planner"), w.Loop("supervisor")
		plan()
		expect("one has not begun", "supervisor")
		supervise()
		expect("both have", "")
		time.Sleep(9 * time.Second)
		supervise()
		expect("shortly before", "")
		time.Sleep(time.Second)
		expect("one turns no more", "planner")
		plan()
		expect("it turns again", "")
	})
}
