package homeassistant_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/homeassistant"
	"dominion/topics"
)

// golden compares what stands on a discovery topic with a file; set
// UPDATE_GOLDEN to write the files, and read the difference.
func golden(t *testing.T, b *bus, name, file string) {
	t.Helper()
	path := filepath.Join("testdata", file+".json")
	got := indented(t, b.standing(name))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		defer b.runs(homeassistant.Config{ConfigurationURL: "http://192.168.1.2:8080/"})()
		b.connect()
		b.small()
		b.say(b.space.Info("lamp-2"), topics.Info{Kind: topics.KindMicro, Methods: []string{"identify"}}, true)
		b.judge("lamp-2", topics.JudgedSleeping)
		b.host("lamp-2", topics.Host{CPU: topics.Measured(1), Temperature: topics.Reading{Seen: true}, Power: "low", Throttled: "no"})
		b.summary("both", "attic", "porch")
		b.summary("never")
		b.news(time.Minute)
		for _, name := range []string{
			"house", "domain_attic", "domain_porch", "domain_lamp-2",
			"service_webServer", "service_both", "service_never",
		} {
			golden(t, b, name, name)
		}
	})
}

// What runs without the house has a state and a place, and nothing to press.
func TestAnObservedServiceHasNoSwitch(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.say(b.space.Summary("mosquitto"), topics.Summary{Service: "mosquitto", Phase: topics.SummaryReady, Run: topics.RunOn, Where: []topics.Node{"attic"}, Observed: true}, true)
		b.want(10*time.Second, "service_mosquitto")
		if diff := cmp.Diff([]string{"host", "problem", "status"}, b.components("service_mosquitto")); diff != "" {
			t.Errorf("components (-want +got):\n%s", diff)
		}
		// The house takes it over, and lets go of it.
		b.summary("mosquitto", "attic")
		b.news(30 * time.Second)
		if diff := cmp.Diff([]string{"host", "problem", "restart", "run", "status"}, b.components("service_mosquitto")); diff != "" {
			t.Errorf("of its own, components (-want +got):\n%s", diff)
		}
		b.say(b.space.Summary("mosquitto"), topics.Summary{Service: "mosquitto", Phase: topics.SummaryReady, Run: topics.RunOn, Where: []topics.Node{"attic"}, Observed: true}, true)
		sent := b.news(30 * time.Second)
		if len(sent) == 0 || !strings.Contains(sent[0].Payload, `"run":{"platform":"switch"}`) {
			t.Errorf("the switch is not taken away: %+v", sent)
		}
	})
}

func TestAMachineThatAsksToJoinHasAButton(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		before := b.components("house")
		b.asks("lamp-2")
		b.asks("barn")
		b.say(b.space.Alert("join-"+strings.Repeat("n", 50)+"-0a1b2c3d"), topics.Alert{Text: "a long name asks", About: strings.Repeat("n", 63)}, true)
		b.say(b.space.Alert("join-_"), topics.Alert{Text: "no name asks"}, true)
		b.say(b.space.Alert("lost-attic"), topics.Alert{Text: "attic is lost", About: "attic"}, true)
		b.want(10*time.Second, "house")
		golden(t, b, "house", "house_asked")

		b.say(b.space.Alert("join-barn"), nil, true)
		b.say(b.space.Alert("join-"+strings.Repeat("n", 50)+"-0a1b2c3d"), nil, true)
		sent := b.news(30 * time.Second)
		if diff := cmp.Diff([]string{"house", "house"}, objects(sent)); diff != "" {
			t.Fatalf("published (-want +got):\n%s", diff)
		}
		if first := sent[0].Payload; !strings.Contains(first, `"accept_barn":{"platform":"button"}`) {
			t.Errorf("barn's button is not taken away: %s", first)
		}
		if diff := cmp.Diff(append([]string{"accept_lamp-2"}, before...), b.components("house")); diff != "" {
			t.Errorf("components (-want +got):\n%s", diff)
		}
		b.say(b.space.Alert("refused-eve"), topics.Alert{Text: "eve was refused"}, true)
		b.want(time.Minute)
	})
}

func TestWhoAsksStaysWhileNobodyLeads(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.asks("barn")
		b.want(20*time.Second, "house")
		b.disconnect()
		b.forget(func(topic string) bool {
			return !strings.Contains(topic, "/alert/") && !strings.Contains(topic, "coordinator/state/presence")
		})
		b.connect()
		b.coordinator(topics.Online, topics.Settling)
		b.want(time.Minute)
		b.asks("barn")
		b.leads()
		b.want(time.Minute)
		b.say(b.space.Alert("join-barn"), nil, true)
		b.want(time.Minute, "house", "house")
	})
}

func TestPayloadsFollowTheSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.space = topics.Space{Base: "home/dominion", Prefix: "ha"}
		defer b.runs(homeassistant.Config{})()
		b.connect()
		b.small()
		b.want(time.Minute, whole()...)
		for topic := range b.retained {
			if !strings.HasPrefix(topic, "home/dominion/") && !strings.HasPrefix(topic, "ha/device/7f3a9c_") {
				t.Errorf("retained on %s", topic)
			}
		}
		if p := string(b.standing("service_npBar")); strings.Contains(p, `"dominion/`) || !strings.Contains(p, `"home/dominion/coordinator/command/run/npBar"`) {
			t.Errorf("payload has topics of another base: %s", p)
		}
	})
}

func TestConfigurationURLThatIsRefusedIsLeftOut(t *testing.T) {
	for _, address := range []string{"", "192.168.1.2:8080", "file:///etc", "http://", ":"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			defer b.runs(homeassistant.Config{ConfigurationURL: address})()
			b.connect()
			b.leads()
			b.want(10*time.Second, "house")
			device := b.payload("house")["device"].(object)
			if got, ok := device["configuration_url"]; ok {
				t.Errorf("configuration_url is %v for %q", got, address)
			}
		})
	}
}

func TestHouseWithoutNameIsCalledDominion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		defer b.runs(homeassistant.Config{})()
		b.connect()
		b.say(b.space.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator}, true)
		b.coordinator(topics.Online, topics.Active)
		b.want(10*time.Second, "house")
		if name := b.payload("house")["device"].(object)["name"]; name != "Dominion" {
			t.Errorf("name is %v", name)
		}
	})
}

func TestReadingsAreOfferedOnceSeenAndStay(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.host("porch", topics.Host{CPU: topics.Measured(3)})
		b.want(10*time.Second, "domain_porch")
		want := []string{"connectivity", "cpu"}
		if diff := cmp.Diff(want, b.components("domain_porch")); diff != "" {
			t.Errorf("components (-want +got):\n%s", diff)
		}
		b.host("porch", topics.Host{CPU: topics.Measured(4)})
		b.host("porch", topics.Host{CPU: topics.Reading{Seen: true}})
		b.host("porch", topics.Host{Load: topics.Measured(1)})
		b.say(b.space.Host("porch"), nil, true)
		b.want(time.Minute)
	})
}

func TestServiceHangsBelowTheDomainThatRunsIt(t *testing.T) {
	steps := []struct {
		name  string
		where []topics.Node
		via   string
		sends []string
	}{
		{"moved", []topics.Node{"porch"}, "domain_porch", []string{"service_webServer"}},
		{"stopped: it stays where it was, and nothing is sent", nil, "domain_porch", nil},
		{"started again", []topics.Node{"porch"}, "domain_porch", nil},
		{"on two", []topics.Node{"attic", "porch"}, "house", []string{"service_webServer"}},
		{"on two, stopped", nil, "house", nil},
		{"on a domain that is not shown", []topics.Node{"nowhere"}, "house", nil},
		{"on one", []topics.Node{"attic"}, "domain_attic", []string{"service_webServer"}},
	}
	shown(t, func(t *testing.T, b *bus) {
		for _, step := range steps {
			b.summary("webServer", step.where...)
			if diff := cmp.Diff(step.sends, objects(b.news(10*time.Second))); diff != "" {
				t.Errorf("%s: published (-want +got):\n%s", step.name, diff)
			}
			if via := b.via("service_webServer"); via != step.via {
				t.Errorf("%s: hangs below %s (want %s)", step.name, via, step.via)
			}
		}
	})
}

func TestNewDomainComesBeforeItsService(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.summary("oven", "kitchen") // below the house until kitchen is shown
		time.Sleep(900 * time.Millisecond)
		b.domain("kitchen", topics.Info{})
		b.want(20*time.Second, "domain_kitchen", "service_oven")
		if via := b.via("service_oven"); via != "domain_kitchen" {
			t.Errorf("hangs below %s", via)
		}
	})
}
