package broker_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What came for a client while it was away, and what it did not acknowledge
// before, is sent in the order in which it came, also the second time.
func TestWhatWaitedComesInOrder(t *testing.T) {
	const n = 1000
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("MQTT ", v), func(t *testing.T) {
			s := start(t, nil)
			put := s.Injector()
			next := 0
			publish := func(many int) {
				for range many {
					if err := put("numbers", []byte(strconv.Itoa(next)), false, 1); err != nil {
						t.Fatal(err)
					}
					next++
				}
			}
			comeBack := func(silent bool) *peer {
				p := tryWithRoom(t, dial(t, s), "away", with(version(v), keep), 4*n)
				p.silent.Store(silent)
				p.is(0)
				return p
			}
			p := comeBack(true)
			p.subscribe(1, "numbers")
			publish(10) // these are not acknowledged
			p.take(10)
			p.disconnect()
			for range 3 {
				publish(n)
				p = comeBack(true)
				publish(10)
				want := make([]string, next)
				for i := range want {
					want[i] = strconv.Itoa(i)
				}
				if diff := cmp.Diff(want, p.take(next)); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
				p.disconnect()
			}
		})
	}
}

// take returns the payloads of the next messages, without those that come again.
func (p *peer) take(n int) []string {
	p.t.Helper()
	var got []string
	seen := map[string]bool{}
	for len(got) < n {
		payload := string(p.await("another message", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Publish }).Payload)
		if !seen[payload] {
			got = append(got, payload)
		}
		seen[payload] = true
	}
	return got
}
