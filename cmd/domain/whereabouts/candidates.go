package whereabouts

import (
	"net"
	"net/netip"
	"net/url"
	"slices"

	"dominion/discovery"
	"dominion/identity"
)

// Place is where a house may be: its broker, and its door if that is known.
type Place struct {
	Broker string // host:port
	Door   string // host:port, or ""
}

// maxPlaces bounds what is tried at once: anybody can announce anything.
const maxPlaces = 6

// Places are where to look for the broker of a machine's house, in order: first
// where the house was heard, since it may have moved, then where it was last.
// A broker that proves nothing is looked for nowhere else: what is heard may be
// a lie, and there is a password to be lost.
func Places(m *identity.Membership, heard []discovery.Entry) []Place {
	var all []Place
	if Vouched(m) {
		for _, e := range heard {
			if houseOf(e) == m.House {
				all = append(all, placesOf(e)...)
			}
		}
	}
	last := Place{Broker: HostPort(m.Broker), Door: m.Door}
	all = slices.DeleteFunc(all, func(p Place) bool { return p.Broker == last.Broker })
	all = all[:min(len(all), maxPlaces-1)]
	if last.Broker == "" {
		return all
	}
	return append(all, last)
}

// placesOf is where an announced house's own broker is, if that speaks TLS.
func placesOf(e discovery.Entry) []Place {
	u, err := url.Parse(e.Text["url"])
	if err != nil || u.Scheme != secure || u.Hostname() != "" {
		return nil
	}
	var all []Place
	doors := doorsOf(e)
	for i, broker := range at(e.Addresses, portOf(u)) {
		p := Place{Broker: broker}
		if doors != nil {
			p.Door = doors[i]
		}
		all = append(all, p)
	}
	return all
}

// Vouched tells whether the broker is the house's own and proves it, with a
// certificate of the house's authority; it then knows a node by its certificate
// too. Another broker that the owner gave the house, or one without TLS, proves
// nothing, and is told a login.
func Vouched(m *identity.Membership) bool {
	u, err := url.Parse(m.Broker)
	return err == nil && u.Scheme == secure && m.Username == "" && withLeader(m)
}

// withLeader tells whether the broker is on the leader's machine, and moves with
// it.
func withLeader(m *identity.Membership) bool {
	host := hostOf(HostPort(m.Broker))
	return host != "" && host == hostOf(m.Door)
}

// Beside is a membership as it is good for a machine that came in by a door: a
// broker of which the house names no host, or only "here", stands at the same
// host. A leader need not know the address by which others see it.
func Beside(m *identity.Membership, door string) *identity.Membership {
	with := *m
	with.Door = door
	u, err := url.Parse(m.Broker)
	if err != nil {
		return &with
	}
	at, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() == "" || u.Hostname() == "localhost" || err == nil && (at.IsLoopback() || at.IsUnspecified()) {
		u.Host = net.JoinHostPort(hostOf(door), portOf(u))
	}
	with.Broker = u.String()
	return &with
}

// moved is a membership whose leader is at another place, with the broker that
// stands beside it.
func moved(m *identity.Membership, p Place) *identity.Membership {
	with := *m
	if u, err := url.Parse(m.Broker); err == nil && p.Broker != "" {
		u.Host = p.Broker
		with.Broker = u.String()
	}
	with.Door = p.Door
	if _, port, err := net.SplitHostPort(m.Door); err == nil && p.Door == "" {
		with.Door = net.JoinHostPort(hostOf(p.Broker), port)
	}
	return &with
}

// HostPort is where a broker's URL points, "" when that cannot be read.
func HostPort(broker string) string {
	u, err := url.Parse(broker)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), portOf(u))
}

// portOf is a broker's port; if its URL names none, the usual one.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "mqtt" || u.Scheme == "tcp":
		return "1883"
	}
	return "8883" // all others are TLS
}

func hostOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return ""
	}
	return host
}
