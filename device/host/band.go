package host

import (
	"math"

	"dominion/topics"
)

// Dead-bands: a smaller change is not worth a message.
const (
	bandPercent     = 5
	bandTemperature = 2
	bandLoad        = 0.5
)

// Moved tells whether a reading left its dead-band since the last one that
// was sent, appeared, or became known or unknown.
func Moved(last, now topics.Host) bool {
	return moved(last.Load, now.Load, bandLoad) ||
		moved(last.CPU, now.CPU, bandPercent) ||
		moved(last.Memory, now.Memory, bandPercent) ||
		moved(last.Disk, now.Disk, bandPercent) ||
		moved(last.Temperature, now.Temperature, bandTemperature) ||
		last.Power != now.Power || last.Throttled != now.Throttled
}

func moved(last, now topics.Reading, band float64) bool {
	if last.Seen != now.Seen || last.Known != now.Known {
		return true
	}
	return math.Abs(last.Value-now.Value) >= band
}

// After is what to say after last was said: a reading that was once sent
// stays, as unknown if it could not be taken now.
func After(last, now topics.Host) topics.Host {
	keep := func(last topics.Reading, now *topics.Reading) {
		if last.Seen && !now.Seen {
			*now = topics.Reading{Seen: true}
		}
	}
	keep(last.Load, &now.Load)
	keep(last.CPU, &now.CPU)
	keep(last.Memory, &now.Memory)
	keep(last.Disk, &now.Disk)
	keep(last.Temperature, &now.Temperature)
	return now
}
