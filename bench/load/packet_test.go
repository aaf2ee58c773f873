package load_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dominion/bench/load"
)

func cases() map[string]struct {
	packet load.Packet
	bytes  string
} {
	long := strings.Repeat("x", 300)
	return map[string]struct {
		packet load.Packet
		bytes  string
	}{
		"connect":       {load.Packet{Kind: load.Connect, Topic: []byte("me")}, "\x10\x0e\x00\x04MQTT\x04\x02\x02\x58\x00\x02me"},
		"connack":       {load.Packet{Kind: load.Connack, Code: 5}, "\x20\x02\x00\x05"},
		"publish QoS 0": {load.Packet{Kind: load.Publish, Topic: []byte("a/b"), Payload: []byte("hi")}, "\x30\x07\x00\x03a/bhi"},
		"publish QoS 1": {load.Packet{Kind: load.Publish, QoS: 1, Dup: true, Retain: true, ID: 258, Topic: []byte("a"), Payload: []byte("hi")}, "\x3b\x07\x00\x01a\x01\x02hi"},
		"long publish":  {load.Packet{Kind: load.Publish, Topic: []byte("a"), Payload: []byte(long)}, "\x30\xaf\x02\x00\x01a" + long},
		"puback":        {load.Packet{Kind: load.Puback, ID: 65535}, "\x40\x02\xff\xff"},
		"subscribe":     {load.Packet{Kind: load.Subscribe, ID: 1, QoS: 1, Topic: []byte("a/#")}, "\x82\x08\x00\x01\x00\x03a/#\x01"},
		"suback":        {load.Packet{Kind: load.Suback, ID: 1, Code: 128}, "\x90\x03\x00\x01\x80"},
		"pingreq":       {load.Packet{Kind: load.Pingreq}, "\xc0\x00"},
		"pingresp":      {load.Packet{Kind: load.Pingresp}, "\xd0\x00"},
		"disconnect":    {load.Packet{Kind: load.Disconnect}, "\xe0\x00"},
	}
}

func TestPacketsAreWrittenAndRead(t *testing.T) {
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.bytes, string(c.packet.Append(nil))); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			got, err := load.NewReader(strings.NewReader(c.bytes)).Next()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.packet, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPacketsThatEndEarlyAreErrors(t *testing.T) {
	for name, c := range cases() {
		for n := range len(c.bytes) {
			if p, err := load.NewReader(strings.NewReader(c.bytes[:n])).Next(); err == nil {
				t.Errorf("%s cut to %d bytes is read as %v", name, n, p)
			}
		}
	}
}

func TestWrongPacketsAreErrors(t *testing.T) {
	for name, in := range map[string]string{
		"fields beyond the end": "\x30\x02\x00\x03a/b",
		"a length of 5 bytes":   "\x30\xff\xff\xff\xff\x01",
		"too large":             "\x30\xff\xff\xff\x7f",
		"an unknown type":       "\xf0\x00",
	} {
		if p, err := load.NewReader(strings.NewReader(in)).Next(); err == nil || err == io.ErrUnexpectedEOF {
			t.Errorf("%s: read as %v, error %v", name, p, err)
		}
	}
}

func TestReaderReadsOneAfterAnother(t *testing.T) {
	var all []byte
	for i := range 1000 {
		all = load.Packet{Kind: load.Publish, QoS: 1, ID: uint16(i), Topic: []byte("t"), Payload: make([]byte, i)}.Append(all)
	}
	r := load.NewReader(bytes.NewReader(all))
	for i := range 1000 {
		p, err := r.Next()
		if err != nil || p.ID != uint16(i) || len(p.Payload) != i {
			t.Fatalf("packet %d: %v, %v", i, p, err)
		}
	}
	if !r.Drained() {
		t.Error("not drained after the last packet")
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last packet: %v, want EOF", err)
	}
}
