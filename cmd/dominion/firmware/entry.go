package firmware

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dominion/broker/client"
	"dominion/topics"
)

// Entry is one [microdomain.NAME] of the leader's configuration, as written.
type Entry struct {
	// Preset is a maker's way of saying presence; what else is written here
	// comes before it.
	Preset string `toml:"preset"`
	// Presence is the topic on which it says whether it is there. With one + in
	// place of a level, every device that speaks there is a node, named as that
	// level is; without, NAME is.
	Presence string   `toml:"presence"`
	Online   []string `toml:"online"`
	Offline  []string `toml:"offline"`
	// Service is what it offers; empty: a service of the node's name.
	Service string `toml:"service"`
}

// Fault is one thing wrong with an entry. Key is the dotted key of the
// configuration, microdomain.plug.presence.
type Fault struct{ Key, Text string }

// presets are how makers say presence. Sources: zigbee2mqtt's, Tasmota's,
// ESPHome's and Shelly's documentation of MQTT, the Homie convention (4.0 and 5).
func presets() map[string]Entry {
	words := func(presence, online, offline string) Entry {
		return Entry{Presence: presence, Online: []string{online}, Offline: []string{offline}}
	}
	homie := func(presence string) Entry {
		return Entry{Presence: presence, Online: []string{"ready", "alert", "init"}, Offline: []string{"disconnected", "lost", "sleeping"}}
	}
	return map[string]Entry{
		"zigbee2mqtt": words("zigbee2mqtt/bridge/state", "online", "offline"),
		"tasmota":     words("tele/+/LWT", "Online", "Offline"),
		"esphome":     words("+/status", "online", "offline"),
		"shelly":      words("+/online", "true", "false"),
		"shelly1":     words("shellies/+/online", "true", "false"),
		"homie":       homie("homie/+/$state"),
		"homie5":      homie("homie/5/+/$state"),
	}
}

// Presets are the names of the known ones.
func Presets() []string { return slices.Sorted(maps.Keys(presets())) }

// read fills an entry from its preset and reports all that is wrong with it.
func read(name string, in Entry) (Entry, []Fault) {
	var faults []Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{"microdomain." + name + "." + field, fmt.Sprintf(format, args...)})
	}
	e := in
	if in.Preset != "" {
		known, ok := presets()[in.Preset]
		if !ok {
			fault("preset", "%q is not known (there are %s)", in.Preset, strings.Join(Presets(), ", "))
		}
		e = known
		e.Service = in.Service
		if in.Presence != "" {
			e.Presence = in.Presence
		}
		if len(in.Online) > 0 {
			e.Online = in.Online
		}
		if len(in.Offline) > 0 {
			e.Offline = in.Offline
		}
	}
	if len(e.Online) == 0 {
		e.Online = []string{"online", "true", "1", "on"}
	}
	if len(e.Offline) == 0 {
		e.Offline = []string{"offline", "false", "0", "off"}
	}
	switch pluses := strings.Count("/"+e.Presence+"/", "/+/"); {
	case e.Presence == "":
		fault("presence", "is missing (a topic as zigbee2mqtt/bridge/state; or preset = one of %s)", strings.Join(Presets(), ", "))
	case strings.ContainsAny(e.Presence, "#\x00") || strings.Count(e.Presence, "+") != pluses || pluses > 1:
		fault("presence", "%q has more wildcards than one + in place of a level", e.Presence)
	case pluses == 0:
		if err := topics.Node(name).Check(); err != nil {
			faults = append(faults, Fault{"microdomain." + name, err.Error()})
		}
	}
	if err := topics.Service(e.Service).Check(); e.Service != "" && err != nil {
		fault("service", "%v", err)
	}
	return e, faults
}

// Check reports all that is wrong with the entries, in the order of their names.
func Check(entries map[string]Entry) []Fault {
	var faults []Fault
	whole := map[string]Entry{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		var bad []Fault
		whole[name], bad = read(name, entries[name])
		faults = append(faults, bad...)
	}
	if len(faults) > 0 || len(entries) == 0 {
		return faults
	}
	if _, err := client.New(client.Options{Filters: filters(whole), Broker: "mqtt://127.0.0.1"}); err != nil {
		return []Fault{{"microdomain", err.Error()}}
	}
	return nil
}

// filters are the subscriptions that hear all entries.
func filters(entries map[string]Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Presence)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
