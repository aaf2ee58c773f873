package device_test

import (
	"testing"
	"time"

	"dominion/device"
	"dominion/topics/terms"
)

// nightly is a timetable of 3:30 each night, heard of at that time.
func nightly(t *testing.T, first string) device.Timetable {
	t.Helper()
	s, err := terms.ParseSchedule("30 3 * * *")
	if err != nil {
		t.Fatal(err)
	}
	return device.Timetable{Schedule: s, First: at(t, first)}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation("2006-01-02 15:04", text, time.Local)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestARunThatWasMissedIsMadeUpForOnce(t *testing.T) {
	due := func(table device.Timetable, now, want string) {
		t.Helper()
		if got := table.Due(at(t, now)); !got.Equal(at(t, want)) {
			t.Errorf("at %s it is due %v, want %s", now, got, want)
		}
	}
	table := nightly(t, "2026-11-20 12:00")
	due(table, "2026-11-20 12:00", "2026-11-21 03:30")
	due(table, "2026-11-21 09:00", "2026-11-21 03:30") // now
	table.Ran = at(t, "2026-11-17 03:30")              // the machine was off for days
	due(table, "2026-11-21 09:00", "2026-11-18 03:30")
	due(table.Attended(at(t, "2026-11-21 09:00")), "2026-11-21 09:00", "2026-11-22 03:30")
}

func TestAWrongClockCostsNoRun(t *testing.T) {
	const boot = "1970-01-01 00:00"
	fresh := nightly(t, boot)
	by := at(t, "2026-11-21 09:00").Sub(at(t, boot))
	if got := fresh.Moved(by).Due(at(t, "2026-11-21 09:01")); !got.Equal(at(t, "2026-11-22 03:30")) {
		t.Errorf("heard of on a clock without a battery, it is due %v", got)
	}
	before := fresh
	before.Ran = at(t, "2026-11-19 03:30") // before the power cut
	if got := before.Due(at(t, boot)); !got.Equal(at(t, "1970-01-01 03:30")) {
		t.Errorf("with its last run in the future it is due %v", got)
	}
	if got := before.Moved(by).Due(at(t, "2026-11-21 09:01")); !got.Equal(at(t, "2026-11-20 03:30")) {
		t.Errorf("the night without power is due %v", got)
	}
	future := nightly(t, "2038-01-01 00:00").Attended(at(t, "2038-01-02 03:30"))
	back := at(t, "2026-11-21 03:31").Sub(at(t, "2038-01-02 03:31"))
	if got := future.Moved(back).Due(at(t, "2026-11-21 03:31")); !got.Equal(at(t, "2026-11-22 03:30")) {
		t.Errorf("after a run on a clock years ahead it is due %v", got)
	}
	future.Here = false // an agent before wrote that down
	if got := future.Due(at(t, "2026-11-21 03:31")); got.After(at(t, "2026-11-22 03:30")) {
		t.Errorf("it waits until %v", got)
	}
	little := nightly(t, boot).Attended(at(t, "2026-11-21 03:30"))
	if got := little.Due(at(t, "2026-11-21 03:28")); !got.Equal(at(t, "2026-11-22 03:30")) {
		t.Errorf("put back by two minutes, it is due twice: %v", got)
	}
}
