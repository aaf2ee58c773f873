package topics

import (
	"errors"
	"fmt"
	"strings"
)

// Class is the kind of a topic below a node: who writes it and whether it is kept.
type Class string

// The four classes.
const (
	State   Class = "state"
	Event   Class = "event"
	Desired Class = "desired"
	Command Class = "command"
)

// Address is a topic of the house, taken apart:
// <base>/<Node>/<Class>/<Kind>[/<Subject>]. Commands and events always have a
// subject; a state or desired document may have none.
type Address struct {
	Node    Node
	Class   Class
	Kind    string
	Subject string
}

// Space is where one house lives on a broker: its base topic and the
// discovery prefix of its Home Assistant. The zero value is the default
// house: dominion and homeassistant.
type Space struct {
	Base   Base
	Prefix string
}

func (s Space) base() string {
	if s.Base == "" {
		return string(DefaultBase)
	}
	return string(s.Base)
}

func (s Space) prefix() string {
	if s.Prefix == "" {
		return DefaultPrefix
	}
	return s.Prefix
}

// ErrForeign is returned for a topic that is not below the house's base, or
// is a service's own data.
var ErrForeign = errors.New("not a topic of this house's nodes")

// Parse takes a topic of a node apart. Topics outside the base and services'
// own data give ErrForeign; a topic below a node that breaks the grammar
// gives an error that says what is wrong with it.
func (s Space) Parse(topic string) (Address, error) {
	rest, ok := strings.CutPrefix(topic, s.base()+"/")
	if !ok {
		return Address{}, ErrForeign
	}
	levels := strings.Split(rest, "/")
	if levels[0] == serviceLevel {
		return Address{}, ErrForeign
	}
	if len(levels) < 3 || len(levels) > 4 {
		return Address{}, fmt.Errorf("topic %.200q has %d levels below the base (want node/class/kind or node/class/kind/subject)", topic, len(levels))
	}
	for _, level := range levels {
		if err := CheckName(level); err != nil {
			return Address{}, fmt.Errorf("topic %.200q: %w", topic, err)
		}
	}
	a := Address{Node: Node(levels[0]), Class: Class(levels[1]), Kind: levels[2]}
	if len(levels) == 4 {
		a.Subject = levels[3]
	}
	switch a.Class {
	case State, Desired:
	case Event, Command:
		if a.Subject == "" {
			return Address{}, fmt.Errorf("topic %q has no subject (write %s/%s/%s/<subject>; the node itself is the subject host)", topic, a.Node, a.Class, a.Kind)
		}
	default:
		return Address{}, fmt.Errorf("topic %q: class %q is none of state, event, desired, command", topic, a.Class)
	}
	return a, nil
}

// Owner is the node that a topic is below, and the topic's class, whether or
// not the rest is well formed; "" for any other topic.
func (s Space) Owner(topic string) (Node, Class) {
	below, ok := strings.CutPrefix(topic, s.base()+"/")
	if !ok {
		return "", ""
	}
	levels := strings.SplitN(below, "/", 3)
	if len(levels) < 3 || levels[0] == serviceLevel {
		return "", ""
	}
	return Node(levels[0]), Class(levels[1])
}

// Format is the topic of an address: the inverse of Parse.
func (s Space) Format(a Address) string {
	t := s.base() + "/" + string(a.Node) + "/" + string(a.Class) + "/" + a.Kind
	if a.Subject != "" {
		t += "/" + a.Subject
	}
	return t
}

// Topics and filters that the rooms use, built in one place.

// Presence is a node's presence topic; its last will is published there too.
func (s Space) Presence(n Node) string { return s.Format(Address{n, State, "presence", ""}) }

// Info is a node's description of itself.
func (s Space) Info(n Node) string { return s.Format(Address{n, State, "info", ""}) }

// Host is a domain's readings.
func (s Space) Host(n Node) string { return s.Format(Address{n, State, "host", ""}) }

// ServiceState is a domain's report on one of its services.
func (s Space) ServiceState(n Node, v Service) string {
	return s.Format(Address{n, State, "service", string(v)})
}

// Heartbeat is a domain's heartbeat, sent by its supervising loop.
func (s Space) Heartbeat(n Node) string { return s.Format(Address{n, Event, "heartbeat", "agent"}) }

// PlanHeartbeat is the coordinator's heartbeat, sent by its planning loop.
func (s Space) PlanHeartbeat() string {
	return s.Format(Address{Coordinator, Event, "heartbeat", "plan"})
}

// Sync is where a node publishes the token that ends its retained replay.
func (s Space) Sync(n Node, sid Sid) string { return s.Format(Address{n, Event, "sync", string(sid)}) }

// Reply is where a node answers the command with that id.
func (s Space) Reply(n Node, id string) string { return s.Format(Address{n, Event, "reply", id}) }

// Error is where a node reports a refusal nobody asked for; the subject is one of the Err… constants.
func (s Space) Error(n Node, subject string) string {
	return s.Format(Address{n, Event, "error", subject})
}

// DesiredServices is the document that says what a domain should run.
func (s Space) DesiredServices(n Node) string {
	return s.Format(Address{n, Desired, "services", ""})
}

// ServiceWord is the operator's word on a service.
func (s Space) ServiceWord(v Service) string {
	return s.Format(Address{Coordinator, Desired, "service", string(v)})
}

// DomainWord is the operator's word on a domain.
func (s Space) DomainWord(n Node) string {
	return s.Format(Address{Coordinator, Desired, "domain", string(n)})
}

// Judgement is what the coordinator makes of a domain.
func (s Space) Judgement(n Node) string {
	return s.Format(Address{Coordinator, State, "domain", string(n)})
}

// Summary is the house's view of a service.
func (s Space) Summary(v Service) string {
	return s.Format(Address{Coordinator, State, "summary", string(v)})
}

// Lookup is where a service's ready endpoints are found.
func (s Space) Lookup(v Service) string {
	return s.Format(Address{Coordinator, State, "lookup", string(v)})
}

// Alert is an open problem of the house.
func (s Space) Alert(id string) string {
	return s.Format(Address{Coordinator, State, "alert", id})
}

// Alerts is how many problems of the house are open.
func (s Space) Alerts() string { return s.Format(Address{Coordinator, State, "alerts", ""}) }

// Command is the topic of a one-shot request to a node.
func (s Space) Command(n Node, method, subject string) string {
	return s.Format(Address{n, Command, method, subject})
}

// Occurrence is the topic of an event that is neither reply, error nor heartbeat.
func (s Space) Occurrence(n Node, what, subject string) string {
	return s.Format(Address{n, Event, what, subject})
}

// ServiceTopic is the root of one instance's own data, SERVICE_TOPIC in its environment.
func (s Space) ServiceTopic(v Service, n Node) string {
	return s.base() + "/" + serviceLevel + "/" + string(v) + "/" + string(n)
}

// What an instance says of itself below its ServiceTopic: its START_ID.
const (
	WordReady = "ready" // retained: it is ready
	WordAlive = "alive" // it lives
)

// ServiceReady is where an instance says, retained, the START_ID it is ready for.
func (s Space) ServiceReady(v Service, n Node) string { return s.ServiceTopic(v, n) + "/" + WordReady }

// ServiceAlive is where an instance says, now and then, that it lives, with
// its START_ID.
func (s Space) ServiceAlive(v Service, n Node) string { return s.ServiceTopic(v, n) + "/" + WordAlive }

// ParseServiceWord is the inverse of both.
func (s Space) ParseServiceWord(topic string) (v Service, n Node, word string, ok bool) {
	rest, ok := strings.CutPrefix(topic, s.base()+"/"+serviceLevel+"/")
	if !ok {
		return "", "", "", false
	}
	levels := strings.Split(rest, "/")
	if len(levels) != 3 || levels[2] != WordReady && levels[2] != WordAlive || CheckName(levels[0]) != nil || CheckName(levels[1]) != nil {
		return "", "", "", false
	}
	return Service(levels[0]), Node(levels[1]), levels[2], true
}

// HABirth is the topic on which Home Assistant says online and offline.
func (s Space) HABirth() string { return s.prefix() + "/status" }

// HADevice is the discovery topic of one Home Assistant device.
func (s Space) HADevice(object string) string { return s.prefix() + "/device/" + object + "/config" }

// ParseHADevice is the inverse of HADevice.
func (s Space) ParseHADevice(topic string) (object string, ok bool) {
	rest, ok := strings.CutPrefix(topic, s.prefix()+"/device/")
	if !ok {
		return "", false
	}
	object, ok = strings.CutSuffix(rest, "/config")
	return object, ok && object != "" && !strings.Contains(object, "/")
}

// Filter is a subscription to a class of every node: Filter(State) is
// <base>/+/state/#.
func (s Space) Filter(c Class) string { return s.base() + "/+/" + string(c) + "/#" }

// Commands is a subscription to the commands of one node.
func (s Space) Commands(n Node) string { return s.base() + "/" + string(n) + "/command/#" }

// EventFilter is a subscription to one kind of event of every node.
func (s Space) EventFilter(kind string) string { return s.base() + "/+/event/" + kind + "/+" }

// All is everything below the base.
func (s Space) All() string { return s.base() + "/#" }

// NodeFilters are the subscriptions that a domain or microdomain needs to be
// a node: its own state, desired documents, commands, its heartbeat and what
// is said of its name (is it in use? does another machine want it?), and the
// coordinator's presence, info and heartbeat. None overlaps another.
func (s Space) NodeFilters(n Node) []string {
	own := s.base() + "/" + string(n) + "/"
	return []string{
		own + "state/#", own + "desired/#", own + "command/#", s.Heartbeat(n), s.Error(n, ErrName),
		s.Presence(Coordinator), s.Info(Coordinator), s.PlanHeartbeat(),
	}
}

// ReadyFilter is the subscription to the readiness of a domain's own services;
// of all domains' for "+".
func (s Space) ReadyFilter(n Node) string {
	return s.base() + "/" + serviceLevel + "/+/" + string(n) + "/" + WordReady
}

// AliveFilter is the subscription to what a domain's own services say of
// being alive.
func (s Space) AliveFilter(n Node) string {
	return s.base() + "/" + serviceLevel + "/+/" + string(n) + "/" + WordAlive
}

// HADevices is the subscription to the discovery topics of all devices.
func (s Space) HADevices() string { return s.prefix() + "/device/+/config" }
