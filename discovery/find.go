package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNotFound says that nobody answered who was accepted.
var ErrNotFound = errors.New("not found in the local network")

// Tried is what a search did, for the person who waits for its result.
type Tried struct {
	Service    string
	Interfaces []string // "eth0 (10.77.0.12)"
	Lasted     time.Duration
	Heard      []Entry  // all who answered, also those who were not accepted
	Trouble    []string // what kept from searching
}

// Find looks for a service until somebody answers who is accepted, almost
// without pause: it is for one who is lost. The error is ErrNotFound when ctx
// ended before. Accept may be asked about an entry again and again. One that
// accepts nobody makes Tried.Heard a list of all who answered in a time.
func Find(ctx context.Context, service string, accept func(Entry) bool) (Entry, Tried, error) {
	return find(ctx, hear, service, accept)
}

func find(ctx context.Context, listen ear, service string, accept func(Entry) bool) (Entry, Tried, error) {
	began := time.Now()
	tried := Tried{Service: service}
	var list []known
	for {
		var found *Entry
		var heard []Entry
		done, err := listen(ctx, service, window, func(e Entry) bool {
			heard = append(heard, e)
			if accept(e.clone()) {
				found = &e
			}
			return found != nil
		})
		list = merge(list, heard, false)
		tried.Heard, tried.Lasted = entries(list), time.Since(began)
		for _, l := range done.links {
			tried.Interfaces = remember(tried.Interfaces, l.String())
		}
		if err != nil {
			tried.Trouble = remember(tried.Trouble, err.Error())
		}
		if found != nil {
			return *found, tried, nil
		}
		if ctx.Err() != nil || !done.whole && !wait(ctx, soon) {
			tried.Lasted = time.Since(began)
			return Entry{}, tried, ErrNotFound
		}
	}
}

// remember adds to a short list what is not in it.
func remember(list []string, s string) []string {
	if slices.Contains(list, s) || len(list) == 8 {
		return list
	}
	return append(list, s)
}

// String says in whole sentences what was tried, who answered, and what may be
// the matter. Each is a line.
func (t Tried) String() string {
	var lines []string
	where := cmp.Or(strings.Join(t.Interfaces, " and "), "no interface")
	lines = append(lines, fmt.Sprintf("looked for %s by mDNS for %v on %s", t.Service, t.Lasted.Round(time.Second), where))
	for _, trouble := range t.Trouble {
		lines = append(lines, "trouble: "+trouble)
	}
	for _, e := range t.Heard[:min(len(t.Heard), 8)] {
		lines = append(lines, fmt.Sprintf("heard: %s at %v, port %d", e.Instance, e.Addresses[0], e.Port))
	}
	if len(t.Interfaces) > 0 && len(t.Heard) == 0 {
		lines = append(lines, "nobody answered: is UDP port 5353 blocked, or is it another network?")
	}
	return strings.Join(lines, "\n")
}
