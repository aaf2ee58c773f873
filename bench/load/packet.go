package load

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Kind is the type of a packet (MQTT 3.1.1, 2.2.1).
type Kind byte

// The kinds that a load needs.
const (
	Connect    Kind = 1
	Connack    Kind = 2
	Publish    Kind = 3
	Puback     Kind = 4
	Subscribe  Kind = 8
	Suback     Kind = 9
	Pingreq    Kind = 12
	Pingresp   Kind = 13
	Disconnect Kind = 14
)

// maxPacket bounds what is read, in bytes: far above all that is sent here.
const maxPacket = 1 << 20

// Packet is one MQTT 3.1.1 packet. Which fields count depends on its kind.
type Packet struct {
	Kind    Kind
	Dup     bool   // PUBLISH: it was sent before
	QoS     byte   // PUBLISH, and what SUBSCRIBE asks for: 0 or 1
	Retain  bool   // PUBLISH
	ID      uint16 // PUBLISH at QoS 1, PUBACK, SUBSCRIBE, SUBACK
	Code    byte   // CONNACK's return code, SUBACK's; 0x80 is a refused subscription
	Topic   []byte // PUBLISH; SUBSCRIBE's one filter; CONNECT's client id
	Payload []byte // PUBLISH
}

// keepAlive is what CONNECT announces, in seconds: no work lasts so long.
const keepAlive = 600

// Append appends the packet's bytes to b. CONNECT asks for a clean session and
// has neither will nor login.
func (p Packet) Append(b []byte) []byte {
	first := byte(p.Kind) << 4
	switch p.Kind {
	case Connect:
		b = appendLength(append(b, first), 10+2+len(p.Topic))
		b = append(b, 0, 4, 'M', 'Q', 'T', 'T', 4, 2)
		b = binary.BigEndian.AppendUint16(b, keepAlive)
		return appendBytes(b, p.Topic)
	case Connack:
		return append(b, first, 2, 0, p.Code)
	case Publish:
		return p.appendPublish(b)
	case Puback:
		return binary.BigEndian.AppendUint16(append(b, first, 2), p.ID)
	case Subscribe:
		b = appendLength(append(b, first|2), 2+2+len(p.Topic)+1)
		b = binary.BigEndian.AppendUint16(b, p.ID)
		return append(appendBytes(b, p.Topic), p.QoS)
	case Suback:
		return append(binary.BigEndian.AppendUint16(append(b, first, 3), p.ID), p.Code)
	default:
		return append(b, first, 0)
	}
}

func (p Packet) appendPublish(b []byte) []byte {
	first, length := byte(Publish)<<4|p.QoS<<1, 2+len(p.Topic)+len(p.Payload)
	if p.Dup {
		first |= 8
	}
	if p.Retain {
		first |= 1
	}
	if p.QoS > 0 {
		length += 2
	}
	b = appendBytes(appendLength(append(b, first), length), p.Topic)
	if p.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, p.ID)
	}
	return append(b, p.Payload...)
}

// appendLength appends a remaining length (2.2.3).
func appendLength(b []byte, n int) []byte {
	for n > 127 {
		b = append(b, byte(n)|128)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendBytes(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// Reader reads packets.
type Reader struct {
	in   *bufio.Reader
	body []byte // of the last packet
}

// NewReader reads packets from r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 16<<10)} }

// Drained tells whether Next would have to wait for the network.
func (r *Reader) Drained() bool { return r.in.Buffered() == 0 }

// Next reads one packet. Its topic and payload are good until the next call.
func (r *Reader) Next() (Packet, error) {
	first, err := r.in.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	length, err := r.length()
	if err != nil {
		return Packet{}, err
	}
	if cap(r.body) < length {
		r.body = make([]byte, length)
	}
	r.body = r.body[:length]
	if _, err := io.ReadFull(r.in, r.body); err != nil {
		return Packet{}, unexpected(err)
	}
	return parse(first, r.body)
}

func (r *Reader) length() (int, error) {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		c, err := r.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n |= int(c&127) << shift
		if c < 128 {
			if n > maxPacket {
				return 0, fmt.Errorf("packet of %d bytes, more than %d", n, maxPacket)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("remaining length of more than four bytes")
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parse(first byte, body []byte) (Packet, error) {
	p := Packet{Kind: Kind(first >> 4)}
	f := fields{rest: body}
	switch p.Kind {
	case Connect:
		f.skip(10)
		p.Topic = f.bytes()
	case Connack:
		f.skip(1)
		p.Code = f.byte()
	case Publish:
		p.Dup, p.QoS, p.Retain = first&8 != 0, first>>1&3, first&1 != 0
		p.Topic = f.bytes()
		if p.QoS > 0 {
			p.ID = f.uint16()
		}
		p.Payload = f.rest
	case Puback:
		p.ID = f.uint16()
	case Subscribe:
		p.ID = f.uint16()
		p.Topic = f.bytes()
		p.QoS = f.byte()
	case Suback:
		p.ID = f.uint16()
		p.Code = f.byte()
	case Pingreq, Pingresp, Disconnect:
	default:
		return p, fmt.Errorf("packet of type %d, which is none of those a load needs", p.Kind)
	}
	if f.short {
		return p, fmt.Errorf("packet of type %d ends early, after %d bytes", p.Kind, len(body))
	}
	return p, nil
}

// fields takes a packet's body apart.
type fields struct {
	rest  []byte
	short bool // more was asked for than there is
}

func (f *fields) skip(n int) []byte {
	if len(f.rest) < n {
		f.short, f.rest = true, nil
		return make([]byte, n)
	}
	head := f.rest[:n]
	f.rest = f.rest[n:]
	return head
}

func (f *fields) byte() byte     { return f.skip(1)[0] }
func (f *fields) uint16() uint16 { return binary.BigEndian.Uint16(f.skip(2)) }
func (f *fields) bytes() []byte  { return f.skip(int(f.uint16())) }
