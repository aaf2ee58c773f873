package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
)

func in(dir string) func(*broker.Options) {
	return func(o *broker.Options) { o.Data, o.FlushEvery = dir, 5*time.Millisecond }
}

func TestRetainedMessagesSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	s, stop := startAndStop(t, in(dir))
	p := join(t, dial(t, s), "attic", nil)
	for topic, payload := range map[string]string{
		"dominion/attic/state/presence":     "online",
		"dominion/attic/state/host":         "readings: never on the disk",
		"dominion/attic/state/service/lamp": "cleared below",
		"zigbee2mqtt/bulb":                  "of another program",
		"dominion/attic/state/info":         "old",
	} {
		p.publish(topic, payload, 1, true)
	}
	p.publish("dominion/attic/state/info", "new", 1, true)
	p.publish("dominion/attic/state/service/lamp", "", 1, true)
	p.publish("dominion/attic/state/passing", "not retained", 1, false)
	want := map[string]string{
		"dominion/attic/state/presence": "online",
		"zigbee2mqtt/bulb":              "of another program",
		"dominion/attic/state/info":     "new",
	}
	for range 2 { // the second time nothing was written in between
		stop()
		s, stop = startAndStop(t, in(dir))
		if s.Recovered() != "" {
			t.Errorf("recovered from %s", s.Recovered())
		}
		if diff := cmp.Diff(want, retained(t, s, "#")); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
	}
	// What was on the disk can be cleared and stays so.
	join(t, dial(t, s), "attic", nil).publish("zigbee2mqtt/bulb", "", 1, true)
	stop()
	delete(want, "zigbee2mqtt/bulb")
	if diff := cmp.Diff(want, retained(t, start(t, in(dir)), "#")); diff != "" {
		t.Errorf("after clearing (-want +got):\n%s", diff)
	}
}

func TestARestartKeepsQoSPropertiesAndExpiry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := startAndStop(t, in(dir))
	five := func(pk *packets.Packet) { pk.ProtocolVersion = 5 }
	p := join(t, dial(t, s), "five", five)
	for topic, seconds := range map[string]uint32{"props/lasting": 3600, "props/brief": 1} {
		p.send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, PacketID: p.id(),
			TopicName: topic, Payload: []byte("v"),
			Properties: packets.Properties{
				ContentType: "text/plain", User: []packets.UserProperty{{Key: "k", Val: "v"}}, MessageExpiryInterval: seconds,
			},
		})
		p.await("PUBACK", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Puback })
	}
	stop()
	time.Sleep(2 * time.Second) // expiry counts whole seconds
	s = start(t, in(dir))
	p = join(t, dial(t, s), "five", five)
	p.subscribe(1, "props/#", "token/here")
	got := p.upTo("token/here")
	if len(got) != 1 || got[0].TopicName != "props/lasting" {
		t.Fatalf("%d messages, want props/lasting alone", len(got))
	}
	pr := got[0].Properties
	if got[0].FixedHeader.Qos != 1 || pr.ContentType != "text/plain" || len(pr.User) != 1 || pr.User[0].Val != "v" {
		t.Errorf("QoS %d, content type %q, user properties %v", got[0].FixedHeader.Qos, pr.ContentType, pr.User)
	}
	if e := pr.MessageExpiryInterval; e == 0 || e > 3598 {
		t.Errorf("expires in %d s, want less than the hour it had", e)
	}
}

func TestNothingIsWrittenForWhatSaysTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, in(dir))
	p := join(t, dial(t, s), "attic", nil)
	file := filepath.Join(dir, "retained.db")
	content := func() []byte {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// What was published waits from its PUBACK on.
	flushed := func() bool { return s.Store().Waiting == 0 }
	empty := content()
	p.publish("dominion/attic/state/info", "{}", 1, true)
	eventually(t, "the message is on the disk", flushed)
	before := content()
	if bytes.Equal(before, empty) {
		t.Error("the file has not changed")
	}
	for range 50 {
		p.publish("dominion/attic/state/info", "{}", 1, true)
		p.publish("dominion/attic/state/host", strconv.FormatInt(time.Now().UnixNano(), 10), 1, true)
		p.publish("dominion/attic/event/heartbeat/agent", "{}", 1, true)
		p.publish("dominion/attic/state/none", "", 1, true)
		time.Sleep(2 * time.Millisecond)
	}
	eventually(t, "it is looked at", flushed)
	if !bytes.Equal(content(), before) {
		t.Error("the file has changed")
	}
}

func TestADamagedStoreIsMovedAside(t *testing.T) {
	t.Parallel()
	const n = 2000
	sound := t.TempDir()
	// All is written at the end, in one piece: no page of the file is unused.
	s, stop := startAndStop(t, func(o *broker.Options) { o.Data, o.FlushEvery = sound, time.Hour })
	put := s.Injector()
	for i := range n {
		if err := put(fmt.Sprintf("devices/%05d", i), bytes.Repeat([]byte("marker"), 20), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	content, err := os.ReadFile(filepath.Join(sound, "retained.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		saved  func(int) bool
	}{
		{"text", func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 1000)) }, func(n int) bool { return n == 0 }},
		{"a few bytes", func([]byte) []byte { return []byte("x") }, func(n int) bool { return n == 0 }},
		{"only zeros", func(b []byte) []byte { return make([]byte, len(b)) }, func(n int) bool { return n == 0 }},
		{"cut in half", func(b []byte) []byte { return b[:len(b)/2] }, func(got int) bool { return got < n }},
		{"cut after the first pages", func(b []byte) []byte { return b[:4*4096] }, func(got int) bool { return got < n }},
		{"zeros in the middle", func(b []byte) []byte { clear(b[len(b)/3 : len(b)/2]); return b }, func(got int) bool { return got < n }},
		{"noise in the middle", func(b []byte) []byte {
			for i := len(b) / 3; i < len(b)/2; i++ {
				b[i] = byte(i * 7)
			}
			return b
		}, func(got int) bool { return got < n }},
		{"one byte of a payload", func(b []byte) []byte {
			key := []byte("devices/00777")
			b[bytes.LastIndex(b, key)+len(key)+50] ^= 1
			return b
		}, func(got int) bool { return got == n-1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			damaged := c.damage(bytes.Clone(content))
			if err := os.WriteFile(filepath.Join(dir, "retained.db"), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			withLog := func(o *broker.Options) { in(dir)(o); o.Log = zerolog.New(&log) }
			s, stop := startAndStop(t, withLog)
			moved := s.Recovered()
			if !strings.HasPrefix(moved, filepath.Join(dir, "retained.db.corrupt-")) {
				t.Fatalf("moved to %q\n%s", moved, log.String())
			}
			if got, err := os.ReadFile(moved); err != nil || len(got) != len(damaged) {
				t.Errorf("moved file: %d bytes, %v; want the %d there were", len(got), err, len(damaged))
			}
			if !strings.Contains(log.String(), "moved aside") {
				t.Errorf("not said:\n%s", log.String())
			}
			saved := retained(t, s, "devices/#")
			if !c.saved(len(saved)) {
				t.Errorf("%d of %d messages saved", len(saved), n)
			}
			// The new store works, and has what was saved.
			saved["after/it"] = "v"
			join(t, dial(t, s), "node", nil).publish("after/it", "v", 1, true)
			stop()
			s = start(t, withLog)
			if s.Recovered() != "" {
				t.Errorf("the new store is damaged too: %s", s.Recovered())
			}
			if diff := cmp.Diff(saved, retained(t, s, "#")); diff != "" {
				t.Errorf("after a restart (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAStoreThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	told := make(chan error, 10)
	s, stop := startAndStop(t, func(o *broker.Options) { in(dir)(o); o.StoreTrouble = func(err error) { told <- err } })
	inTheWay := filepath.Join(dir, "retained.db.new", "x") // no new file can be made
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.BreakStore(); err != nil {
		t.Fatal(err)
	}
	p := join(t, dial(t, s), "attic", nil)
	p.publish("dominion/attic/state/info", "{}", 1, true)
	err := <-told
	var e *broker.StoreError
	if !errors.As(err, &e) || e.Path != filepath.Join(dir, "retained.db") || e.Waiting != 1 || e.Full {
		t.Errorf("told %#v", err)
	}
	p.publish("dominion/attic/state/more", "{}", 1, true) // the house goes on
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	for <-told != nil { // more came to wait, until it ends
	}
	stop()
	want := map[string]string{"dominion/attic/state/info": "{}", "dominion/attic/state/more": "{}"}
	if diff := cmp.Diff(want, retained(t, start(t, in(dir)), "#")); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}
