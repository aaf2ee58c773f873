package terms

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"dominion/topics"
)

// Schedule says when a service runs.
type Schedule struct{ spec *cron.SpecSchedule }

// everyHour is the mark that cron sets for an hour of *.
const everyHour = 1 << 63

// ParseSchedule reads a cron expression of five fields, or a word such as
// @daily. One that never comes, such as the 30th of February, is refused.
func ParseSchedule(text string) (Schedule, error) {
	if err := topics.CheckSchedule(text); err != nil {
		return Schedule{}, err
	}
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("is %q: %w", text, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("is %q, which names no times", text)
	}
	// Any year has all months, and any eight years a 29th of February.
	if spec.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("is %q, a day that never comes", text)
	}
	return Schedule{spec}, nil
}

// Next is the first time after t at which the service runs, in t's location.
// Where clocks are put forward, a time that is left out comes an hour later;
// where they are put back, one that comes twice counts once. A schedule for
// every hour goes by what has really passed.
func (s Schedule) Next(t time.Time) time.Time {
	spec := *s.spec
	spec.Location = t.Location()
	if spec.Hour&everyHour != 0 {
		return spec.Next(t)
	}
	// What the clock on the wall shows, as if it was never changed.
	spec.Location = time.UTC
	shown := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	for {
		shown = spec.Next(shown)
		if shown.IsZero() {
			return shown
		}
		at := firstShown(shown, t.Location())
		if at.After(t) {
			return at
		}
	}
}

// firstShown is when the clocks of a place first show that.
func firstShown(shown time.Time, place *time.Location) time.Time {
	at := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), 0, 0, place)
	for _, back := range []time.Duration{time.Hour, 30 * time.Minute} { // what clocks are put back by
		if before := at.Add(-back); before.Hour() == at.Hour() && before.Minute() == at.Minute() {
			return before
		}
	}
	return at
}
