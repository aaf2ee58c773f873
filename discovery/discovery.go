// Package discovery finds a house in the local network, and lets it be found,
// by multicast DNS and DNS service discovery (RFC 6762 and 6763): what avahi,
// Bonjour and Home Assistant speak too.
//
// Nothing that is heard is to be trusted: anybody in the network can announce
// anything. An entry says where to knock, never who opens.
//
// It listens on IPv4, and on the interfaces behind which a house can be: not on
// loopback, tunnels, or the bridges of containers. Which these are is looked up
// again all the time.
//
// The library decodes packets in goroutines of its own, where nobody could
// recover from a panic. What it is sent by a hostile neighbour is tried in
// package e2e.
package discovery

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// The services of a house, and those of brokers that are not its own.
const (
	DominionService   = "_dominion._tcp"    // a leader; its port is the HTTPS port
	DomainService     = "_domain._tcp"      // a domain that misses its leader
	MQTTService       = "_mqtt._tcp"        // a broker
	SecureMQTTService = "_secure-mqtt._tcp" // a broker with TLS
)

// Bounds of what is kept of strangers' answers.
const (
	maxAnswers   = 4096 // in one browse, which ends then
	maxEntries   = 256
	maxAddresses = 8
	maxPairs     = 32
)

// Entry is one answer: a service that somebody offers in the local network.
type Entry struct {
	Service   string       // "_dominion._tcp"
	Instance  string       // its name, as a person reads it
	Host      string       // "pi1.local"; two hosts may use one instance name
	Addresses []netip.Addr // those heard last come first, IPv4 before IPv6, at least one
	Port      int
	Text      map[string]string // keys are lower case
	Interface string            // in whose network the first address is, "" if in none
	Seen      time.Time         // when it was heard last
}

// compareEntries orders entries by name. What it says are equals are the same
// service at different times.
func compareEntries(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Host, b.Host))
}

func (e Entry) clone() Entry {
	e.Addresses, e.Text = slices.Clone(e.Addresses), maps.Clone(e.Text)
	return e
}
