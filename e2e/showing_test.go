//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestHomeAssistantShowsTheDemo(t *testing.T) {
	for _, version := range homeAssistantVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t)
			h := startHomeAssistant(t, version, d.broker)
			d.awaitBirth(1)
			shows(t, h, d)
			followsTheSwitch(t, h, d)

			h.stop()
			h.start()
			shows(t, h, d)
			d.awaitBirth(2)
			followsTheSwitch(t, h, d)

			seesAKilledAgent(t, h, d)
			survivesAKilledLeader(t, h, d)
			d.awaitBirth(3)
			shows(t, h, d)
			followsTheSwitch(t, h, d)

			// The broker is the demo's own and was killed with the leader.
			if lines := h.complaints("Error returned from MQTT server: The connection was lost"); len(lines) > 0 {
				t.Errorf("Home Assistant complains:\n%s", strings.Join(lines, "\n"))
			}

			d.process.stop(20 * time.Second)
			eventually(t, 20*time.Second, "the demo's devices are gone", func() (bool, string) {
				devices, entities := h.devices(), h.entities()
				return len(devices) == 0 && len(entities) == 0, fmt.Sprint(devices, entities)
			})
		})
	}
}

// awaitBirth waits for Home Assistant's n-th birth: it says one some seconds
// after each connect, and logs an error of its own if the broker has gone before.
func (d *demo) awaitBirth(n int) {
	d.t.Helper()
	eventually(d.t, time.Minute, fmt.Sprintf("Home Assistant's birth number %d", n), func() (bool, string) {
		births := 0
		for _, m := range d.bus.on("homeassistant/status") {
			if m.payload == "online" {
				births++
			}
		}
		return births >= n, fmt.Sprintf("%d births", births)
	})
}

// shows waits until Home Assistant has exactly the demo's devices and entities,
// each with a state that is true.
func shows(t *testing.T, h *homeAssistant, d *demo) {
	t.Helper()
	for _, service := range demoServices() {
		d.bus.awaitPhase(t, 30*time.Second, service, "ready")
	}
	want := d.expected()
	eventually(t, 40*time.Second, "Home Assistant shows the demo", func() (bool, string) {
		diff := cmp.Diff(want.devices, h.devices(), cmpopts.IgnoreFields(haDevice{}, "SoftwareIs")) +
			cmp.Diff(want.entities, h.entities())
		states := h.states()
		for id, right := range want.states {
			if s, ok := states[id]; !ok || !right(s.State) {
				diff += fmt.Sprintf("%s is %q\n", id, s.State)
			}
		}
		return diff == "", diff
	})
}

// expectation is what Home Assistant should have of a house.
type expectation struct {
	devices  map[string]haDevice
	entities map[string]haEntity
	states   map[string]func(string) bool
}

// expected is made from what the bus says of the house.
func (d *demo) expected() expectation {
	d.t.Helper()
	var coordinator struct{ House string }
	if err := json.Unmarshal([]byte(d.bus.last("dominion/coordinator/state/presence").payload), &coordinator); err != nil {
		d.t.Fatal(err)
	}
	want := expectation{map[string]haDevice{}, map[string]haEntity{}, map[string]func(string) bool{}}
	house := coordinator.House + "_house"
	want.devices[house] = haDevice{Name: "demo house", Manufacturer: "Dominion", Model: "House"}
	want.add(house, "dominion_house", "binary_sensor", "connectivity", "diagnostic", equals("on"))
	want.add(house, "dominion_house", "sensor", "status", "diagnostic", equals("active"))
	want.add(house, "dominion_house", "sensor", "alerts", "diagnostic", isNumber)

	for _, domain := range []string{"attic", "kitchen", "porch"} {
		var info struct{ Model, OS, Arch string }
		json.Unmarshal([]byte(d.bus.last("dominion/"+domain+"/state/info").payload), &info)
		if info.Model == "" {
			info.Model = info.OS + " " + info.Arch
		}
		id := coordinator.House + "_domain_" + domain
		want.devices[id] = haDevice{Name: domain, Model: info.Model, Via: house}
		want.add(id, domain, "binary_sensor", "connectivity", "diagnostic", equals("on"))
		var readings map[string]any
		json.Unmarshal([]byte(d.bus.last("dominion/"+domain+"/state/host").payload), &readings)
		for _, key := range []string{"cpu", "memory", "disk", "temperature"} {
			if _, sent := readings[key]; sent {
				want.add(id, domain, "sensor", key, "diagnostic", isNumber)
			}
		}
	}

	for _, service := range demoServices() {
		where := d.bus.awaitPhase(d.t, time.Second, service, "ready").Where[0]
		id, name := coordinator.House+"_service_"+service, strings.ToLower(service)
		want.devices[id] = haDevice{Name: service, Manufacturer: "Dominion", Model: "Service", Via: coordinator.House + "_domain_" + where}
		want.add(id, name, "switch", "run", "", equals("on"))
		want.add(id, name, "sensor", "status", "", equals("ready"))
		want.add(id, name, "binary_sensor", "problem", "diagnostic", equals("off"))
		want.add(id, name, "button", "restart", "config", func(state string) bool { return state != "unavailable" })
		want.add(id, name, "sensor", "host", "diagnostic", equals(where))
	}
	return want
}

func (x *expectation) add(device, name, platform, key, category string, right func(string) bool) {
	id := platform + "." + name + "_" + key
	x.entities[id] = haEntity{ID: id, UniqueID: device + "_" + key, Device: device, Category: category}
	x.states[id] = right
}

func equals(want string) func(string) bool {
	return func(state string) bool { return state == want }
}

func isNumber(state string) bool {
	_, err := strconv.ParseFloat(state, 64)
	return err == nil
}

// followsTheSwitch turns npBar off in Home Assistant and on again.
func followsTheSwitch(t *testing.T, h *homeAssistant, d *demo) {
	t.Helper()
	h.perform("switch", "turn_off", "switch.npbar_run")
	eventually(t, 20*time.Second, "npBar is off, and what only it needed", func() (bool, string) {
		left := d.services()
		got := pick(h.states(), "switch.npbar_run", "sensor.npbar_status", "sensor.webserver_status", "binary_sensor.npbar_problem")
		diff := cmp.Diff(map[string]string{
			"switch.npbar_run": "off", "sensor.npbar_status": "stopped",
			"sensor.webserver_status": "stopped", "binary_sensor.npbar_problem": "off",
		}, got)
		return len(left) == 0 && diff == "", fmt.Sprint(left, diff)
	})
	h.perform("switch", "turn_on", "switch.npbar_run")
	eventually(t, 20*time.Second, "npBar is on, with what it needs", func() (bool, string) {
		services := d.services()
		got := pick(h.states(), "switch.npbar_run", "sensor.npbar_status", "sensor.webserver_status")
		diff := cmp.Diff(map[string]string{
			"switch.npbar_run": "on", "sensor.npbar_status": "ready", "sensor.webserver_status": "ready",
		}, got)
		return len(services) == 3 && diff == "", fmt.Sprint(services, diff)
	})
	onlyOnce(t, d.services())
}

// seesAKilledAgent kills porch's agent and waits until it is back.
func seesAKilledAgent(t *testing.T, h *homeAssistant, d *demo) {
	t.Helper()
	before := d.services()
	d.kill("porch")
	killed := time.Now()
	eventually(t, 2*time.Second, "Home Assistant sees that porch is lost", func() (bool, string) {
		state := h.states()["binary_sensor.porch_connectivity"].State
		return state == "off", state
	})
	t.Logf("porch is off in Home Assistant after %v", time.Since(killed).Round(time.Millisecond))
	eventually(t, 20*time.Second, "Home Assistant sees that porch is back", func() (bool, string) {
		got := pick(h.states(), "binary_sensor.porch_connectivity", "sensor.npbar_status")
		return got["binary_sensor.porch_connectivity"] == "on" && got["sensor.npbar_status"] == "ready", fmt.Sprint(got)
	})
	if diff := cmp.Diff(before, d.services()); diff != "" {
		t.Errorf("the services' processes after an agent was killed (-before +after):\n%s", diff)
	}
}

// survivesAKilledLeader kills the leader, and the broker with it. No service is
// restarted, and until all is as before nothing that Home Assistant shows of
// them is wrong: what it cannot know is unavailable.
func survivesAKilledLeader(t *testing.T, h *homeAssistant, d *demo) {
	t.Helper()
	before := d.services()
	watched := map[string]string{}
	for _, service := range demoServices() {
		name := strings.ToLower(service)
		maps.Copy(watched, pick(h.states(), "switch."+name+"_run", "sensor."+name+"_status", "binary_sensor."+name+"_problem", "sensor."+name+"_host"))
	}
	wrong := map[string]bool{}
	d.kill("dominion")
	away := false
	eventually(t, time.Minute, "Home Assistant shows all again", func() (bool, string) {
		states := h.states()
		for id, right := range watched {
			switch got := states[id].State; got {
			case right:
			case "unavailable":
				away = true
			default:
				wrong[id+" is "+got] = true
			}
		}
		diff := cmp.Diff(watched, pick(states, sorted(watched)...))
		return away && diff == "", diff
	})
	if len(wrong) > 0 {
		t.Errorf("wrong in between: %v", sorted(wrong))
	}
	if diff := cmp.Diff(before, d.services()); diff != "" {
		t.Errorf("the services' processes after the leader was killed (-before +after):\n%s", diff)
	}
}
