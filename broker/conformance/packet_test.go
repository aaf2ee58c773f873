package conformance_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The types of control packets (MQTT 3.1.1 and 5, 2.2.1 and 2.1.2).
const (
	CONNECT byte = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

func kindName(kind byte) string {
	names := strings.Fields("- CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH")
	return names[kind&15]
}

// frame puts a fixed header before the parts of a packet.
func frame(first byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return slices.Concat([]byte{first}, varint(len(body)), body)
}

func varint(n int) []byte {
	var b []byte
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

func u16(n int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte    { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func str(s string) []byte { return append(u16(len(s)), s...) }

// prop is one property of MQTT 5 as it goes over the wire: prop(0x26,
// str("name"), str("value")).
func prop(id byte, value ...[]byte) []byte { return append([]byte{id}, slices.Concat(value...)...) }

// withProps are the parts that a packet has at a level before its payload.
func withProps(level byte, props []byte) []byte {
	if level < 5 {
		return nil
	}
	return append(varint(len(props)), props...)
}

// connect is a CONNECT. Its zero value asks for a clean session at level 4,
// with an empty client id and no keep-alive.
type connect struct {
	level     byte   // 4 when 0
	name      string // of the protocol; "MQTT" when empty
	id        string
	resume    bool // not a clean session, or clean start
	keepAlive int  // seconds
	will      *will
	user      []byte // nil: none
	password  []byte // nil: none
	flags     byte   // set beside those that follow from the fields
	props     []byte // MQTT 5, without their length
}

type will struct {
	topic, payload string
	qos            byte
	retain         bool
	props          []byte
}

func (c connect) bytes() []byte {
	flags := c.flags
	if !c.resume {
		flags |= 0x02
	}
	payload := str(c.id)
	level := max(c.level, 4)
	if w := c.will; w != nil {
		flags |= 0x04 | w.qos<<3 | bit(w.retain)<<5
		payload = slices.Concat(payload, withProps(level, w.props), str(w.topic), str(w.payload))
	}
	if c.user != nil {
		flags |= 0x80
		payload = append(payload, str(string(c.user))...)
	}
	if c.password != nil {
		flags |= 0x40
		payload = append(payload, str(string(c.password))...)
	}
	name := c.name
	if name == "" {
		name = "MQTT"
	}
	return frame(CONNECT<<4, str(name), []byte{level, flags}, u16(c.keepAlive), withProps(level, c.props), payload)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// publish is a PUBLISH.
type publish struct {
	topic, payload string
	qos            byte
	retain, dup    bool
	id             uint16 // QoS 1 and 2
	props          []byte
}

func (p publish) bytes(level byte) []byte {
	var id []byte
	if p.qos > 0 {
		id = u16(int(p.id))
	}
	first := PUBLISH<<4 | bit(p.dup)<<3 | p.qos<<1 | bit(p.retain)
	return frame(first, str(p.topic), id, withProps(level, p.props), []byte(p.payload))
}

// filter is one subscription of a SUBSCRIBE; options are, at level 4, its QoS.
type filter struct {
	name    string
	options byte
}

func subscribe(level byte, id uint16, props []byte, filters ...filter) []byte {
	parts := [][]byte{u16(int(id)), withProps(level, props)}
	for _, f := range filters {
		parts = append(parts, str(f.name), []byte{f.options})
	}
	return frame(SUBSCRIBE<<4|2, parts...)
}

func unsubscribe(level byte, id uint16, filters ...string) []byte {
	parts := [][]byte{u16(int(id)), withProps(level, nil)}
	for _, f := range filters {
		parts = append(parts, str(f))
	}
	return frame(UNSUBSCRIBE<<4|2, parts...)
}

// ack is a PUBACK, PUBREC, PUBREL or PUBCOMP.
func ack(kind byte, id uint16) []byte {
	flags := byte(0)
	if kind == PUBREL {
		flags = 2
	}
	return frame(kind<<4|flags, u16(int(id)))
}

func pingreq() []byte    { return frame(PINGREQ << 4) }
func disconnect() []byte { return frame(DISCONNECT << 4) }

// packet is a packet that the server sent, taken apart. Which fields count
// depends on its kind.
type packet struct {
	kind        byte
	flags       byte   // the low half of the first byte
	qos         byte   // PUBLISH
	dup, retain bool   // PUBLISH
	present     bool   // CONNACK: session present
	code        byte   // CONNACK, DISCONNECT, AUTH, and acknowledgements of MQTT 5
	codes       []byte // SUBACK, UNSUBACK
	id          uint16
	topic       string // PUBLISH
	payload     string // PUBLISH
	props       []property
	rest        []byte // bytes that ought not to be there
	size        int    // bytes, all in all
	long        bool   // its length has more bytes than it needs
}

func (p packet) String() string {
	switch p.kind {
	case PUBLISH:
		return fmt.Sprintf("PUBLISH %q=%q qos=%d retain=%v dup=%v id=%d", p.topic, shorten(p.payload), p.qos, p.retain, p.dup, p.id)
	case SUBACK, UNSUBACK:
		return fmt.Sprintf("%s id=%d codes=%x", kindName(p.kind), p.id, p.codes)
	}
	return fmt.Sprintf("%s id=%d code=%#x present=%v", kindName(p.kind), p.id, p.code, p.present)
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// property is one of MQTT 5. A number, a text, or a name and a text.
type property struct {
	id     byte
	number uint32
	name   string
	text   string
}

// prop is the first property of an id.
func (p packet) prop(id byte) (property, bool) {
	for _, q := range p.props {
		if q.id == id {
			return q, true
		}
	}
	return property{}, false
}

// readPacket reads and decodes one packet of a level.
func readPacket(r *bufio.Reader, level byte) (packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	length, shift := 0, 0
	for ; ; shift += 7 {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return packet{}, err
		case shift > 21:
			return packet{}, fmt.Errorf("remaining length of more than four bytes")
		}
		if length |= int(b&127) << shift; b < 128 {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return packet{}, err
	}
	p, err := decode(first, body, level)
	p.size = 1 + shift/7 + 1 + length
	p.long = shift/7+1 > len(varint(length))
	return p, err
}

func decode(first byte, body []byte, level byte) (packet, error) {
	p := packet{kind: first >> 4, flags: first & 15}
	b := fields{rest: body}
	v5 := level == 5
	switch p.kind {
	case CONNACK:
		p.present = b.byte() == 1
		p.code = b.byte()
	case PUBLISH:
		p.dup, p.qos, p.retain = first&8 != 0, first>>1&3, first&1 != 0
		p.topic = b.text()
		if p.qos > 0 {
			p.id = b.u16()
		}
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		p.id = b.u16()
		if v5 && len(b.rest) > 0 {
			p.code = b.byte()
		}
	case SUBACK, UNSUBACK:
		p.id = b.u16()
	case DISCONNECT, AUTH:
		if v5 && len(b.rest) > 0 {
			p.code = b.byte()
		}
	case PINGRESP:
	default:
		return p, fmt.Errorf("a %s, which no server sends", kindName(p.kind))
	}
	mayLack := p.kind != CONNACK && p.kind != PUBLISH && p.kind != SUBACK && p.kind != UNSUBACK
	if v5 && p.kind != PINGRESP && (len(b.rest) > 0 || !mayLack) {
		p.props = b.properties()
	}
	switch p.kind {
	case PUBLISH:
		p.payload, b.rest = string(b.rest), nil
	case SUBACK, UNSUBACK:
		p.codes, b.rest = b.rest, nil
	}
	p.rest = b.rest
	if b.short {
		return p, fmt.Errorf("a %s that ends early: %x", kindName(p.kind), body)
	}
	return p, nil
}

// fields takes a packet's body apart.
type fields struct {
	rest  []byte
	short bool // more was asked for than there is
}

func (f *fields) take(n int) []byte {
	if len(f.rest) < n {
		f.short, f.rest = true, nil
		return make([]byte, n)
	}
	head := f.rest[:n]
	f.rest = f.rest[n:]
	return head
}

func (f *fields) byte() byte   { return f.take(1)[0] }
func (f *fields) u16() uint16  { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) text() string { return string(f.take(int(f.u16()))) }

func (f *fields) varint() int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b := f.byte()
		if n |= int(b&127) << shift; b < 128 {
			return n
		}
	}
	f.short = true
	return 0
}

// properties decodes those of MQTT 5, 2.2.2.2.
func (f *fields) properties() []property {
	in := fields{rest: f.take(f.varint())}
	var all []property
	for len(in.rest) > 0 {
		p := property{id: in.byte()}
		switch p.id {
		case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a:
			p.number = uint32(in.byte())
		case 0x13, 0x21, 0x22, 0x23:
			p.number = uint32(in.u16())
		case 0x02, 0x11, 0x18, 0x27:
			p.number = binary.BigEndian.Uint32(in.take(4))
		case 0x0b:
			p.number = uint32(in.varint())
		case 0x26:
			p.name, p.text = in.text(), in.text()
		case 0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f:
			p.text = in.text()
		default:
			in.short, in.rest = true, nil
		}
		all = append(all, p)
	}
	f.short = f.short || in.short
	return all
}
