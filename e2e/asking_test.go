//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/homeassistant"
	"dominion/topics"
)

// A machine that asks to join has a button in Home Assistant, as long as it
// asks; a press of it is the operator's word. The test is the coordinator.
func TestHomeAssistantAcceptsAMachine(t *testing.T) {
	for _, version := range homeAssistantVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			m := startMosquitto(t, newNamespace(t))
			bridge(t, m.broker)
			s := topics.Space{}
			say := func(topic string, payload any) { m.publish(t, topic, string(topics.Encode(payload)), "-r") }
			asks := s.Alert("join-barn")
			say(s.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator, Name: "Villa"})
			say(s.Presence(topics.Coordinator), topics.Presence{State: topics.Online, Role: topics.Active, House: "7f3a9c"})
			say(s.Alerts(), topics.Alerts{Open: 1, Worst: topics.SeverityInfo, Texts: []string{"barn asks to join"}, Next: []string{"dominion accept barn"}})
			say(asks, topics.Alert{Severity: topics.SeverityInfo, Text: "barn asks to join", About: "barn"})
			h := startHomeAssistant(t, version, m.broker)
			bus := m.subscribe(t, "dominion/#", "homeassistant/status")
			bus.await(time.Minute, "Home Assistant's birth", is("homeassistant/status", "online"))

			const accept, alerts = "button.dominion_house_accept_barn", "sensor.dominion_house_alerts"
			there := func(want ...string) {
				t.Helper()
				eventually(t, 40*time.Second, "Home Assistant has the house's entities", func() (bool, string) {
					diff := cmp.Diff(want, sorted(h.entities()))
					return diff == "", diff
				})
			}
			always := []string{"binary_sensor.dominion_house_connectivity", alerts, "sensor.dominion_house_status"}
			there(append([]string{"binary_sensor.dominion_house_connectivity", accept}, always[1:]...)...)
			eventually(t, 10*time.Second, "the alert is counted, and told", func() (bool, string) {
				got := h.states()[alerts]
				texts, _ := json.Marshal([]any{got.Attributes["texts"], got.Attributes["next"], got.Attributes["worst"]})
				return got.State == "1" && string(texts) == `[["barn asks to join"],["dominion accept barn"],"info"]`, fmt.Sprint(got)
			})
			h.perform("button", "press", accept)
			bus.await(10*time.Second, "the press is the operator's word", is(s.Command(topics.Coordinator, "accept", "barn"), "now"))

			m.publish(t, asks, "", "-r")
			say(s.Alerts(), topics.Alerts{})
			there(always...)
			eventually(t, 10*time.Second, "no alert is open", func() (bool, string) {
				got := h.states()[alerts].State
				return got == "0", got
			})
			say(asks, topics.Alert{Severity: topics.SeverityInfo, Text: "barn asks to join", About: "barn"}) // again
			there(append([]string{"binary_sensor.dominion_house_connectivity", accept}, always[1:]...)...)
			if lines := h.complaints(); len(lines) > 0 {
				t.Errorf("Home Assistant complains:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// bridge runs one in this process for the house 7f3a9c.
func bridge(t *testing.T, on broker) {
	t.Helper()
	s := topics.Space{}
	bus, err := client.New(client.Options{
		Filters: homeassistant.Filters(s), Broker: on.url(), Log: zerolog.Nop(),
		Dial: func(ctx context.Context) (net.Conn, error) {
			return on.network.dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(on.port)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	link, run := make(chan error, 1), make(chan error, 1)
	go func() { link <- bus.Run(ctx) }()
	go func() {
		run <- homeassistant.New(homeassistant.Config{Space: s, Version: "0.1.0", House: "7f3a9c", Log: zerolog.Nop()}).Run(ctx, bus)
	}()
	t.Cleanup(func() {
		cancel()
		for _, end := range []chan error{run, link} {
			if err := <-end; err != nil {
				t.Errorf("the bridge: %v", err)
			}
		}
	})
}
