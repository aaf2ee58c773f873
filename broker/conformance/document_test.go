package conformance_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// standard is one that the broker is held to.
type standard struct {
	name       string
	numbers    []string // of all its normative statements, in its order
	statements []statement
	document   string // where they are written down
	more       string // what stands there beside them
}

func standards() []standard {
	return []standard{
		{"MQTT 3.1.1", numbered(sections311()), v311(), "../../docs/conformance.md", eclipses},
		{"MQTT 5", numbers5(), v5(), "../../docs/conformance-5.md", ""},
	}
}

// section is how many normative statements a section of a standard has.
type section struct {
	name string
	n    int
}

// sections311 are those of MQTT 3.1.1, as its appendix B lists them.
func sections311() []section {
	return []section{
		{"1.5.3", 3}, {"2.2.2", 2}, {"2.3.1", 7},
		{"3.1.0", 2}, {"3.1.2", 24}, {"3.1.3", 11}, {"3.1.4", 5}, {"3.2.0", 1}, {"3.2.2", 6},
		{"3.3.1", 12}, {"3.3.2", 3}, {"3.3.4", 1}, {"3.3.5", 2}, {"3.6.1", 1},
		{"3.8.1", 1}, {"3.8.3", 4}, {"3.8.4", 6}, {"3.9.3", 2}, {"3.10.1", 1}, {"3.10.3", 2}, {"3.10.4", 6},
		{"3.12.4", 1}, {"3.14.1", 1}, {"3.14.4", 3},
		{"4.1.0", 2}, {"4.3.1", 1}, {"4.3.2", 2}, {"4.3.3", 2}, {"4.4.0", 1}, {"4.5.0", 2}, {"4.6.0", 6},
		{"4.7.1", 3}, {"4.7.2", 1}, {"4.7.3", 4}, {"4.8.0", 2},
		{"6.0.0", 4}, {"7.0.0", 2}, {"7.1.1", 1}, {"7.1.2", 1},
	}
}

func numbered(sections []section) []string {
	var all []string
	for _, s := range sections {
		for i := range s.n {
			number := fmt.Sprintf("MQTT-%s-%d", s.name, i+1)
			if number == "MQTT-3.1.2-7" && len(sections) == len(sections311()) {
				number = "MQTT-3.1.2.7" // so it stands in 3.1.1
			}
			all = append(all, number)
		}
	}
	return all
}

// No statement is left out, none is without a test or a reason.
func TestEveryStatementIsAnswered(t *testing.T) {
	for _, s := range standards() {
		var got []string
		for _, st := range s.statements {
			got = append(got, st.number)
			if (st.test == nil) == (st.why == "") {
				t.Errorf("%s, %s: want a test, or a reason why there is none", s.name, st.number)
			}
			if !strings.HasSuffix(strings.TrimSuffix(st.asks, ")"), ".") {
				t.Errorf("%s, %s: %q is no sentence", s.name, st.number, st.asks)
			}
		}
		if diff := cmp.Diff(s.numbers, got); diff != "" {
			t.Errorf("statements of %s (-the standard's +here):\n%s", s.name, diff)
		}
	}
}

// The documents say what the tests say; UPDATE_GOLDEN=1 writes them.
func TestTheDocumentIsOfToday(t *testing.T) {
	for _, s := range standards() {
		t.Run(s.name, func(t *testing.T) { isOfToday(t, s.document, document(s)) })
	}
}

func isOfToday(t *testing.T, path, got string) {
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); UPDATE_GOLDEN=1 writes it:\n%s", path, diff)
	}
}

const preface = `# Conformance with %s

What the embedded broker keeps of each normative statement of the standard, by
its number, in our own words ([MQTT 3.1.1](conformance.md), [MQTT 5](conformance-5.md)).
Written by the tests in broker/conformance: "tested" means that they send the
packets and look at what comes back. Where the broker departs from the standard,
or uses a freedom that one may not expect, it says so and why.
%s
## Where it departs on purpose

`

// eclipses is how one runs the suite whose scenarios interop_test.go has.
const eclipses = `
The scenarios of Eclipse's interoperability suite (eclipse/paho.mqtt.testing) are
among the tests. To run the suite itself, in its folder interoperability:

    dominion serve --anonymous operator --data /tmp/house &
    python3 client_test.py

Its test_subscribe_failure wants a broker that refuses a filter. Ours refuses an
operator none; a node it refuses most: with ` + "`--anonymous node`" + `,
` + "`python3 client_test.py Test.test_subscribe_failure`" + ` passes.
`

// document is what is written down.
func document(s standard) string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, s.name, s.more)
	for _, d := range deviations(s.statements) {
		fmt.Fprintf(&b, "- %s: %s\n", strings.Join(d.numbers, ", "), d.what)
	}
	fmt.Fprintf(&b, "\n## Its statements\n\n%s\n\n| number | what it asks | kept |\n|---|---|---|\n", summary(s.statements))
	for _, st := range s.statements {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", st.number, escape(st.asks), kept(st))
	}
	return b.String()
}

// deviation is one, and the statements that it concerns.
type deviation struct {
	what    string
	numbers []string
}

func deviations(statements []statement) []deviation {
	var all []deviation
	for _, st := range statements {
		if st.deviation == "" {
			continue
		}
		i := slices.IndexFunc(all, func(d deviation) bool { return d.what == st.deviation })
		if i < 0 {
			i, all = len(all), append(all, deviation{what: st.deviation})
		}
		all[i].numbers = append(all[i].numbers, st.number)
	}
	return all
}

func summary(statements []statement) string {
	tested, departs := 0, 0
	for _, st := range statements {
		if st.test != nil {
			tested++
		}
		if st.deviation != "" {
			departs++
		}
	}
	return fmt.Sprintf("%d statements: %d tested, %d of them with a departure; %d that no test of a broker can show.",
		len(statements), tested, departs, len(statements)-tested)
}

func kept(st statement) string {
	switch {
	case st.test == nil:
		return "not tested: " + escape(st.why)
	case st.deviation != "":
		return "tested; see above"
	}
	return "tested"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
