package broker_test

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Whatever a client does not finish to say, or says wrong, before it is let in
// and after: the broker and everybody else are as they were.
func TestBrokenPacketsChangeNothing(t *testing.T) {
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("MQTT ", v), func(t *testing.T) {
			b := besiege(t)
			hello := encode(t, connect("stranger", version(v)))
			for _, pk := range validPackets(t, v) {
				before := retained(t, b.Server, "#")
				sent := 0
				for cut := range pk.bytes {
					b.gets(pk.bytes[:cut])
					b.gets(slices.Concat(hello, pk.bytes[:cut]))
					sent += 2
				}
				b.asBefore()
				if diff := cmp.Diff(before, retained(t, b.Server, "#")); diff != "" {
					t.Errorf("%s, broken off: retained (-before +after):\n%s", pk.name, diff)
				}
				broken := corruptions(pk.bytes)
				for _, bad := range broken {
					if pk.name == "CONNECT" {
						b.gets(bad)
					}
					b.gets(slices.Concat(hello, bad))
				}
				b.asBefore()
				t.Logf("%s: %d times broken off, %d times wrong, %d panics", pk.name, sent, len(broken), b.panics())
			}
		})
	}
}

// corruptions are a packet cut short with a length that admits it, with one
// byte wrong, and with lengths that lie.
func corruptions(packet []byte) [][]byte {
	var all [][]byte
	for cut := 2; cut < len(packet); cut++ {
		all = append(all, relength(packet[:cut]))
	}
	for i, x := range packet {
		for _, wrong := range []byte{0, 0xff, x - 1, x + 1, x ^ 0x80} {
			if wrong != x {
				bad := slices.Clone(packet)
				bad[i] = wrong
				all = append(all, bad)
			}
		}
	}
	_, body := packet[0], relength(packet)[2:]
	for _, length := range [][]byte{{0}, {0x7f}, {0xff, 0x7f}, {0x80, 0x80, 0x01}, {0xff, 0xff, 0xff, 0x7f}, {0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0x01}} {
		all = append(all, slices.Concat(packet[:1], length, body))
	}
	return append(all, slices.Concat(packet, []byte{0}), slices.Concat(packet, packet))
}

// What the other tests break is sound.
func TestValidPacketsAreTaken(t *testing.T) {
	for _, v := range []byte{4, 5} {
		s := start(t, nil)
		for i, pk := range validPackets(t, v) {
			p := join(t, dial(t, s), "sound", version(v))
			switch {
			case i == 0:
				nc := dial(t, s)
				_, _ = nc.Write(pk.bytes)
				got, err := read(bufio.NewReader(nc), v)
				if err != nil || got.FixedHeader.Type != packets.Connack || got.ReasonCode != 0 {
					t.Errorf("MQTT %d: %s got packet type %d with code %d, %v", v, pk.name, got.FixedHeader.Type, got.ReasonCode, err)
				}
				_ = nc.Close()
			case strings.HasPrefix(pk.name, "DISCONNECT"):
				p.raw(pk.bytes)
				p.gone()
			default:
				p.raw(pk.bytes)
				p.stays()
			}
		}
	}
}
