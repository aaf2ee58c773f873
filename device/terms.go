package device

import (
	"time"

	"dominion/topics"
	"dominion/topics/terms"
)

// learn takes in what a service's own service.toml says.
func (a *Agent) learn(u *unit, own topics.Wanted, now time.Time) {
	u.own = own
	a.reckon(u, now)
}

// reckon finds the terms of a service, and its timetable if they have a
// schedule. What does not fit together is said when it is started.
func (a *Agent) reckon(u *unit, now time.Time) {
	before := u.terms.Schedule
	u.terms, _ = terms.Merged(a.wanted[u.name], u.own)
	if u.terms.Schedule == before && u.table != nil {
		return
	}
	u.table = nil
	s, err := terms.ParseSchedule(u.terms.Schedule)
	if u.terms.Schedule == "" || err != nil {
		return
	}
	u.table = &Timetable{Schedule: s, First: now.Round(0), Ran: a.past.Ran[u.name].Time()}
}

// attended notes that a scheduled service was started, or has ended.
func (a *Agent) attended(u *unit, now time.Time) {
	if u.table == nil {
		return
	}
	*u.table = u.table.Attended(now)
	if a.past.Ran == nil {
		a.past.Ran = map[topics.Service]topics.Stamp{}
	}
	a.past.Ran[u.name] = topics.At(now)
	a.keepPast()
}

// due is when a service's schedule runs it next; zero: it has none.
func (u *unit) due(now time.Time) time.Time {
	if u.table == nil {
		return time.Time{}
	}
	return u.table.Due(now)
}

// clock moves the timetables when the clock was put right.
func (a *Agent) clock(now time.Time) {
	by := jump(a.clockRead, now)
	a.clockRead = now
	if by == 0 {
		return
	}
	a.cfg.Log.Info().Stringer("by", by.Round(time.Second)).Msg("the clock was put right")
	for _, u := range a.units {
		if u.table != nil {
			*u.table = u.table.Moved(by)
		}
	}
}
