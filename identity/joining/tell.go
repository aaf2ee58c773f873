package joining

import (
	"fmt"
	"maps"
	"net/netip"
	"time"
)

const (
	toldEach = time.Minute // the same of the same
	mostTold = 256         // kept in mind; what does not fit is not told
)

// offence is what makes refusals the same to the owner of the house.
type offence struct {
	why  Why
	from netip.Prefix
	next string // the one that voids the codes is news
}

// offences are the refusals that were told in the last toldEach. The zero value
// has none.
type offences map[offence]*telling

type telling struct {
	at     time.Time
	missed int // refusals since
}

// count counts a refusal, and tells for how many it stands if it is to be told
// now; else 0.
func (o *offences) count(what offence, now time.Time) (times int) {
	last := (*o)[what]
	switch {
	case last != nil && last.recent(now):
		last.missed++
		return 0
	case last != nil:
		times = last.missed
	case len(*o) >= mostTold:
		maps.DeleteFunc(*o, func(_ offence, t *telling) bool { return !t.recent(now) })
		if len(*o) >= mostTold {
			return 0
		}
	}
	if *o == nil {
		*o = make(offences)
	}
	(*o)[what] = &telling{at: now}
	return times + 1
}

func (t *telling) recent(now time.Time) bool {
	passed := now.Sub(t.at)
	return passed >= 0 && passed < toldEach // a clock may be set back
}

// tellRefusal tells of a refusal, unless the same was told just now, and has
// the log know what was the leader's fault.
func (d *Door) tellRefusal(v visit, r *refusal) {
	h := r.happening(v.remote())
	d.mu.Lock()
	h.Times = d.offences.count(offence{r.Why, networkOf(v.address), h.Next}, v.now)
	d.mu.Unlock()
	if h.Times == 0 {
		return
	}
	if h.Times > 1 {
		h.Text += fmt.Sprintf(" (%d times since this was last told)", h.Times)
	}
	if r.Why == LeaderFault || r.Why == LeaderDisk {
		d.o.Log.Error().Err(r.err).Str("remote", v.remote()).Str("node", string(r.node)).Msg("joining went wrong")
	}
	d.tell(h)
}

// happening is what the owner is told of a refusal.
func (r *refusal) happening(remote string) Happening {
	who := remote
	if r.node != "" {
		who = fmt.Sprintf("%s, which calls itself %s,", remote, r.node)
	}
	text, next := r.Why.told(who, r.err)
	if r.text != "" {
		text, next = who+" "+r.text, r.next
	}
	return Happening{What: Refused, Why: r.Why, Node: r.node, ID: r.id, Remote: remote, Text: text, Next: next}
}

// told is a sentence for the owner about who was refused, and what to type.
func (w Why) told(who string, err error) (text, next string) {
	switch w {
	case Busy:
		return who + " tries to join too often", ""
	case NoInvitation:
		return who + " wants to join with a code, and none is open", "dominion invite"
	case WindowClosed:
		return who + " asks to join, and the join window is closed", "dominion join-window 10m"
	case Stale:
		return who + " came back too late, or after the leader restarted, to go on joining", ""
	case OtherVersion:
		return fmt.Sprintf("%s speaks %v", who, err), ""
	case LeaderDisk:
		return fmt.Sprintf("%s could not join: %v", who, err), "df -h"
	case LeaderFault:
		return fmt.Sprintf("%s could not join: %v", who, err), ""
	case Stranger:
		return fmt.Sprintf("%s wants a new certificate, and %v", who, err), ""
	default:
		return fmt.Sprintf("%s sent what no newcomer sends: %.200v", who, err), ""
	}
}
