package broker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// A client that comes back in the very moment in which its session ends is not
// taken for the one that has gone.
func TestASessionThatEndsLeavesItsClientAlone(t *testing.T) {
	t.Parallel()
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("MQTT ", v), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				d := lan(t, ours(), func(o *broker.Options) {
					o.SessionExpiry, o.Anonymous = time.Second, everybody()
				})
				if err := d.AddHook(&lateHook{}); err != nil {
					t.Fatal(err)
				}
				comeBack := func() *peer {
					return join(t, d.plain.dial("127.0.0.1"), "back", with(version(v), keep))
				}
				was := map[bool]int{}
				rounds := 100
				if heavy {
					rounds = 1000
				}
				for round := range rounds {
					p := comeBack()
					p.subscribe(1, "a/topic")
					p.disconnect()
					// The second second after this one is its last.
					second := time.Since(began)/time.Second + 2
					jitter := time.Duration(rand.IntN(8)-2) * time.Millisecond
					time.Sleep(time.Until(began.Add(second*time.Second + jitter)))
					p = comeBack()
					was[p.connack.SessionPresent]++
					if !p.connack.SessionPresent {
						p.subscribe(1, "a/topic")
					}
					if err := d.Inject("a/topic", []byte("v"), false, 1); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if !heard(p, "a/topic") {
						t.Fatalf("round %d, %v after the session's end: it is deaf (session present: %v)", round, jitter, p.connack.SessionPresent)
					}
					p.disconnect()
				}
				if was[true] < rounds/10 || was[false] < rounds/10 {
					t.Errorf("session present: %v; want many of both", was)
				}
			})
		})
	}
}

// heard tells whether a message on a topic has come.
func heard(p *peer, topic string) bool {
	for len(p.in) > 0 {
		if pk := <-p.in; pk.FixedHeader.Type == packets.Publish && pk.TopicName == topic {
			return true
		}
	}
	return false
}

// No client keeps a session for longer than the server says, whenever it asks.
func TestSessionsEnd(t *testing.T) {
	const longest = 100
	for _, c := range []struct {
		name     string
		change   func(*packets.Packet)
		goodbye  func(*packets.Packet) // nil: it is lost
		told     int                   // in CONNACK
		lasts    int                   // seconds
		notTaken bool                  // the goodbye is an error
	}{
		{name: "3.1.1", change: keep, lasts: longest},
		{name: "3.1.1, clean", lasts: 0},
		{name: "5, no time", change: version(5), lasts: 0},
		{name: "5, a short time", change: lasting(10), lasts: 10},
		{name: "5, too long a time", change: lasting(1000), told: longest, lasts: longest},
		{name: "5, for ever", change: lasting(0xffffffff), told: longest, lasts: longest},
		{name: "5, too long a time in DISCONNECT", change: lasting(10), goodbye: lasting(0xffffffff), lasts: longest},
		{name: "5, none in DISCONNECT", change: lasting(10), goodbye: lasting(0), lasts: 0},
		{name: "5, a time in DISCONNECT alone", change: lasting(0), goodbye: lasting(10), lasts: 0, notTaken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lan(t, ours(), func(o *broker.Options) {
					o.SessionExpiry, o.Anonymous = longest*time.Second, everybody()
				})
				before := d.Clients()
				p := join(t, d.plain.dial("127.0.0.1"), "gone", c.change)
				if told := int(p.connack.Properties.SessionExpiryInterval); told != c.told {
					t.Errorf("CONNACK says %d s, want %d", told, c.told)
				}
				p.subscribe(1, "a/topic")
				if c.goodbye == nil {
					_ = p.conn.Close()
				} else {
					bye := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
					c.goodbye(&bye)
					p.send(bye)
				}
				synctest.Wait()
				took := 0
				for began := time.Now(); d.Clients() > before && took < 2*longest; took = int(time.Since(began) / time.Second) {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if took < c.lasts || took > c.lasts+3 {
					t.Errorf("the session lasted %d s, want %d", took, c.lasts)
				}
				if n := d.Subscriptions(); n != 0 {
					t.Errorf("%d subscriptions are left", n)
				}
			})
		})
	}
}

// lasting is the session expiry of MQTT 5, in seconds.
func lasting(seconds uint32) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.ProtocolVersion = 5
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = seconds, true
	}
}
