package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"dominion/broker/client"
	"dominion/cmd/program"
	"dominion/topics"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Config says how a demo runs.
type Config struct {
	Executable string        // this program: os.Executable
	Version    string        // of this program, for people
	For        time.Duration // how long; 0: until somebody ends it
	Port       int           // of its broker, or the next one that is free; 0: 1883
	In         *os.File      // where keys come from, if it is a terminal
	Out        io.Writer     // where it is told; a live screen if it is a terminal
	Folder     string        // for its own folder; empty: the system's for temporary files
	Services   string        // a folder with services that the house runs too; empty: none
}

// ErrNotReady is returned when the time of a demo was over and a service was
// not ready.
var ErrNotReady = errors.New("a service was not ready at the end")

// Run shows a house until ctx ends, a signal or a key ends it, or its time is
// over. Whatever it started has ended when it returns. It returns an error when
// the house could not be built, ErrNotReady, or what had to be killed.
func Run(ctx context.Context, c Config) error {
	if _, err := exec.LookPath("make"); err != nil {
		return program.Fail(program.CannotRun, "the demo starts its services with make, and there is none here (install it: apt install make, dnf install make, apk add make, or xcode-select --install)")
	}
	if c.Folder == "" {
		c.Folder = os.TempDir()
	}
	if c.Port == 0 {
		c.Port = usualPort
	}
	guests, err := readGuests(c.Services)
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	sweep(c.Folder)
	f, err := newFolder(c.Folder)
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	f.guests = guests
	company, err := newCompany(c.Executable, f)
	if err != nil {
		return errors.Join(err, f.remove())
	}
	defer company.close()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	// A closed pipe is told by the error of the write, not by an end at once.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)

	began := time.Now()
	s := &show{
		config: c, folder: f, company: company, began: began,
		story: newStory(topics.Space{}, theCast(guests), began), stage: newStage(c.Out),
		signals: signals, later: make(chan func()), plugs: map[topics.Node]*plug{},
	}
	return errors.Join(s.perform(ctx), s.end())
}

// perform opens the house, connects to its bus and runs the loop.
func (s *show) perform(ctx context.Context) error {
	if err := s.open(ctx); err != nil || s.ending {
		return err
	}
	bus, err := client.New(client.Options{
		Filters: []string{s.story.space.All()}, Broker: "mqtt://" + loopback(s.port), Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	s.bus = bus
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	group := errgroup.Group{}
	group.Go(func() error { return bus.Run(linked) })
	defer func() {
		s.restore()
		unlink()
		_ = group.Wait() // one that is no node ends with nil
	}()
	return s.run(ctx)
}

// open starts the leader on the first free port, and returns when its broker
// listens. Between the look at a port and the leader's start somebody else may
// take it: then it is the next.
func (s *show) open(ctx context.Context) error {
	for port := s.config.Port; ; port++ {
		port, err := freePort(ctx, port)
		if err != nil {
			return &program.Exit{Code: program.CannotRun, Err: err}
		}
		s.port = port
		if err := s.folder.furnish(s.config.Executable, port); err != nil {
			return fmt.Errorf("furnish the demo's house: %w", err)
		}
		if err := s.company.start(leader); err != nil {
			return err
		}
		d, ended, err := s.opened(ctx)
		if !ended {
			return err
		}
		s.company.bury(d)
		if again, err := freePort(ctx, port); err == nil && again == port {
			return fmt.Errorf("the leader does not start (%s): %s", d.how, lastLine(s.folder.file("log", leader+".log")))
		}
	}
}

// opened waits until the leader's broker listens, or the leader has ended. A
// port that answers would be no proof: it may be somebody else's.
func (s *show) opened(ctx context.Context) (d death, ended bool, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.ending = true
			return death{}, false, nil
		case <-s.signals:
			s.ending = true
			return death{}, false, nil
		case d := <-s.company.deaths:
			return d, true, nil
		case <-tick.C:
			if _, err := os.Stat(s.folder.file("leader", "address")); err == nil {
				return death{}, false, nil
			}
			if time.Since(s.began) > openAtMost {
				return death{}, false, fmt.Errorf("the leader's broker does not listen: %s", lastLine(s.folder.file("log", leader+".log")))
			}
		}
	}
}

// openAtMost bounds the wait for the leader's broker.
const openAtMost = 30 * time.Second

// theCast is the demo's own services, and after them its guests.
func theCast(guests []guest) cast {
	c := cast{services: ownServices()}
	for _, g := range guests {
		c.services = append(c.services, g.name)
	}
	for _, a := range agents() {
		c.domains = append(c.domains, a.name)
	}
	return c
}

const usualPort = 1883

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort is the first port from first on that nobody listens on.
func freePort(ctx context.Context, first int) (int, error) {
	const many = 100
	for port := first; port < first+many && port <= 65535; port++ {
		// Some systems let a second one listen on loopback beside a first that
		// listens on every address, so it knocks as well.
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(ctx, "tcp", loopback(port)); err == nil {
			conn.Close()
			continue
		}
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no port from %d to %d is free on 127.0.0.1 for the demo's broker", first, first+many-1)
}
