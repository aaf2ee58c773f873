package client

import (
	"time"

	"dominion/topics"
)

// ledger remembers the last commands and their replies, over all sessions of
// this process, so that a sender may repeat itself.
type ledger struct {
	entries  map[string]*entry
	order    []string             // of the ids, the oldest first
	restarts map[string]restarted // by topic
}

// entry is a command that was handed to the room.
type entry struct {
	id, topic string
	reply     *topics.Message // the last; nil while there is none
}

// restarted is a bare restart.
type restarted struct {
	id string
	at time.Time
}

const ledgerSize = 256

func newLedger() ledger {
	return ledger{entries: map[string]*entry{}, restarts: map[string]restarted{}}
}

// known finds the command that a request repeats: one with the same id, or for
// a bare restart the same one a moment ago.
func (g *ledger) known(r topics.Request, now time.Time, moment time.Duration) *entry {
	if !r.Bare {
		return g.entries[r.ID]
	}
	before, ok := g.restarts[r.Topic]
	if r.Method != "restart" || !ok || now.Sub(before.at) >= moment {
		return nil
	}
	return g.entries[before.id]
}

func (g *ledger) add(r topics.Request, now time.Time) {
	g.entries[r.ID] = &entry{id: r.ID, topic: r.Topic}
	g.order = append(g.order, r.ID)
	if len(g.order) > ledgerSize {
		g.forget(g.order[0])
	}
	if r.Bare && r.Method == "restart" {
		g.restarts[r.Topic] = restarted{r.ID, now}
	}
}

// forget drops a command that the room will not see, or the oldest.
func (g *ledger) forget(id string) {
	if e := g.entries[id]; e != nil && g.restarts[e.topic].id == id {
		delete(g.restarts, e.topic)
	}
	delete(g.entries, id)
	for i, other := range g.order {
		if other == id {
			g.order = append(g.order[:i], g.order[i+1:]...)
			return
		}
	}
}

// answer keeps the room's reply to a command.
func (g *ledger) answer(id string, reply topics.Message) {
	if e := g.entries[id]; e != nil {
		e.reply = &reply
	}
}
