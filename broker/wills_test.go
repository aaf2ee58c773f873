package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// A will of MQTT 5 waits as long as its client wished, but no longer than its
// session lasts, and is sent once, unless the client comes back in time.
func TestADelayedWill(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		name         string
		delay, lasts uint32
		back         time.Duration // when the client comes back; 0: it does not
		clean        bool          // and begins anew
		want         time.Duration // until the will comes
	}{
		{name: "no delay", lasts: 10, want: 0},
		{name: "a delay", delay: 3, lasts: 10, want: 3 * time.Second},
		{name: "the session ends first", delay: 10, lasts: 4, want: 4 * time.Second},
		{name: "no session is kept", delay: 10, want: 0},
		{name: "back in time", delay: 3, lasts: 10, back: 2 * time.Second, want: never},
		{name: "back too late", delay: 3, lasts: 10, back: 4 * time.Second, want: 3 * time.Second},
		{name: "back with a new session", delay: 3, lasts: 10, back: 2 * time.Second, clean: true, want: 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lan(t, ours(), func(o *broker.Options) { o.Anonymous = everybody() })
				watcher := join(t, d.plain.dial("127.0.0.1"), "watcher", nil)
				watcher.subscribe(1, "will/topic")
				delays := func(pk *packets.Packet) {
					withWill("will/topic", "lost", true)(pk)
					pk.ProtocolVersion = 5
					pk.Mods.AllowResponseInfo = true // to encode it
					pk.Connect.WillProperties = packets.Properties{
						WillDelayInterval: c.delay, ContentType: "text/plain", ResponseTopic: "answer/here",
						CorrelationData: []byte("1"), User: []packets.UserProperty{{Key: "k", Val: "2"}, {Key: "k", Val: "1"}},
					}
					pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = c.lasts, true
				}
				p := join(t, d.plain.dial("127.0.0.1"), "delays", delays)
				began := time.Now()
				_ = p.conn.Close()
				if c.back > 0 {
					time.Sleep(c.back)
					join(t, d.plain.dial("127.0.0.1"), "delays", with(delays, func(pk *packets.Packet) { pk.Connect.Clean = c.clean })).disconnect()
				}
				time.Sleep(time.Until(began.Add(20 * time.Second)))
				synctest.Wait()
				_ = d.Inject("will/topic", []byte("fence"), false, 0)
				first := watcher.message("will/topic")
				if c.want == never {
					if string(first.Payload) != "fence" {
						t.Errorf("the will came although its client is back")
					}
					return
				}
				if string(first.Payload) != "lost" {
					t.Fatalf("no will came")
				}
				if second := watcher.message("will/topic"); string(second.Payload) != "fence" {
					t.Errorf("the will came twice")
				}
				kept, ok := d.Retained("will/topic")
				if !ok || time.Unix(kept.Created, 0).Sub(time.Unix(began.Unix(), 0)) != c.want {
					t.Errorf("retained: %v, after %v, want %v", ok, time.Unix(kept.Created, 0).Sub(began), c.want)
				}
				if p := kept.Properties; p.ContentType != "text/plain" || p.ResponseTopic != "answer/here" || string(p.CorrelationData) != "1" || len(p.User) != 2 || p.User[0].Val != "2" {
					t.Errorf("the will's properties became %+v", p)
				}
			})
		})
	}
}
