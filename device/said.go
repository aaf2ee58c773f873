package device

import (
	"regexp"
	"strings"

	"dominion/device/journal"
)

// clean makes one line of somebody else's fit for a payload.
func clean(line string) string { return strings.TrimSpace(journal.Printable(line, 200)) }

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
