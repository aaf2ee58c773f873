// Package screen says in human words what a house is: what the command line
// writes on a terminal, as pure functions over the folded house.
//
// A [Report] is the state at one moment, for programs; Status, Why and Lookup
// are the same for people, in lines of at most 80 columns. A [Teller] tells
// what happens, one line for each message that says something new.
package screen

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Style is how text may look. The zero Style is plain text of 80 columns.
type Style struct {
	Colour bool
	Width  int // columns of the terminal; 0 or more than 80 means 80
}

func (s Style) width() int {
	if s.Width <= 0 || s.Width > 80 {
		return 80
	}
	return max(s.Width, 40)
}

// colour is the number of an ANSI foreground colour or attribute; 0 is none.
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

func (s Style) paint(c colour, text string) string {
	if !s.Colour || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// cell is one field of a table, measured without its colour.
type cell struct {
	text   string
	colour colour
	right  bool // aligned to the right
}

// row is one line of a table, and the sentences that stand indented below it.
type row struct {
	cells []cell
	notes []cell
}

// table writes rows below their headings, columns two blanks apart, those that
// are empty left out. The last column gives way when the line would be too long.
func (s Style) table(headings []cell, rows []row) string {
	headings, rows = filled(headings, rows)
	widths := make([]int, len(headings))
	for i, h := range headings {
		widths[i] = utf8.RuneCountInString(h.text)
	}
	for _, r := range rows {
		for i, c := range r.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	s.line(&b, headings, widths)
	for _, r := range rows {
		s.line(&b, r.cells, widths)
		for _, note := range r.notes {
			s.indented(&b, 2, note)
		}
	}
	return b.String()
}

// filled leaves out the columns that say nothing in any row.
func filled(headings []cell, rows []row) ([]cell, []row) {
	var keep []int
	for i := range headings {
		if slices.ContainsFunc(rows, func(r row) bool { return r.cells[i].text != "" }) {
			keep = append(keep, i)
		}
	}
	pick := func(cells []cell) []cell {
		picked := make([]cell, len(keep))
		for i, k := range keep {
			picked[i] = cells[k]
		}
		return picked
	}
	kept := make([]row, len(rows))
	for i, r := range rows {
		kept[i] = row{pick(r.cells), r.notes}
	}
	return pick(headings), kept
}

func (s Style) line(b *strings.Builder, cells []cell, widths []int) {
	var line strings.Builder
	used := 0
	for i, c := range cells {
		room := s.width() - used
		if i == len(cells)-1 {
			c.text = clip(c.text, room)
		}
		blanks := strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(c.text), 0))
		switch {
		case c.right:
			line.WriteString(blanks + s.paint(c.colour, c.text))
		case i == len(cells)-1:
			line.WriteString(s.paint(c.colour, c.text))
		default:
			line.WriteString(s.paint(c.colour, c.text) + blanks)
		}
		used += widths[i] + 2
		line.WriteString("  ")
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// indented writes a sentence, wrapped between words, n columns from the left.
func (s Style) indented(b *strings.Builder, n int, c cell) {
	for _, line := range wrap(c.text, s.width()-n) {
		b.WriteString(strings.Repeat(" ", n) + s.paint(c.colour, line) + "\n")
	}
}

// wrap breaks a text between words into lines of at most width columns. A
// word that is longer stands alone, whole: it may be something to type.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// clip shortens a text to width columns and shows that it did.
func clip(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	return string(runes[:max(width-1, 0)]) + "…"
}

// clean takes out what could steer a terminal: whatever comes from the bus
// was written by somebody else.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
}
