//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lamp is a device as MQTT discovery has it, written by hand: what the tests of
// this package know of Home Assistant is tried with it, without Dominion.
const lamp = `{
	"device": {"identifiers": ["e2e_lamp"], "name": "Lamp", "manufacturer": "e2e", "model": "Lamp 1", "sw_version": "1.2.3"},
	"origin": {"name": "e2e"},
	"availability": [{"topic": "e2e/lamp/available"}],
	"components": {
		"run": {"platform": "switch", "unique_id": "e2e_lamp_run", "name": "Run", "default_entity_id": "switch.lamp_run", "object_id": "lamp_run",
			"state_topic": "e2e/lamp/run", "command_topic": "e2e/lamp/set"},
		"heat": {"platform": "sensor", "unique_id": "e2e_lamp_heat", "name": "Heat", "default_entity_id": "sensor.lamp_heat", "object_id": "lamp_heat",
			"state_topic": "e2e/lamp/heat", "device_class": "temperature", "unit_of_measurement": "°C", "entity_category": "diagnostic"},
		"restart": {"platform": "button", "unique_id": "e2e_lamp_restart", "name": "Restart", "default_entity_id": "button.lamp_restart", "object_id": "lamp_restart",
			"command_topic": "e2e/lamp/restart", "payload_press": "now"}
	}
}`

func TestHomeAssistantIsWhatTheTestsTakeItFor(t *testing.T) {
	for _, version := range homeAssistantVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			m := startMosquitto(t, newNamespace(t))
			bus := m.subscribe(t, "e2e/#", "homeassistant/#")
			h := startHomeAssistant(t, version, m.broker)
			bus.await(time.Minute, "Home Assistant's birth", is("homeassistant/status", "online"))

			m.publish(t, "e2e/lamp/heat", "21.5", "-r")
			m.publish(t, "e2e/lamp/run", "ON", "-r")
			m.publish(t, "e2e/lamp/available", "online", "-r")
			m.publish(t, "homeassistant/device/e2e_lamp/config", strings.Join(strings.Fields(lamp), " "), "-r")
			shown := func() (bool, string) {
				diff := cmp.Diff(map[string]string{
					"sensor.lamp_heat":    "21.5",
					"switch.lamp_run":     "on",
					"button.lamp_restart": "unknown",
				}, pick(h.states(), "sensor.lamp_heat", "switch.lamp_run", "button.lamp_restart"))
				return diff == "", diff
			}
			eventually(t, 20*time.Second, "the lamp's states", shown)
			lampIsRegistered(t, h)

			h.perform("switch", "turn_off", "switch.lamp_run")
			bus.await(10*time.Second, "the switch's command", is("e2e/lamp/set", "OFF"))
			m.publish(t, "e2e/lamp/run", "OFF", "-r")
			eventually(t, 10*time.Second, "the switch is off", func() (bool, string) {
				state := h.states()["switch.lamp_run"].State
				return state == "off", state
			})
			h.perform("button", "press", "button.lamp_restart")
			bus.await(10*time.Second, "the button's command", is("e2e/lamp/restart", "now"))

			m.publish(t, "e2e/lamp/run", "ON", "-r")
			h.stop()
			h.start()
			eventually(t, 30*time.Second, "the lamp's states after a restart, with nothing said anew", func() (bool, string) {
				diff := cmp.Diff("on", h.states()["switch.lamp_run"].State)
				return diff == "", diff
			})
			lampIsRegistered(t, h)
			if lines := h.complaints(); len(lines) > 0 {
				t.Errorf("Home Assistant complains:\n%s", strings.Join(lines, "\n"))
			}

			m.publish(t, "e2e/lamp/heat", "very")
			eventually(t, 10*time.Second, "a complaint about a temperature that is a word", func() (bool, string) {
				lines := h.complaints()
				return len(lines) > 0 && strings.Contains(lines[0], "sensor.lamp_heat"), fmt.Sprint(lines)
			})
		})
	}
}

func lampIsRegistered(t *testing.T, h *homeAssistant) {
	t.Helper()
	devices := map[string]haDevice{"e2e_lamp": {Name: "Lamp", Manufacturer: "e2e", Model: "Lamp 1", SoftwareIs: "1.2.3"}}
	if diff := cmp.Diff(devices, h.devices()); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	entities := map[string]haEntity{}
	for _, e := range []haEntity{
		{ID: "switch.lamp_run", UniqueID: "e2e_lamp_run"},
		{ID: "sensor.lamp_heat", UniqueID: "e2e_lamp_heat", Category: "diagnostic"},
		{ID: "button.lamp_restart", UniqueID: "e2e_lamp_restart"},
	} {
		e.Device = "e2e_lamp"
		entities[e.ID] = e
	}
	if diff := cmp.Diff(entities, h.entities()); diff != "" {
		t.Errorf("entities (-want +got):\n%s", diff)
	}
}

// pick returns the states of some entities alone.
func pick(states map[string]haState, entityIDs ...string) map[string]string {
	picked := map[string]string{}
	for _, id := range entityIDs {
		if s, ok := states[id]; ok {
			picked[id] = s.State
		}
	}
	return picked
}
