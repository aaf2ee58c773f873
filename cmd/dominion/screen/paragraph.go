package screen

import "strings"

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
