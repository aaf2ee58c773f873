package broker

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// parts are what is left of a packet, or that it was too short.
type parts struct {
	rest  []byte
	short bool
	fault error // of a text
}

func (p *parts) skip(n int) []byte {
	if p.short = p.short || n > len(p.rest); p.short {
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parts) byte() byte {
	if b := p.skip(1); b != nil {
		return b[0]
	}
	return 0
}

// field is a string or a piece of data with its length before it.
func (p *parts) field() []byte {
	if b := p.skip(2); b != nil {
		return p.skip(int(binary.BigEndian.Uint16(b)))
	}
	return nil
}

// text is a field that must be UTF-8 without the character NUL (1.5.4).
func (p *parts) text() []byte {
	b := p.field()
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		p.fault = packets.ErrMalformedInvalidUTF8
	}
	return b
}

// id is a number of two bytes.
func (p *parts) id() uint16 {
	if b := p.skip(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// varint reads a length of MQTT and how many bytes it takes: none when it goes on.
func varint(b []byte) (value, n int, err error) {
	for i, x := range b {
		if i == 4 {
			break
		}
		value |= int(x&0x7f) << (7 * i)
		if x < 0x80 {
			return value, i + 1, nil
		}
	}
	if len(b) >= 4 {
		return 0, 0, errMalformed
	}
	return 0, 0, nil
}
