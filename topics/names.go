package topics

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// Names of the bus. All but Base are single topic levels of the form
// [A-Za-z0-9][A-Za-z0-9_-]{0,62}; they are case-sensitive.
type (
	// Base is the topic, of one level or more, that a house lives under.
	Base string
	// Node names anything with a subtree of its own: a domain, a microdomain, the coordinator.
	Node string
	// Service names a program that the house keeps running.
	Service string
	// Trait is a word that a domain has and a service asks for.
	Trait string
	// Sid names one connection of a node: a random word, new for each attempt.
	Sid string
	// MachineID is a machine's own stable random identity, longer than any name.
	MachineID string
	// HouseID is the random identity that the house's first leader made.
	HouseID string
)

// Nodes that no domain may be called.
const (
	Coordinator Node = "coordinator"
	// Reader is the node under which clients that are no node (the command
	// line, the Home Assistant bridge) publish their sync tokens.
	Reader Node = "reader"
)

// First levels below the base that are no nodes.
const (
	serviceLevel = "service"
	allLevel     = "all"
)

const (
	// MaxName is how many characters a name has at most.
	MaxName = 63
	// DefaultBase is the base topic of a house that was not given one.
	DefaultBase Base = "dominion"
	// DefaultPrefix is Home Assistant's default discovery prefix.
	DefaultPrefix = "homeassistant"
)

// Spell writes what somebody else chose with the letters that a name may have:
// any other becomes instead. It may still begin wrongly, or be empty or too long.
func Spell(text string, instead rune) string {
	return strings.Map(func(c rune) rune {
		if alphanumeric(c) || c == '_' || c == '-' {
			return c
		}
		return instead
	}, text)
}

// CheckName tells why s cannot be a name on the bus, or nil.
func CheckName(s string) error {
	switch {
	case s == "":
		return errors.New("a name is empty")
	case len(s) > MaxName:
		return fmt.Errorf("name %.20q… has %d characters (at most %d)", s, len(s), MaxName)
	}
	for i, c := range s {
		switch {
		case alphanumeric(c):
		case i == 0:
			return fmt.Errorf("name %q begins with %q (begin with a letter or digit)", s, c)
		case c != '_' && c != '-':
			return fmt.Errorf("name %q has %q (letters, digits, _ and - are allowed)", s, c)
		}
	}
	return nil
}

func alphanumeric[C byte | rune](c C) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Check tells why n cannot be the name of a domain or microdomain, or nil.
func (n Node) Check() error {
	switch strings.ToLower(string(n)) {
	case string(Coordinator), string(Reader), serviceLevel, allLevel:
		return fmt.Errorf("node name %q is reserved (choose another)", n)
	}
	return CheckName(string(n))
}

// Check tells why s cannot be the name of a service, or nil.
func (s Service) Check() error {
	switch strings.ToLower(string(s)) {
	case "state", "event", "desired", "command":
		return fmt.Errorf("service name %q is reserved (choose another)", s)
	}
	return CheckName(string(s))
}

// Check tells why b cannot be a base topic, or nil.
func (b Base) Check() error {
	if len(b) > 128 {
		return fmt.Errorf("base topic has %d characters (at most 128)", len(b))
	}
	for level := range strings.SplitSeq(string(b), "/") {
		if err := CheckName(level); err != nil {
			return fmt.Errorf("base topic %q: %w", b, err)
		}
	}
	return nil
}

const idAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"

// NewSid makes the name of one connection attempt: six random characters.
func NewSid() Sid { return Sid(NewID(6)) }

// NewID makes a random word of n characters without look-alikes (32 letters,
// so five bits each); it serves sessions, starts, commands and houses.
func NewID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = idAlphabet[b[i]&31]
	}
	return string(b)
}
