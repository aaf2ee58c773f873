package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// link is a network interface, and what decides whether a house can be behind
// it.
type link struct {
	net.Interface
	networks []netip.Prefix // its IPv4 addresses with their networks
	inside   bool           // a bridge with no hardware behind it: for containers and virtual machines
}

// usable returns the links behind which a house can be: up and with a cable or
// a radio network, with multicast and an IPv4 address in a network with others.
// A bridge counts when it has hardware behind it, as on a machine that shares
// its cable with virtual machines. Tunnels and VPNs do not: a house is in one
// place.
func usable(all []link) []link {
	var use []link
	for _, l := range all {
		const needs, mustNot = net.FlagUp | net.FlagRunning | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
		networks := slices.DeleteFunc(slices.Clone(l.networks), alone)
		if l.Flags&needs != needs || l.Flags&mustNot != 0 || l.inside || len(networks) == 0 {
			continue
		}
		l.networks = networks
		use = append(use, l)
	}
	return use
}

// alone says that nobody else can be in the network of an address.
func alone(p netip.Prefix) bool {
	return p.Bits() == 32 || !p.Addr().IsGlobalUnicast() && !p.Addr().IsLinkLocalUnicast()
}

// String is the link for people: "eth0 (10.77.0.12)".
func (l link) String() string {
	var addresses []string
	for _, network := range l.networks {
		addresses = append(addresses, network.Addr().String())
	}
	return fmt.Sprintf("%s (%s)", l.Name, strings.Join(addresses, ", "))
}

// interfaces are the links as the standard library has them.
func interfaces(links []link) []net.Interface {
	var all []net.Interface
	for _, l := range links {
		all = append(all, l.Interface)
	}
	return all
}

// linkTo returns the name of the link in whose network an address is.
func linkTo(address netip.Addr, links []link) string {
	for _, l := range links {
		for _, network := range l.networks {
			if network.Contains(address) {
				return l.Name
			}
		}
	}
	return ""
}

// readLinks returns the links of this machine as they are now.
func readLinks() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the network interfaces: %w", err)
	}
	var links []link
	for _, i := range all {
		l := link{Interface: i, inside: isBridge(i.Name) && !onHardware(i.Name, 3)}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it is just going away
		}
		for _, address := range addresses {
			if p, err := netip.ParsePrefix(address.String()); err == nil && p.Addr().Is4() {
				l.networks = append(l.networks, p)
			}
		}
		links = append(links, l)
	}
	return links, nil
}

// sysfs is where Linux tells what an interface is made of. Elsewhere nothing is
// there, and no interface is a bridge.
const sysfs = "/sys/class/net"

func isBridge(name string) bool {
	_, err := os.Stat(filepath.Join(sysfs, name, "bridge"))
	return err == nil
}

// onHardware says whether an interface is a device, or is made of interfaces
// that are: a bridge of a bond of cables, a VLAN on a cable.
func onHardware(name string, depth int) bool {
	if _, err := os.Stat(filepath.Join(sysfs, name, "device")); err == nil {
		return true
	}
	lower, err := filepath.Glob(filepath.Join(sysfs, name, "lower_*"))
	if err != nil || depth == 0 {
		return false
	}
	return slices.ContainsFunc(lower, func(path string) bool {
		return onHardware(strings.TrimPrefix(filepath.Base(path), "lower_"), depth-1)
	})
}
