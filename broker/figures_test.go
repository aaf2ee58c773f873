package broker_test

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
	"dominion/topics"
)

func TestFiguresCountWhatHappened(t *testing.T) {
	s := start(t, nil)
	if f := s.Figures(); f.Started.IsZero() || time.Since(f.Started) > patience {
		eventually(t, "it has begun", func() bool { return !s.Figures().Started.IsZero() })
	}
	before := s.Figures()
	if err := s.AddHook(&packetPanics{}); err != nil {
		t.Fatal(err)
	}
	ann := join(t, dial(t, s), "ann", nil)
	ann.subscribe(1, "lamp/+", "other/#", "lamp/+") // the same filter twice is one
	bob := join(t, dial(t, s), "bob", func(pk *packets.Packet) { pk.Connect.Clean = false })
	bob.subscribe(1, "bob")
	bob.publish("lamp/a", "12345", 1, true)
	bob.publish("lamp/b", "1", 1, true)
	bob.publish("lamp/b", "123", 1, true) // replaces it
	bob.publish("lamp/c", "1", 1, true)
	bob.publish("lamp/c", "", 1, true) // and none again
	bob.publish("$SYS/broker/mine", "1", 1, true)
	for range 5 {
		ann.anyMessage()
	}
	bob.disconnect()
	eventually(t, "bob has left", func() bool { return s.Figures().Connections == 1 })
	bad := join(t, dial(t, s), "bad", func(pk *packets.Packet) { pk.ProtocolVersion = 5 })
	bad.sendPublish("panic", "", 1)
	bad.gone()
	http := dial(t, s)
	_, _ = http.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	_, _ = io.Copy(io.Discard, http) // until it is hung up on
	_ = http.Close()

	want := broker.Figures{
		Connections: 1, ConnectionsMost: 2, Sessions: 2, Subscriptions: 3,
		Retained: 2, RetainedBytes: len("lamp/a12345lamp/b123"),
		MessagesReceived: 7, MessagesSent: 5, Accepted: 4, TurnedAway: 1, Refused: 1, Panics: 1,
	}
	ignored := cmpopts.IgnoreFields(broker.Figures{}, "Started", "BytesReceived", "BytesSent", "PacketsReceived", "PacketsSent")
	var got broker.Figures
	defer func() {
		if t.Failed() {
			t.Log(cmp.Diff(want, got, ignored))
		}
	}()
	eventually(t, "the figures are right", func() bool {
		got = s.Figures()
		return cmp.Equal(want, got, ignored)
	})
	if got.BytesReceived <= before.BytesReceived || got.BytesSent <= before.BytesSent || got.PacketsReceived <= got.MessagesReceived || got.PacketsSent <= got.MessagesSent {
		t.Errorf("traffic is not counted: %+v", got)
	}
}

// anyMessage skips to the next message, whatever its topic.
func (p *peer) anyMessage() packets.Packet {
	p.t.Helper()
	return p.await("a message", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Publish })
}

func TestFiguresMayBeAskedForAtAnyTime(t *testing.T) {
	s, err := broker.Open(broker.Options{Listen: []string{"127.0.0.1:0"}, Anonymous: everybody(), Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if f := s.Figures(); !f.Started.IsZero() || s.Serving() {
		t.Errorf("it began at %v, and nobody has run it", f.Started)
	}
	stop := run(t, s)
	eventually(t, "it serves", s.Serving)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 100 {
				s.Figures()
			}
		})
	}
	for range 20 {
		p := join(t, dial(t, s), "comes and goes", nil)
		p.publish("x", "y", 1, true)
		p.disconnect()
	}
	asking.Wait()
	stop()
	if s.Serving() {
		t.Error("it serves after its end")
	}
	if f := s.Figures(); f.Retained != 1 || f.Connections != 0 {
		t.Errorf("after the end: %+v", f)
	}
}

// The tools that read $SYS know mosquitto's names.
func TestFiguresArePublishedEachMinute(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := startAndStop(t, func(o *broker.Options) { o.Listen, o.Data = nil, dir })
		synctest.Wait() // they are published when it runs
		p := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "reader", nil)
		p.subscribe(0, "$SYS/#", "ask/token")
		have := map[string]string{}
		for _, pk := range p.upTo("ask/token") {
			have[strings.TrimPrefix(pk.TopicName, "$SYS/broker/")] = string(pk.Payload)
		}
		for _, name := range []string{
			"version", "uptime", "clients/connected", "clients/disconnected", "clients/maximum", "clients/total", "connections/socket/count",
			"subscriptions/count", "retained messages/count", "heap/current", "bytes/received", "bytes/sent", "messages/received", "messages/sent",
			"publish/messages/received", "publish/messages/sent", "publish/messages/dropped", "store/bytes", "store/trouble", "refused", "panics",
		} {
			if have[name] == "" {
				t.Errorf("there is no $SYS/broker/%s", name)
			}
		}
		for _, name := range []string{"messages/inflight", "load/bytes/received", "retained", "subscriptions"} {
			if have[name] != "" {
				t.Errorf("$SYS/broker/%s is there, which means something else in mosquitto or is wrong", name)
			}
		}
		if have["uptime"] != "0" {
			t.Errorf("uptime is %q, want 0", have["uptime"])
		}
		time.Sleep(time.Minute)
		if got := string(p.message("$SYS/broker/uptime").Payload); got != "60" {
			t.Errorf("uptime a minute later is %q, want 60", got)
		}
		if got := string(p.message("$SYS/broker/publish/messages/received").Payload); got != "1" {
			t.Errorf("%s messages were received, want the token alone", got)
		}
		p.disconnect()
		stop()
	})
	again, err := broker.Open(broker.Options{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if kept := retained(t, again, "$SYS/#"); len(kept) > 0 {
		t.Errorf("figures are on the disk: %v", kept)
	}
}
