package program

import (
	"strings"
	"unicode/utf8"
)

// Wrap breaks lines of prose that are wider than 80 columns at blanks. A line
// that begins with a blank is something to type, and stays whole.
func Wrap(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") {
			b.WriteString(line)
			continue
		}
		at := 0
		for word := range strings.SplitSeq(line, " ") {
			width := utf8.RuneCountInString(strings.TrimSuffix(word, "\n"))
			switch {
			case at == 0:
			case at+1+width > columns:
				b.WriteByte('\n')
				at = 0
			default:
				b.WriteByte(' ')
				at++
			}
			b.WriteString(word)
			at += width
		}
	}
	return b.String()
}
