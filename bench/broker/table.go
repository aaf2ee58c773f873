package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// unit is what a figure counts.
type unit string

// The units. Of all but perSecond less is better.
const (
	perSecond    unit = "/s"
	microseconds unit = "us"
	kibibytes    unit = "KiB"
)

// results are all figures of all rounds, the lines in the order in which they
// first came.
type results struct {
	lines []*line
}

type line struct {
	name   string
	unit   unit
	counts bool
	values [2][]float64 // of each broker, one a round
	lost   [2]int       // over all rounds
}

func (r *results) add(broker int, f figure) {
	i := slices.IndexFunc(r.lines, func(l *line) bool { return l.name == f.line })
	if i < 0 {
		i = len(r.lines)
		r.lines = append(r.lines, &line{name: f.line, unit: f.unit, counts: f.counts})
	}
	l := r.lines[i]
	l.values[broker] = append(l.values[broker], f.value)
	l.lost[broker] += f.lost
}

// write prints the table, at most 80 columns wide: what should be high, then
// what should be low.
func (r *results) write(out io.Writer, brokers []contestant) error {
	w := &writer{out: out}
	for _, high := range []bool{true, false} {
		title := "more is better"
		if !high {
			title = "less is better"
		}
		for _, l := range r.lines {
			if (l.unit == perSecond) != high {
				continue
			}
			if title != "" {
				w.heading(title, brokers)
				title = ""
			}
			w.line(l, brokers)
		}
	}
	return w.err
}

type writer struct {
	out     io.Writer
	started bool
	err     error
}

func (w *writer) heading(title string, brokers []contestant) {
	if w.started {
		w.print("")
	}
	w.started = true
	row := fmt.Sprintf("%-29s %4s", title, "")
	for _, b := range brokers {
		row += fmt.Sprintf(" %*s", column(b), b.name)
	}
	if len(brokers) > 1 {
		row += fmt.Sprintf(" %6s", "ratio")
	}
	w.print(row + " " + "lost")
}

// column is how wide a broker's figures are.
func column(b contestant) int { return max(11, len(b.name)) }

func (w *writer) line(l *line, brokers []contestant) {
	row := fmt.Sprintf("%-29s %4s", l.name, l.unit)
	var lost []string
	for i, b := range brokers {
		row += fmt.Sprintf(" %*s", column(b), grouped(median(l.values[i])))
		lost = append(lost, strconv.Itoa(l.lost[i]))
	}
	if len(brokers) > 1 {
		row += fmt.Sprintf(" %6s", ratio(median(l.values[0]), median(l.values[1])))
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

func ratio(a, b float64) string {
	if b <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// grouped is a whole number with commas between its thousands.
func grouped(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
