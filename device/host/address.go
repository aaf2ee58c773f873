package host

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// loopback is what is said where everything is on one machine.
const loopback = "127.0.0.1"

// Address is the address at which this machine is reached by those who share
// its broker (host:port): the one its own packets there come from. On the
// broker's own machine, or while the broker is not known (""), it is the one its packets to anywhere else come from,
// else the first of Addresses. A loopback address is given only when the
// broker itself is on loopback only; "" is unknown. No packet is sent, but a
// broker's name is asked of the DNS.
func Address(ctx context.Context, broker string, loopbackOnly bool) string {
	if loopbackOnly {
		return loopback
	}
	// The second is the network for documentation of RFC 5737: any route will do.
	for _, to := range []string{broker, "192.0.2.1:9"} {
		if a, ok := source(ctx, to); ok {
			return a
		}
	}
	if all := Addresses(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// source is where packets to an address would come from.
func source(ctx context.Context, to string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	a, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil || !Public(a.Addr().Unmap().String()) {
		return "", false
	}
	return a.Addr().Unmap().String(), true
}

// Public tells whether others can reach an address: not loopback, not
// unspecified, not valid on one link alone. A name counts, but localhost.
func Public(address string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address != "" && address != "localhost"
	}
	return !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// Addresses are the machine's own public ones, IPv4 first.
func Addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var four, six []string
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil || !Public(prefix.Addr().String()):
		case prefix.Addr().Is4():
			four = append(four, prefix.Addr().String())
		default:
			six = append(six, prefix.Addr().String())
		}
	}
	slices.Sort(four)
	slices.Sort(six)
	return append(four, six...)
}
