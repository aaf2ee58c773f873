package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	columns  = 80
	subjects = 17 // the width of the longest subject, lightOrchestrator
)

// stage writes lines for a person. On a live terminal it keeps a footer below
// the last line and draws it anew; elsewhere it only appends.
type stage struct {
	out    io.Writer
	live   bool
	colour bool
	size   func() (width, height int) // of a live terminal

	footer []text
	drawn  int // lines of the footer that stand on the terminal
	failed error
}

// text is a line of the screen in one colour. Its first indent bytes have
// none; one that is painted has its own.
type text struct {
	string
	tone    tone
	indent  int
	painted bool
}

// plainly makes lines without colour.
func plainly(all ...string) []text {
	texts := make([]text, len(all))
	for i, one := range all {
		texts[i] = text{string: one}
	}
	return texts
}

// tell writes one line with the seconds since the start before it.
func (s *stage) tell(at time.Duration, l line) { s.say(lines(at, l)...) }

// say writes text as it is.
func (s *stage) say(all ...text) {
	var b strings.Builder
	s.erase(&b)
	for _, one := range all {
		b.WriteString(s.paint(one))
		b.WriteString(s.newline())
	}
	s.draw(&b)
	s.write(b.String())
}

// show replaces the footer of a live terminal.
func (s *stage) show(footer []text) {
	if !s.live || slices.Equal(footer, s.footer) {
		return
	}
	s.footer = footer
	var b strings.Builder
	s.erase(&b)
	s.draw(&b)
	s.write(b.String())
}

func (s *stage) erase(b *strings.Builder) {
	if s.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA", s.drawn)
	}
	if s.live {
		b.WriteString("\r\x1b[J")
	}
	s.drawn = 0
}

// draw writes the footer if the terminal has room for it. Lines are cut to its
// width: one that wraps would be two to erase.
func (s *stage) draw(b *strings.Builder) {
	if !s.live {
		return
	}
	width, height := s.size()
	if len(s.footer)+2 > height {
		return
	}
	for _, one := range s.footer {
		one.string = cut(one.string, width-1)
		b.WriteString(s.paint(one))
		b.WriteString(s.newline())
	}
	s.drawn = len(s.footer)
}

func (s *stage) newline() string {
	if s.live {
		return "\r\n" // the terminal is raw
	}
	return "\n"
}

// write remembers the first error: a closed terminal ends the demo.
func (s *stage) write(text string) {
	if _, err := io.WriteString(s.out, text); err != nil && s.failed == nil {
		s.failed = err
	}
}

func (s *stage) paint(t text) string {
	if t.painted {
		return t.string
	}
	t.string = clean(t.string)
	if !s.colour || t.tone == plain || len(t.string) < t.indent {
		return t.string
	}
	colours := map[tone]string{good: "32", warning: "33", bad: "31"}
	return t.string[:t.indent] + "\x1b[" + colours[t.tone] + "m" + t.string[t.indent:] + "\x1b[0m"
}

// lines is one line of the story in at most 80 columns, with what does not fit
// below it.
func lines(at time.Duration, l line) []text {
	stamp := fmt.Sprintf("%5.1fs  ", at.Seconds())
	head := fmt.Sprintf("%s%-*s  ", stamp, subjects, l.subject)
	margin := strings.Repeat(" ", utf8.RuneCountInString(head))
	var all []text
	for i, part := range wrap(l.text, columns-utf8.RuneCountInString(head)) {
		if i > 0 {
			head = margin
		}
		all = append(all, text{string: strings.TrimRight(head+part, " "), tone: l.tone, indent: len(stamp)})
	}
	return all
}

// wrap breaks text at spaces; a word that is longer than a line is cut.
func wrap(text string, width int) []string {
	var all []string
	for utf8.RuneCountInString(text) > width {
		runes := []rune(text)
		at := strings.LastIndex(string(runes[:width+1]), " ")
		if at <= 0 {
			at = len(string(runes[:width]))
		}
		all = append(all, strings.TrimRight(text[:at], " "))
		text = strings.TrimLeft(text[at:], " ")
	}
	return append(all, text)
}

// table is the house in columns, at most 80 wide.
func table(rows []row) []text {
	state, where := len("STATE"), len("WHERE")
	for _, r := range rows {
		state = max(state, utf8.RuneCountInString(r.state))
		where = max(where, min(utf8.RuneCountInString(r.where), 16))
	}
	all := plainly(fmt.Sprintf("%-*s  %-*s  %-*s  %s", subjects, "SERVICE", state, "STATE", where, "WHERE", "BECAUSE"))
	for _, r := range rows {
		l := fmt.Sprintf("%-*s  %-*s  %-*s  %s", subjects, cut(r.service, subjects), state, dash(r.state), where, cut(dash(r.where), where), r.because)
		all = append(all, text{string: cut(strings.TrimRight(l, " "), columns), tone: r.tone, indent: subjects + 2})
	}
	return all
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func cut(text string, width int) string {
	if width < 1 || utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}
