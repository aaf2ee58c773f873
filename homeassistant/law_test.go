package homeassistant_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/homeassistant"
	"dominion/topics"
)

// FuzzAnyHouse holds for any house and whatever happens to it: no message
// breaks the contract; when all is quiet, exactly what the coordinator speaks
// of is shown; and a bridge that starts on that bus has nothing to say.
func FuzzAnyHouse(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		synctest.Test(t, func(t *testing.T) {
			h := chance{Rand: rand.New(rand.NewPCG(seed, 0)), bus: newBus(t)}
			end := h.runs(homeassistant.Config{})
			h.connect()
			for range steps {
				h.happen()
				time.Sleep(time.Duration(h.IntN(4000)) * time.Millisecond)
			}
			h.settle()
			h.news(3 * time.Minute)
			if diff := cmp.Diff(h.spoken(), h.stands()); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			end()
			h.disconnect()
			defer h.runs(homeassistant.Config{})()
			h.connect()
			h.want(3 * time.Minute)
		})
	})
}

// chance makes things happen to a house.
type chance struct {
	*rand.Rand
	*bus
	down bool
}

func (h *chance) node() topics.Node       { return topics.Node(fmt.Sprintf("d%d", h.IntN(3))) }
func (h *chance) service() topics.Service { return topics.Service(fmt.Sprintf("s%d", h.IntN(4))) }

func (h *chance) where() []topics.Node {
	return []topics.Node{h.node(), h.node(), h.node()}[:h.IntN(3)]
}

func (h *chance) happen() {
	switch h.IntN(17) {
	case 0:
		h.coordinator(topics.Lost, "")
	case 1:
		h.coordinator(topics.Online, topics.Settling)
	case 2, 3:
		h.leads()
	case 4, 5:
		h.summary(h.service(), h.where()...)
	case 6:
		h.say(h.space.Summary(h.service()), nil, true)
	case 7, 8:
		h.domain(h.node(), topics.Info{Version: fmt.Sprint("0.", h.IntN(3))})
	case 9:
		h.say(h.space.Judgement(h.node()), nil, true)
	case 10:
		h.host(h.node(), h.readings())
	case 11:
		h.say(h.space.HABirth(), []string{"online", "online", "offline"}[h.IntN(3)], false)
	case 12:
		if all := h.stands(); len(all) > 0 { // deleted in Home Assistant
			h.say(h.deviceTopic(all[h.IntN(len(all))]), nil, true)
		}
	case 13:
		h.say(h.deviceTopic("service_"+string(h.service())), []string{"garbage", "{}", "[1]"}[h.IntN(3)], true)
	case 14:
		h.say(h.anyTopic(), []any{nil, "", "{", "null", "[]", `{"v":1}`, "online", "\xff"}[h.IntN(8)], true)
	case 15:
		h.link()
	case 16:
		if n := h.node(); h.IntN(2) == 0 {
			h.asks(n)
		} else {
			h.say(h.space.Alert("join-"+string(n)), nil, true)
		}
	}
}

func (h *chance) readings() topics.Host {
	readings := []topics.Reading{{}, {Seen: true}, topics.Measured(7)}
	return topics.Host{CPU: readings[h.IntN(3)], Memory: readings[h.IntN(3)], Temperature: readings[h.IntN(3)],
		Power: []string{"", "ok", "low"}[h.IntN(3)], Throttled: []string{"", "no", "heat"}[h.IntN(3)]}
}

func (h *chance) anyTopic() string {
	n := h.node()
	all := []string{
		h.space.Presence(n), h.space.Info(n), h.space.Host(n), h.space.Judgement(n), h.space.Summary(h.service()),
		h.space.Presence(topics.Coordinator), h.space.Info(topics.Coordinator), h.space.HABirth(),
		h.space.HADevice("7f3a9d_house"), h.space.HADevice("7f3a9c_other"), "dominion/x", "dominion/a/state/../x",
	}
	return all[h.IntN(len(all))]
}

// link breaks or comes back; now and then the broker has forgotten things.
func (h *chance) link() {
	if h.down = !h.down; h.down {
		h.disconnect()
		return
	}
	if h.IntN(3) == 0 {
		h.forget(func(string) bool { return h.IntN(2) == 0 })
	}
	h.connect()
}

// settle lets the house say all it knows, with a coordinator that leads and a
// Home Assistant that is there.
func (h *chance) settle() {
	if h.down {
		h.link()
	}
	h.leads()
	for i := range 3 {
		n := topics.Node(fmt.Sprintf("d%d", i))
		if _, judged := h.retained[h.space.Judgement(n)]; judged {
			h.domain(n, topics.Info{Version: "0.9"})
		}
	}
	for i := range 4 {
		s := topics.Service(fmt.Sprintf("s%d", i))
		if _, spoken := h.retained[h.space.Summary(s)]; spoken {
			h.summary(s, h.where()...)
		}
	}
	h.say(h.space.HABirth(), "online", false)
}

// spoken is what the coordinator speaks of.
func (h *chance) spoken() []string {
	names := []string{"house"}
	for topic := range h.retained {
		a, err := h.space.Parse(topic)
		switch {
		case err != nil || a.Node != topics.Coordinator:
		case a.Kind == "domain":
			names = append(names, "domain_"+a.Subject)
		case a.Kind == "summary":
			names = append(names, "service_"+a.Subject)
		}
	}
	slices.Sort(names)
	return names
}

// stands is what is shown of the house.
func (h *chance) stands() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for topic := range h.retained {
		object, _ := h.space.ParseHADevice(topic)
		if name, ours := strings.CutPrefix(object, string(house)+"_"); ours && name != "other" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
