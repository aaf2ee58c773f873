package broker_test

import (
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzConnection sends any bytes, to a connection of which nothing is known and
// to one that was let in. Two clients beside it go on hearing each other, and
// nothing is left behind.
func FuzzConnection(f *testing.F) {
	for _, v := range []byte{4, 5} {
		valid := validPackets(f, v)
		for _, pk := range valid {
			f.Add(pk.bytes, []byte(nil), v == 5)
			f.Add([]byte(nil), pk.bytes, v == 5)
			f.Add(slices.Concat(valid[0].bytes, pk.bytes), slices.Concat(pk.bytes, pk.bytes), v == 5)
		}
		for _, cases := range packets.TPacketData { // what mochi tries itself
			for _, c := range cases {
				f.Add(c.RawBytes, c.RawBytes, v == 5)
			}
		}
	}
	f.Add([]byte(nil), truncatedSubscribe(), true)
	b := besiege(f)
	hello := map[bool][]byte{}
	for five, v := range map[bool]byte{false: 4, true: 5} {
		hello[five] = encode(f, connect("stranger", with(version(v), withWill("will/of/stranger", "lost", true))))
	}
	counted := false
	f.Fuzz(func(t *testing.T, first, then []byte, five bool) {
		b.with(t)
		if !counted { // fuzzing has goroutines of its own
			b.count()
			counted = true
		}
		b.gets(first)
		b.gets(slices.Concat(hello[five], then))
		b.asBefore()
		b.log.take()
	})
}
