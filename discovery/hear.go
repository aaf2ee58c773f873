package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/grandcat/zeroconf"
)

// window is how long one browse listens, unless somebody wants it otherwise. The
// question is asked at its beginning, and again two to six seconds later.
const window = 4 * time.Second

// A sweep is one browse of the local network.
type sweep struct {
	links []link
	whole bool // it lasted as long as it should: who was not heard did not answer
}

// ear browses once: it tells each answer until the window is over, ctx ends, or
// it is told to stop.
type ear func(ctx context.Context, service string, window time.Duration, tell func(Entry) (stop bool)) (sweep, error)

// errNowhere is what browsing and announcing say on a machine without a network.
var errNowhere = errors.New("no network interface that is up, has an IPv4 address and can multicast")

// hear is the ear on this machine's network. The library never forgets what it
// heard, nor does it see a changed port or an interface that came later: so each
// browse is a new one.
func hear(ctx context.Context, service string, window time.Duration, tell func(Entry) bool) (sweep, error) {
	all, err := readLinks()
	if err != nil {
		return sweep{}, err
	}
	s := sweep{links: usable(all)}
	if len(s.links) == 0 {
		return s, errNowhere
	}
	resolver, err := zeroconf.NewResolver(zeroconf.SelectIPTraffic(zeroconf.IPv4), zeroconf.SelectIfaces(interfaces(s.links)))
	if err != nil {
		return s, fmt.Errorf("listen to UDP port 5353: %w", err)
	}
	browsing, cancel := context.WithTimeout(ctx, window)
	defer cancel()
	answers := make(chan *zeroconf.ServiceEntry)
	asked := resolver.Browse(browsing, service, "local.", answers)
	var told int
	for answer := range answers { // to the end: the library waits for its reader
		if browsing.Err() != nil {
			continue
		}
		entry, ok := parse(answer, s.links)
		if !ok {
			continue
		}
		entry.Seen = time.Now()
		if told++; tell(entry) || told == maxAnswers {
			cancel()
		}
	}
	if asked != nil {
		return s, fmt.Errorf("ask for %s: %w", service, asked)
	}
	s.whole = errors.Is(browsing.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	return s, nil
}

// parse reads an answer. It says false if there is nothing to reach, or a name
// that could not be shown to a person.
func parse(answer *zeroconf.ServiceEntry, links []link) (Entry, bool) {
	e := Entry{
		Service:   answer.Service,
		Instance:  unescape(answer.Instance),
		Host:      unescape(trimRoot(answer.HostName)),
		Addresses: addressesOf(answer),
		Port:      answer.Port,
		Text:      parseText(answer.Text),
	}
	if e.Instance == "" || e.Port == 0 || len(e.Addresses) == 0 || !showable(e.Instance) || !showable(e.Host) {
		return Entry{}, false
	}
	e.Interface = linkTo(e.Addresses[0], links)
	return e, true
}

func trimRoot(name string) string {
	if n := len(name); n > 0 && name[n-1] == '.' {
		return name[:n-1]
	}
	return name
}

// addressesOf returns the addresses of an answer that one could connect to, the
// IPv4 ones first. An IPv6 address of the link alone would need its interface,
// which nobody says.
func addressesOf(answer *zeroconf.ServiceEntry) []netip.Addr {
	var addresses []netip.Addr
	add := func(ip net.IP) {
		a, ok := netip.AddrFromSlice(ip)
		a = a.Unmap()
		reachable := a.IsGlobalUnicast() || a.Is4() && a.IsLinkLocalUnicast()
		if ok && reachable && len(addresses) < maxAddresses && !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	for _, ip := range answer.AddrIPv4 {
		add(ip)
	}
	for _, ip := range answer.AddrIPv6 {
		add(ip)
	}
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return addresses
}
