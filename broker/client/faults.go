package client

import (
	"time"

	"dominion/topics"
)

// faults holds error events back: at most one per subject, topic and second.
// The next one counts what was held back.
type faults map[string]*heldBack

type heldBack struct {
	last  topics.Fault
	count int
}

// report publishes an error event, or holds it back for up to a second.
func (l *life) report(subject string, f topics.Fault) {
	key := subject + " " + f.Topic
	if h := l.faults[key]; h != nil {
		h.last = f
		h.count++
		return
	}
	l.faults[key] = &heldBack{}
	l.say(l.Space.Error(l.Node, subject), f)
	l.Log.Warn().Str("topic", f.Topic).Str("code", f.Code).Msg(f.Text)
	l.agenda.add(time.Now().Add(l.pace.heal), func() {
		h := l.faults[key]
		delete(l.faults, key)
		if h.count == 0 || l.session == nil {
			return
		}
		h.last.Count = h.count - 1 // it stands for one itself
		l.report(subject, h.last)
	})
}
