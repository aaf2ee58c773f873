// Package mosquitto writes the rights of a house as the acl_file of the broker
// mosquitto, 2.0 or later. They are topics.Grants, line by line; what mosquitto
// cannot express stands in the file, and in docs/security.md.
package mosquitto

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"dominion/topics"
)

// Login is one user of the broker.
type Login struct {
	User  string
	About string            // for people: what has this login
	Who   []topics.Identity // all that it is in the house; nodes and services have names
}

// CheckForeign tells why a topic cannot be given as one of another program,
// with all below it, or nil.
func CheckForeign(space topics.Space, topic string) error {
	holds := func(ours string) bool { return strings.HasPrefix(ours, topic+"/") }
	switch {
	case strings.ContainsFunc(topic, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) || strings.HasSuffix(topic, "/"):
		return fmt.Errorf("%q cannot stand in an acl_file", topic)
	case !space.Foreign(topic) || !space.Foreign(topic+"/x"), holds(space.All()), holds(space.HADevice("x")):
		return fmt.Errorf("%q is not another program's topic (write one such as zigbee2mqtt, without wildcards)", topic)
	}
	return nil
}

// Rules is the acl_file of a house for these logins; those of one user are
// taken together. Foreign are the topics of other programs that operators and
// Home Assistant may write too, such as zigbee2mqtt: each with all below it.
func Rules(space topics.Space, house string, logins []Login, foreign []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, house)
	for _, l := range merged(logins) {
		fmt.Fprintf(&b, "\n# %s\nuser %s\n", l.About, l.User)
		for _, line := range lines(space, l.Who, foreign) {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

const head = `# Who may do what in the house %q, for mosquitto 2.0 or later.
# Written by: dominion acl --format mosquitto
#
# Write both files again after a machine joined or was forgotten, a user was
# added or removed, or the catalogue got a service:
#
#   dominion acl --format mosquitto > /etc/mosquitto/dominion.acl
#   dominion acl --format mosquitto --users > /etc/mosquitto/dominion.passwords
#   chown mosquitto /etc/mosquitto/dominion.*
#   chmod 600 /etc/mosquitto/dominion.*
#   systemctl reload mosquitto
#
# In mosquitto's own configuration (/etc/mosquitto/conf.d/dominion.conf):
#
#   per_listener_settings false
#   allow_anonymous false
#   acl_file /etc/mosquitto/dominion.acl
#   password_file /etc/mosquitto/dominion.passwords
#
# mosquitto reads one acl_file and one password_file. A user who does not stand
# in them may do nothing: add those of your other programs at the end of both.
#
# What mosquitto does otherwise than Dominion's own broker:
# - It tells nobody what it refused: no event, no alert. Look into its log.
# - It lets everybody subscribe to everything, and delivers what may be read.
# - It lets a client connect with a will it may not leave, and drops the will.
# - It keeps commands and events that were sent with the retained flag.
# - It cannot tell clearing from writing. So a node may write its own commands,
#   and the leader what a node says of itself and of its services' readiness;
#   Home Assistant may not clear discovery topics: a device deleted there comes
#   back.
# - What it denies to write it does not let read: Home Assistant does not see
#   the commands join and forget, which operators alone may give.
# - It cannot say "all but the house's": operators and Home Assistant may write
#   the topics of other programs only where --foreign named them.
`

// merged are the logins with each user once, in the order they came.
func merged(logins []Login) []Login {
	var all []Login
	for _, l := range logins {
		i := slices.IndexFunc(all, func(m Login) bool { return m.User == l.User })
		if i < 0 {
			all = append(all, Login{l.User, l.About, slices.Clone(l.Who)})
			continue
		}
		all[i].Who = append(all[i].Who, l.Who...)
		if !strings.Contains(all[i].About, l.About) {
			all[i].About += ", " + l.About
		}
	}
	return all
}

// rule is one line: whether a filter may be written, read, or both.
type rule struct {
	filter      string
	write, read bool
	clearing    bool // to write is granted for the sake of clearing
}

func lines(space topics.Space, who []topics.Identity, foreign []string) []string {
	var rules []rule
	add := func(r rule) {
		i := slices.IndexFunc(rules, func(o rule) bool { return o.filter == r.filter })
		if i < 0 {
			rules = append(rules, r)
			return
		}
		rules[i].clearing = rules[i].clearing && !r.write || r.clearing && !rules[i].write
		rules[i].write, rules[i].read = rules[i].write || r.write, rules[i].read || r.read
	}
	text := denials(space, who)
	for _, id := range who {
		g := space.Grants(id)
		for _, f := range g.Write {
			add(rule{filter: f, write: true})
		}
		if g.Foreign {
			for _, topic := range foreign {
				add(rule{filter: topic + "/#", write: true})
			}
		}
		if clears(id.Role) {
			for _, f := range g.Empty {
				add(rule{filter: f, write: true, clearing: true})
			}
		}
		for _, f := range g.Read {
			add(rule{filter: f, read: true})
			if f == "#" { // which for mosquitto leaves out what begins with $
				add(rule{filter: "$SYS/#", read: true})
			}
		}
	}
	for _, r := range rules {
		if r.clearing {
			text = append(text, "# to clear it; mosquitto cannot tell that from writing")
		}
		text = append(text, "topic "+r.access()+" "+r.filter)
	}
	return text
}

// denials are the lines of what is denied. mosquitto heeds them before all
// others of the user, and for reading too: so none is written of what another
// identity of the same user may write.
func denials(space topics.Space, who []topics.Identity) (text []string) {
	for _, id := range who {
		for _, f := range space.Grants(id).Deny {
			below := strings.TrimSuffix(f, "#") + "x"
			line := "topic deny " + f
			if !slices.Contains(text, line) && !slices.ContainsFunc(who, func(o topics.Identity) bool { return space.MayWrite(o, below) }) {
				text = append(text, line)
			}
		}
	}
	return text
}

// clears tells the roles whose work needs clearing so much that they are let
// write instead: a node is rid of commands that were retained, the leader of
// what a forgotten node left.
func clears(role topics.Role) bool {
	return role == topics.RoleNode || role == topics.RoleCoordinator
}

func (r rule) access() string {
	switch {
	case r.write && r.read:
		return "readwrite"
	case r.write:
		return "write"
	}
	return "read"
}
