package terms_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test knows Berlin on any machine

	"dominion/topics/terms"
)

func TestNextRun(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ story, schedule, from, want string }{
		{"a quarter", "*/15 * * * *", "2026-11-21T10:07:00+01:00", "2026-11-21T10:15:00+01:00"},
		{"now is not after now", "0 4 * * *", "2026-11-21T04:00:00+01:00", "2026-11-22T04:00:00+01:00"},
		{"a name", "0 7 * * MON-FRI", "2026-11-20T08:00:00+01:00", "2026-11-23T07:00:00+01:00"},
		{"a word", "@monthly", "2026-11-20T08:00:00+01:00", "2026-12-01T00:00:00+01:00"},
		{"a time that is left out comes an hour later", "30 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:30:00+02:00"},
		{"and is itself again the day after", "30 2 * * *", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"a time that comes twice", "30 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"counts once", "30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"also from within its second hour", "30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"every ten minutes goes through both hours", "*/10 * * * *", "2026-10-25T02:50:00+02:00", "2026-10-25T02:00:00+01:00"},
		{"and loses none", "*/10 * * * *", "2026-03-29T01:50:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"a leap day", "0 0 29 2 *", "2026-11-21T10:00:00+01:00", "2028-02-29T00:00:00+01:00"},
	} {
		s, err := terms.ParseSchedule(c.schedule)
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(from.In(berlin)).Format(time.RFC3339); got != c.want {
			t.Errorf("%s: %s from %s is %s, want %s", c.story, c.schedule, c.from, got, c.want)
		}
	}
}

func TestASchedulesFaultsSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"":            "0 fields",
		"0 25 * * *":  "above maximum (23)",
		"0 0 30 2 *":  "a day that never comes",
		"@every 1s":   "write five fields",
		"TZ=0":        "1 fields",
		"0 0 * * 7":   "above maximum (6)",
		", * * * *":   "a day that never comes",
		"*/0 * * * *": "should be a positive number",
	} {
		if _, err := terms.ParseSchedule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzSchedule holds that no text of the bus stops or hangs an agent, and that
// time goes on.
func FuzzSchedule(f *testing.F) {
	for _, text := range []string{"*/15 * * * *", "@daily", "0 0 29 2 MON", "TZ= * * * *", "1-5/2,7 3 ? jan-mar *"} {
		f.Add(text, int64(1792000000))
	}
	f.Fuzz(func(t *testing.T, text string, from int64) {
		s, err := terms.ParseSchedule(text)
		if err != nil {
			return
		}
		at := time.Unix(from%(1<<33), 0).UTC()
		if next := s.Next(at); !next.After(at) {
			t.Errorf("%q from %v is %v", text, at, next)
		}
	})
}
