package topics

import "strings"

// Role is what a client may be on the bus.
type Role string

// The roles. What each may do stands in rights.
const (
	RoleCoordinator   Role = "coordinator"   // the leader's own rooms
	RoleNode          Role = "node"          // a domain or microdomain
	RoleService       Role = "service"       // an instance of a service
	RoleOperator      Role = "operator"      // a person at a command line
	RoleHomeAssistant Role = "homeassistant" // Home Assistant's MQTT integration
	RoleViewer        Role = "viewer"        // reads everything, writes nothing
)

// Identity is who a client is. Name is the node's or the service's own; empty
// means any of that role, which only a client that is trusted by where it
// comes from (loopback) is given.
type Identity struct {
	Role Role
	Name string
}

// Account is what a client showed itself to be: a user, a node, a service of a
// node. Name is for people and for finding its connections ("user ann", "node
// attic", "service attic.lamp"); Key stands for the credential it was let in with,
// and changes when that does.
type Account struct {
	Name string
	Who  Identity
	Key  string
}

// rights are filters that a role may write to, may only empty, and may read.
// In them <name> stands for the identity's name.
type rights struct{ write, empty, read []string }

func (s Space) rights(who Identity) rights {
	name := who.Name
	if name == "" {
		name = "+"
	}
	base, prefix := s.base(), s.prefix()
	// A reader that is no node ends its replay with a token too.
	sync := base + "/" + string(Reader) + "/event/sync/+"
	switch who.Role {
	case RoleCoordinator:
		return rights{
			write: []string{
				base + "/coordinator/state/#", base + "/coordinator/event/#",
				base + "/+/desired/#", base + "/+/command/#", sync, prefix + "/device/#",
			},
			empty: []string{base + "/+/state/#", s.ReadyFilter("+")},
			read:  []string{base + "/#", prefix + "/#"},
		}
	case RoleNode:
		own := base + "/" + name
		return rights{
			write: []string{own + "/state/#", own + "/event/#", base + "/service/+/" + name + "/#"},
			empty: []string{own + "/command/#"},
			read:  []string{own + "/#", base + "/coordinator/state/#", s.PlanHeartbeat(), base + "/service/+/" + name + "/#"},
		}
	case RoleService:
		own := base + "/service/" + name + "/#"
		return rights{
			write: []string{own},
			read:  []string{own, base + "/coordinator/state/lookup/+", base + "/coordinator/state/summary/+"},
		}
	case RoleOperator:
		return rights{write: []string{base + "/+/command/#", sync, foreign}, read: []string{"#"}}
	case RoleHomeAssistant:
		return rights{
			write: []string{base + "/+/command/#", sync, s.HABirth(), foreign},
			empty: []string{prefix + "/device/#"},
			read:  []string{"#"},
		}
	case RoleViewer:
		return rights{read: []string{"#"}}
	}
	return rights{}
}

// foreign stands for every topic of other programs that share the broker:
// not below the base, no device discovery of ours, not the broker's own.
const foreign = "\x00foreign"

// MayWrite tells whether a client may publish on a topic; the same holds for
// the topic of its will. The coordinator's own topics are nobody else's.
func (s Space) MayWrite(who Identity, topic string) bool {
	return s.allowed(who, s.rights(who).write, topic)
}

// MayEmpty tells whether a client may clear what is retained on a topic, by
// an empty payload: what it may write, the coordinator also what a forgotten
// node left, a node also what was retained under its own commands, Home
// Assistant also the discovery topic of a device that was deleted there.
func (s Space) MayEmpty(who Identity, topic string) bool {
	r := s.rights(who)
	return s.allowed(who, r.write, topic) || s.allowed(who, r.empty, topic)
}

func (s Space) allowed(who Identity, patterns []string, topic string) bool {
	if topic == "" || strings.ContainsAny(topic, "+#\x00") {
		return false
	}
	coordinators := covers(s.base()+"/coordinator/state/#", topic) || covers(s.base()+"/coordinator/event/#", topic)
	if coordinators && who.Role != RoleCoordinator {
		return false
	}
	for _, p := range patterns {
		if p == foreign && s.foreign(topic) || covers(p, topic) {
			return true
		}
	}
	return false
}

func (s Space) foreign(topic string) bool {
	return topic != s.base() && !strings.HasPrefix(topic, s.base()+"/") &&
		!strings.HasPrefix(topic, s.prefix()+"/device/") && !strings.HasPrefix(topic, "$")
}

// MayRead tells whether a client may subscribe to a filter: whether every
// topic that the filter matches is one it may read. It serves single topics
// too.
func (s Space) MayRead(who Identity, filter string) bool {
	for _, p := range s.rights(who).read {
		if covers(p, filter) {
			return true
		}
	}
	return false
}

// covers tells whether pattern matches every topic that filter matches. As in
// MQTT 3.1.1, 4.7.2, a leading wildcard does not match what begins with $,
// but # as a right does cover it: reading $SYS is harmless.
func covers(pattern, filter string) bool {
	p, f := strings.Split(pattern, "/"), strings.Split(filter, "/")
	for i, level := range p {
		switch {
		case level == "#":
			return true
		case i >= len(f):
			return false
		case level == "+":
			if f[i] == "#" {
				return false
			}
		case level != f[i]:
			return false
		}
	}
	return len(p) == len(f)
}

// Retainable tells whether a message on this topic may be kept by a broker:
// what is below a node's event or command never is.
func (s Space) Retainable(topic string) bool {
	class, _ := s.class(topic)
	return class != Event && class != Command
}

// Durable tells whether a retained message on this topic belongs on a disk.
// Events, commands, a domain's readings and $SYS do not: SD cards wear.
func (s Space) Durable(topic string) bool {
	class, rest := s.class(topic)
	switch {
	case strings.HasPrefix(topic, "$"), class == Event, class == Command:
		return false
	}
	return class != State || rest != "host"
}

// class is the class level of a topic below a node, and what follows it,
// whether or not the rest is well formed; "" for any other topic.
func (s Space) class(topic string) (class Class, rest string) {
	below, ok := strings.CutPrefix(topic, s.base()+"/")
	if !ok {
		return "", ""
	}
	node, below, _ := strings.Cut(below, "/")
	if node == serviceLevel {
		return "", ""
	}
	level, rest, _ := strings.Cut(below, "/")
	return Class(level), rest
}
