package screen

import (
	"strings"
	"time"
)

// Paragraph is a text wrapped between words, with a line's end at its own end.
// Its lines after the first are indented by that many columns.
func (s Style) Paragraph(text string, indent int) string {
	var b strings.Builder
	lines := wrap(clean(text), s.width()-indent)
	for i, line := range lines {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Table writes rows below their headings.
func (s Style) Table(headings []string, rows [][]string) string {
	cells := func(texts []string) []cell {
		all := make([]cell, len(texts))
		for i, t := range texts {
			all[i] = cell{text: clean(t)}
		}
		return all
	}
	all := make([]row, len(rows))
	for i, r := range rows {
		all[i] = row{cells: cells(r)}
	}
	return s.table(dimmed(cells(headings)), all)
}

// Alert is an open problem, and what to do about it.
func (s Style) Alert(a Alert, now time.Time) string {
	var b strings.Builder
	alert(&b, a, now, s)
	return b.String()
}
