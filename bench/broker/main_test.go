package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain is also the embedded broker, when it is started as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEmbeddedBrokerDoesAllTheWork(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read from /proc:", err)
	}
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	tiny := size{flow: 20 * time.Millisecond, connects: 20 * time.Millisecond, many: 3, idle: 20, retained: 50, perSecond: 200, calm: time.Millisecond}
	brokers := []contestant{embedded()}
	got, err := compete(t.Context(), brokers, works(tiny), 1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range got.lines {
		names = append(names, l.name)
		if l.lost[0] != 0 && l.counts {
			t.Errorf("%s: %d messages lost", l.name, l.lost[0])
		}
		if len(l.values[0]) != 1 || l.values[0][0] <= 0 && l.unit != kibibytes {
			t.Errorf("%s: got %v, want one figure", l.name, l.values[0])
		}
	}
	want := []string{
		"memory, idle", "memory for 20 idle clients",
		"1->1 QoS 0", "1->1 QoS 1", "3->1 QoS 0", "3->1 QoS 1", "1->3 QoS 0", "1->3 QoS 1",
		"connects", "latency at 200/s QoS 1, p50", "latency at 200/s QoS 1, p99", "replay of 50 retained",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTable(t *testing.T) {
	r := &results{}
	for round := range 3 {
		for broker, factor := range []float64{2, 1} {
			v := factor * float64(round*round+1)
			r.add(broker, figure{line: "latency at 500/s QoS 1, p50", unit: microseconds, value: v * 1000, counts: true})
			r.add(broker, figure{line: "1->100 QoS 1", unit: perSecond, value: v * 123_456, counts: true, lost: broker * 333})
			r.add(broker, figure{line: "memory for 1000 idle clients", unit: kibibytes, value: v * 10})
		}
	}
	var out strings.Builder
	if err := r.write(&out, []contestant{{name: "dominion"}, {name: "mosquitto 2.0.11"}}); err != nil {
		t.Fatal(err)
	}
	want := `more is better                        dominion mosquitto 2.0.11  ratio lost
1->100 QoS 1                    /s     493,824          246,912   2.00 0|999

less is better                        dominion mosquitto 2.0.11  ratio lost
latency at 500/s QoS 1, p50     us       4,000            2,000   2.00 0|0
memory for 1000 idle clients   KiB          40               20   2.00
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for row := range strings.Lines(out.String()) {
		if len(row) > 81 {
			t.Errorf("more than 80 columns: %q", row)
		}
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-only", "no such work"}, {"-only", "("}, {"-rounds", "0"}, {"-seconds", "0"}, {"-seconds", "NaN"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
