package broker_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
)

// truncatedSubscribe is a SUBSCRIBE of MQTT 5 whose filter has no options
// byte: mochi would read past its end and panic.
func truncatedSubscribe() []byte { return []byte{0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 'a'} }

func TestAPacketThatMakesMochiPanicCostsItsSenderAlone(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) { o.Log = zerolog.New(&log) })
	if err := s.AddHook(&packetPanics{}); err != nil {
		t.Fatal(err)
	}
	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, "will/of/bad")

	bad := join(t, dial(t, s), "bad", func(pk *packets.Packet) {
		pk.ProtocolVersion = 5
		withWill("will/of/bad", "lost", true)(pk)
	})
	bad.subscribe(1, "some/topic")
	bad.sendPublish("panic", "", 1)
	bad.gone()

	if got := string(watcher.message("will/of/bad").Payload); got != "lost" {
		t.Errorf("will is %q, want lost", got)
	}
	if got := retained(t, s, "will/of/bad")["will/of/bad"]; got != "lost" {
		t.Errorf("retained will is %q, want lost", got)
	}
	// The id is free, and nothing of the old session is left.
	again := join(t, dial(t, s), "bad", nil)
	again.subscribe(1, "will/of/bad", "token/here")
	if got := len(again.upTo("token/here")); got != 1 {
		t.Errorf("%d messages for the next client of this id, want the retained will alone", got)
	}
	if n := strings.Count(log.String(), "panic while serving a client"); n != 1 {
		t.Errorf("the log tells of %d panics, want 1:\n%s", n, log.String())
	}
}

func TestASubscribeThatEndsEarlyIsNoPanic(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) { o.Log = zerolog.New(&log) })
	bad := join(t, dial(t, s), "bad", version(5))
	bad.raw(truncatedSubscribe())
	got := bad.await("DISCONNECT", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Disconnect })
	if got.ReasonCode != packets.ErrMalformedPacket.Code {
		t.Errorf("reason %#x, want malformed packet", got.ReasonCode)
	}
	bad.gone()
	if strings.Contains(log.String(), "panic") {
		t.Errorf("the log tells of a panic:\n%s", log.String())
	}
}

func TestAPanicBeforeConnackLeavesTheIdFree(t *testing.T) {
	s := start(t, nil)
	h := &panicHook{}
	if err := s.AddHook(h); err != nil {
		t.Fatal(err)
	}
	h.armed.Store(true)
	p := try(t, dial(t, s), "unlucky", nil)
	p.gone()
	h.armed.Store(false)
	join(t, dial(t, s), "unlucky", nil).subscribe(0, "x")
}

func TestAClientThatVanishesBeforeConnackIsForgotten(t *testing.T) {
	s := start(t, nil)
	near := s.Pipe(coordinator)
	before := s.Clients()
	var buf bytes.Buffer
	pk := connect("shy", nil)
	if err := pk.ConnectEncode(&buf); err != nil {
		t.Fatal(err)
	}
	_, _ = near.Write(buf.Bytes())
	_ = near.Close()
	eventually(t, "the client is forgotten", func() bool { return s.Clients() == before })
	join(t, s.Pipe(coordinator), "shy", nil)
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// take returns what was written since it was last called.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}
