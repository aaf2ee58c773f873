package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dominion/topics"
	"dominion/topics/house"

	"github.com/rs/zerolog"
)

// Config is what a coordinator is made of.
type Config struct {
	Space     topics.Space
	ID        topics.MachineID // of this machine
	House     topics.HouseID   // the identity to begin with; "": from the data directory, the bus, or a new one
	Name      string           // of the house, for people
	Version   string
	Data      string                     // directory for what the bus may lose
	Catalogue *Catalogue                 // nil: there is no configuration file, no document is written
	Reload    func() (*Catalogue, error) // reads the catalogue again; nil: it cannot be
	Timing    Timing                     // its zero fields have their defaults
	Alerts    map[string]topics.Alert    // open from the start: what the wiring found
	Gate      Gate                       // nil: nobody joins this house, see "dominion init"
	Notices   <-chan Notice              // what the wiring finds later; it may be closed
	Turned    func()                     // called at each turn of the planning loop, every second at the least; may be nil
	Log       zerolog.Logger
}

// Bus is what the coordinator needs of its connection.
type Bus interface {
	// Publish hands a message to the connection, or errs when the link is down.
	Publish(ctx context.Context, m topics.Message) error
	// Inbound is everything that comes, in order.
	Inbound() <-chan topics.Inbound
}

// Filters are the subscriptions that the coordinator's connection needs. None
// overlaps another.
func Filters(s topics.Space) []string {
	return []string{
		s.Filter(topics.State), s.Filter(topics.Desired),
		s.EventFilter("heartbeat"), s.EventFilter("reply"), s.EventFilter("error"),
		s.Commands(topics.Coordinator),
	}
}

// Coordinator leads a house. Make it with New; Run owns all of its state.
type Coordinator struct {
	cfg    Config
	log    zerolog.Logger
	memory memory
	fresh  bool // the data directory was empty at the start

	bus       Bus
	house     *house.House
	stage     stage
	sid       topics.Sid
	began     time.Time // of the process, for the uptime
	staged    time.Time // when the stage began
	term, gen uint64
	seq       uint64
	led       bool // this process has taken a term
	rival     topics.Sid

	documents map[topics.Node]topics.Document // as written by this leader
	published map[string]string               // payloads by topic, since it became active
	replayed  map[string]bool                 // own topics that the replay showed
	left      map[topics.Node]map[string]bool // retained topics of each node
	report    Report
	known     map[topics.Node]topics.JudgementState // judgements as told in events
	placed    map[topics.Service][]topics.Node      // placements as told in events
	notices   map[string]notice
	untold    []topics.Message // events of the wiring that wait for the lead
	graves    map[topics.Node]grave
	gateCalls chan gateCall          // that the gate's goroutine makes
	gateDone  chan gateCall          // that it has made
	forwards  map[string]*forward    // commands to domains, by id
	faults    map[string]*unreadable // by topic
	sent      map[topics.Node]bool   // documents that stand on the bus in this session
	refused   bool                   // a domain holds another document of our own pair
	dirty     bool
	joined    <-chan time.Time // when a domain that is joining will have settled
}

// stage is how far a coordinator is from leading.
type stage int

const (
	offline stage = iota // no link
	replay               // the retained replay runs
	contend              // another's presence says online: is it there?
	settle               // leads, and waits for those that are online to speak
	active               // leads
	standby              // another leads
)

// New makes a coordinator from what its data directory holds. It errs when
// the directory cannot be used.
func New(cfg Config) (*Coordinator, error) {
	if cfg.ID == "" || cfg.Data == "" {
		return nil, errors.New("a coordinator needs a machine id and a data directory")
	}
	cfg.Timing = cfg.Timing.orDefault()
	m, aside, err := openMemory(cfg.Data, time.Now())
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, log: cfg.Log, memory: m, fresh: m.House == "" && cfg.House == "",
		house:     house.New(cfg.Space),
		notices:   map[string]notice{},
		graves:    map[topics.Node]grave{},
		gateCalls: make(chan gateCall, maxGateCalls),
		gateDone:  make(chan gateCall),
		forwards:  map[string]*forward{},
		left:      map[topics.Node]map[string]bool{},
		faults:    map[string]*unreadable{},
		documents: map[topics.Node]topics.Document{},
	}
	if cfg.House != "" {
		c.memory.House = cfg.House
	}
	for _, s := range cfg.Catalogue.Services() {
		delete(c.memory.Removed, s)
	}
	for id, alert := range cfg.Alerts {
		alert.Since = topics.At(time.Now())
		c.notices[id] = notice{alert: alert, first: time.Now(), last: time.Now()}
	}
	if aside != "" {
		c.log.Error().Str("moved_to", aside).Msg("what the leader kept was unreadable; it is rebuilt from the bus")
		c.notice("memory-corrupt", topics.Alert{
			Severity: topics.SeverityWarning,
			Text:     fmt.Sprintf("what the leader kept was unreadable and was moved to %s; the house was rebuilt from the bus", aside),
			Next:     "check the words that you gave: dominion status",
		}, time.Time{})
	}
	return c, nil
}

func (t Timing) orDefault() Timing {
	d := DefaultTiming()
	for _, f := range []struct{ got, standard *time.Duration }{
		{&t.LostAfter, &d.LostAfter}, {&t.KeptAfter, &d.KeptAfter}, {&t.JoinSettle, &d.JoinSettle},
		{&t.SettleAtMost, &d.SettleAtMost}, {&t.Suspect, &d.Suspect}, {&t.Lost, &d.Lost}, {&t.BootGrace, &d.BootGrace},
	} {
		if *f.got == 0 {
			*f.got = *f.standard
		}
	}
	return t
}

func (c *Coordinator) limits() house.Limits {
	return house.Limits{Suspect: c.cfg.Timing.Suspect, Lost: c.cfg.Timing.Lost, BootGrace: c.cfg.Timing.BootGrace}
}

// keep writes the memory. A disk that cannot be written is an alert and no
// reason to stop leading: the bus knows the same.
func (c *Coordinator) keep() error {
	err := c.memory.save(c.cfg.Data)
	if err != nil {
		c.log.Error().Err(err).Msg("the leader cannot keep what it must remember")
		c.notice("disk", topics.Alert{Severity: topics.SeverityError, Text: err.Error(), Next: "free some space on the leader's disk"}, time.Now().Add(10*time.Minute))
		return err
	}
	delete(c.notices, "disk")
	return nil
}
