package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"dominion/topics"
)

// contract is what Home Assistant asks of discovery messages, from the oldest
// version supported to the newest known: it checks each message against the
// schemas in testdata/schema.json, and follows what a Home Assistant that
// hears them all would hold, to find what it would lose, keep or complain
// about. What breaks a rule is an error of the test.
type contract struct {
	t       *testing.T
	prefix  string // of every id
	schemas map[string]schema
	devices map[string]*registered // by object
}

// registered is what Home Assistant holds of one discovery topic.
type registered struct {
	at       time.Time
	entities map[string]entity // by component key
	removed  map[string]string // platforms of components that were taken away
}

type entity struct{ platform, unique string }

type schema struct {
	Root         map[string]bool            `json:"root"`
	Device       map[string]bool            `json:"device"`
	Origin       map[string]bool            `json:"origin"`
	Shared       []string                   `json:"shared"`
	Common       map[string]bool            `json:"common"`
	Supported    []string                   `json:"supported"`
	Platforms    map[string]map[string]bool `json:"platforms"`
	Classes      map[string][]string        `json:"classes"`
	Units        map[string][]string        `json:"units"`
	StateClasses map[string][]string        `json:"state_classes"`
}

type object = map[string]any

func newContract(t *testing.T, house topics.HouseID) *contract {
	t.Helper()
	raw, err := os.ReadFile("testdata/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Versions map[string]schema `json:"versions"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return &contract{t, string(house) + "_", file.Versions, map[string]*registered{}}
}

// hear takes one message as Home Assistant would.
func (c *contract) hear(m topics.Message, object string, now time.Time) {
	if !m.Retained || m.QoS != 1 {
		c.errorf(object, "is sent with QoS %d, retained %v (want 1, true)", m.QoS, m.Retained)
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(object) || !strings.HasPrefix(object, c.prefix) {
		c.errorf(object, "is no discovery object of this house")
	}
	before := c.devices[object]
	if before != nil && now.Sub(before.at) < time.Second {
		c.errorf(object, "is sent again after %v: Home Assistant may still import the first", now.Sub(before.at))
	}
	if len(m.Payload) == 0 {
		delete(c.devices, object)
		return
	}
	payload := c.object(object, m.Payload)
	for version, s := range c.schemas {
		c.root(object+" for "+version, s, payload)
	}
	c.follow(object, payload, before, now)
}

func (c *contract) object(where string, payload []byte) object {
	var o object
	if err := json.Unmarshal(payload, &o); err != nil {
		c.errorf(where, "is not a JSON object: %v", err)
	}
	return o
}

func (c *contract) errorf(where, format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
}

// follow keeps the registry: ids are frozen, nothing is left out silently,
// and parents are there before their children.
func (c *contract) follow(where string, payload object, before *registered, now time.Time) {
	after := &registered{at: now, entities: map[string]entity{}, removed: map[string]string{}}
	if before != nil {
		maps.Copy(after.entities, before.entities)
		maps.Copy(after.removed, before.removed)
	}
	components, _ := payload["components"].(object)
	for key, raw := range components {
		component, _ := raw.(object)
		now := entity{text(component["platform"]), text(component["unique_id"])}
		was, had := after.entities[key]
		switch {
		case had && was.platform != now.platform:
			c.errorf(where, "%s changes its platform from %s to %s: the old entity stays behind", key, was.platform, now.platform)
		case len(component) == 1:
			delete(after.entities, key)
			after.removed[key] = now.platform
			continue
		case had && was.unique != now.unique:
			c.errorf(where, "%s changes its unique_id from %s to %s: ignored until a restart", key, was.unique, now.unique)
		}
		after.entities[key] = now
	}
	for key := range after.entities {
		if components[key] == nil {
			c.errorf(where, "%s is left out: its entity stays behind", key)
		}
	}
	device, _ := payload["device"].(object)
	if via := text(device["via_device"]); via != "" && c.devices[via] == nil {
		c.errorf(where, "hangs below %s, which Home Assistant has not heard of", via)
	}
	c.devices[where] = after
	c.unique()
}

func (c *contract) unique() {
	owner := map[string]string{}
	for name, d := range c.devices {
		for key, e := range d.entities {
			if other, taken := owner[e.unique]; taken {
				c.errorf(name, "%s has the unique_id %s of %s", key, e.unique, other)
			}
			owner[e.unique] = name
		}
	}
}

func (c *contract) root(where string, s schema, payload object) {
	c.keys(where, payload, s.Root)
	device, _ := payload["device"].(object)
	c.keys(where+" device", device, s.Device)
	if ids, _ := device["identifiers"].([]any); len(ids) != 1 || where[:strings.Index(where, " ")] != text(ids[0]) {
		c.errorf(where, "identifiers are %v (want the discovery object alone)", device["identifiers"])
	}
	for _, key := range slices.Sorted(maps.Keys(device)) {
		if key != "identifiers" && text(device[key]) == "" {
			c.errorf(where, "device has an empty %s", key)
		}
	}
	if u := text(device["configuration_url"]); u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		c.errorf(where, "configuration_url is %q", u)
	}
	origin, _ := payload["origin"].(object)
	c.keys(where+" origin", origin, s.Origin)
	house := device["model"] == "House"
	c.availability(where, payload, house)
	components, _ := payload["components"].(object)
	for key, raw := range components {
		component, _ := raw.(object)
		c.component(where+" "+key, s, payload, component, text(device["name"]))
	}
}

// keys checks a level on which an unknown key costs the whole message.
func (c *contract) keys(where string, o object, known map[string]bool) {
	for key := range o {
		if _, ok := known[key]; !ok {
			c.errorf(where, "has the unknown key %s", key)
		}
	}
	for key, required := range known {
		if required && o[key] == nil {
			c.errorf(where, "lacks %s", key)
		}
	}
}

func (c *contract) component(where string, s schema, root, o object, device string) {
	platform := text(o["platform"])
	if !slices.Contains(s.Supported, platform) {
		c.errorf(where, "has the unknown platform %q", platform)
	}
	if len(o) == 1 {
		return
	}
	known, ok := s.Platforms[platform]
	if !ok {
		c.errorf(where, "testdata/schema.json does not have platform %s", platform)
	}
	if !strings.HasPrefix(text(o["unique_id"]), c.prefix) {
		c.errorf(where, "has the unique_id %q", o["unique_id"])
	}
	for key := range o {
		_, own := known[key]
		_, common := s.Common[key]
		// Either id hint is unknown to one of the versions; that is harmless here.
		if !own && !common && key != "platform" && key != "default_entity_id" && key != "object_id" {
			c.errorf(where, "has the unknown key %s", key)
		}
	}
	for key, required := range known {
		if required && o[key] == nil && (root[key] == nil || !slices.Contains(s.Shared, key)) {
			c.errorf(where, "lacks %s", key)
		}
	}
	c.names(where, o, platform, device)
	c.values(where, s, o, platform)
	about, _ := root["device"].(object)
	c.availability(where, o, about["model"] == "House")
}

func (c *contract) names(where string, o object, platform, device string) {
	hint := text(o["default_entity_id"])
	if !regexp.MustCompile(`^` + platform + `\.[a-z0-9]+(_[a-z0-9]+)*$`).MatchString(hint) {
		c.errorf(where, "default_entity_id is %q", hint)
	}
	if platform+"."+text(o["object_id"]) != hint {
		c.errorf(where, "object_id is %q beside %q", o["object_id"], hint)
	}
	name := text(o["name"])
	if name == "" || strings.HasPrefix(strings.ToLower(name), strings.ToLower(device)) {
		c.errorf(where, "is named %q on a device named %q", name, device)
	}
}

func (c *contract) values(where string, s schema, o object, platform string) {
	class, unit, stateClass := text(o["device_class"]), text(o["unit_of_measurement"]), text(o["state_class"])
	options, _ := o["options"].([]any)
	if class != "" && !slices.Contains(s.Classes[platform], class) {
		c.errorf(where, "has the device_class %s", class)
	}
	switch {
	case (class == "enum") != (len(options) > 0):
		c.errorf(where, "has the device_class %q with the options %v", class, options)
	case len(options) > 0 && unit+stateClass != "":
		c.errorf(where, "has options and the unit %q, the state_class %q", unit, stateClass)
	}
	if units, checked := s.Units[class]; platform == "sensor" && checked && !slices.Contains(units, unit) {
		c.errorf(where, "has the unit %q for %s", unit, class)
	}
	if classes, checked := s.StateClasses[class]; checked && stateClass != "" && !slices.Contains(classes, stateClass) {
		c.errorf(where, "has the state_class %q for %s", stateClass, class)
	}
	switch category := text(o["entity_category"]); {
	case category != "" && category != "diagnostic" && category != "config":
		c.errorf(where, "has the entity_category %q", category)
	case category == "config" && strings.HasSuffix(platform, "sensor"):
		c.errorf(where, "is a %s with the entity_category config", platform)
	}
	if qos, ok := o["qos"].(float64); ok && qos != 1 && qos != 0 {
		c.errorf(where, "has the qos %v", qos)
	}
	for key, v := range o {
		switch {
		case strings.HasSuffix(key, "_topic"):
			c.topic(where+" "+key, text(v))
		case strings.HasSuffix(key, "_template"):
			c.template(where+" "+key, text(v))
			if base := strings.TrimSuffix(strings.Replace(key, "value", "state", 1), "_template"); o[base+"_topic"] == nil {
				c.errorf(where, "has %s without a topic", key)
			}
		}
	}
}

func (c *contract) topic(where, topic string) {
	odd := func(r rune) bool { return unicode.IsControl(r) || r == '+' || r == '#' || r == unicode.ReplacementChar }
	if topic == "" || strings.ContainsFunc(topic, odd) {
		c.errorf(where, "is %q", topic)
	}
}

// template asks what every template needs to be silent about odd payloads.
func (c *contract) template(where, template string) {
	for _, pair := range [][2]string{{"{{", "}}"}, {"{%", "%}"}, {"(", ")"}, {"[", "]"}} {
		if strings.Count(template, pair[0]) != strings.Count(template, pair[1]) {
			c.errorf(where, "has more or less %s than %s: %s", pair[0], pair[1], template)
		}
	}
	if !strings.Contains(template, "value_json is defined") {
		c.errorf(where, "fails for what is not JSON: %s", template)
	}
	if !strings.Contains(template, "default(") && !strings.Contains(template, "float(none)") && !strings.Contains(template, "int(none)") {
		c.errorf(where, "fails for a missing field: %s", template)
	}
}

func (c *contract) availability(where string, o object, house bool) {
	if mode := o["availability_mode"]; mode != nil && mode != "all" {
		c.errorf(where, "has the availability_mode %v", mode)
	}
	items, _ := o["availability"].([]any)
	for _, raw := range items {
		item, _ := raw.(object)
		for key := range item {
			if key != "topic" && key != "value_template" {
				c.errorf(where, "availability has %s", key)
			}
		}
		c.topic(where+" availability", text(item["topic"]))
		template := text(item["value_template"])
		c.template(where+" availability", template)
		if !strings.Contains(template, "'online' if ") || !strings.Contains(template, "else 'offline'") {
			c.errorf(where, "availability gives neither online nor offline: %s", template)
		}
		leads := strings.Contains(template, "value_json.role | default('') == 'active'")
		if strings.HasSuffix(text(item["topic"]), "/coordinator/state/presence") && leads == house {
			c.errorf(where, "all that the house says, but that it is there, is true only while it is online and active: %s", template)
		}
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
