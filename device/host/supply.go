package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dominion/topics"
)

// The bits of a Raspberry Pi's get_throttled that are about now, see vcgencmd
// in its documentation. (Those from the sixteenth on are about the past.)
const (
	underVoltage = 1 << iota
	frequencyCapped
	throttled
	softTemperatureLimit
)

// supply is what a Raspberry Pi says of its power and of its speed; "" of a
// machine that says nothing. root is where /sys is.
func supply(root string) (power, slowed string) {
	power = supplyAlarm(filepath.Join(root, "sys/class/hwmon"))
	raw, err := os.ReadFile(filepath.Join(root, "sys/devices/platform/soc/soc:firmware/get_throttled"))
	if err != nil {
		return power, ""
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(string(raw)), "0x"), 16, 32)
	if err != nil {
		return power, ""
	}
	slow := bits&(frequencyCapped|throttled|softTemperatureLimit) != 0
	switch {
	case bits&underVoltage != 0 && slow:
		return topics.PowerLow, topics.ThrottledPower
	case bits&underVoltage != 0:
		return topics.PowerLow, topics.ThrottledNo
	case slow:
		slowed = topics.ThrottledHeat
	default:
		slowed = topics.ThrottledNo
	}
	if power == "" {
		power = topics.PowerOK
	}
	return power, slowed
}

// supplyAlarm is what the driver rpi_volt of Linux' hwmon says.
func supplyAlarm(hwmon string) string {
	names, _ := filepath.Glob(filepath.Join(hwmon, "*", "name"))
	for _, name := range names {
		if raw, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(raw)) != "rpi_volt" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(name), "in0_lcrit_alarm"))
		switch {
		case err != nil:
		case strings.TrimSpace(string(raw)) == "0":
			return topics.PowerOK
		default:
			return topics.PowerLow
		}
	}
	return ""
}
