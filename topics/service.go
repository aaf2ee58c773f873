package topics

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Phase is where an instance of a service is in its life.
type Phase string

// Phases of an instance, as its domain reports them.
const (
	PhaseWaiting   Phase = "waiting"
	PhaseBuilding  Phase = "building"
	PhaseStarting  Phase = "starting"
	PhaseRunning   Phase = "running"
	PhaseStopping  Phase = "stopping"
	PhaseStopped   Phase = "stopped"
	PhaseBackoff   Phase = "backoff"
	PhaseCrashloop Phase = "crashloop"
	PhaseDone      Phase = "done"
)

// Alive tells whether a process of the service may exist in this phase.
func (p Phase) Alive() bool {
	switch p {
	case PhaseBuilding, PhaseStarting, PhaseRunning, PhaseStopping:
		return true
	}
	return false
}

// Settled tells that no process exists and none will be started by itself.
func (p Phase) Settled() bool {
	return p == PhaseStopped || p == PhaseWaiting || p == PhaseDone
}

// Exit is how a process ended: a code, or the signal that ended it.
type Exit struct {
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
}

// ServiceState is <domain>/state/service/<service>, retained, QoS 1: the
// domain's report on one service. Term and Gen name the document that last
// changed it.
type ServiceState struct {
	V        V       `json:"v"`
	Sid      Sid     `json:"sid,omitempty"`
	Service  Service `json:"service"`
	Phase    Phase   `json:"phase"`
	Ready    bool    `json:"ready"`
	Rev      string  `json:"rev,omitempty"`
	Version  string  `json:"version,omitempty"`
	Start    string  `json:"start,omitempty"`
	PID      int     `json:"pid,omitempty"`
	Host     string  `json:"host,omitempty"`
	Port     int     `json:"port,omitempty"`
	Since    Stamp   `json:"since,omitempty"`
	Restarts int     `json:"restarts"`
	Exit     *Exit   `json:"exit,omitempty"`
	Why      *Why    `json:"why,omitempty"`
	Term     uint64  `json:"term,omitempty"`
	Gen      uint64  `json:"gen,omitempty"`
}

func (s ServiceState) check() error {
	switch s.Phase {
	case PhaseWaiting, PhaseBuilding, PhaseStarting, PhaseRunning, PhaseStopping,
		PhaseStopped, PhaseBackoff, PhaseCrashloop, PhaseDone:
	case "":
		return missing("phase")
	default:
		return &FieldError{"phase", fmt.Sprintf("is %.40q, which is no phase", s.Phase)}
	}
	if s.Service == "" {
		return missing("service")
	}
	if err := s.Service.Check(); err != nil {
		return &FieldError{"service", err.Error()}
	}
	if !Travels(s.Host) {
		return &FieldError{"host", fmt.Sprintf("is %.40q, no host name or address", s.Host)}
	}
	if s.Port < 0 || s.Port > 65535 {
		return &FieldError{"port", fmt.Sprintf("is %d (want 1 to 65535)", s.Port)}
	}
	return nil
}

// Document is <domain>/desired/services, retained, QoS 1: what a domain
// should run, whole. Order is (Term, Gen).
type Document struct {
	V        V                  `json:"v"`
	House    HouseID            `json:"house"`
	Term     uint64             `json:"term"`
	Gen      uint64             `json:"gen"`
	Services map[Service]Wanted `json:"services"`
}

// Wanted is one service of a Document.
type Wanted struct {
	Run          bool               `json:"run"`
	Rev          string             `json:"rev,omitempty"`
	Port         int                `json:"port,omitempty"` // fixed by the catalogue; 0: the domain finds one
	Dependencies []Service          `json:"dependencies,omitempty"`
	Ready        *Readiness         `json:"ready,omitempty"`
	Env          map[string]string  `json:"env,omitempty"`
	Endpoints    map[Service]Target `json:"endpoints,omitempty"` // of the dependencies that have one
	Follows      bool               `json:"follows,omitempty"`   // it watches its lookups itself: a new endpoint is no reason to restart it
	Why          *Why               `json:"why,omitempty"`
}

// Target is an address that a service can be reached at.
type Target struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Rules of readiness.
const (
	ReadyTCP   = "tcp"   // its port accepts a connection
	ReadyTopic = "topic" // it published its START_ID, retained, on SERVICE_TOPIC/ready
	ReadyDelay = "delay" // it has lived for Delay seconds
)

// Readiness says when a started service is ready: By one of the Ready…
// rules. Delay and Timeout are in seconds; a Timeout of 0 is the default.
type Readiness struct {
	By      string  `json:"by"`
	Delay   float64 `json:"delay,omitempty"`
	Timeout float64 `json:"timeout,omitempty"`
}

// Check tells why the rule cannot be followed, or nil.
func (r Readiness) Check() error {
	switch r.By {
	case ReadyTCP, ReadyTopic, ReadyDelay:
	case "":
		return missing("by")
	default:
		return &FieldError{"by", fmt.Sprintf("is %.40q (want tcp, topic or delay)", r.By)}
	}
	if r.Delay < 0 || r.Timeout < 0 {
		return &FieldError{"delay", "is negative"}
	}
	return nil
}

// DecodeDocument reads a desired document. A fault of one service refuses that
// service alone: it is left out, and bad has it with the error, whose field
// begins with services.<name>. A fault of the document as a whole is err.
func DecodeDocument(payload []byte) (doc Document, bad map[Service]error, err error) {
	var raw struct {
		House    HouseID                    `json:"house"`
		Term     *uint64                    `json:"term"`
		Gen      *uint64                    `json:"gen"`
		Services map[string]json.RawMessage `json:"services"`
	}
	if err := decodeObject(payload, MaxPayload, &raw); err != nil {
		return Document{}, nil, err
	}
	switch {
	case raw.House == "":
		return Document{}, nil, missing("house")
	case raw.Term == nil:
		return Document{}, nil, missing("term")
	case raw.Gen == nil:
		return Document{}, nil, missing("gen")
	case raw.Services == nil:
		return Document{}, nil, missing("services")
	}
	doc = Document{House: raw.House, Term: *raw.Term, Gen: *raw.Gen, Services: map[Service]Wanted{}}
	for _, name := range slices.Sorted(maps.Keys(raw.Services)) {
		want, werr := decodeWanted(Service(name), raw.Services[name])
		if werr != nil {
			if bad == nil {
				bad = map[Service]error{}
			}
			bad[Service(name)] = werr
			continue
		}
		doc.Services[Service(name)] = want
	}
	return doc, bad, nil
}

func decodeWanted(name Service, payload []byte) (Wanted, error) {
	prefix := "services." + string(name)
	if err := name.Check(); err != nil {
		return Wanted{}, &FieldError{prefix, err.Error()}
	}
	var want struct {
		Wanted
		Run *bool `json:"run"`
	}
	if err := decodeObject(payload, MaxPayload, &want); err != nil {
		return Wanted{}, within(prefix, err)
	}
	if want.Run == nil {
		return Wanted{}, missing(prefix + ".run")
	}
	want.Wanted.Run = *want.Run
	if want.Ready != nil {
		if err := want.Ready.Check(); err != nil {
			return Wanted{}, within(prefix+".ready", err)
		}
	}
	if want.Port < 0 || want.Port > 65535 {
		return Wanted{}, &FieldError{prefix + ".port", fmt.Sprintf("is %d (want 1 to 65535)", want.Port)}
	}
	for _, dependency := range want.Dependencies {
		if err := dependency.Check(); err != nil {
			return Wanted{}, &FieldError{prefix + ".dependencies", err.Error()}
		}
	}
	return want.Wanted, nil
}

func within(prefix string, err error) error {
	f, ok := err.(*FieldError)
	if !ok {
		return err
	}
	if f.Field == "" {
		return &FieldError{prefix, f.Text}
	}
	return &FieldError{prefix + "." + f.Field, f.Text}
}
