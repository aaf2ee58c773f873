package screen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dominion/topics"
)

// Lonely is a machine in the local network that hears no leader. Nothing of it
// is proven: anybody can announce anything.
type Lonely struct {
	Name    string           `json:"name"`
	ID      topics.MachineID `json:"id,omitempty"`
	Address string           `json:"address,omitempty"`
	House   topics.HouseID   `json:"house,omitempty"` // that it belongs to; none: it is new
}

// missed are the lonely machines that are not online in the house: such a one
// has come back since it was heard.
func missed(v View, judged []Domain) []Lonely {
	online := func(l Lonely) bool {
		return slices.ContainsFunc(judged, func(d Domain) bool {
			n := v.House.Node(d.Name)
			return d.State == topics.JudgedOnline && n != nil && l.ID != "" && n.Presence.ID == l.ID
		})
	}
	all := slices.DeleteFunc(slices.Clone(v.Lonely), online)
	slices.SortFunc(all, func(a, b Lonely) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// lonely writes who is alone in the network, and what to do with each.
func lonely(b *strings.Builder, r Report, s Style) {
	const most = 8
	for i, l := range r.Lonely {
		if i == most {
			s.indented(b, 0, cell{text: fmt.Sprintf("and %d more machines that hear no leader (--json shows all)", len(r.Lonely)-most)})
			return
		}
		who := clip(clean(l.Name), 63)
		if l.Address != "" {
			who += " (" + clip(clean(l.Address), 45) + ")"
		}
		text, next := "belongs to no house", "dominion invite, then on "+clip(clean(l.Name), 63)+": domain join CODE"
		switch {
		case l.House == "":
		case l.House == r.House:
			text = "belongs to this house, and hears no leader"
			next = "look whether it reaches this machine (firewall?), or have it join again: " + next
		default:
			text = fmt.Sprintf("belongs to another house (%s), and hears no leader there", clip(clean(string(l.House)), 63))
			next = "start the leader of that house; or to have it here, on it: domain leave, then domain join CODE"
		}
		s.indented(b, 0, cell{text: "? " + who + " " + text, colour: yellow})
		s.indented(b, 2, cell{text: "next: " + next})
	}
}
