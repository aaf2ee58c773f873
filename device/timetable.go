package device

import (
	"time"

	"dominion/topics/terms"
)

// Timetable says when a scheduled service runs next, on a clock that may be
// wrong and then be put right. It is plain values: time is an input.
type Timetable struct {
	Schedule terms.Schedule
	// First is when the agent heard of the schedule: what came before is not
	// missed.
	First time.Time
	// Ran is when it was last run, or seen to its end; zero: it never was.
	Ran time.Time
	// Here tells that Ran was read from the clock since the agent began.
	Here bool
}

// ahead is how far in the future a last run may be for the clock to be
// believed: it has only been put back a little.
const ahead = time.Hour

// Due is when it runs next. A time that has passed means now: one run, however
// many were missed.
func (t Timetable) Due(now time.Time) time.Time {
	from := t.Ran
	if from.IsZero() || from.After(now.Add(ahead)) {
		from = t.First
	}
	if from.After(now.Add(ahead)) {
		from = now
	}
	return t.Schedule.Next(from.Local())
}

// Attended is the timetable once it was run, or its run ended: what came due
// in between is not run any more.
func (t Timetable) Attended(now time.Time) Timetable {
	t.Ran, t.Here = now.Round(0), true
	return t
}

// Moved is the timetable after the clock was put forward or, if by is
// negative, back: what was read from the wrong clock moves along. A run that
// is missed because the clock goes forward stays missed, and is made up for.
func (t Timetable) Moved(by time.Duration) Timetable {
	t.First = t.First.Add(by)
	if by < 0 && t.Here {
		t.Ran = t.Ran.Add(by)
	}
	return t
}

// leap is how much a clock must be off what has really passed to have been
// put right, and not just kept in time.
const leap = time.Minute

// jump is by how much the clock was put forward or back between two readings
// of it, 0 if it was not.
func jump(before, now time.Time) time.Duration {
	if before.IsZero() {
		return 0
	}
	by := now.Round(0).Sub(before.Round(0)) - now.Sub(before)
	if by.Abs() < leap {
		return 0
	}
	return by
}
