package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A record of the store is, under the topic as its key:
//
//	1 byte   version of this format, 1
//	4 bytes  CRC-32 (IEEE) of topic and all that follows
//	8 bytes  when the message came, Unix seconds
//	8 bytes  when it expires, Unix seconds; 0 for never
//	rest     the message as a PUBLISH packet of MQTT 5, QoS in its first byte
//
// Numbers are big-endian. The packet keeps a message's MQTT 5 properties, and
// is read by any MQTT tool.
const (
	recordVersion = 1
	recordHead    = 1 + 4 + 8 + 8
)

var errRecord = errors.New("damaged record")

// packetOf is the message as a packet.
func packetOf(pk packets.Packet) []byte {
	out := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: true},
		ProtocolVersion: 5,
		TopicName:       pk.TopicName,
		Properties:      pk.Properties,
		Payload:         pk.Payload,
		PacketID:        1, // required with a QoS, means nothing
	}
	out.Properties.SubscriptionIdentifier = nil
	var buf bytes.Buffer
	_ = out.PublishEncode(&buf) // refuses only a QoS without packet id
	return buf.Bytes()
}

// recordHash tells records apart by all but the time their messages came. It is
// the same on every machine, see tally.
func recordHash(rec []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(rec[recordHead-8:])
	return h.Sum64()
}

func encodeRecord(pk packets.Packet) []byte {
	body := packetOf(pk)
	rec := make([]byte, recordHead, recordHead+len(body))
	rec[0] = recordVersion
	binary.BigEndian.PutUint64(rec[5:], uint64(pk.Created))
	binary.BigEndian.PutUint64(rec[13:], uint64(pk.Expiry))
	rec = append(rec, body...)
	binary.BigEndian.PutUint32(rec[1:], recordSum([]byte(pk.TopicName), rec))
	return rec
}

func recordSum(topic, rec []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(topic), crc32.IEEETable, rec[5:])
}

// decodeRecord reads a record; its bytes are not used afterwards.
func decodeRecord(topic, rec []byte) (packets.Packet, error) {
	if len(rec) < recordHead || rec[0] != recordVersion || binary.BigEndian.Uint32(rec[1:]) != recordSum(topic, rec) {
		return packets.Packet{}, errRecord
	}
	body := bytes.NewReader(rec[recordHead:])
	pk := packets.Packet{
		ProtocolVersion: 5,
		Created:         int64(binary.BigEndian.Uint64(rec[5:])),
		Expiry:          int64(binary.BigEndian.Uint64(rec[13:])),
	}
	first, err := body.ReadByte()
	if err != nil || pk.FixedHeader.Decode(first) != nil {
		return packets.Packet{}, errRecord
	}
	n, _, err := packets.DecodeLength(body)
	if err != nil || n != body.Len() {
		return packets.Packet{}, errRecord
	}
	rest := make([]byte, n)
	_, _ = body.Read(rest)
	if err := pk.PublishDecode(rest); err != nil || pk.TopicName != string(topic) || len(pk.Payload) == 0 {
		return packets.Packet{}, errRecord
	}
	pk.PacketID = 0
	return pk, nil
}

// expired tells whether a message has outlived the expiry its publisher gave it.
func expired(pk packets.Packet, now time.Time) bool {
	return pk.Expiry > 0 && pk.Expiry < now.Unix()
}
