package broker_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

func TestASubscriberThatStopsReadingCostsItsPublishersOneDeadline(t *testing.T) {
	t.Parallel()
	const deadline = 500 * time.Millisecond
	// Over a pipe, by a clock that stands still while anybody is busy.
	t.Run("over a pipe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, func(o *broker.Options) { o.Listen, o.WriteTimeout = nil, deadline })
			pipe := func() net.Conn { return s.Pipe(topics.Identity{Role: topics.RoleOperator}) }
			if took := feedStuckSubscriber(t, pipe, pipe, 400); took != deadline {
				t.Errorf("400 messages took %v, want %v", took, deadline)
			}
		})
	})
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("over a socket, TLS ", secure), func(t *testing.T) {
			s, _ := startTLS(t, func(o *broker.Options) { o.WriteTimeout, o.MaxPending = deadline, 1<<20 })
			plain := func() net.Conn { return dial(t, s) }
			// What the kernel keeps for it is less than what it is sent.
			const n = 160
			stuck := func() net.Conn {
				nc := dial(t, s)
				if secure {
					nc = mustDial(t, s.TLSAddrs()[0])
				}
				_ = nc.(*net.TCPConn).SetReadBuffer(4096)
				if secure {
					nc = tls.Client(nc, clientTLS())
				}
				return nc
			}
			if took := feedStuckSubscriber(t, plain, stuck, n); took > n*deadline/4 {
				t.Errorf("%d messages took %v; they wait more than once for %v", n, took, deadline)
			}
		})
	}
}

// feedStuckSubscriber publishes n messages to somebody who does not read, and
// returns how long that took.
func feedStuckSubscriber(t *testing.T, dial, dialStuck func() net.Conn, n int) time.Duration {
	t.Helper()
	gate := &gatedReader{Conn: dialStuck(), open: make(chan struct{})}
	watcher := join(t, dial(), "watcher", nil)
	watcher.subscribe(1, "will/of/stuck")
	stuck := join(t, gate, "stuck", withWill("will/of/stuck", "lost", false))
	stuck.subscribe(1, "much/data")
	gate.shut.Store(true)

	publisher := join(t, dial(), "publisher", nil)
	payload := strings.Repeat("x", 64<<10)
	began := time.Now()
	for range n {
		publisher.publish("much/data", payload, 1, false)
	}
	took := time.Since(began)
	watcher.message("will/of/stuck")
	close(gate.open)
	stuck.gone()
	return took
}

func TestAClientThatSendsNothingIsDisconnected(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.ConnectTimeout = 100 * time.Millisecond })
	for _, c := range []struct {
		name string
		send []byte
	}{{"nothing", nil}, {"half a CONNECT", []byte{0x10, 0x20, 0x00, 0x04, 'M'}}} {
		nc := dial(t, s)
		_, _ = nc.Write(c.send)
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		began := time.Now()
		_, err := nc.Read(make([]byte, 1))
		if ne, ok := err.(net.Error); err == nil || ok && ne.Timeout() {
			t.Errorf("%s: read: %v after %v, want the end of the connection", c.name, err, time.Since(began))
		}
		_ = nc.Close()
	}
	p := join(t, dial(t, s), "quiet", nil) // the deadline ends with CONNECT
	time.Sleep(200 * time.Millisecond)
	p.publish("still/there", "v", 1, false)
}

func TestKeepAliveIsClamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), func(o *broker.Options) { o.MaxKeepAlive = 10 * time.Second })
		for _, keepAlive := range []uint16{0, 60, 65535} {
			will := fmt.Sprintf("dominion/attic/state/%d", keepAlive)
			began := time.Now()
			p := join(t, d.plain.dial(elsewhere), "hung", func(pk *packets.Packet) {
				with(version(5), as("attic", "right"), withWill(will, "lost", true))(pk)
				pk.Connect.Keepalive = keepAlive
			})
			if pr := p.connack.Properties; !pr.ServerKeepAliveFlag || pr.ServerKeepAlive != 10 {
				t.Errorf("keep-alive %d: the client is told %d (%v), want 10", keepAlive, pr.ServerKeepAlive, pr.ServerKeepAliveFlag)
			}
			p.gone()
			if took := time.Since(began); took != 15*time.Second {
				t.Errorf("keep-alive %d: gone after %v, want 15s", keepAlive, took)
			}
			synctest.Wait()
			if got := retained(t, d.Server, will)[will]; got != "lost" {
				t.Errorf("keep-alive %d: will %q, want lost", keepAlive, got)
			}
		}
	})
}

func TestAnAnnouncedGiantIsRefusedBeforeItsBufferIsMade(t *testing.T) {
	s := start(t, nil)
	p := join(t, dial(t, s), "giant", nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.raw([]byte{0x30, 0x80, 0x80, 0x80, 0x64}) // PUBLISH of 200 MiB
	p.gone()
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
		t.Errorf("%d MiB were allocated", made>>20)
	}
}

func TestTheLargestPayloadPasses(t *testing.T) {
	s := start(t, nil)
	p := join(t, dial(t, s), "large", nil)
	p.subscribe(1, "large/#")
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, PacketID: p.id(),
		TopicName: "large/payload", Payload: make([]byte, topics.MaxPayload),
	})
	if got := len(p.message("large/payload").Payload); got != topics.MaxPayload {
		t.Errorf("%d bytes arrived, want %d", got, topics.MaxPayload)
	}
}

func TestDeepTopicsCostNothing(t *testing.T) {
	s := start(t, nil)
	p := join(t, dial(t, s), "deep", nil)
	deep := strings.Repeat("/", 32_000)
	began := time.Now()
	p.publish(deep, "v", 1, true)
	p.subscribe(1, deep+"#")
	p.publish("shallow", "v", 1, false)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAClientThatReadsTooSlowlyIsDisconnectedRatherThanDeceived(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) {
		o.MaxPending, o.Log = 64<<10, zerolog.New(&log)
	})
	gate := &gatedReader{Conn: s.Pipe(topics.Identity{Role: topics.RoleOperator}), open: make(chan struct{})}
	slow := join(t, gate, "slow", nil)
	slow.subscribe(0, "beats", "facts")
	gate.shut.Store(true)

	payload := []byte(strings.Repeat("x", 32<<10))
	for range 100 {
		if err := s.Inject("beats", payload, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(log.String(), "too slow") {
		t.Error("disconnected for messages that may be lost")
	}
	for range 100 {
		if err := s.Inject("facts", payload, false, 1); err != nil {
			t.Fatal(err)
		}
	}
	close(gate.open)
	slow.gone()
	eventually(t, "it is said", func() bool { return strings.Contains(log.String(), "too slow") })
	if n := strings.Count(log.String(), "too slow"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}
