package coordinator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

const alerts = "dominion/coordinator/state/alert/"

// nothing is a catalogue that raises no alerts of its own.
func nothing() *coordinator.Catalogue {
	c, _ := coordinator.NewCatalogue(nil)
	return c
}

// warned is a house that hears the wiring's notices.
func warned(t *testing.T, story func(t *testing.T, b *bus, say func(...coordinator.Notice))) {
	synctest.Test(t, func(t *testing.T) {
		b, notices := newBus(), make(chan coordinator.Notice)
		defer lead(t, b, t.TempDir(), nothing(), func(c *coordinator.Config) { c.Notices = notices }).stop()
		b.connect("s1")
		time.Sleep(6 * time.Second)
		b.told()
		story(t, b, func(all ...coordinator.Notice) {
			for _, n := range all {
				notices <- n
			}
			time.Sleep(2 * time.Second)
		})
	})
}

func refusal(who string) coordinator.Notice {
	return coordinator.Notice{
		ID: "refused-" + who, Alert: &topics.Alert{Severity: topics.SeverityWarning, Text: who + " was refused", Next: "dominion user add"},
		For: 10 * time.Minute, What: "refused", Subject: who, Text: who + " was refused",
	}
}

// ids are the open alerts.
func (b *bus) ids() (all []string) {
	for topic := range b.all() {
		if id, ok := strings.CutPrefix(topic, alerts); ok {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// occurrences are the events of the coordinator since the last call, as
// "topic: text", but for its heartbeats and answers.
func (b *bus) occurrences() (all []string) {
	for _, m := range b.told() {
		rest, ok := strings.CutPrefix(m.Topic, "dominion/coordinator/event/")
		if !ok || strings.HasPrefix(rest, "heartbeat/") || strings.HasPrefix(rest, "reply/") {
			continue
		}
		var h topics.Happening
		json.Unmarshal(m.Payload, &h)
		all = append(all, rest+": "+h.Text)
	}
	return all
}

func TestANoticeIsAnAlertForAWhileAndAnEvent(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		say(refusal("eve"))
		if diff := cmp.Diff([]string{"refused-eve"}, b.ids()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]string{"refused/eve: eve was refused"}, b.occurrences()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(9 * time.Minute)
		first, _ := topics.Decode[topics.Alert]([]byte(b.all()[alerts+"refused-eve"]))
		say(refusal("eve")) // again: it stands longer, since the same time
		time.Sleep(9 * time.Minute)
		again, err := topics.Decode[topics.Alert]([]byte(b.all()[alerts+"refused-eve"]))
		if err != nil || again.Since != first.Since {
			t.Errorf("since %s, first %s (%v)", again.Since, first.Since, err)
		}
		time.Sleep(2 * time.Minute)
		if got := b.ids(); len(got) > 0 {
			t.Errorf("still open: %v", got)
		}
	})
}

func TestANoticeStandsUntilItIsCleared(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		say(coordinator.Notice{ID: "join-porch", Alert: &topics.Alert{Severity: topics.SeverityInfo, Text: "porch asks to join", About: "porch"}})
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{"join-porch"}, b.ids()); diff != "" {
			t.Error(diff)
		}
		say(coordinator.Notice{ID: "join-porch", What: "refused", Subject: "porch", Text: "porch is turned away"})
		if got := b.ids(); len(got) > 0 {
			t.Errorf("still open: %v", got)
		}
		if diff := cmp.Diff([]string{"refused/porch: porch is turned away"}, b.occurrences()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhoIsAcceptedAsksNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, notices := newBus(), make(chan coordinator.Notice)
		defer lead(t, b, t.TempDir(), nothing(), with(&gate{}), func(c *coordinator.Config) { c.Notices = notices }).stop()
		b.connect("s1")
		time.Sleep(6 * time.Second)
		notices <- coordinator.Notice{ID: "join-porch", Alert: &topics.Alert{Severity: topics.SeverityInfo, Text: "porch asks to join"}}
		b.asks("accept", "porch", "now")
		time.Sleep(3 * time.Second)
		if got := b.ids(); len(got) > 0 {
			t.Errorf("still open: %v", got)
		}
	})
}

func TestAFloodOfRefusalsIsSummed(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		say(coordinator.Notice{ID: "join-porch", Alert: &topics.Alert{Severity: topics.SeverityInfo, Text: "porch asks to join"}})
		var flood []coordinator.Notice
		for i := range 3000 {
			flood = append(flood, refusal(fmt.Sprint("eve", i)))
		}
		say(flood...)
		ids := b.ids()
		if len(ids) != 34 || !slices.Contains(ids, "join-porch") {
			t.Errorf("%d alerts: %v", len(ids), ids)
		}
		more, err := topics.Decode[topics.Alert]([]byte(b.all()[alerts+"more-refused"]))
		if want := "at least 992 more alerts of the kind refused, the last: eve"; err != nil || !strings.HasPrefix(more.Text, want) {
			t.Errorf("%q, want %q… (%v)", more.Text, want, err)
		}
		if got := len(b.occurrences()); got != 3000 {
			t.Errorf("%d events are told of 3000", got)
		}
		time.Sleep(11 * time.Minute)
		if diff := cmp.Diff([]string{"join-porch"}, b.ids()); diff != "" {
			t.Error(diff)
		}
	})
}

// refusedAs is the refusal with an id of its own.
func refusedAs(id string) coordinator.Notice {
	n := refusal(id)
	n.ID = id
	return n
}

func TestTheMostSilentMakesRoom(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		var full []coordinator.Notice
		for i := range 1024 {
			full = append(full, refusal(fmt.Sprintf("eve%04d", i)))
		}
		say(full...)
		say(refusal("eve0000")) // speaks again, so that eve0001 is the most silent
		say(refusal("newcomer"))
		ids := b.ids()
		if !slices.Contains(ids, "refused-eve0000") || slices.Contains(ids, "refused-eve0001") || len(ids) != 33 {
			t.Errorf("%d alerts: %v", len(ids), ids)
		}
		more, err := topics.Decode[topics.Alert]([]byte(b.all()[alerts+"more-refused"]))
		if want := "at least 992 more alerts of the kind refused, the last: newcomer was refused"; err != nil || more.Text != want {
			t.Errorf("%q, want %q (%v)", more.Text, want, err)
		}
	})
}

func TestStrangersCrowdOutNobodyElse(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		for _, crowd := range []string{"refused-from-", "refused-join-"} {
			var flood []coordinator.Notice
			for i := range 1500 {
				flood = append(flood, refusedAs(fmt.Sprint(crowd, "2001-db8--", i)))
			}
			say(flood...)
		}
		say(refusedAs("refused-client-attic-lamp"), refusedAs("refused-client-from"), refusedAs("join-refused"), refusedAs("refused"))
		ids := b.ids()
		for _, want := range []string{"refused-client-attic-lamp", "refused-client-from", "join-refused", "refused", "more-refused-from", "more-refused-join"} {
			if !slices.Contains(ids, want) {
				t.Errorf("%s is not shown of %v", want, ids)
			}
		}
		if want := 4 + 2*33; len(ids) != want {
			t.Errorf("%d alerts, want %d: %v", len(ids), want, ids)
		}
	})
}

func TestOneTopicCountsAllAlerts(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		counted := func() string { return b.all()["dominion/coordinator/state/alerts"] }
		if got := counted(); got != `{"v":1,"open":0}` {
			t.Errorf("of none: %s", got)
		}
		worse := coordinator.Notice{ID: "z", Alert: &topics.Alert{Severity: topics.SeverityError, Text: strings.Repeat("é", 300)}}
		say(refusal("eve"), worse)
		want := `{"v":1,"open":2,"worst":"error","texts":["` + strings.Repeat("é", 199) + `…","eve was refused"],"next":["","dominion user add"]}`
		if diff := cmp.Diff(want, counted()); diff != "" {
			t.Error(diff)
		}
		for i := range 100 {
			say(refusal(fmt.Sprint("eve", i)))
		}
		if all, err := topics.Decode[topics.Alerts]([]byte(counted())); err != nil || all.Open != 34 || len(all.Texts) != topics.MaxAlertTexts {
			t.Errorf("of many: %s (%v)", counted(), err)
		}
	})
}

func TestNoNoticeIsLostWithoutALink(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		b.in <- topics.Inbound{Link: topics.LinkDown}
		time.Sleep(time.Second)
		say(refusal("eve"), refusal("mallory"))
		if got := b.occurrences(); len(got) > 0 || len(b.ids()) > 0 {
			t.Fatalf("told without a link: %v, %v", got, b.ids())
		}
		b.connect("s2")
		time.Sleep(6 * time.Second)
		if diff := cmp.Diff([]string{"refused/eve: eve was refused", "refused/mallory: mallory was refused"}, b.occurrences()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"refused-eve", "refused-mallory"}, b.ids()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStandbyKeepsItsNoticesToItself(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		b.says("dominion/coordinator/state/presence", `{"state":"online","sid":"zz","id":"other","term":99,"role":"active"}`)
		time.Sleep(time.Second)
		say(refusal("eve"))
		if got := b.occurrences(); len(got) > 0 || len(b.ids()) > 0 {
			t.Errorf("a standby says %v, %v", got, b.ids())
		}
	})
}

func TestAnyTextBecomesAName(t *testing.T) {
	long := strings.Repeat("n", 80)
	for text, want := range map[string]string{
		"user ann":               "user-ann",
		"192.168.1.7:51234":      "192-168-1-7-51234",
		"$SYS/#":                 "SYS--",
		"Büro":                   "B-ro",
		"":                       "unnamed",
		"äö":                     "unnamed",
		"a/../b":                 "a----b",
		long:                     "",
		"dominion/attic/\x00\n+": "dominion-attic----",
	} {
		t.Run(text, func(t *testing.T) {
			warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
				say(refusal(text))
				got := b.occurrences()
				if len(got) != 1 {
					t.Fatal(got)
				}
				topic, _, _ := strings.Cut(got[0], ": ")
				name := strings.TrimPrefix(topic, "refused/")
				if err := topics.CheckName(name); err != nil || want != "" && name != want {
					t.Errorf("%q, want %q (%v)", name, want, err)
				}
				for _, id := range b.ids() {
					if err := topics.CheckName(id); err != nil {
						t.Errorf("alert %q: %v", id, err)
					}
				}
			})
		})
	}
}

func TestTwoLongNamesStayTwo(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		long := strings.Repeat("n", 80)
		say(refusal(long+"1"), refusal(long+"2"))
		if got := b.ids(); len(got) != 2 {
			t.Errorf("%v", got)
		}
	})
}

func TestLongTextsOfOthersAreCut(t *testing.T) {
	warned(t, func(t *testing.T, b *bus, say func(...coordinator.Notice)) {
		n := refusal("eve")
		n.Text, n.Alert.Text = strings.Repeat("é", 100_000), strings.Repeat("é", 100_000)
		say(n)
		for _, m := range b.told() {
			if len(m.Payload) > 2000 {
				t.Errorf("%s has %d bytes", m.Topic, len(m.Payload))
			}
		}
		if got := len(b.all()[alerts+"refused-eve"]); got == 0 || got > 2000 {
			t.Errorf("the alert has %d bytes", got)
		}
	})
}

func TestTheEndOfTheNoticesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, notices := newBus(), make(chan coordinator.Notice)
		defer lead(t, b, t.TempDir(), nothing(), func(c *coordinator.Config) { c.Notices = notices }).stop()
		close(notices)
		b.connect("s1")
		time.Sleep(6 * time.Second)
		b.asks("ping", "host", "now")
		time.Sleep(time.Second)
		if got := b.replies(); !slices.Equal(got, []string{"done"}) {
			t.Error(got)
		}
	})
}
