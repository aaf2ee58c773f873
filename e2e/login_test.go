//go:build e2e

package e2e

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"dominion/topics"
)

func TestAHouseOnMosquittoWithALogin(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, network{})
	h := newHouse(t, &m.broker)
	h.await(40*time.Second, allReady)
	bus := m.subscribe(t, "dominion/#", "homeassistant/#")

	t.Run("shows what our own broker would", func(t *testing.T) {
		shown := map[string]bool{}
		for _, m := range bus.all() {
			if m.retained && strings.HasPrefix(m.topic, "homeassistant/device/") {
				shown[m.topic] = true
			}
			if m.retained && (strings.Contains(m.topic, "/event/") || strings.Contains(m.topic, "/command/")) {
				t.Errorf("%s is retained", m.topic)
			}
		}
		if want := 1 + len(rooms) + len(makefiles); len(shown) != want {
			t.Errorf("%d devices for Home Assistant, want %d: %v", len(shown), want, sorted(shown))
		}
	})

	t.Run("takes commands", func(t *testing.T) {
		for _, c := range []struct{ verb, phase string }{{"stop", "stopped"}, {"start", "ready"}} {
			command := "dominion/coordinator/command/" + c.verb + "/npBar"
			m.publish(t, command, "now")
			answered(t, bus, command, "done")
			for _, service := range demoServices() {
				bus.awaitPhase(t, 30*time.Second, service, c.phase)
			}
		}
		h.once()
	})

	t.Run("clears a retained command and runs it once at most", func(t *testing.T) {
		before := h.starts()
		const command = "dominion/coordinator/command/restart/npBar"
		m.publish(t, command, "now", "-r")
		bus.await(10*time.Second, "the restart is cleared", func(m message) bool {
			return m.topic == command && m.payload == ""
		})
		h.await(20*time.Second, allReady)
		if n := h.starts()["npBar"] - before["npBar"]; n > 1 {
			t.Errorf("npBar was restarted %d times", n)
		}
		if left := m.subscribe(t, "dominion/coordinator/command/#").on(command); len(left) > 0 {
			t.Errorf("still retained: %v", left)
		}
		h.once()
	})

	t.Run("keeps everything when the broker alone is killed", func(t *testing.T) {
		before, led := h.starts(), h.presence()
		m.kill()
		time.Sleep(2 * time.Second) // long enough for all to notice
		m.start()
		eventually(t, 20*time.Second, "the leader leads again", func() (bool, string) {
			now := h.presence()
			return now.Sid != led.Sid && now.Role == topics.Active, string(now.Sid)
		})
		h.await(20*time.Second, allReady)
		if after := h.starts(); !maps.Equal(before, after) {
			t.Errorf("starts %v, before %v", after, before)
		}
		h.once()
	})

	t.Run("shows the password to nobody", func(t *testing.T) {
		logs := map[string]*process{"leader": h.leader}
		maps.Copy(logs, h.agents)
		for name, p := range logs {
			said, err := os.ReadFile(p.output)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(said), m.password) {
				t.Errorf("the log of %s has the password:\n%s", name, said)
			}
		}
		for _, seen := range bus.all() {
			if strings.Contains(seen.payload, m.password) {
				t.Errorf("%s has the password: %s", seen.topic, seen.payload)
			}
		}
	})
}
