package topics

import "fmt"

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
	Runner   string  `json:"runner,omitempty"`   // what runs it: make, exec, systemd, docker or pid
	Observed bool    `json:"observed,omitempty"` // it is watched, and not ours to start or stop
	Status   string  `json:"status,omitempty"`   // what it says of itself: STATUS= of sd_notify
	NextRun  Stamp   `json:"next_run,omitempty"` // of a scheduled one
}

// Complete tells that the service ran and ended with success, which is all
// that its dependents wait for.
func (s ServiceState) Complete() bool { return s.Phase == PhaseDone && s.Ready }

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
