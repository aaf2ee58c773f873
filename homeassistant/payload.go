package homeassistant

import (
	"strings"

	"dominion/topics"
)

// message is the payload of a device discovery topic. Home Assistant refuses
// the whole of it for one key it does not know at the root, in the device or
// in the origin; so these three have the keys of the oldest version that is
// supported, 2025.1.
type message struct {
	Device           about                `json:"device"`
	Origin           origin               `json:"origin"`
	Availability     []available          `json:"availability,omitzero"`
	AvailabilityMode string               `json:"availability_mode,omitempty"`
	Components       map[string]component `json:"components"`
}

type about struct {
	Identifiers      []string `json:"identifiers"`
	Name             string   `json:"name"`
	Manufacturer     string   `json:"manufacturer,omitempty"`
	Model            string   `json:"model,omitempty"`
	Version          string   `json:"sw_version,omitempty"`
	Via              string   `json:"via_device,omitempty"`
	ConfigurationURL string   `json:"configuration_url,omitempty"`
}

type origin struct {
	Name    string `json:"name"`
	Version string `json:"sw_version,omitempty"`
}

// available is one condition of an availability list: the template gives
// online or offline.
type available struct {
	Topic    string `json:"topic"`
	Template string `json:"value_template"`
}

// component is one entity. One with a platform alone takes the entity away.
// A nil Availability inherits the message's, an empty one is always available.
type component struct {
	Platform           string      `json:"platform"`
	UniqueID           string      `json:"unique_id,omitempty"`
	DefaultEntityID    string      `json:"default_entity_id,omitempty"` // from 2025.10
	ObjectID           string      `json:"object_id,omitempty"`         // before
	Name               string      `json:"name,omitempty"`
	Category           string      `json:"entity_category,omitempty"`
	Icon               string      `json:"icon,omitempty"`
	Class              string      `json:"device_class,omitempty"`
	StateClass         string      `json:"state_class,omitempty"`
	Unit               string      `json:"unit_of_measurement,omitempty"`
	Precision          *int        `json:"suggested_display_precision,omitempty"`
	Options            []string    `json:"options,omitempty"`
	StateTopic         string      `json:"state_topic,omitempty"`
	Template           string      `json:"value_template,omitempty"`
	AttributesTopic    string      `json:"json_attributes_topic,omitempty"`
	AttributesTemplate string      `json:"json_attributes_template,omitempty"`
	CommandTopic       string      `json:"command_topic,omitempty"`
	PayloadOn          string      `json:"payload_on,omitempty"`
	PayloadOff         string      `json:"payload_off,omitempty"`
	PayloadPress       string      `json:"payload_press,omitempty"`
	QoS                int         `json:"qos,omitempty"`
	Availability       []available `json:"availability,omitzero"`
}

const (
	binarySensor = "binary_sensor"
	sensor       = "sensor"
	switches     = "switch"
	button       = "button"
	diagnostic   = "diagnostic"
	config       = "config"
	maker        = "Dominion"
)

// discovery is the payload that shows a device.
func discovery(cfg Config, d device) []byte {
	m := message{
		Device: about{
			Identifiers: []string{d.object(cfg.House)}, Name: d.name, Manufacturer: maker,
			Model: d.model, Version: d.version, Via: d.via,
		},
		Origin:           origin{maker, cfg.Version},
		Availability:     []available{{cfg.Space.Presence(topics.Coordinator), leading}},
		AvailabilityMode: "all",
		Components:       map[string]component{},
	}
	switch d.kind {
	case houseDevice:
		m.Device.Model, m.Device.ConfigurationURL = "House", cfg.ConfigurationURL
		m.showHouse(cfg, d)
	case domainDevice:
		m.Device.Manufacturer = "" // of a machine we know the model alone
		m.showDomain(cfg, d)
	case serviceDevice:
		m.Device.Model = "Service"
		m.showService(cfg, d)
	}
	return topics.Encode(m)
}

// add puts a component under its key. The ids never change: Home Assistant
// ignores a new unique_id and keeps its first entity_id. Without the entity
// id that is asked for here, the area a device is put into would become
// part of it.
func (m *message) add(cfg Config, d device, key string, c component) {
	c.UniqueID = d.object(cfg.House) + "_" + key
	c.ObjectID = slug(d.entity() + "_" + key)
	c.DefaultEntityID = c.Platform + "." + c.ObjectID
	m.Components[key] = c
}

// entity begins the ids of a device's entities. The house's name may change,
// so its entities do not have it.
func (d device) entity() string {
	if d.kind == houseDevice {
		return "dominion_house"
	}
	return d.name
}

// slug writes a name as Home Assistant writes entity ids: lower case, one
// underscore for all that is no letter or digit.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "_")
}

// showHouse: its connectivity is always available, so that it shows
// disconnected when the coordinator is gone; its status is what tells that
// the coordinator settles. A machine that asks to join is accepted by a button,
// which goes with the asking.
func (m *message) showHouse(cfg Config, d device) {
	presence := cfg.Space.Presence(topics.Coordinator)
	m.Availability = []available{{presence, onlineTemplate(string(topics.Online))}}
	roles := []string{string(topics.Settling), string(topics.Active)}
	m.add(cfg, d, "connectivity", component{
		Platform: binarySensor, Name: "Connectivity", Class: "connectivity", Category: diagnostic,
		StateTopic: presence, Template: houseConnectivity, QoS: 1, Availability: []available{},
	})
	m.add(cfg, d, "status", component{
		Platform: sensor, Name: "Status", Class: "enum", Category: diagnostic, Icon: "mdi:home-clock",
		Options: roles, StateTopic: presence, Template: word("role", roles...), QoS: 1,
	})
	alerts := cfg.Space.Alerts()
	m.add(cfg, d, "alerts", component{
		Platform: sensor, Name: "Alerts", Category: diagnostic, Icon: "mdi:alert-outline",
		StateTopic: alerts, Template: alertsTemplate,
		AttributesTopic: alerts, AttributesTemplate: alertsAttributes, QoS: 1,
	})
	for node := range strings.FieldsSeq(d.asking) {
		m.add(cfg, d, "accept_"+node, component{
			Platform: button, Name: "Accept " + node, Icon: "mdi:account-check-outline",
			CommandTopic: cfg.Space.Command(topics.Coordinator, "accept", node),
			PayloadPress: "now", QoS: 1,
		})
	}
}

// showDomain: readings are worth something only while the domain is reached;
// its connectivity is the house's word, and needs only the house.
func (m *message) showDomain(cfg Config, d device) {
	node := topics.Node(d.name)
	ours, judgement := m.Availability, cfg.Space.Judgement(node)
	m.Availability = append(ours[:1:1], available{judgement, onlineTemplate(reachable()...)})
	m.add(cfg, d, "connectivity", component{
		Platform: binarySensor, Name: "Connectivity", Class: "connectivity", Category: diagnostic,
		StateTopic: judgement, Template: domainConnectivity(),
		AttributesTopic: judgement, AttributesTemplate: domainAttributes, QoS: 1, Availability: ours,
	})
	for _, r := range allReadings() {
		if d.readings&r.bit == 0 {
			continue
		}
		if r.bad != nil {
			m.add(cfg, d, r.key, component{
				Platform: binarySensor, Name: r.name, Class: r.class, Category: diagnostic,
				StateTopic: cfg.Space.Host(node), Template: isOneOf(r.key, r.bad...),
			})
			continue
		}
		m.add(cfg, d, r.key, component{
			Platform: sensor, Name: r.name, Class: r.class, Category: diagnostic, Icon: r.icon,
			StateClass: "measurement", Unit: r.unit, Precision: &r.precision,
			StateTopic: cfg.Space.Host(node), Template: number(r.key),
		})
	}
	if d.blinks {
		m.add(cfg, d, "identify", component{
			Platform: button, Name: "Identify", Class: "identify", Category: config,
			CommandTopic: cfg.Space.Command(node, "identify", "host"), PayloadPress: "now", QoS: 1,
		})
	}
}

// showService: all of it needs only the house, so that a service can be seen
// and switched while its domain is gone.
func (m *message) showService(cfg Config, d device) {
	name := topics.Service(d.name)
	summary := cfg.Space.Summary(name)
	var phases, known []string // the phase unknown is Home Assistant's own unknown
	for _, p := range topics.SummaryPhases() {
		phases = append(phases, string(p))
		if p != topics.SummaryUnknown {
			known = append(known, string(p))
		}
	}
	m.add(cfg, d, "status", component{
		Platform: sensor, Name: "Status", Class: "enum", Icon: "mdi:list-status", Options: phases,
		StateTopic: summary, Template: word("phase", known...),
		AttributesTopic: summary, AttributesTemplate: serviceAttributes, QoS: 1,
	})
	m.add(cfg, d, "problem", component{
		Platform: binarySensor, Name: "Problem", Class: "problem", Category: diagnostic,
		StateTopic: summary, Template: problemTemplate(), QoS: 1,
	})
	m.add(cfg, d, "host", component{
		Platform: sensor, Name: "Host", Category: diagnostic, Icon: "mdi:server-network",
		StateTopic: summary, Template: hostTemplate, QoS: 1,
	})
	if d.observed {
		return
	}
	m.add(cfg, d, "run", component{
		Platform: switches, Name: "Run", Icon: "mdi:play-circle-outline",
		StateTopic: summary, Template: word("run", string(topics.RunOn), string(topics.RunOff)),
		CommandTopic: cfg.Space.Command(topics.Coordinator, "run", d.name),
		PayloadOn:    string(topics.RunOn), PayloadOff: string(topics.RunOff), QoS: 1,
	})
	m.add(cfg, d, "restart", component{
		Platform: button, Name: "Restart", Class: "restart", Category: config,
		CommandTopic: cfg.Space.Command(topics.Coordinator, "restart", d.name),
		PayloadPress: "now", QoS: 1,
	})
}
