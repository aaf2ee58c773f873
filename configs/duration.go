package configs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time that is written with its unit: "5s", "10m", "1h30m". A bare number, even 0, is refused, since
// nobody can know what it counts. Load asks the same of a time.Duration; Duration is for settings that travel as text
// elsewhere.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as time.Duration does: "1m0s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns d in a form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads numbers with units, without spaces.
func (d *Duration) UnmarshalText(text []byte) error {
	std, err := parseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(std)
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, noUnit(text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, withRemedy(fmt.Errorf("wants a duration, is %q", text), durationRemedy(text))
	}
	return d, nil
}

// noUnit is the error for a bare number, which is given as the user wrote it.
func noUnit(number string) error {
	return withRemedy(fmt.Errorf("%s has no unit", number), fmt.Sprintf("write %q, or another unit: ms, s, m, h", number+"s"))
}

func durationRemedy(text string) string {
	shorter := strings.ReplaceAll(text, " ", "")
	if _, err := time.ParseDuration(shorter); err == nil && shorter != text {
		return fmt.Sprintf("%q, without spaces?", shorter)
	}
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil {
		return fmt.Sprintf("there is no unit for days: %q", strconv.Itoa(days*24)+"h")
	}
	return "a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m"
}
