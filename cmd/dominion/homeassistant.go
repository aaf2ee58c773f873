package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// homeAssistantTable is what an owner types into Home Assistant's dialogue for
// MQTT, field by field. Addresses are this machine's, authority is the file to
// upload.
func homeAssistantTable(c config, u userLogin, addresses []string, authority string) string {
	plain, secure := reached(c.Listen), reached(c.ListenTLS)
	rows := [][2]string{{"broker", spoken(addresses)}, {"port", plain.port}, {"username", u.User}, {"password", u.Password}}
	switch {
	case secure.elsewhere:
		rows[1][1] = secure.port
		rows = append(rows, [2]string{"broker certificate validation", "Custom, upload:"}, [2]string{"", authority})
	case !plain.elsewhere:
		rows[0][1] = "127.0.0.1 (the house is open to this machine only)"
	}
	var b strings.Builder
	b.WriteString("In Home Assistant: Settings, Devices & services, Add integration, MQTT\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-8s  %s\n", r[0], r[1])
	}
	if secure.elsewhere && plain.port != "" {
		fmt.Fprintf(&b, "If it runs on this machine: broker 127.0.0.1, port %s, no certificate.\n", plain.port)
	}
	return b.String()
}

// spoken are the addresses of a machine as they are told to people: those that
// can be typed, or if there are none, all.
func spoken(addresses []string) string {
	short := slices.DeleteFunc(slices.Clone(addresses), func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || !a.Is4()
	})
	if len(short) == 0 {
		short = addresses
	}
	if len(short) == 0 {
		return "this machine's address"
	}
	return strings.Join(short[:min(len(short), 3)], " or ")
}

// reach is how a broker is reached that listens on some addresses.
type reach struct {
	port      string
	elsewhere bool // from other machines too
}

// reached prefers an address that other machines reach.
func reached(listen []string) reach {
	var r reach
	for _, address := range listen {
		h, port, err := net.SplitHostPort(address)
		if err != nil || r.elsewhere {
			continue
		}
		if elsewhere := !isLoopback(h); elsewhere || r.port == "" {
			r = reach{port, elsewhere}
		}
	}
	return r
}
