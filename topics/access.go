package topics

import (
	"slices"
	"strings"
)

// Role is what a client may be on the bus.
type Role string

// The roles. What each may do stands in Space.Grants.
const (
	RoleCoordinator   Role = "coordinator"   // the leader's own rooms
	RoleNode          Role = "node"          // a domain or microdomain
	RoleService       Role = "service"       // an instance of a service
	RoleOperator      Role = "operator"      // a person at a command line
	RoleHomeAssistant Role = "homeassistant" // Home Assistant's MQTT integration
	RoleViewer        Role = "viewer"        // reads everything, changes nothing
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

// Grants are what an identity may do, as filters: what it may write, what it may
// only empty, what it may read. They are the one source of the rights:
// MayWrite, MayEmpty and MayRead follow from them, and what another broker is
// told of them.
type Grants struct {
	Write, Empty, Read []string
	// Deny are the filters of what it may neither write nor empty, whatever the
	// others grant; it may read it.
	Deny []string
	// Foreign lets it write every topic of other programs that share the
	// broker: not below the base, no device discovery, not the broker's own.
	Foreign bool
}

// Grants are the rights of an identity; none of an unknown role, and of a name
// that no node or service may have: as a level of a filter, "service" would be
// every service. What a node of
// no name may write seems to cover the coordinator's state and events, which
// are nobody else's.
func (s Space) Grants(who Identity) Grants {
	name := who.Name
	switch {
	case name == "":
		name = "+"
	case who.check() != nil:
		return Grants{}
	}
	base, prefix := s.base(), s.prefix()
	// A reader that is no node ends its replay with a token too.
	sync := base + "/" + string(Reader) + "/event/sync/+"
	switch who.Role {
	case RoleCoordinator:
		return Grants{
			Write: []string{
				base + "/coordinator/state/#", base + "/coordinator/event/#",
				base + "/+/desired/#", base + "/+/command/#", sync, prefix + "/device/#",
			},
			Empty: []string{base + "/+/state/#", s.ReadyFilter("+")},
			Read:  []string{base + "/#", prefix + "/#"},
		}
	case RoleNode:
		own := base + "/" + name
		return Grants{
			Write: []string{own + "/state/#", own + "/event/#", base + "/service/+/" + name + "/#"},
			Empty: []string{own + "/command/#"},
			Read:  []string{own + "/#", base + "/coordinator/state/#", s.PlanHeartbeat(), base + "/service/+/" + name + "/#"},
		}
	case RoleService:
		own := base + "/service/" + name + "/#"
		return Grants{
			Write: []string{own},
			Read:  []string{own, base + "/coordinator/state/lookup/+", base + "/coordinator/state/summary/+"},
		}
	case RoleOperator:
		return Grants{Write: []string{base + "/+/command/#", sync}, Read: []string{"#"}, Foreign: true}
	case RoleHomeAssistant:
		// Who belongs to the house is an operator's word: with both of these a
		// stolen login could put a machine of its own in another's place. What
		// accept lets in, it lets in while an operator has the window open.
		members := base + "/coordinator/command/"
		return Grants{
			Write: []string{base + "/+/command/#", sync, s.HABirth()},
			Deny:  []string{members + "join/#", members + "forget/#"},
			Empty: []string{prefix + "/device/#"},
			Read:  []string{"#"}, Foreign: true,
		}
	case RoleViewer:
		// Who looks at the house with our command line ends its replay, and asks
		// whether the coordinator is there: neither changes anything.
		return Grants{Write: []string{sync, s.Command(Coordinator, "ping", "host")}, Read: []string{"#"}}
	}
	return Grants{}
}

func (who Identity) check() error {
	switch who.Role {
	case RoleNode:
		return Node(who.Name).Check()
	case RoleService:
		return Service(who.Name).Check()
	}
	return nil
}

// MayWrite tells whether a client may publish on a topic; the same holds for
// the topic of its will. The coordinator's own topics are nobody else's.
func (s Space) MayWrite(who Identity, topic string) bool {
	g := s.Grants(who)
	return s.allowed(who, g, g.Write, topic) || g.Foreign && s.Foreign(topic)
}

// MayEmpty tells whether a client may clear what is retained on a topic, by
// an empty payload: what it may write, the coordinator also what a forgotten
// node left, a node also what was retained under its own commands, Home
// Assistant also the discovery topic of a device that was deleted there.
func (s Space) MayEmpty(who Identity, topic string) bool {
	g := s.Grants(who)
	return s.MayWrite(who, topic) || s.allowed(who, g, g.Empty, topic)
}

// allowed tells whether a topic is covered by what is granted, and not denied.
func (s Space) allowed(who Identity, g Grants, granted []string, topic string) bool {
	covering := func(p string) bool { return covers(p, topic) }
	if !wellFormed(topic) || slices.ContainsFunc(g.Deny, covering) {
		return false
	}
	coordinators := covers(s.base()+"/coordinator/state/#", topic) || covers(s.base()+"/coordinator/event/#", topic)
	if coordinators && who.Role != RoleCoordinator {
		return false
	}
	return slices.ContainsFunc(granted, covering)
}

// Foreign tells whether a topic is one of other programs, see Grants.
func (s Space) Foreign(topic string) bool {
	return wellFormed(topic) && topic != s.base() && !strings.HasPrefix(topic, s.base()+"/") &&
		!strings.HasPrefix(topic, s.prefix()+"/device/") && !strings.HasPrefix(topic, "$")
}

func wellFormed(topic string) bool { return topic != "" && !strings.ContainsAny(topic, "+#\x00") }

// MayRead tells whether a client may subscribe to a filter: whether every
// topic that the filter matches is one it may read. It serves single topics
// too.
func (s Space) MayRead(who Identity, filter string) bool {
	for _, p := range s.Grants(who).Read {
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
