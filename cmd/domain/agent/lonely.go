package agent

import (
	"strings"
	"sync/atomic"

	"dominion/cmd/domain/whereabouts"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

// nowhere is the port of an announcement of which only the text counts: nobody
// listens (it is discard's).
const nowhere = 9

// loneliness is what this machine announces while it misses its house.
type loneliness struct {
	name   topics.Node
	id     topics.MachineID
	house  topics.HouseID // "": it belongs to none
	lonely atomic.Bool    // no leader is heard
	alone  func() bool    // a stranger: nobody answers; nil: it is none
}

func newLoneliness(name topics.Node, id topics.MachineID, m *identity.Membership, way way) *loneliness {
	l := &loneliness{name: name, id: id}
	if m != nil {
		l.house = m.House
	}
	if stranger, ok := way.(*whereabouts.Stranger); ok {
		l.alone = stranger.Alone
	}
	return l
}

// announcements are what discovery.Advertise asks for: one while it is lonely.
func (l *loneliness) announcements() []discovery.Announcement {
	if !l.lonely.Load() && (l.alone == nil || !l.alone()) {
		return nil
	}
	why := "lonely"
	if l.house == "" {
		why = "new"
	}
	return []discovery.Announcement{{
		Service: discovery.DomainService, Instance: instance(l.name, l.id), Port: nowhere,
		Text: map[string]string{"v": "1", "name": string(l.name), "id": string(l.id), "house": string(l.house), "why": why},
	}}
}

// instance names a machine as nobody else's is: two may have one name. It is of
// a-z, 0-9 and -, 63 at most.
func instance(name topics.Node, id topics.MachineID) string {
	const letters = 6
	word := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, string(name[:min(len(name), 63-1-letters)])+"-"+string(id[:min(len(id), letters)]))
	return strings.Trim(word, "-")
}
