// Package table holds what the contestants of a benchmark reached, and prints it
// side by side.
package table

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Unit is what a figure counts. Of all but PerSecond less is better.
type Unit string

// The units.
const (
	PerSecond    Unit = "/s"
	PerMinute    Unit = "/min"
	Microseconds Unit = "us"
	Milliseconds Unit = "ms"
	Kibibytes    Unit = "KiB"
	Bytes        Unit = "B"
	Percent      Unit = "%"
)

// digits are those behind the point that mean something.
func (u Unit) digits() int {
	switch u {
	case Percent:
		return 3
	case Milliseconds:
		return 1
	}
	return 0
}

// Figure is what came out of a piece of work once.
type Figure struct {
	Line  string // of the table
	Unit  Unit
	Value float64
	// Counts tells whether messages are counted: Lost did not come.
	Counts bool
	Lost   int
}

// Results are all figures of all rounds, the lines in the order in which they
// first came. The first contestant is compared with each of the others.
type Results struct {
	contestants []string
	lines       []*line
}

type line struct {
	name   string
	unit   Unit
	counts bool
	values [][]float64 // of each contestant, one a round
	lost   []int       // over all rounds
}

// New is a table without lines.
func New(contestants ...string) *Results { return &Results{contestants: contestants} }

// Add takes in a figure of the contestant with that index.
func (r *Results) Add(contestant int, f Figure) {
	i := slices.IndexFunc(r.lines, func(l *line) bool { return l.name == f.Line })
	if i < 0 {
		i = len(r.lines)
		n := len(r.contestants)
		r.lines = append(r.lines, &line{name: f.Line, unit: f.Unit, counts: f.Counts, values: make([][]float64, n), lost: make([]int, n)})
	}
	l := r.lines[i]
	l.values[contestant] = append(l.values[contestant], f.Value)
	l.lost[contestant] += f.Lost
}

// Lines are the names of all lines.
func (r *Results) Lines() []string {
	var all []string
	for _, l := range r.lines {
		all = append(all, l.name)
	}
	return all
}

// Values are a contestant's figures of a line, one a round.
func (r *Results) Values(line string, contestant int) []float64 {
	for _, l := range r.lines {
		if l.name == line {
			return l.values[contestant]
		}
	}
	return nil
}

// Lost is how many messages of a contestant's did not come, of all lines that
// count them.
func (r *Results) Lost(contestant int) (n int) {
	for _, l := range r.lines {
		if l.counts {
			n += l.lost[contestant]
		}
	}
	return n
}

// Write prints the table, medians of all rounds: what should be high, then what
// should be low.
func (r *Results) Write(out io.Writer) error {
	w := r.writer(out)
	for _, high := range []bool{true, false} {
		title := "more is better"
		if !high {
			title = "less is better"
		}
		for _, l := range r.lines {
			if (l.unit == PerSecond) != high {
				continue
			}
			if title != "" {
				w.heading(title, r.contestants)
				title = ""
			}
			w.line(l)
		}
	}
	return w.err
}

// writer prints lines as wide as what stands in them.
type writer struct {
	out     io.Writer
	name    int   // columns of a line's name
	columns []int // of each contestant's figures
	lost    bool
	started bool
	err     error
}

func (r *Results) writer(out io.Writer) *writer {
	w := &writer{out: out, name: len("more is better")}
	for _, c := range r.contestants {
		w.columns = append(w.columns, max(7, len(c)))
	}
	for _, l := range r.lines {
		w.name = max(w.name, len(l.name))
		w.lost = w.lost || l.counts
		for i := range l.values {
			w.columns[i] = max(w.columns[i], len(l.median(i)))
		}
	}
	return w
}

func (w *writer) heading(title string, contestants []string) {
	if w.started {
		w.print("")
	}
	w.started = true
	row := fmt.Sprintf("%-*s %4s", w.name, title, "")
	for i, c := range contestants {
		row += fmt.Sprintf(" %*s", w.columns[i], c)
		if i > 0 {
			row += fmt.Sprintf(" %6s", "ratio")
		}
	}
	if w.lost {
		row += " lost"
	}
	w.print(row)
}

func (w *writer) line(l *line) {
	row := fmt.Sprintf("%-*s %4s", w.name, l.name, l.unit)
	var lost []string
	for i, values := range l.values {
		row += fmt.Sprintf(" %*s", w.columns[i], l.median(i))
		if i > 0 {
			row += fmt.Sprintf(" %6s", ratio(l.values[0], values))
		}
		lost = append(lost, strconv.Itoa(l.lost[i]))
	}
	if l.counts {
		row += " " + strings.Join(lost, "|")
	}
	w.print(row)
}

func (w *writer) print(row string) {
	if w.err == nil {
		_, w.err = fmt.Fprintln(w.out, strings.TrimRight(row, " "))
	}
}

// none stands where a contestant has no figure.
const none = "-"

func (l *line) median(contestant int) string {
	if len(l.values[contestant]) == 0 {
		return none
	}
	return grouped(median(l.values[contestant]), l.unit.digits())
}

func ratio(a, b []float64) string {
	if len(a) == 0 || median(b) <= 0 {
		return none
	}
	return fmt.Sprintf("%.2f", median(a)/median(b))
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// grouped is a number with commas between its thousands.
func grouped(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
