package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"dominion/device/cgroup"
	"dominion/device/host"
	"dominion/device/journal"
	"dominion/topics"
)

// Config is what an agent is given. Name, ID, ServicesDir and DataDir are
// needed; a zero length of time is its default.
type Config struct {
	Name    topics.Node
	ID      topics.MachineID
	Version string // of this program
	Traits  []topics.Trait
	Space   topics.Space

	// ServicesDir holds one folder for each service this machine can run.
	ServicesDir string
	// DataDir is the agent's own: what should run here (desired.json), what
	// does (runs/), the ports it chose (ports.json), what the services print
	// (output/). Two agents cannot share it.
	DataDir string

	// Loopback says that the broker listens on loopback only, and so all of
	// the house is on this machine: only then is 127.0.0.1 published.
	Loopback bool
	// Address is published as the host of the services; empty: the address
	// from which this machine reaches the broker.
	Address string
	// House is the house that this machine has joined; what another one wanted
	// here counts no more. Empty: it takes the house of the first document that
	// it accepts.
	House topics.HouseID
	// Broker is the host:port of the broker as it is known now, "" if it is
	// not: the machine's own address is the one it has towards it. Nil: never
	// known. Both functions are called from several goroutines.
	Broker func() string
	// Access is how a service reaches the broker, asked at each of its starts.
	// Nil: it is told nothing of it.
	Access func(topics.Service) Access
	// Lonely, if not nil, is told when no leader is heard any more, and when
	// one is again. It must not block.
	Lonely func(bool)
	// Turned, if not nil, is called at each turn of the supervising loop: every
	// 30 s (Timing.Readings) at the least. It must not block.
	Turned func()
	// Root is where /sys and /dev are looked for; empty: "/".
	Root string
	// Allow are the methods beyond the harmless ones that this machine has:
	// host.Reboot, host.Shutdown.
	Allow []string
	// Turn carries one of them out. Nil: host.Turn.
	Turn func(ctx context.Context, what string) error

	// Manifest reads a service.toml. Nil: a service that has one is refused.
	Manifest func(path string) (Manifest, error)
	// Environ is the environment that services inherit, without what is the
	// agent's own or make's. Nil: none; cmd gives os.Environ().
	Environ []string

	// Groups makes a control group for each start of a service, nil: there are
	// none here, and what hides from its parents may escape.
	Groups cgroup.Maker
	// Output is how much of what services print is kept.
	Output journal.Bounds

	Timing Timing
	Log    zerolog.Logger
}

// Access is how a service reaches the broker.
type Access struct {
	// URL is its DOMINION_URL, with a login of its own: never the agent's.
	URL string
	// CA is its DOMINION_CA: the path of the authority that vouches for the
	// broker; empty: it is not given, the system's will do or there is no TLS.
	CA string
}

// Timing is how long things take. Zero fields are the defaults named here.
type Timing struct {
	Heartbeat time.Duration // between two heartbeats: 5 s
	Lonely    time.Duration // without a planner's heartbeat until it is said: 30 s
	Heard     time.Duration // after a planner's heartbeat it counts as heard: 12 s
	Boot      time.Duration // how long what was stored waits at the start for newer word from the bus: 5 s
	Depend    time.Duration // how long a machine that boots alone waits for what its services depend on elsewhere, where it need not be waited for: 2 min
	Readings  time.Duration // between two looks at the host: 30 s
	Repeat    time.Duration // readings are said again at least that often: 5 min
	Build     time.Duration // until a build is given up: 30 min
	Start     time.Duration // until a started service must be ready: 60 s
	Stop      time.Duration // from TERM to KILL: 10 s
	Missing   time.Duration // between two looks for a missing directory: 5 s
	Devices   time.Duration // between two looks at what is plugged in: 2 s; what is gone is told after eight
	Backoff   Backoff
}

func (t Timing) withDefaults() Timing {
	t.Heartbeat = or(t.Heartbeat, 5*time.Second)
	t.Lonely = or(t.Lonely, 30*time.Second)
	t.Heard = or(t.Heard, 12*time.Second)
	t.Boot = or(t.Boot, 5*time.Second)
	t.Depend = or(t.Depend, 2*time.Minute)
	t.Readings = or(t.Readings, 30*time.Second)
	t.Repeat = or(t.Repeat, 5*time.Minute)
	t.Build = or(t.Build, 30*time.Minute)
	t.Start = or(t.Start, time.Minute)
	t.Stop = or(t.Stop, 10*time.Second)
	t.Missing = or(t.Missing, 5*time.Second)
	t.Devices = or(t.Devices, 2*time.Second)
	t.Backoff = t.Backoff.withDefaults()
	return t
}

// Manifest is what a service's own service.toml says of it. All is optional;
// the catalogue's word on port and terms comes before it, field by field.
type Manifest struct {
	Version string // semver
	// Command is started instead of make: a program and its arguments, no
	// shell. A program with a / is found from the service's directory.
	Command []string
	Port    int
	// Terms are its type, schedule, rules, policy and limits; all else of it is
	// ignored.
	Terms topics.Wanted
	// Unit, Container and PIDOf name what runs on this machine without the
	// house, one of them at most: a unit of systemd, a container, a process.
	Unit, Container, PIDOf string
	// Own has the house start and stop it; else it is only observed.
	Own bool
	// EnvFile holds secrets for the service's environment, one NAME=value a
	// line; a relative path is from the service's directory.
	EnvFile string
}

// own is what it says of the service's terms, and its port.
func (m Manifest) own() topics.Wanted {
	own := m.Terms
	own.Port = m.Port
	return own
}

// check reports everything that is wrong, each with its remedy.
func (c Config) check() error {
	var bad []error
	if err := c.Name.Check(); err != nil {
		bad = append(bad, fmt.Errorf("name of this machine: %w", err))
	}
	if c.ID == "" {
		bad = append(bad, errors.New("the machine's id is empty (give the content of /etc/machine-id, or a random word that is kept)"))
	}
	if c.ServicesDir == "" {
		bad = append(bad, errors.New("the services directory is not named (set services_dir)"))
	}
	if c.DataDir == "" {
		bad = append(bad, errors.New("the data directory is not named (set data)"))
	}
	for _, t := range c.Traits {
		if err := topics.CheckName(string(t)); err != nil {
			bad = append(bad, fmt.Errorf("trait: %w", err))
		}
	}
	for _, method := range c.Allow {
		if method != host.Reboot && method != host.Shutdown {
			bad = append(bad, fmt.Errorf("allow: %q is not known (want %s, %s)", method, host.Reboot, host.Shutdown))
		}
	}
	if c.Address != "" && !c.Loopback && !host.Public(c.Address) {
		bad = append(bad, fmt.Errorf("address %s cannot be reached by others, and the broker is not known to be for this machine alone (give this machine's own address, or leave it empty to have it found out)", c.Address))
	}
	if c.Address != "" && !topics.Travels(c.Address) {
		bad = append(bad, fmt.Errorf("address %q is no host name or address", c.Address))
	}
	return errors.Join(bad...)
}

// directories makes the paths absolute, since make and the services run
// elsewhere, and sees to it that the data directory is there and can be written.
func (c *Config) directories() error {
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return err
	}
	if c.ServicesDir, err = filepath.Abs(c.ServicesDir); err != nil {
		return err
	}
	for _, dir := range []string{"", "runs"} {
		if err := os.MkdirAll(filepath.Join(c.DataDir, dir), 0o700); err != nil {
			return fmt.Errorf("data directory: %w (let this user write there, or name another with data)", err)
		}
	}
	if err := unix.Access(c.DataDir, unix.W_OK); err != nil {
		return fmt.Errorf("data directory %s cannot be written: %w (let this user write there, or name another with data)", c.DataDir, err)
	}
	if _, err := os.Stat(c.ServicesDir); err != nil {
		c.Log.Warn().Err(err).Msg("no services directory: no service can run here until there is one")
	}
	return nil
}
