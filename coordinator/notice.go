package coordinator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// Notice is what the wiring tells the house: an alert that opens or is
// solved, an event, or both. It may come at any time: what this coordinator
// cannot say now, it says when it leads.
type Notice struct {
	ID    string        // of the alert; "": the notice has none. For its kind see kindOf.
	Alert *topics.Alert // nil: the alert is solved
	For   time.Duration // how long the alert stands; 0: until it is solved
	// What, if not empty, is told once as coordinator/event/<What>/<Subject>,
	// with Text for people. What is no name in either is made one.
	What, Subject, Text string
}

const (
	maxShown  = 32   // alerts of one kind; the rest is summed in one
	maxKept   = 1024 // notices of one kind; a new one takes the place of the most silent
	maxUntold = 256  // events that wait for the lead
	maxText   = 500  // characters of a text that others had a hand in
)

// notice is an alert that stands by itself until a time.
type notice struct {
	alert topics.Alert
	first time.Time // when it was raised
	last  time.Time // when it was said anew
	until time.Time // zero: as long as the process
}

func (n notice) over(now time.Time) bool { return !n.until.IsZero() && now.After(n.until) }

// notice raises an alert, or says it anew: it keeps the time it began. Where
// a kind is full, the one that was silent longest makes room.
func (c *Coordinator) notice(id string, a topics.Alert, until time.Time) {
	id = nameFrom(id)
	now := time.Now()
	a.Since, a.Text, a.Next = topics.At(now), shorten(a.Text, maxText), shorten(a.Next, maxText)
	n := notice{alert: a, first: now, last: now, until: until}
	standing, ok := c.notices[id]
	if ok && !standing.over(now) {
		n.alert.Since, n.first = standing.alert.Since, standing.first
	}
	if number, silent := kept(c.notices, kindOf(id)); !ok && number >= maxKept {
		delete(c.notices, silent)
	}
	c.notices[id] = n
}

// noticed takes what the wiring says.
func (c *Coordinator) noticed(ctx context.Context, n Notice, now time.Time) {
	switch {
	case n.ID == "":
	case n.Alert == nil:
		delete(c.notices, nameFrom(n.ID))
	case n.For == 0:
		c.notice(n.ID, *n.Alert, time.Time{})
	default:
		c.notice(n.ID, *n.Alert, now.Add(n.For))
	}
	c.dirty = true
	if n.What == "" {
		return
	}
	if len(c.untold) >= maxUntold {
		c.log.Warn().Str("event", n.What).Msg("an event is not told: too many wait for the lead")
		return
	}
	c.untold = append(c.untold, topics.Message{
		Topic:   c.cfg.Space.Occurrence(topics.Coordinator, nameFrom(n.What), nameFrom(n.Subject)),
		Payload: topics.Encode(topics.Happening{Text: shorten(n.Text, maxText)}), QoS: 1,
	})
	c.tellNotices(ctx)
}

// tellNotices tells the events that waited, as long as the link takes them.
func (c *Coordinator) tellNotices(ctx context.Context) {
	for c.stage == active && len(c.untold) > 0 && c.bus.Publish(ctx, c.untold[0]) == nil {
		c.untold = c.untold[1:]
	}
}

// shown are the alerts of notices that stand: of each kind the eldest, and one
// that sums up the rest.
func shown(notices map[string]notice, now time.Time) map[string]topics.Alert {
	kinds := map[string][]string{}
	for id, n := range notices {
		if !n.over(now) {
			kinds[kindOf(id)] = append(kinds[kindOf(id)], id)
		}
	}
	all := map[string]topics.Alert{}
	for kind, ids := range kinds {
		slices.SortFunc(ids, func(a, b string) int {
			return cmp.Or(notices[a].first.Compare(notices[b].first), cmp.Compare(a, b))
		})
		rest := ids[min(len(ids), maxShown):]
		for _, id := range ids[:len(ids)-len(rest)] {
			all[id] = notices[id].alert
		}
		if len(rest) > 0 {
			all[nameFrom("more-"+kind)] = summed(kind, rest, notices)
		}
	}
	return all
}

func summed(kind string, rest []string, notices map[string]notice) topics.Alert {
	last := notices[rest[len(rest)-1]].alert
	number := fmt.Sprint(len(rest))
	if len(rest) >= maxKept-maxShown {
		number = "at least " + number
	}
	return topics.Alert{
		Severity: last.Severity, Since: notices[rest[0]].alert.Since,
		Text: shorten(fmt.Sprintf("%s more alerts of the kind %s, the last: %s", number, kind, last.Text), maxText), Next: last.Next,
	}
}

// kindOf is the kind of an alert: what stands before the first - of its id. Of
// refusals it is also who was refused: strangers, of whom there can be any
// number, crowd out no client that has a login.
func kindOf(id string) string {
	for _, kind := range []string{"refused-client", "refused-from", "refused-join"} {
		if strings.HasPrefix(id, kind+"-") {
			return kind
		}
	}
	kind, _, _ := strings.Cut(id, "-")
	return kind
}

// kept tells how many notices of a kind there are, and which of them was silent
// longest.
func kept(notices map[string]notice, kind string) (number int, silent string) {
	for id, n := range notices {
		if kindOf(id) != kind {
			continue
		}
		number++
		if silent == "" || cmp.Or(n.last.Compare(notices[silent].last), cmp.Compare(id, silent)) < 0 {
			silent = id
		}
	}
	return number, silent
}

const longestName = 63

// nameFrom makes a name on the bus of any text: an alert's id, the address or
// the name of a client. The end of a long one is made a digest, so that two of
// them stay two.
func nameFrom(text string) string {
	name := strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r == '_', r == '-':
			return r
		}
		return '-'
	}, text), "-_")
	if name == "" {
		return "unnamed"
	}
	if len(name) <= longestName {
		return name
	}
	sum := sha256.Sum256([]byte(text))
	digest := "-" + hex.EncodeToString(sum[:4])
	return name[:longestName-len(digest)] + digest
}

// shorten cuts a text that others had a hand in.
func shorten(text string, longest int) string {
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}
