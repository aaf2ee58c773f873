package journal

import (
	"bytes"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// colours are the escape sequences of a terminal.
var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// Printable makes a line fit for a payload: UTF-8, printable, at most width
// characters.
func Printable(line string, width int) string {
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, colours.ReplaceAllString(strings.ToValidUTF8(line, "?"), ""))
	line = strings.TrimRight(line, " ")
	if runes := []rune(line); len(runes) > width {
		line = string(runes[:width-1]) + "…"
	}
	return line
}

// lastLines is how many lines are told when something has ended.
const lastLines = 10

// Bounds of those.
const (
	lastBytes = 8 << 10 // looked at
	lastWidth = 200     // characters of one line
)

// Last returns the last lines that were printed since a byte of the file, for a
// sentence on how it ended: without empty ones, cut and cleaned.
func (j *Journal) Last(name string, since int64) []string {
	raw := end(j.Path(name), since, math.MaxInt64, lastBytes)
	var lines []string
	for line := range strings.Lines(raw) {
		if line = strings.TrimSpace(Printable(line, lastWidth)); line != "" && !strings.HasPrefix(line, mark) {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-lastLines):]
}

// end reads at most the last bytes of a file between two of them, from the begin
// of a line.
func end(path string, since, until, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	until = min(until, info.Size())
	if since > until { // it was moved away meanwhile
		since = 0
	}
	cut := until-since > most
	if cut {
		since = until - most
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, since, until-since))
	if err != nil {
		return ""
	}
	if cut {
		if _, rest, ok := bytes.Cut(raw, []byte("\n")); ok {
			raw = rest
		}
	}
	return string(raw)
}

// Bounds of what is handed on of the lines themselves.
const (
	lineWidth = 1000    // characters of one line
	mostLines = 2000    // at once
	tailBytes = 1 << 20 // looked at for them
)

// Tail returns the last lines of what was printed, marks included, oldest
// first, at most n of them and 2,000. The last may not have ended yet.
func (j *Journal) Tail(name string, n int) []string {
	lines, _ := j.tail(name, math.MaxInt64, n)
	return lines
}

// tail is Tail of what was printed until a byte of the file. If that is known,
// a line that has not ended there is left out, and its bytes are counted.
func (j *Journal) tail(name string, until int64, n int) (lines []string, partial int64) {
	n = max(0, min(n, mostLines))
	left := int64(tailBytes)
	for i := 0; i <= j.bounds.Count && left > 0; i++ {
		path := j.Path(name)
		if i > 0 {
			path = j.rotated(name, i)
		}
		raw := end(path, 0, until, left)
		left -= int64(len(raw))
		if i == 0 && until < math.MaxInt64 {
			whole := strings.LastIndexByte(raw, '\n') + 1
			raw, partial = raw[:whole], int64(len(raw)-whole)
			until = math.MaxInt64
		}
		lines = append(split(raw), lines...)
		if len(lines) >= n {
			break
		}
	}
	return lines[max(0, len(lines)-n):], partial
}

// split makes printable lines of what was printed.
func split(raw string) []string {
	var lines []string
	for line := range strings.Lines(raw) {
		lines = append(lines, Printable(strings.TrimRight(line, "\r\n"), lineWidth))
	}
	return lines
}
