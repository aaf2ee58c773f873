//go:build e2e

package e2e

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// haDevice is a device of the MQTT integration, as its registry has it.
type haDevice struct {
	Name         string
	Manufacturer string
	Model        string
	SoftwareIs   string
	Via          string // identifier of the device it is reached by
}

// haEntity is an entity of the MQTT integration, as its registry has it.
type haEntity struct {
	ID       string `json:"entity_id"`
	UniqueID string `json:"unique_id"`
	Device   string `json:"-"` // its identifier
	Category string `json:"entity_category"`
	Disabled string `json:"disabled_by"`
}

// haState is the state of an entity.
type haState struct {
	State      string
	Attributes map[string]any
}

// registryDevice is what Home Assistant's device registry lists.
type registryDevice struct {
	ID           string
	Identifiers  [][]string
	Name         string
	Manufacturer string
	Model        string
	SoftwareIs   string `json:"sw_version"`
	Via          string `json:"via_device_id"`
}

// identifier is the one MQTT discovery gave the device, empty for devices of
// other integrations.
func (d registryDevice) identifier() string {
	for _, pair := range d.Identifiers {
		if len(pair) == 2 && pair[0] == "mqtt" {
			return pair[1]
		}
	}
	return ""
}

// registry returns all devices, and the identifiers of those of MQTT by their
// registry id.
func (h *homeAssistant) registry() (listed []registryDevice, identifiers map[string]string) {
	h.t.Helper()
	h.ask(map[string]any{"type": "config/device_registry/list"}, &listed)
	identifiers = map[string]string{}
	for _, d := range listed {
		if id := d.identifier(); id != "" {
			identifiers[d.ID] = id
		}
	}
	return listed, identifiers
}

// devices returns the devices that came by MQTT discovery, by identifier.
func (h *homeAssistant) devices() map[string]haDevice {
	h.t.Helper()
	listed, identifiers := h.registry()
	devices := map[string]haDevice{}
	for _, d := range listed {
		if id := d.identifier(); id != "" {
			devices[id] = haDevice{d.Name, d.Manufacturer, d.Model, d.SoftwareIs, identifiers[d.Via]}
		}
	}
	return devices
}

// entities returns the entities of the MQTT integration, by entity id.
func (h *homeAssistant) entities() map[string]haEntity {
	h.t.Helper()
	_, identifiers := h.registry()
	var listed []struct {
		haEntity
		Platform string
		DeviceID string `json:"device_id"`
	}
	h.ask(map[string]any{"type": "config/entity_registry/list"}, &listed)
	entities := map[string]haEntity{}
	for _, e := range listed {
		if e.Platform == "mqtt" {
			e.Device = identifiers[e.DeviceID]
			entities[e.ID] = e.haEntity
		}
	}
	return entities
}

// states returns the state of every entity, by entity id.
func (h *homeAssistant) states() map[string]haState {
	h.t.Helper()
	var listed []struct {
		EntityID string `json:"entity_id"`
		haState
	}
	h.ask(map[string]any{"type": "get_states"}, &listed)
	states := map[string]haState{}
	for _, s := range listed {
		states[s.EntityID] = s.haState
	}
	return states
}

// perform calls an action on an entity, as a press on the dashboard does:
// perform("switch", "turn_off", "switch.lamp").
func (h *homeAssistant) perform(domain, action, entityID string) {
	h.t.Helper()
	h.ask(map[string]any{
		"type":    "call_service",
		"domain":  domain,
		"service": action,
		"target":  map[string]any{"entity_id": entityID},
	}, nil)
}

// complaints returns the lines of its logs, of all starts, that are warnings or
// worse and that a house can be the cause of. Expected are pieces of lines the
// test itself brings about.
func (h *homeAssistant) complaints(expected ...string) []string {
	h.t.Helper()
	var lines []string
	for i := 1; i <= h.starts; i++ {
		content, err := os.ReadFile(h.log(i))
		if err != nil {
			h.t.Fatal(err)
		}
		lines = append(lines, complaints(string(content), expected...)...)
	}
	return lines
}

// notOurs are the beginnings of what it says at a start with no house, no
// Internet and no frontend.
func notOurs() []string {
	return []string{
		"Skipping pip installation",
		"Support for the running Python version",
		"We found a custom integration frontend",
		"zlib_ng and isal are not available",
		"Because the system does not have any enabled IPv4 addresses",
		"Error during setup of component analytics",
		"Error setting up entry Analytics for analytics",
		"Error setting up entry  for marketplace",
		"Error loading libturbojpeg",
		"Setup of ", // "… is taking over 10 seconds", on a slow machine
	}
}

func complaints(log string, expected ...string) []string {
	// Time, level, thread, logger, text.
	loud := regexp.MustCompile(`^\S+ \S+ (?:WARNING|ERROR|CRITICAL) \([^)]*\) \[[^\]]+\] (.*)$`)
	known := notOurs()
	var found []string
	for line := range strings.Lines(log) {
		part := loud.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if part == nil {
			continue
		}
		begins := func(with string) bool { return strings.HasPrefix(part[1], with) }
		contains := func(piece string) bool { return strings.Contains(part[1], piece) }
		if !slices.ContainsFunc(known, begins) && !slices.ContainsFunc(expected, contains) {
			found = append(found, part[0])
		}
	}
	return found
}

func TestComplaints(t *testing.T) {
	const (
		start = "2026-11-21 04:12:33.123 WARNING (MainThread) [homeassistant.bootstrap] Skipping pip installation of required modules\n"
		debug = "2026-11-21 04:12:33.123+00:00 DEBUG (MainThread) [homeassistant.components.mqtt.client] Received message\n"
		lost  = "2026-11-21 04:12:33.123+00:00 WARNING (paho-mqtt) [homeassistant.components.mqtt.client] Error returned from MQTT server: The connection was lost.\n"
		bad   = "2026-11-21 04:12:33.123+00:00 ERROR (MainThread) [homeassistant.components.sensor] Value error while updating state of sensor.x\n  a line of a traceback\n"
	)
	for name, c := range map[string]struct {
		log      string
		expected []string
		want     []string
	}{
		"a clean start":      {log: start + debug},
		"a lost broker":      {log: lost, want: []string{strings.TrimSpace(lost)}},
		"one to be expected": {log: lost, expected: []string{"The connection was lost"}},
		"a bad state":        {log: start + bad + debug, want: []string{strings.Split(bad, "\n")[0]}},
		"both":               {log: bad + lost, want: []string{strings.Split(bad, "\n")[0], strings.TrimSpace(lost)}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := complaints(c.log, c.expected...); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
