package homeassistant

import "dominion/topics"

// kind is what a device stands for; it is part of its discovery object.
type kind string

const (
	houseDevice   kind = "house"
	domainDevice  kind = "domain"
	serviceDevice kind = "service"
)

// device is all that is shown of one Home Assistant device, but for what
// is the same in all. Equal devices give equal payloads.
type device struct {
	kind     kind
	name     string // the house's own, the domain's or the service's
	model    string
	version  string
	via      string // the object of the device it hangs below; "" for none
	readings readings
	blinks   bool   // of a domain: its light can
	observed bool   // of a service: it runs without the house, which has no switch for it
	asking   string // of the house: the machines that ask to join, by name, with spaces between
}

// object is the device's identifier and the name of its discovery topic:
// <house>_house, <house>_domain_<name>, <house>_service_<name>. It never
// changes. Names have no ids' separators to fear: an id has no underscore.
func (d device) object(id topics.HouseID) string {
	o := string(id) + "_" + string(d.kind)
	if d.kind == houseDevice {
		return o
	}
	return o + "_" + d.name
}

// readings are the measurements of a domain that were seen at least once.
type readings uint8

const (
	cpuReading readings = 1 << iota
	memoryReading
	diskReading
	temperatureReading
	powerReading
	throttledReading
)

// seen tells which readings a host has sent.
func seen(h topics.Host) readings {
	var r readings
	for bit, reading := range map[readings]topics.Reading{
		cpuReading: h.CPU, memoryReading: h.Memory, diskReading: h.Disk, temperatureReading: h.Temperature,
	} {
		if reading.Seen {
			r |= bit
		}
	}
	if h.Power != "" {
		r |= powerReading
	}
	if h.Throttled != "" {
		r |= throttledReading
	}
	return r
}

// reading is how one measurement is shown. The key is also its field in the
// domain's host topic.
type reading struct {
	bit       readings
	key       string
	name      string
	icon      string
	class     string
	unit      string
	precision int
	bad       []string // it is one of a few words, and these are a problem
}

func allReadings() []reading {
	return []reading{
		{bit: cpuReading, key: "cpu", name: "CPU", icon: "mdi:cpu-64-bit", unit: "%"},
		{bit: memoryReading, key: "memory", name: "Memory", icon: "mdi:memory", unit: "%"},
		{bit: diskReading, key: "disk", name: "Disk", icon: "mdi:harddisk", unit: "%"},
		{bit: temperatureReading, key: "temperature", name: "Temperature", class: "temperature", unit: "°C", precision: 1},
		{bit: powerReading, key: "power", name: "Power supply", class: "problem", bad: []string{topics.PowerLow}},
		{bit: throttledReading, key: "throttled", name: "Throttled", class: "problem", bad: []string{topics.ThrottledHeat, topics.ThrottledPower}},
	}
}
