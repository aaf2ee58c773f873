package topics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// PresenceState is what a node says of being there.
type PresenceState string

// The presence states.
const (
	Online   PresenceState = "online"
	Stopped  PresenceState = "stopped"
	Lost     PresenceState = "lost"
	Sleeping PresenceState = "sleeping"
)

// What a stopped domain did with its services.
const (
	ServicesKept    = "kept"
	ServicesStopped = "stopped"
)

// LeadRole says whether a coordinator writes more than its own presence.
type LeadRole string

// The roles of a coordinator.
const (
	Settling LeadRole = "settling"
	Active   LeadRole = "active"
)

// Presence is <node>/state/presence, retained, QoS 1, also the last will (then
// Lost with Sid and ID alone).
type Presence struct {
	V        V             `json:"v"`
	State    PresenceState `json:"state"`
	Sid      Sid           `json:"sid,omitempty"`
	ID       MachineID     `json:"id,omitempty"`
	House    HouseID       `json:"house,omitempty"`
	Services string        `json:"services,omitempty"` // of a stopped domain: kept or stopped
	Wake     int           `json:"wake,omitempty"`     // of a sleeping node: seconds
	Term     uint64        `json:"term,omitempty"`     // of the coordinator
	Role     LeadRole      `json:"role,omitempty"`     // of the coordinator
}

func (p Presence) check() error {
	switch p.State {
	case Online, Stopped, Lost, Sleeping:
		return nil
	case "":
		return missing("state")
	default:
		return &FieldError{"state", fmt.Sprintf("is %.40q (want online, stopped, lost or sleeping)", p.State)}
	}
}

// DecodePresence reads a presence. A bare online or offline of a firmware, in
// any case, means online and lost.
func DecodePresence(payload []byte) (Presence, error) {
	switch strings.ToLower(string(bytes.TrimSpace(payload))) {
	case "online":
		return Presence{State: Online}, nil
	case "offline":
		return Presence{State: Lost}, nil
	}
	return Decode[Presence](payload)
}

// Kinds of nodes in their Info.
const (
	KindDomain      = "domain"
	KindMicro       = "micro"
	KindCoordinator = "coordinator"
)

// Info is <node>/state/info, retained, QoS 1: what a node says of itself at
// its birth. Memory is in bytes, Boot and times are for people.
type Info struct {
	V         V                  `json:"v"`
	Kind      string             `json:"kind"`
	ID        MachineID          `json:"id,omitempty"`
	Sid       Sid                `json:"sid,omitempty"`
	House     HouseID            `json:"house,omitempty"`
	Name      string             `json:"name,omitempty"` // of the coordinator: the house's name
	Version   string             `json:"version,omitempty"`
	Protocol  int                `json:"protocol,omitempty"`
	OS        string             `json:"os,omitempty"`
	Arch      string             `json:"arch,omitempty"`
	Model     string             `json:"model,omitempty"`
	CPUs      int                `json:"cpus,omitempty"`
	Memory    uint64             `json:"memory,omitempty"`
	Boot      Stamp              `json:"boot,omitempty"`
	PID       int                `json:"pid,omitempty"`
	Addresses []string           `json:"addresses,omitempty"`
	Traits    []Trait            `json:"traits,omitempty"`
	Methods   []string           `json:"methods,omitempty"`
	Runners   []string           `json:"runners,omitempty"`
	Services  map[Service]string `json:"services,omitempty"` // found on disk, with version ("" when it has none)
	Term      uint64             `json:"term,omitempty"`
	Gen       uint64             `json:"gen,omitempty"`
	Role      LeadRole           `json:"role,omitempty"`
}

// Protocol is the version of the protocol that this program speaks.
const Protocol = 1

func (i Info) check() error {
	if i.Kind == "" {
		return missing("kind")
	}
	return nil
}

// Reading is one measured value. The zero Reading was never taken and is left
// out; one that was once sent and is now unknown is written as null.
type Reading struct {
	Seen  bool
	Known bool
	Value float64
}

// Measured is a known reading.
func Measured(v float64) Reading { return Reading{true, true, v} }

// IsZero tells that the reading was never taken.
func (r Reading) IsZero() bool { return !r.Seen }

// MarshalJSON writes the number, or null when it is unknown.
func (r Reading) MarshalJSON() ([]byte, error) {
	if !r.Known {
		return []byte("null"), nil
	}
	return json.Marshal(r.Value)
}

// UnmarshalJSON reads a number or null.
func (r *Reading) UnmarshalJSON(b []byte) error {
	*r = Reading{Seen: true}
	if string(b) == "null" {
		return nil
	}
	r.Known = true
	return json.Unmarshal(b, &r.Value)
}

// What a Host says of its supply and of its speed.
const (
	PowerOK        = "ok"
	PowerLow       = "low"
	ThrottledNo    = "no"
	ThrottledHeat  = "heat"  // it is slower because it is hot
	ThrottledPower = "power" // it is slower because its supply is weak
)

// Host is <domain>/state/host, retained in memory only, QoS 0. Load is the
// one-minute average, CPU, Memory and Disk percent, Temperature °C.
type Host struct {
	V           V       `json:"v"`
	Load        Reading `json:"load,omitzero"`
	CPU         Reading `json:"cpu,omitzero"`
	Memory      Reading `json:"memory,omitzero"`
	Disk        Reading `json:"disk,omitzero"`
	Temperature Reading `json:"temperature,omitzero"`
	Power       string  `json:"power,omitempty"`     // ok or low
	Throttled   string  `json:"throttled,omitempty"` // no, heat or power
}

// Heartbeat is <domain>/event/heartbeat/agent and coordinator/event/heartbeat/plan,
// QoS 0, every 5 s. Term and Gen acknowledge the document that was applied;
// Uptime is in seconds.
type Heartbeat struct {
	V      V      `json:"v"`
	Sid    Sid    `json:"sid"`
	Seq    uint64 `json:"seq"`
	Term   uint64 `json:"term,omitempty"`
	Gen    uint64 `json:"gen,omitempty"`
	Uptime int64  `json:"uptime,omitempty"`
}

func (h Heartbeat) check() error {
	if h.Sid == "" {
		return missing("sid")
	}
	return nil
}
