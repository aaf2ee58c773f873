package homeassistant_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/homeassistant"
	"dominion/topics"
)

func (b *bus) birth()                      { b.say(b.space.HABirth(), "online", false) }
func (b *bus) deviceTopic(s string) string { return b.space.HADevice(string(house) + "_" + s) }

func TestNothingIsPublishedBeforeACoordinatorLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.say(b.deviceTopic("service_old"), `{"components":{}}`, true)
		defer b.runs(homeassistant.Config{})()
		b.small()
		b.coordinator(topics.Online, topics.Settling)
		b.connect()
		b.birth()
		b.want(time.Hour)
		b.coordinator(topics.Lost, "")
		b.want(time.Hour)
		b.coordinator(topics.Online, topics.Active)
		b.want(20*time.Second, whole()...)
	})
}

func TestCoordinatorOfAnotherHouseDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		defer b.runs(homeassistant.Config{})()
		b.connect()
		b.coordinator(topics.Online, topics.Settling)
		b.say(b.space.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator}, true)
		b.domain("attic", topics.Info{})
		b.say(b.space.Presence(topics.Coordinator), topics.Presence{State: topics.Online, House: "other", Role: topics.Active}, true)
		b.want(time.Hour)
	})
}

func TestChangesAreCollected(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.host("porch", topics.Host{CPU: topics.Measured(3)})
		time.Sleep(700 * time.Millisecond)
		b.host("porch", topics.Host{Memory: topics.Measured(3)})
		time.Sleep(700 * time.Millisecond)
		b.domain("porch", topics.Info{Version: "0.2.0"})
		got := b.news(time.Minute)
		if diff := cmp.Diff([]string{"domain_porch"}, objects(got)); diff != "" {
			t.Fatalf("published (-want +got):\n%s", diff)
		}
		if got[0].At < time.Second {
			t.Errorf("published %v after the last change (want at least 1 s)", got[0].At)
		}
		// Two changes that are further apart are two messages, with a distance.
		b.domain("porch", topics.Info{Version: "0.3.0"})
		time.Sleep(1500 * time.Millisecond)
		b.domain("porch", topics.Info{Version: "0.4.0"})
		got = b.news(time.Minute)
		if len(got) != 1 || got[0].At < 4*time.Second {
			t.Errorf("published %v (want one message 5 s after the first)", got)
		}
	})
}

func TestStatesAndReadingsSendNothing(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		for i := range 100 {
			b.host("attic", topics.Host{CPU: topics.Measured(float64(i))})
			b.judge("attic", topics.JudgedLost)
			b.domain("attic", topics.Info{Version: "0.1.0", Model: "Raspberry Pi 4 Model B Rev 1.4", PID: i, Addresses: []string{"192.168.1.7"}})
			b.say(b.space.ServiceState("attic", "webServer"), topics.ServiceState{Service: "webServer", Phase: topics.PhaseRunning, PID: i}, true)
			b.say(b.space.Summary("webServer"), topics.Summary{Service: "webServer", Phase: topics.SummaryPhases()[i%10], Ready: i, Where: []topics.Node{"attic"}, Version: "1.2.0"}, true)
			time.Sleep(time.Second)
		}
		b.want(time.Minute)
	})
}

func TestClearingOfANodeNobodyKnowsSendsNothing(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.say(b.space.Host("nobody"), "", true)
		b.say(b.space.Info("nobody"), "", true)
		b.want(time.Minute)
	})
}

func TestRestartOfTheLeaderChangesNoPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		end := b.runs(homeassistant.Config{})
		b.connect()
		b.small()
		b.want(time.Minute, whole()...)
		b.summary("npBar") // stopped: where and version are known from before
		before := maps.Clone(b.retained)
		end()
		b.disconnect()
		// Readings are never written to disk; domains send them again.
		b.say(b.space.Host("attic"), nil, true)
		b.coordinator(topics.Online, topics.Settling)
		defer b.runs(homeassistant.Config{})()
		b.connect()
		b.want(time.Minute)
		b.coordinator(topics.Online, topics.Active)
		b.want(time.Minute)
		b.host("attic", fullHost())
		b.want(time.Minute)
		for _, name := range whole() {
			if !bytes.Equal(before[b.deviceTopic(name)], b.standing(name)) {
				t.Errorf("%s changed", name)
			}
		}
	})
}

func TestBirthOfHomeAssistantGetsEverythingAgain(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.birth()
		got := b.news(time.Hour)
		if diff := cmp.Diff(whole(), objects(got)); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
		for _, s := range got {
			if s.At < time.Second || s.At > 3*time.Second {
				t.Errorf("%s after %v (want 1 to 3 s)", s.Object, s.At)
			}
			if s.Payload != string(b.standing(strings.TrimPrefix(s.Object, string(house)+"_"))) {
				t.Errorf("%s is not what stands there", s.Object)
			}
		}
		b.say(b.space.HABirth(), "offline", false)
		b.say(b.space.HABirth(), "no word of ours", false)
		b.want(time.Hour)
		// Born twice, sent once; a change of before is in it.
		b.birth()
		time.Sleep(500 * time.Millisecond)
		b.domain("porch", topics.Info{Version: "0.2.0"})
		b.birth()
		names := objects(b.news(time.Hour))
		slices.Sort(names)
		want := whole()
		slices.Sort(want)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

func TestRetainedBirthIsNoBirth(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.disconnect()
		b.say(b.space.HABirth(), "online", true)
		b.connect()
		b.want(time.Hour)
	})
}

func TestDeviceDeletedInHomeAssistantComesBack(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.say(b.deviceTopic("service_npBar"), nil, true)
		b.say(b.deviceTopic("service_npBar"), nil, true) // as Home Assistant does
		got := b.news(time.Hour)
		if diff := cmp.Diff([]string{"service_npBar"}, objects(got)); diff != "" {
			t.Fatalf("published (-want +got):\n%s", diff)
		}
		if got[0].At < time.Second {
			t.Errorf("published after %v (want at least 1 s)", got[0].At)
		}
	})
}

func TestForeignContentIsPutBack(t *testing.T) {
	for _, content := range []string{"garbage", `{"components":[]}`, `{"device":{}}`, `{"components":{"x":3,"y":{},"z":null}}`, "null", strings.Repeat("x", 1<<20)} {
		shown(t, func(t *testing.T, b *bus) {
			want := b.standing("domain_attic")
			b.say(b.deviceTopic("domain_attic"), content, true)
			b.want(time.Minute, "domain_attic")
			if got := b.standing("domain_attic"); !bytes.Equal(want, got) {
				t.Errorf("stands %s", got)
			}
		})
	}
}

func TestForgottenServiceAndDomainGo(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.say(b.space.Summary("npBar"), nil, true)
		got := b.news(time.Minute)
		if diff := cmp.Diff([]string{"-service_npBar"}, objects(got)); diff != "" {
			t.Fatalf("published (-want +got):\n%s", diff)
		}
		if got[0].At < 5*time.Second || got[0].At > 10*time.Second {
			t.Errorf("gone after %v (want 5 to 10 s)", got[0].At)
		}
		b.say(b.space.Judgement("porch"), nil, true)
		b.say(b.space.Presence("porch"), nil, true)
		b.say(b.space.Info("porch"), nil, true)
		b.want(time.Minute, "-domain_porch")
		b.birth()
		b.want(time.Minute, "house", "domain_attic", "service_webServer")
		// Both come back as they were.
		b.domain("porch", topics.Info{Version: "0.1.0", OS: "linux", Arch: "arm64"})
		b.summary("npBar", "porch")
		b.want(time.Minute, "domain_porch", "service_npBar")
	})
}

func TestClearingThatWasNotMeantTakesNothingAway(t *testing.T) {
	clearAll := func(b *bus) {
		b.say(b.space.Summary("npBar"), nil, true)
		b.say(b.space.Judgement("attic"), nil, true)
		b.say(b.space.Info("porch"), nil, true)
		b.say(b.space.Info(topics.Coordinator), nil, true)
		b.say(b.space.Presence(topics.Coordinator), nil, true)
		b.say(b.space.Host("attic"), nil, true)
	}
	putBack := func(b *bus) {
		b.summary("npBar", "porch")
		b.judge("attic", topics.JudgedOnline)
	}
	stories := map[string]func(b *bus){
		"its writer puts it back": func(b *bus) { clearAll(b); time.Sleep(4 * time.Second); putBack(b) },
		"nobody leads":            func(b *bus) { b.coordinator(topics.Lost, ""); clearAll(b) },
		"the leader is lost before it could put it back": func(b *bus) {
			clearAll(b)
			time.Sleep(3 * time.Second)
			b.coordinator(topics.Lost, "")
		},
		"cleared while nobody leads, put back by the next leader": func(b *bus) {
			b.coordinator(topics.Lost, "")
			clearAll(b)
			time.Sleep(time.Hour)
			b.coordinator(topics.Online, topics.Settling)
			time.Sleep(30 * time.Second)
			b.coordinator(topics.Online, topics.Active)
			time.Sleep(20 * time.Second)
			putBack(b)
		},
		"what is unreadable": func(b *bus) {
			for _, topic := range []string{b.space.Summary("npBar"), b.space.Judgement("attic"), b.space.Info("porch"), b.space.Info(topics.Coordinator), b.space.Host("attic")} {
				b.say(topic, "{", true)
				b.say(topic, "[]", true)
			}
		},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			shown(t, func(t *testing.T, b *bus) {
				story(b)
				b.want(time.Hour)
			})
		})
	}
}

func TestStaleDevicesOfThisHouseGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		stale := []string{"domain_gone", "service_gone", "service_npBar-old"}
		for _, name := range stale {
			b.say(b.deviceTopic(name), `{"device":{},"components":{"run":{"platform":"switch","unique_id":"x"}}}`, true)
		}
		others := []string{
			"7f3a9d_service_gone", "7f3a9c", "7f3a9c_", "7f3a9c_light_x", "7f3a9c_service_", "zigbee2mqtt",
			"7f3a9c_service_.x", "x7f3a9c_service_gone", "7f3a9c_house_",
		}
		for _, name := range others {
			b.say(b.space.HADevice(name), "{}", true)
		}
		b.small()
		b.coordinator(topics.Online, topics.Settling)
		b.say(b.space.Judgement("silent"), topics.Judgement{State: topics.JudgedUnknown}, true)
		b.say(b.deviceTopic("domain_silent"), `{"components":{}}`, true)
		defer b.runs(homeassistant.Config{})()
		b.connect()
		b.want(time.Hour)
		b.coordinator(topics.Online, topics.Active)
		b.want(29*time.Second, whole()...)
		b.want(time.Hour, "-domain_gone", "-service_gone", "-service_npBar-old")
		for _, name := range others {
			if b.retained[b.space.HADevice(name)] == nil {
				t.Errorf("%s was emptied", name)
			}
		}
		if b.standing("domain_silent") == nil {
			t.Error("a domain that is judged but has said nothing of itself was taken away")
		}
	})
}

func TestNothingIsTakenAwayWhileHomeAssistantSleeps(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.say(b.space.HABirth(), "offline", false)
		b.say(b.space.Summary("npBar"), nil, true)
		b.domain("porch", topics.Info{Version: "0.2.0"})
		b.want(time.Hour, "domain_porch")
		b.birth()
		b.domain("porch", topics.Info{Version: "0.3.0"})
		got := b.news(time.Minute)
		removed := slices.IndexFunc(got, func(s sent) bool { return s.Payload == "" })
		if removed < 0 || got[removed].Object != "7f3a9c_service_npBar" || got[removed].At < time.Second {
			t.Errorf("published %v (want service_npBar removed some time after the birth)", objects(got))
		}
	})
}

func TestNothingIsTakenAwayAfterTheLeaderIsLost(t *testing.T) {
	for after := 29 * time.Second; after < 33*time.Second; after += 100 * time.Millisecond {
		shown(t, func(t *testing.T, b *bus) {
			b.disconnect()
			b.say(b.space.Summary("npBar"), nil, true)
			b.connect()
			b.news(after)
			b.coordinator(topics.Lost, "")
			b.want(time.Hour)
		})
	}
}

func TestReconnect(t *testing.T) {
	all := func(string) bool { return true }
	tests := []struct {
		name string
		kept func(topic string) bool
		want []string
	}{
		{"the broker kept everything", all, nil},
		{"the broker forgot a device", func(s string) bool { return !strings.HasSuffix(s, "service_npBar/config") }, []string{"service_npBar"}},
		{"the broker forgot all devices", func(s string) bool { return strings.HasPrefix(s, "dominion/") }, whole()},
		{"the broker forgot the infos", func(s string) bool {
			return strings.HasPrefix(s, "dominion/coordinator/") && !strings.HasSuffix(s, "/info")
		}, whole()},
		{"the broker forgot everything", func(string) bool { return false }, []string{"house"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shown(t, func(t *testing.T, b *bus) {
				b.disconnect()
				b.forget(test.kept)
				b.want(time.Hour)
				b.connect()
				b.say(b.space.Info("attic"), nil, true)
				b.say(b.space.Info(topics.Coordinator), nil, true)
				b.want(time.Hour, test.want...)
				// Whatever it forgot, the nodes say it again, and the house is whole.
				b.small()
				b.news(time.Hour)
				b.birth()
				b.want(time.Minute, whole()...)
			})
		})
	}
}

func TestServiceForgottenWhileTheLinkWasDownGoes(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.disconnect()
		b.say(b.space.Summary("npBar"), nil, true)
		b.connect()
		b.want(29 * time.Second)
		b.want(time.Minute, "-service_npBar")
	})
}

func TestPublishThatFailsIsTriedAgain(t *testing.T) {
	shown(t, func(t *testing.T, b *bus) {
		b.mu.Lock()
		b.broken = true
		b.mu.Unlock()
		b.domain("porch", topics.Info{Version: "0.2.0"})
		b.want(time.Hour)
		b.mu.Lock()
		b.broken = false
		b.mu.Unlock()
		b.want(10*time.Second, "domain_porch")
	})
}

// seed puts a message of an older version on the bus, and into Home Assistant.
func (b *bus) seed(name, change string, from, to string) {
	b.t.Helper()
	old := strings.Replace(string(b.standing(name)), from, to, 1)
	if old == string(b.standing(name)) {
		b.t.Fatalf("%s: %q is not in it", change, from)
	}
	b.retained[b.deviceTopic(name)] = []byte(old)
	var o object
	if err := json.Unmarshal([]byte(old), &o); err != nil {
		b.t.Fatal(err)
	}
	delete(b.contract.devices, string(house)+"_"+name)
	b.contract.follow(string(house)+"_"+name, o, nil, time.Now())
}

func TestComponentOfAnOlderVersionIsTakenAwayFirst(t *testing.T) {
	tests := []struct{ name, from, to, key, platform string }{
		{"a component that is no more", `"components":{`, `"components":{"old":{"platform":"select","unique_id":"7f3a9c_service_npBar_old"},`, "old", "select"},
		{"a component with another platform", `"host":{"platform":"sensor"`, `"host":{"platform":"binary_sensor"`, "host", "binary_sensor"},
		{"one that was taken away already", `"components":{`, `"components":{"old":{"platform":"select"},`, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shown(t, func(t *testing.T, b *bus) {
				want := b.standing("service_npBar")
				b.disconnect()
				b.seed("service_npBar", test.name, test.from, test.to)
				b.connect()
				got := b.news(time.Minute)
				if !bytes.Equal(want, b.standing("service_npBar")) {
					t.Errorf("stands %s", b.standing("service_npBar"))
				}
				if test.key == "" {
					if len(got) != 1 {
						t.Errorf("published %v (want one message)", got)
					}
					return
				}
				if len(got) != 2 || got[1].At-got[0].At < time.Second {
					t.Fatalf("published %v (want two messages with a distance)", got)
				}
				var first object
				if err := json.Unmarshal([]byte(got[0].Payload), &first); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(object{"platform": test.platform}, first["components"].(object)[test.key]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", test.key, diff)
				}
				if strings.Contains(got[1].Payload, `"old"`) {
					t.Errorf("second message still has it: %s", got[1].Payload)
				}
			})
		})
	}
}

func TestEphemeralTakesItsDevicesAway(t *testing.T) {
	for _, ephemeral := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			b.say(b.space.HADevice("zigbee2mqtt"), "{}", true)
			end := b.runs(homeassistant.Config{Ephemeral: ephemeral})
			b.connect()
			b.small()
			b.want(time.Minute, whole()...)
			b.want(time.Minute)
			end()
			var want []string
			if ephemeral {
				want = []string{"-service_npBar", "-service_webServer", "-domain_attic", "-domain_porch", "-house"}
			}
			if diff := cmp.Diff(want, objects(b.sent)); diff != "" {
				t.Errorf("published at the end (-want +got):\n%s", diff)
			}
			if b.retained[b.space.HADevice("zigbee2mqtt")] == nil {
				t.Error("another program's device was taken away")
			}
			if got := b.standing("house") != nil; got == ephemeral {
				t.Errorf("ephemeral %v: house stands: %v", ephemeral, got)
			}
		})
	}
}

func TestEndsWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		end := b.runs(homeassistant.Config{Ephemeral: true})
		b.connect()
		b.small()
		b.want(time.Minute, whole()...)
		b.disconnect()
		end()
	})
}
