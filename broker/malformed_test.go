package broker_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// However the network cuts what a client sends, the same is handed on, and the
// same is wrong.
func TestInspectionDoesNotDependOnPieces(t *testing.T) {
	for _, level := range []byte{4, 5} {
		var valid []byte
		for _, pk := range validPackets(t, level)[1:] {
			valid = append(valid, pk.bytes...)
		}
		bad := []byte{packets.Pingreq<<4 | 1, 0}
		for name, stream := range map[string][]byte{
			"valid":           valid,
			"then wrong":      slices.Concat(valid, bad, valid),
			"then cut":        slices.Concat(valid, valid[:len(valid)/2]),
			"then a SUBACK":   slices.Concat(valid, []byte{packets.Suback << 4, 3, 0, 1, 0}),
			"then much":       slices.Concat(valid, []byte{packets.Subscribe<<4 | 2, 0xff, 0xff, 0xff, 0x7f}),
			"then any length": slices.Concat(valid, []byte{packets.Publish << 4, 0xff, 0xff, 0xff, 0xff, 0xff}),
		} {
			t.Run(fmt.Sprintf("MQTT %d, %s", level, name), func(t *testing.T) {
				_, want := broker.Inspect(level, stream)
				for size := 1; size < 100; size++ {
					if _, got := broker.Inspect(level, slices.Collect(slices.Chunk(stream, size))...); got != want {
						t.Fatalf("in pieces of %d bytes: %v, whole: %v", size, got, want)
					}
				}
				if name == "valid" && want != nil {
					t.Errorf("valid packets: %v", want)
				}
			})
		}
	}
}

// Not a byte of a packet that is wrong is handed on with those before it.
func TestInspectionHandsOnWhatIsBefore(t *testing.T) {
	ping, bad := []byte{packets.Pingreq << 4, 0}, []byte{packets.Pingreq<<4 | 1, 0}
	passed, fault := broker.Inspect(5, slices.Concat(ping, ping, bad, ping))
	if passed != 4 || fault != packets.ErrMalformedFlags {
		t.Errorf("%d bytes are handed on, then %v; want 4, then malformed flags", passed, fault)
	}
}
