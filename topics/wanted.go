package topics

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Document is <domain>/desired/services, retained, QoS 1: what a domain
// should run, whole. Order is (Term, Gen).
type Document struct {
	V        V                  `json:"v"`
	House    HouseID            `json:"house"`
	Term     uint64             `json:"term"`
	Gen      uint64             `json:"gen"`
	Services map[Service]Wanted `json:"services"`
}

// Wanted is one service of a Document. What is absent is as the service's own
// service.toml says, and else the default.
type Wanted struct {
	Run          bool               `json:"run"`
	Rev          string             `json:"rev,omitempty"`
	Type         string             `json:"type,omitempty"`     // "": it runs for ever; Oneshot: it runs and ends
	Schedule     string             `json:"schedule,omitempty"` // when it runs, in the domain's local time (CheckSchedule); implies Oneshot
	Port         int                `json:"port,omitempty"`     // fixed by the catalogue; 0: the domain finds one
	Dependencies []Service          `json:"dependencies,omitempty"`
	Soft         []Service          `json:"soft,omitempty"` // those of Dependencies that it would rather wait for, and can do without
	Ready        *Readiness         `json:"ready,omitempty"`
	Live         *Liveness          `json:"live,omitempty"`
	Restart      *Restart           `json:"restart,omitempty"`
	Memory       uint64             `json:"memory,omitempty"` // limit, bytes
	CPU          float64            `json:"cpu,omitempty"`    // limit, cores: 0.5 is half of one
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
	var want Wanted
	var said struct {
		Run *bool `json:"run"`
	}
	if err := decodeObject(payload, MaxPayload, &said); err != nil {
		return Wanted{}, within(prefix, err)
	}
	if said.Run == nil {
		return Wanted{}, missing(prefix + ".run")
	}
	if err := decodeObject(payload, MaxPayload, &want); err != nil {
		return Wanted{}, within(prefix, err)
	}
	if want.Port < 0 || want.Port > 65535 {
		return Wanted{}, &FieldError{prefix + ".port", fmt.Sprintf("is %d (want 1 to 65535)", want.Port)}
	}
	for _, dependency := range want.Dependencies {
		if err := dependency.Check(); err != nil {
			return Wanted{}, &FieldError{prefix + ".dependencies", err.Error()}
		}
	}
	for _, soft := range want.Soft {
		if !slices.Contains(want.Dependencies, soft) {
			return Wanted{}, &FieldError{prefix + ".soft", fmt.Sprintf("has %.70q, which is none of the dependencies", soft)}
		}
	}
	if err := want.CheckTerms(); err != nil {
		return Wanted{}, within(prefix, err)
	}
	return want, nil
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
