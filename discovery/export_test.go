package discovery

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/grandcat/zeroconf"
)

// Patience is in how many browses in a row something is missed until it is gone.
const Patience = patience

// MaxEntries is how many entries are kept.
const MaxEntries = maxEntries

// MaxPairs is how many pairs of a text are kept.
const MaxPairs = maxPairs

// Known is what was heard in browses so far.
type Known struct{ list []known }

// Merge is what is known after one more browse.
func (k Known) Merge(heard []Entry, whole bool) Known { return Known{merge(k.list, heard, whole)} }

// Entries are what others are told of it.
func (k Known) Entries() []Entry { return entries(k.list) }

// Same says whether others would be told the same.
func (k Known) Same(other Known) bool { return same(k.list, other.list) }

// Link is a network interface as it decides whether it is used.
type Link struct {
	Name     string
	Index    int
	Flags    net.Flags
	MAC      net.HardwareAddr
	Networks []string
	Inside   bool
}

func links(all []Link) []link {
	var links []link
	for _, l := range all {
		one := link{Interface: net.Interface{Name: l.Name, Index: l.Index, Flags: l.Flags, HardwareAddr: l.MAC}, inside: l.Inside}
		for _, network := range l.Networks {
			one.networks = append(one.networks, netip.MustParsePrefix(network))
		}
		links = append(links, one)
	}
	return links
}

// Usable are those that are used, for people.
func Usable(all []Link) []string {
	var names []string
	for _, l := range usable(links(all)) {
		names = append(names, l.String())
	}
	return names
}

// HostLabel is this machine's name in answers.
func HostLabel(hostname string, all []Link) string { return hostLabel(hostname, links(all)) }

// Registrations are the keys of what would be announced, and what is wrong.
func Registrations(all []Link, what []Announcement) (keys []string, wrong []error) {
	wanted, wrong := registrations(usable(links(all)), what)
	for _, r := range wanted {
		keys = append(keys, r.key)
	}
	slices.Sort(keys)
	return keys, wrong
}

// Parse reads an answer that came in over links.
func Parse(answer *zeroconf.ServiceEntry, all []Link) (Entry, bool) { return parse(answer, links(all)) }

// FormatText and ParseText are the strings of a TXT record.
func FormatText(pairs map[string]string) []string { return formatText(pairs) }
func ParseText(texts []string) map[string]string  { return parseText(texts) }

// Air stands in for the network: what is heard in a browse, and whether it could
// be made at all.
type Air func(browse int) ([]Entry, error)

// listen is an ear in it. Answers come at once, and a browse takes its time.
func (a Air) listen() ear {
	var browses int
	return func(ctx context.Context, _ string, window time.Duration, tell func(Entry) bool) (sweep, error) {
		browses++
		heard, err := a(browses)
		if err != nil {
			return sweep{}, err
		}
		s := sweep{links: links([]Link{{Name: "eth0", Networks: []string{"10.77.0.12/24"}}})}
		for _, e := range heard {
			if tell(e) {
				return s, nil
			}
		}
		s.whole = wait(ctx, window)
		return s, nil
	}
}

// Browse is [Search.Browse] in this air.
func (a Air) Browse(ctx context.Context, s Search) <-chan []Entry { return s.browse(ctx, a.listen()) }

// Find is [Find] in this air.
func (a Air) Find(ctx context.Context, accept func(Entry) bool) (Entry, Tried, error) {
	return find(ctx, a.listen(), DominionService, accept)
}

// Nowhere is the air of a machine without a network.
func Nowhere(int) ([]Entry, error) { return nil, errNowhere }
