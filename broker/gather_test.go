package broker_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
)

// Who announces a large packet and does not send it has the broker hold what was
// sent, not what was announced; and what was sent before it is not kept waiting.
func TestALargePacketThatDoesNotComeCostsNothing(t *testing.T) {
	s := start(t, nil)
	const n = 200
	large := encode(t, packets.Packet{
		ProtocolVersion: 4, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
		TopicName: "large", PacketID: 2, Payload: bytes.Repeat([]byte("0123456789abcdef"), topics.MaxPayload/16),
	})
	small := encode(t, packets.Packet{
		ProtocolVersion: 4, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: "small", PacketID: 1,
	})
	begin := bytes.Join([][]byte{small, large[:100]}, nil)
	watcher := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "watcher", nil)
	watcher.subscribe(1, "large")

	var all []*peer
	for i := range n {
		all = append(all, tryWithRoom(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), fmt.Sprint(i), nil, 8))
	}
	acknowledged := func(p *peer, id uint16) {
		p.await("PUBACK", func(a packets.Packet) bool { return a.FixedHeader.Type == packets.Puback && a.PacketID == id })
	}
	before := inUse()
	for _, p := range all {
		p.raw(begin)
		acknowledged(p, 1)
	}
	if grown := inUse() - before; grown > 16<<20 {
		t.Errorf("%d clients that announced %d KiB each have the broker hold %d MiB", n, len(large)>>10, grown>>20)
	}
	for _, p := range all[:3] {
		for rest := large[100:]; len(rest) > 0; {
			piece := rest[:min(len(rest), 70_001)]
			p.raw(piece)
			rest = rest[len(piece):]
		}
		acknowledged(p, 2)
		if got := watcher.message("large").Payload; !bytes.Equal(got, large[len(large)-topics.MaxPayload:]) {
			t.Errorf("%d bytes arrived, not as they were sent", len(got))
		}
	}
}

// Large packets come whole wherever they are cut, in either version of MQTT.
func TestLargePacketsComeInPieces(t *testing.T) {
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("MQTT ", v), func(t *testing.T) {
			s := start(t, nil)
			p := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "in pieces", version(v))
			p.subscribe(0, "large", "small") // nothing is acknowledged in the middle of a packet
			for cut := range 24 {
				payload := bytes.Repeat([]byte{byte(cut)}, 70_000+cut*9973)
				sent := func(topic string, id uint16, payload []byte) []byte {
					return encode(t, packets.Packet{
						ProtocolVersion: v, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
						TopicName: topic, PacketID: id, Payload: payload,
					})
				}
				all := bytes.Join([][]byte{sent("small", 1, nil), sent("large", 2, payload), sent("large", 3, payload), sent("small", 4, nil)}, nil)
				first := cut + len(sent("small", 1, nil)) - 4
				p.raw(all[:first])
				if first >= len(sent("small", 1, nil)) {
					p.message("small")
				}
				p.raw(all[first : len(all)-cut])
				p.raw(all[len(all)-cut:])
				for range 2 {
					if got := p.message("large").Payload; !bytes.Equal(got, payload) {
						t.Fatalf("cut at %d: %d bytes arrived, not as they were sent", first, len(got))
					}
				}
				p.message("small")
			}
		})
	}
}
