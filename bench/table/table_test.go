package table_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/bench/table"
)

func TestTable(t *testing.T) {
	r := table.New("dominion", "mosquitto 2.0.11")
	for round := range 3 {
		for broker, factor := range []float64{2, 1} {
			v := factor * float64(round*round+1)
			r.Add(broker, table.Figure{Line: "latency at 500/s QoS 1, p50", Unit: table.Microseconds, Value: v * 1000, Counts: true})
			r.Add(broker, table.Figure{Line: "1->100 QoS 1", Unit: table.PerSecond, Value: v * 123_456, Counts: true, Lost: broker * 333})
			r.Add(broker, table.Figure{Line: "memory for 1000 idle clients", Unit: table.Kibibytes, Value: v * 10})
		}
	}
	want := `more is better                    dominion mosquitto 2.0.11  ratio lost
1->100 QoS 1                   /s  493,824          246,912   2.00 0|999

less is better                    dominion mosquitto 2.0.11  ratio lost
latency at 500/s QoS 1, p50    us    4,000            2,000   2.00 0|0
memory for 1000 idle clients  KiB       40               20   2.00
`
	compare(t, r, want)
}

func TestThreeContestantsAndWhatOneDoesNotHave(t *testing.T) {
	r := table.New("domain", "supervisord", "systemd")
	for i, v := range []float64{0.0214, 0.05, 0} {
		r.Add(i, table.Figure{Line: "processor, 50 services", Unit: table.Percent, Value: v})
	}
	r.Add(0, table.Figure{Line: "report of the restart", Unit: table.Milliseconds, Value: 12.34})
	r.Add(2, table.Figure{Line: "memory, 50 services", Unit: table.Kibibytes, Value: 12345})
	want := `less is better               domain supervisord  ratio systemd  ratio
processor, 50 services    %   0.021       0.050   0.43   0.000      -
report of the restart    ms    12.3           -      -       -      -
memory, 50 services     KiB       -           -      -  12,345      -
`
	compare(t, r, want)
}

func compare(t *testing.T, r *table.Results, want string) {
	t.Helper()
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for row := range strings.Lines(out.String()) {
		if len(row) > 81 {
			t.Errorf("more than 80 columns: %q", row)
		}
	}
}
