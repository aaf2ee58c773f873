package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Write writes findings for people, in lines of at most 80 columns, and what
// they come to.
func Write(w io.Writer, node string, all []Finding) error {
	var b strings.Builder
	count := map[Result]int{}
	for _, f := range all {
		count[f.Result]++
		hang(&b, mark(f.Result), f.Wanted+" ("+f.Paragraph+")")
		if f.Seen != "" {
			hang(&b, "", "seen: "+f.Seen)
		}
	}
	switch {
	case count[Wrong] > 0:
		fmt.Fprintf(&b, "\n%s: %d of %d are WRONG", node, count[Wrong], len(all))
	default:
		fmt.Fprintf(&b, "\n%s: all of %d are right", node, count[Right])
	}
	if n := count[Unseen]; n > 0 {
		fmt.Fprintf(&b, ", it did not come to %d", n)
	}
	b.WriteString(". The words in brackets are\nthe paragraph of docs/protocol.md.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func mark(r Result) string {
	switch r {
	case Right:
		return "ok"
	case Wrong:
		return "WRONG"
	}
	return "-"
}

// hang writes a text in lines of 80 columns, beside what is before it.
func hang(b *strings.Builder, before, text string) {
	const indent, columns = 6, 80
	line := fmt.Sprintf("%-*s", indent-1, before)
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > columns && strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", indent-1)
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// WriteJSON writes findings as lines of JSON.
func WriteJSON(w io.Writer, all []Finding) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, f := range all {
		if err := out.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// Failed tells whether one of the findings is wrong.
func Failed(all []Finding) bool {
	for _, f := range all {
		if f.Result == Wrong {
			return true
		}
	}
	return false
}
