package firmware_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/cmd/dominion/firmware"
	"dominion/topics"
	"dominion/topics/house"
)

var space topics.Space

// lan is a broker with devices on it, and somebody who looks at the house.
type lan struct {
	*testing.T
	server *broker.Server
	person mqtt.Client
	heard  chan topics.Message
	house  *house.House
}

func newLAN(t *testing.T, entries map[string]firmware.Entry, before map[string]string) *lan {
	t.Helper()
	server, err := broker.Open(broker.Options{
		Listen: []string{"127.0.0.1:0"}, Anonymous: []topics.Identity{{Role: topics.RoleOperator}}, Log: zerolog.Nop(),
		Refused: func(r broker.Refusal) { t.Errorf("refused: %+v", r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx) }()
	l := &lan{T: t, server: server, heard: make(chan topics.Message, 1000), house: house.New(space)}
	url := "mqtt://" + server.Addrs()[0].String()
	l.person = mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID("person").SetAutoReconnect(false))
	l.wait(l.person.Connect())
	for topic, payload := range before {
		l.says(topic, payload)
	}
	l.wait(l.person.Subscribe("dominion/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		l.heard <- topics.Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()}
	}))
	shows, stop := context.WithCancel(ctx)
	go func() {
		ended <- firmware.Run(shows, firmware.Config{
			Space: space, Entries: entries, ID: "0123456789abcdef", Broker: url, Log: zerolog.Nop(),
			Dial: func(who topics.Identity) func(context.Context) (net.Conn, error) {
				return func(context.Context) (net.Conn, error) { return server.Pipe(who), nil }
			},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		l.person.Disconnect(100)
		cancel()
		<-ended
	})
	return l
}

func (l *lan) wait(token mqtt.Token) {
	l.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		l.Fatal(token.Error())
	}
}

// says is what a device publishes, retained.
func (l *lan) says(topic, payload string) {
	l.Helper()
	l.wait(l.person.Publish(topic, 1, true, payload))
}

// becomes waits until a node is so, with its service of that readiness.
func (l *lan) becomes(node topics.Node, service topics.Service, state topics.PresenceState, ready bool) topics.ServiceState {
	l.Helper()
	late := time.After(20 * time.Second)
	for {
		if n := l.house.Node(node); n != nil {
			s, ok := n.Service(service, time.Now())
			if n.Presence.State == state && ok && s.Ready == ready && n.Info.Kind == topics.KindMicro {
				return s
			}
		}
		select {
		case m := <-l.heard:
			_ = l.house.Apply(m, time.Now())
		case <-late:
			l.Fatalf("%s is %+v", node, l.house.Node(node))
		}
	}
}

func TestEachMakersDevicesAreShown(t *testing.T) {
	entries := map[string]firmware.Entry{
		"heating": {Presence: "boiler/alive", Online: []string{"yes"}, Offline: []string{"no"}, Service: "warmth"},
	}
	for _, preset := range firmware.Presets() {
		entries[preset] = firmware.Entry{Preset: preset}
	}
	l := newLAN(t, entries, map[string]string{
		"tele/hall-plug/LWT":       "Offline",
		"homeassistant/status":     "online", // Home Assistant's own
		"zigbee2mqtt/bridge/state": `{"state":"online"}`,
	})
	l.becomes("zigbee2mqtt", "zigbee2mqtt", topics.Online, true)
	if s := l.becomes("hall-plug", "hall-plug", topics.Lost, false); s.Why == nil || !strings.Contains(s.Why.Text, "says Offline on tele/hall-plug/LWT") {
		t.Errorf("why %+v", s.Why)
	}
	for topic, payload := range map[string]string{
		"tele/hall-plug/LWT": "Online", "porch-sensor/status": "online", "shellyplus1-a8032a/online": "true",
		"shellies/shelly1-34AB/online": "true", "homie/pump/$state": "ready", "homie/5/fan/$state": "ready", "boiler/alive": "YES",
		"tele/Küche 1/LWT": "Online",
	} {
		l.says(topic, payload)
	}
	for node, service := range map[topics.Node]topics.Service{
		"hall-plug": "hall-plug", "porch-sensor": "porch-sensor", "shellyplus1-a8032a": "shellyplus1-a8032a",
		"shelly1-34AB": "shelly1-34AB", "pump": "pump", "fan": "fan", "heating": "warmth", "K-che-1": "K-che-1",
	} {
		l.becomes(node, service, topics.Online, true)
	}
	l.says("homie/pump/$state", "unheard-of")
	l.says("homie/fan/$state", "lost")
	l.says("boiler/alive", "no")
	l.becomes("heating", "warmth", topics.Lost, false)
	l.says("boiler/alive", "yes")
	l.becomes("heating", "warmth", topics.Online, true)
	if n := l.house.Node("homeassistant"); n != nil {
		t.Errorf("Home Assistant is taken for a device: %+v", n)
	}
	if n := l.house.Node("pump"); n.Presence.State != topics.Online {
		t.Errorf("an unknown word changed pump: %+v", n.Presence)
	}
}

func TestCheck(t *testing.T) {
	for want, e := range map[string]firmware.Entry{
		"microdomain.x.preset: \"tasmoto\" is not known (there are esphome, homie": {Preset: "tasmoto"},
		"microdomain.x.presence: is missing":                                       {},
		"microdomain.x.presence: \"a/#\" has more wildcards":                       {Presence: "a/#"},
		"microdomain.x.presence: \"+/+/a\" has more wildcards":                     {Presence: "+/+/a"},
		"microdomain.x.presence: \"a+/b\" has more wildcards":                      {Presence: "a+/b"},
		"microdomain.x.service: ":                                                  {Presence: "a", Service: "a b"},
	} {
		faults := firmware.Check(map[string]firmware.Entry{"x": e})
		if len(faults) == 0 || !strings.HasPrefix(faults[0].Key+": "+faults[0].Text, want) {
			t.Errorf("%+v: %v, want %s", e, faults, want)
		}
	}
	if faults := firmware.Check(map[string]firmware.Entry{"x": {Presence: "+/b"}, "y": {Presence: "a/b"}}); len(faults) != 1 || !strings.Contains(faults[0].Text, "overlap") {
		t.Errorf("two that hear the same: %v", faults)
	}
	if faults := firmware.Check(map[string]firmware.Entry{"coordinator": {Presence: "a/b"}}); len(faults) != 1 {
		t.Errorf("a reserved name: %v", faults)
	}
	for _, preset := range firmware.Presets() {
		if faults := firmware.Check(map[string]firmware.Entry{"x": {Preset: preset}}); faults != nil {
			t.Errorf("%s: %v", preset, faults)
		}
	}
}
