//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"dominion/topics"
	houses "dominion/topics/house"
)

func TestAnAgentKilledIsLostAtOnceAndAdoptsItsServices(t *testing.T) {
	h := newHouse(t, nil)
	h.await(30*time.Second, allReady)
	before, pids := h.starts(), fmt.Sprint(h.processes("npBar"))
	h.agents["porch"].cmd.Process.Kill()
	killed := time.Now()
	h.judged(time.Second, "porch", topics.JudgedLost)
	t.Logf("lost seen after %v", time.Since(killed).Round(time.Millisecond))
	h.startAgent("porch")
	h.judged(10*time.Second, "porch", topics.JudgedOnline)
	h.await(10*time.Second, allReady)
	if now := h.starts(); !maps.Equal(now, before) {
		t.Errorf("starts %v, before %v", now, before)
	}
	if now := fmt.Sprint(h.processes("npBar")); now != pids {
		t.Errorf("npBar's processes are %s, before %s", now, pids)
	}
	h.once()
}

// The leader, and its broker with it, is killed twenty times at random moments
// while services start, stop and move.
func TestTheLeaderIsKilledTwentyTimes(t *testing.T) {
	h := newHouse(t, nil)
	h.await(30*time.Second, allReady)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	before := h.starts()
	var slowest time.Duration
	extra := "off"
	for range 20 {
		told, led := h.heard(), h.term()
		if r.IntN(2) == 0 {
			extra = map[string]string{"off": "on", "on": "off"}[extra]
			h.broker.publish(t, "dominion/coordinator/command/run/extra", fmt.Sprintf(`{"id":"e%d","run":"%s"}`, told, extra))
			// A word is kept once it was accepted; before, the sender asks again.
			eventually(t, 15*time.Second, "the word is accepted", func() (bool, string) {
				for _, m := range h.since(told) {
					if m.Topic == fmt.Sprintf("dominion/coordinator/event/reply/e%d", told) {
						return true, ""
					}
				}
				return false, "no reply"
			})
		}
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		h.leader.cmd.Process.Kill()
		<-h.leader.ended
		dead := h.heard()
		h.startLeader()
		began := time.Now()
		h.ledAfter(10*time.Second, led)
		slowest = max(slowest, time.Since(began))
		h.neverWrong(dead)
	}
	t.Logf("whole view back after %v at most", slowest.Round(time.Millisecond))
	if slowest > 5*time.Second {
		t.Errorf("whole view back after %v (want under 5 s)", slowest)
	}
	want := strings.Replace(allReady, "extra=stopped", "extra="+map[string]string{"on": "ready", "off": "stopped"}[extra], 1)
	h.await(15*time.Second, want)
	after := h.starts()
	for _, s := range []string{"webServer", "lightOrchestrator", "npBar"} {
		if after[s] != before[s] {
			t.Errorf("%s was started %d times, before %d", s, after[s], before[s])
		}
	}
	h.once()
}

func (h *house) alerts() map[string]topics.Alert {
	return look(h, func(v *houses.House) map[string]topics.Alert { return v.Alerts(time.Now()) })
}

// presence is the coordinator's, as the watcher knows it.
func (h *house) presence() topics.Presence {
	return look(h, func(v *houses.House) topics.Presence { return v.Leader().Presence })
}

func (h *house) term() uint64 { return h.presence().Term }

// ledAfter waits until a leader of a higher term leads.
func (h *house) ledAfter(limit time.Duration, term uint64) {
	h.t.Helper()
	eventually(h.t, limit, "the house is led again", func() (bool, string) {
		p := h.presence()
		return p.State == topics.Online && p.Role == topics.Active && p.Term > term, fmt.Sprintf("%+v", p)
	})
}

// neverWrong checks that no lookup and no summary of what kept running said
// anything else since the leader died.
func (h *house) neverWrong(since int) {
	h.t.Helper()
	for _, m := range h.since(since) {
		payload := string(m.Payload)
		switch m.Topic {
		case "dominion/coordinator/state/lookup/webServer", "dominion/coordinator/state/lookup/npBar":
			if !strings.Contains(payload, `"ready":1`) {
				h.t.Errorf("%s said %s (retained %v)", m.Topic, payload, m.Retained)
			}
		case "dominion/coordinator/state/summary/webServer", "dominion/coordinator/state/summary/lightOrchestrator", "dominion/coordinator/state/summary/npBar":
			if !strings.Contains(payload, `"phase":"ready"`) {
				h.t.Errorf("%s said %s (retained %v)", m.Topic, payload, m.Retained)
			}
		}
	}
}

func TestTheLeadersDirectoryIsDeleted(t *testing.T) {
	h := newHouse(t, nil)
	h.await(30*time.Second, allReady)
	before := h.starts()
	was := h.presence()
	h.leader.cmd.Process.Kill()
	<-h.leader.ended
	if err := os.RemoveAll(h.data()); err != nil {
		t.Fatal(err)
	}
	dead := h.heard()
	h.startLeader()
	h.ledAfter(60*time.Second, was.Term)
	h.await(15*time.Second, allReady)
	now := h.presence()
	if now.House != was.House || now.Term <= was.Term {
		t.Errorf("house %s term %d, before %s %d", now.House, now.Term, was.House, was.Term)
	}
	eventually(t, 5*time.Second, "an alert tells of it", func() (bool, string) { // it follows the presence
		_, ok := h.alerts()["rebuilt"]
		return ok, fmt.Sprint(h.alerts())
	})
	if after := h.starts(); !maps.Equal(after, before) {
		t.Errorf("starts %v, before %v", after, before)
	}
	h.neverWrong(dead)
	h.once()
}

func TestAnotherCatalogueStopsNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.await(30*time.Second, allReady)
	before := h.starts()
	for _, other := range []struct{ name, text string }{
		{"empty", ""},
		{"renamed", strings.Replace(catalogue, "[services.npBar]", "[services.npBarNew]", 1)},
	} {
		name := other.name
		h.write(h.config(), other.text)
		h.leader.stop(10 * time.Second)
		h.startLeader()
		eventually(t, 15*time.Second, name+": npBar is orphaned", func() (bool, string) {
			return h.summary("npBar").Phase == topics.SummaryOrphaned, h.phases()
		})
		time.Sleep(3 * time.Second) // long enough for a stop to be noticed
		if after := h.starts(); !maps.Equal(after, before) {
			t.Errorf("catalogue %s: starts %v, before %v", name, after, before)
		}
		h.once()
		if _, ok := h.alerts()["orphaned-npBar"]; !ok {
			t.Errorf("catalogue %s: no alert names npBar", name)
		}
	}
	// npBarNew was placed on porch, which has no such directory. The house keeps
	// that word too until somebody takes it back.
	eventually(t, 15*time.Second, "npBarNew is placed on porch", func() (bool, string) {
		d, _ := look2(h, "porch")
		return d.Services["npBarNew"].Run, fmt.Sprintf("%+v", d.Services)
	})
	h.write(h.config(), catalogue)
	h.leader.stop(10 * time.Second)
	h.startLeader()
	h.await(15*time.Second, strings.Replace(allReady, "npBar=ready", "npBar=ready npBarNew=orphaned", 1))
	remove := exec.Command(program(t, "dominion"), "remove", "npBarNew", "--broker", h.broker.url())
	if out, err := remove.CombinedOutput(); err != nil {
		t.Fatalf("dominion remove: %v\n%s", err, out)
	}
	h.await(15*time.Second, allReady)
	if after := h.starts(); !maps.Equal(after, before) {
		t.Errorf("starts %v, before %v", after, before)
	}
}

func TestAPulledPlugMovesItsServicesAndBringsNoSecondCopy(t *testing.T) {
	h := newHouse(t, nil)
	h.await(30*time.Second, allReady)
	on := h.summary("webServer").Where[0]
	other := map[topics.Node]topics.Node{"attic": "kitchen", "kitchen": "attic"}[on]
	h.agents[string(on)].cmd.Process.Kill()
	for _, pid := range h.processes("webServer") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	pulled := time.Now()
	eventually(t, 20*time.Second, "webServer has moved", func() (bool, string) {
		s := h.summary("webServer")
		return s.Phase == topics.SummaryReady && len(s.Where) == 1 && s.Where[0] == other, fmt.Sprintf("%+v", s)
	})
	ready := time.Now()
	if moved := ready.Sub(pulled); moved < 5*time.Second {
		t.Errorf("moved after %v, before the hold-off of 5 s was over", moved)
	}
	lookup := look(h, func(v *houses.House) topics.Lookup {
		l, _ := v.Lookup("webServer", time.Now())
		return l
	})
	eventually(t, 2*time.Second, "lightOrchestrator's target follows", func() (bool, string) {
		d, _ := look2(h, other)
		return d.Services["lightOrchestrator"].Endpoints["webServer"].Port == lookup.Port || d.Services["lightOrchestrator"].Rev == "", fmt.Sprintf("%+v", d.Services["lightOrchestrator"].Endpoints)
	})
	h.startAgent(string(on))
	h.judged(10*time.Second, on, topics.JudgedOnline)
	time.Sleep(4 * time.Second) // long enough for a second copy to start
	h.once()
	h.await(10*time.Second, allReady)
}

func look2(h *house, domain topics.Node) (topics.Document, bool) {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.seen.Document(domain)
}

// The same house on Debian's mosquitto with a login, both killed in both orders.
func TestAHouseOnMosquittoSurvivesBothInBothOrders(t *testing.T) {
	m := startMosquitto(t, network{})
	h := newHouse(t, &m.broker)
	h.await(40*time.Second, allReady)
	before := h.starts()
	for _, order := range []string{"leader first", "broker first"} {
		dead, led := h.heard(), h.term()
		if order == "leader first" {
			h.leader.cmd.Process.Kill()
			<-h.leader.ended
			m.kill()
			m.start()
			h.startLeader()
		} else {
			m.kill()
			h.leader.cmd.Process.Kill()
			<-h.leader.ended
			h.startLeader()
			time.Sleep(time.Second)
			m.start()
		}
		h.ledAfter(40*time.Second, led)
		h.await(15*time.Second, allReady)
		h.neverWrong(dead)
		if after := h.starts(); !maps.Equal(after, before) {
			t.Errorf("%s: starts %v, before %v", order, after, before)
		}
		h.once()
	}
}
