package device

import (
	"context"
	"regexp"
	"strings"

	"dominion/device/journal"
	"dominion/device/outside"
)

// clean makes one line of somebody else's fit for a payload.
func clean(line string) string { return strings.TrimSpace(journal.Printable(line, 200)) }

// wide is how many characters of one line are told to who asks for lines.
const wide = 1000

// printed are the last lines that a keeper has of one of its things, fit for a
// payload: nobody else has bounded them.
func printed(ctx context.Context, k keeper, name string, n, width int) []string {
	lines := k.lines(ctx, name, n)
	for i, line := range lines {
		lines[i] = journal.Printable(line, width)
	}
	return lines
}

// fit makes what a keeper and its thing say fit for a payload.
func fit(s outside.State) outside.State {
	line := func(text string) string {
		return journal.Printable(strings.Join(strings.Fields(text), " "), statusWidth)
	}
	s.Says, s.Said = line(s.Says), line(s.Said)
	return s
}

// makesOwn are lines in which make speaks of itself.
var makesOwn = regexp.MustCompile(`^g?make(\[\d+\])?: `)

// telling is the last line that a service itself printed, not make nor the
// shell that tells of its end.
func telling(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if !makesOwn.MatchString(lines[i]) && lines[i] != "Terminated" && lines[i] != "Killed" {
			return lines[i]
		}
	}
	return ""
}
