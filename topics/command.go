package topics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Request is a command to a node, read: <node>/command/<Method>/<Subject> with
// a JSON object or one bare word.
type Request struct {
	Node    Node
	Method  string
	Subject string
	ID      string                     // the sender's, or one made up by the receiver
	Word    string                     // the bare word as sent; "" for an object
	Args    map[string]json.RawMessage // the object's fields; nil for a bare word
	Topic   string
	Bare    bool // the sender gave no id
}

// Arg is the string, number or boolean of one field as text, "" when absent.
// For a bare word every field is absent.
func (r Request) Arg(name string) string {
	raw, ok := r.Args[name]
	if !ok {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// By says who asked, for people: the field "by" of the object, cut to 64
// characters, since it travels on into words and documents.
func (r Request) By() string {
	by := []rune(r.Arg("by"))
	return string(by[:min(len(by), 64)])
}

// Switch reads the word, or the object's field "run", as on, off or auto in
// any case; "" when it is none of them.
func (r Request) Switch() RunWord {
	word := r.Word
	if word == "" {
		word = r.Arg("run")
	}
	switch w := RunWord(strings.ToLower(word)); w {
	case RunOn, RunOff, RunAuto:
		return w
	}
	return ""
}

var bareWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$`)

// DecodeRequest reads a command. Errors are *FieldError and say what to send.
func (s Space) DecodeRequest(m Message) (Request, error) {
	a, err := s.Parse(m.Topic)
	if err != nil {
		return Request{}, err
	}
	if a.Class != Command {
		return Request{}, fmt.Errorf("topic %s is no command", m.Topic)
	}
	r := Request{Node: a.Node, Method: a.Kind, Subject: a.Subject, Topic: m.Topic}
	payload := bytes.TrimSpace(m.Payload)
	switch {
	case len(m.Payload) > MaxCommand:
		return r, &FieldError{"", fmt.Sprintf("command has %d bytes (at most %d)", len(m.Payload), MaxCommand)}
	case len(payload) == 0:
		return r, &FieldError{"", fmt.Sprintf("an empty payload is no command (send a word, as: mosquitto_pub -t %s -m now)", m.Topic)}
	case payload[0] == '{':
		if err := decodeObject(payload, MaxCommand, &r.Args); err != nil {
			return r, err
		}
		r.ID = r.Arg("id")
		if r.ID != "" {
			if err := CheckName(r.ID); err != nil {
				r.ID = ""
				return r, &FieldError{"id", err.Error()}
			}
		}
	case payload[0] == '[' || payload[0] == '"':
		return r, &FieldError{"", fmt.Sprintf("payload %.40q is JSON but not an object (send {…} or one bare word)", payload)}
	case !bareWord.Match(payload):
		return r, &FieldError{"", fmt.Sprintf("payload %.40q is neither a JSON object nor one word of letters, digits and _ . : -", payload)}
	default:
		r.Word = string(payload)
	}
	r.Bare = r.ID == ""
	return r, nil
}

// Status is how far a command came.
type Status string

// The answers to a command.
const (
	Accepted Status = "accepted"
	Refused  Status = "refused"
	Done     Status = "done"
	Failed   Status = "failed"
)

// Final tells that no other answer follows.
func (s Status) Final() bool { return s != Accepted }

// Reply is <node>/event/reply/<id>, QoS 1: the answer to a command. Topic is
// the command's own, for senders that gave no id.
type Reply struct {
	V      V        `json:"v"`
	ID     string   `json:"id"`
	Status Status   `json:"status"`
	Result string   `json:"result,omitempty"`
	Lines  []string `json:"lines,omitempty"` // what has many
	Topic  string   `json:"topic,omitempty"`
	Why    *Why     `json:"why,omitempty"`
}

func (r Reply) check() error {
	switch {
	case r.ID == "":
		return missing("id")
	case r.Status == "":
		return missing("status")
	}
	return nil
}

// Subjects of an error event.
const (
	ErrCommand = "command"
	ErrDesired = "desired"
	ErrState   = "state"
	ErrName    = "name"
	ErrHouse   = "house"
)

// Fault is <node>/event/error/<subject>, QoS 1: a refusal nobody asked for.
// Count is how many of the same were held back in the second before.
type Fault struct {
	V     V      `json:"v"`
	Code  string `json:"code"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"`
	Topic string `json:"topic,omitempty"`
	Field string `json:"field,omitempty"`
	Count int    `json:"count,omitempty"`
}

// Codes of a Fault.
const (
	FaultEmpty    = "EMPTY"
	FaultBad      = "BAD_PAYLOAD"
	FaultRetained = "RETAINED_COMMAND"
	FaultUnknown  = "UNKNOWN_METHOD"
	FaultForeign  = "FOREIGN_WRITE"
	FaultCleared  = "CLEARED"
	FaultStale    = "STALE_DOCUMENT"
	FaultHouse    = "FOREIGN_HOUSE"
	FaultName     = "NAME_IN_USE"
	FaultService  = "BAD_SERVICE"
	FaultAccess   = "ACCESS_REFUSED"
)
