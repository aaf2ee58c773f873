package device_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/device"
	"dominion/topics"
)

// TestAccessIsAskedAtEachStart holds that a service has a login of its own, for
// the broker as it is found when it starts.
func TestAccessIsAskedAtEachStart(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": `start:
	@env | grep ^DOMINION_ | sort > access; echo $$START_ID >> starts; exec sleep 1000
`})
	var broker atomic.Value
	broker.Store("mqtts://10.0.0.1")
	h.cfg.Access = func(name topics.Service) device.Access {
		return device.Access{URL: strings.Replace(broker.Load().(string), "//", "//attic."+string(name)+":secret@", 1), CA: "/data/house.crt"}
	}
	h.cfg.Environ = []string{"PATH=/usr/bin:/bin", "DOMINION_CA=/of/the/agent"}
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.eventually("it has written all", func() bool { return len(h.starts("lamp")) == 1 })
	broker.Store("mqtts://10.0.0.2:8884")
	first := strings.Fields(h.file("lamp/access"))
	h.want(one("lamp", run("2")))
	h.eventually("it is ready again", func() bool { return len(h.starts("lamp")) == 2 && h.state("lamp").Ready })
	second := strings.Fields(h.file("lamp/access"))

	if diff := cmp.Diff([][]string{
		{"DOMINION_BASE=dominion", "DOMINION_CA=/data/house.crt", "DOMINION_IP=10.0.0.1", "DOMINION_PORT=8883", "DOMINION_URL=mqtts://attic.lamp:secret@10.0.0.1"},
		{"DOMINION_BASE=dominion", "DOMINION_CA=/data/house.crt", "DOMINION_IP=10.0.0.2", "DOMINION_PORT=8884", "DOMINION_URL=mqtts://attic.lamp:secret@10.0.0.2:8884"},
	}, [][]string{first, second}); diff != "" {
		t.Error(diff)
	}
}

// TestAddressIsFoundAnewWithEachLink holds that a leader that moved, or a
// cable that was put elsewhere, does not wait for the next look at the host.
func TestAddressIsFoundAnewWithEachLink(t *testing.T) {
	t.Parallel()
	h := newHome(t, nil)
	var asked atomic.Int64
	h.cfg.Broker = func() string { asked.Add(1); return "192.0.2.7:8883" }
	h.cfg.Loopback = false
	h.begin()
	h.connect()
	h.eventually("it has measured", func() bool { return h.last(space.Host(attic)).Topic != "" })
	before := asked.Load()
	h.wire.in <- topics.Inbound{Link: topics.LinkDown}
	h.wire.in <- topics.Inbound{Link: topics.LinkUp, Sid: "second"}
	h.eventually("the address is asked for again", func() bool { return asked.Load() > before })
}

// TestHouseThatWasJoined holds that a join says which house counts: another
// one's document is refused from the first on, and after a move what the
// former house said is forgotten while its services run.
func TestHouseThatWasJoined(t *testing.T) {
	t.Parallel()
	h := newHome(t, map[string]string{"lamp": stays, "web": stays})
	h.cfg.House = "elsewhere"
	h.begin()
	h.connect()
	if got := h.presence().House; got != "elsewhere" {
		t.Errorf("presence names house %q", got)
	}
	h.want(one("lamp", run("1")))
	if f := h.fault(topics.ErrHouse, topics.FaultHouse); !strings.Contains(f.Text, "this domain belongs to elsewhere") {
		t.Errorf("fault %+v", f)
	}
	h.finish(nil)

	h.cfg.House = house
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	pid := h.pid("lamp/pid")
	h.finish(nil)

	h.cfg.House = "elsewhere"
	h.begin()
	h.connect()
	h.wire.in <- topics.Inbound{Message: topics.Message{Topic: space.DesiredServices(attic), Payload: topics.Encode(topics.Document{
		House: "elsewhere", Term: 1, Gen: 1, Services: one("web", run("1")),
	})}}
	h.ready("web")
	if !alive(pid) {
		t.Error("what ran was stopped by a move that nobody said should stop it")
	}
	if s := h.state("lamp"); !s.Phase.Alive() {
		t.Errorf("lamp is said to be %s", s.Phase)
	}
}
