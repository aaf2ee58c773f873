package broker

import (
	"bytes"
	"errors"
	"os"

	"github.com/mochi-mqtt/server/v2/packets"
)

// inspection follows what a client sends, packet by packet, before mochi reads
// it: mochi takes bytes that are left over, properties that are wrong or come
// twice, and a SUBSCRIBE that ends early makes it panic; and of what it finds
// itself while it reads, it tells a client of MQTT 5 nothing.
type inspection struct {
	level byte // of MQTT
	most  int  // bytes of a packet

	begun   bool   // CONNECT, which greet looked at, has passed
	aliases uint64 // one bit for each that has a topic
	part    []byte // the beginning of a packet of which not enough has come
	size    int    // of the last packet that is as it should be, in bytes
	rest    int    // what of it is to come
	reason  byte   // that of DISCONNECT, which mochi does not always read
	fault   error  // what is wrong with the packet after those that passed
}

// pass returns how much of b may be handed on. After a fault, which is a
// packets.Code, nothing more is to be read.
func (i *inspection) pass(b []byte) (good int, fault error) {
	for at := 0; at < len(b); {
		if i.rest > 0 {
			n := min(i.rest, len(b)-at)
			at, i.rest = at+n, i.rest-n
			continue
		}
		before := len(i.part)
		ahead := b[at:]
		if before > 0 {
			i.part = append(i.part, ahead...)
			ahead = i.part
		}
		size, enough, err := i.look(ahead)
		switch {
		case err != nil:
			return at, err
		case !enough && before == 0:
			i.part = bytes.Clone(ahead)
			return len(b), nil
		case !enough:
			return len(b), nil
		}
		i.part, i.size, i.rest = nil, size, size-before
	}
	return len(b), nil
}

// missing is how much of the packet that has begun is to come, as far as that is
// known, and how much of it has come.
func (i *inspection) missing() (missing, come int) {
	if i.rest > 0 {
		return i.rest, i.size - i.rest
	}
	if len(i.part) == 0 {
		return 0, 0
	}
	length, n, _ := varint(i.part[1:])
	if n == 0 {
		return 0, len(i.part)
	}
	return 1 + n + length - len(i.part), len(i.part)
}

// look judges the packet that b begins with, once there is enough of it: the
// payload of a PUBLISH is nobody's business.
func (i *inspection) look(b []byte) (size int, enough bool, fault error) {
	length, n, err := varint(b[1:])
	switch {
	case err != nil:
		return 0, false, packets.ErrMalformedVariableByteInteger
	case n == 0:
		return 0, false, nil
	}
	size = 1 + n + length
	if !i.begun {
		i.begun = true
		return size, true, nil
	}
	if size > i.most {
		return 0, false, packets.ErrPacketTooLarge
	}
	kind := b[0] >> 4
	if kind == packets.Publish && i.level < 5 { // mochi sees to it
		return size, true, nil
	}
	if fault := checkFlags(b[0]); fault != nil {
		return 0, false, fault
	}
	if kind != packets.Publish && len(b) < size {
		return 0, false, nil
	}
	p := parts{rest: b[1+n : min(len(b), size)]}
	fault = i.check(kind, b[0], &p)
	switch {
	case p.short && len(b) < size:
		return 0, false, nil
	case p.short:
		return 0, false, packets.ErrMalformedPacket
	case fault == nil && kind != packets.Publish && len(p.rest) > 0:
		return 0, false, packets.ErrMalformedPacket
	}
	return size, fault == nil, fault
}

// checkFlags holds the low half of a packet's first byte to 2.1.3 and 3.3.1.
func checkFlags(first byte) error {
	flags := first & 0x0f
	switch first >> 4 {
	case packets.Publish:
		switch qos := flags >> 1 & 3; {
		case qos == 3:
			return packets.ErrMalformedFlags
		case qos == 0 && flags&8 != 0:
			return packets.ErrProtocolViolationDupNoQos
		}
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		if flags != 2 {
			return packets.ErrMalformedFlags
		}
	default:
		if flags != 0 {
			return packets.ErrMalformedFlags
		}
	}
	return nil
}

func (i *inspection) check(kind, first byte, p *parts) error {
	switch kind {
	case packets.Publish:
		return i.checkPublish(first, p)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return i.checkAck(kind, p)
	case packets.Subscribe:
		return i.checkSubscribe(p)
	case packets.Unsubscribe:
		return i.checkUnsubscribe(p)
	case packets.Pingreq:
		return nil
	case packets.Disconnect:
		return i.checkDisconnect(p)
	}
	// A second CONNECT (3.1.0-2), what only a server sends, AUTH without an
	// authentication method (4.12.0-7), and what there is not.
	p.rest = nil
	return packets.ErrProtocolViolation
}

// checkPublish is for MQTT 5.
func (i *inspection) checkPublish(first byte, p *parts) error {
	topic := p.text()
	if first>>1&3 > 0 && p.id() == 0 && !p.short {
		return packets.ErrProtocolViolationNoPacketID
	}
	found, fault := p.properties(inPublish)
	switch {
	case fault != nil || p.short:
		return fault
	case found.has(packets.PropTopicAlias) && (found.alias == 0 || found.alias > topicAliasMaximum):
		return packets.ErrTopicAliasInvalid
	case len(topic) == 0 && !found.has(packets.PropTopicAlias):
		return packets.ErrProtocolViolationNoTopic
	case bytes.ContainsAny(topic, "+#"):
		return packets.ErrTopicNameInvalid
	case p.fault != nil || !found.has(packets.PropTopicAlias):
		return p.fault
	case len(topic) > 0:
		i.aliases |= 1 << found.alias
	case i.aliases>>found.alias&1 == 0:
		return packets.ErrTopicAliasInvalid
	}
	return nil
}

func (i *inspection) checkAck(kind byte, p *parts) error {
	id := p.id()
	var reason byte
	var fault error
	if i.level == 5 && len(p.rest) > 0 {
		reason = p.byte()
		if len(p.rest) > 0 {
			_, fault = p.properties(inAck)
		}
	}
	switch {
	case fault != nil || p.short:
		return fault
	case id == 0:
		return packets.ErrProtocolViolationNoPacketID
	case !ackReason(kind, reason):
		return packets.ErrProtocolViolationInvalidReason
	}
	return p.fault
}

// ackReason tells whether an acknowledgement may have a reason (3.4.2.1, 3.5.2.1,
// 3.6.2.1, 3.7.2.1).
func ackReason(kind, reason byte) bool {
	switch kind {
	case packets.Pubrel, packets.Pubcomp:
		return reason == 0 || reason == packets.ErrPacketIdentifierNotFound.Code
	}
	switch reason {
	case 0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99:
		return true
	}
	return false
}

func (i *inspection) checkSubscribe(p *parts) error {
	id := p.id()
	var fault error
	if i.level == 5 {
		_, fault = p.properties(inSubscribe)
	}
	filters := 0
	for ; len(p.rest) > 0 && fault == nil && !p.short; filters++ {
		filter := p.text()
		fault = i.checkOptions(p.byte(), filter)
	}
	switch {
	case fault != nil || p.short:
		return fault
	case id == 0:
		return packets.ErrProtocolViolationNoPacketID
	case filters == 0:
		return packets.ErrProtocolViolationNoFilters
	}
	return p.fault
}

// checkOptions holds the options of a subscription to 3.8.3.1.
func (i *inspection) checkOptions(options byte, filter []byte) error {
	const qos, noLocal, handling, reserved = 0x03, 0x04, 0x30, 0xc0
	switch {
	case i.level < 5 && options > 2, options&reserved != 0:
		return packets.ErrMalformedFlags
	case options&qos == qos, options&handling == handling:
		return packets.ErrProtocolViolationQosOutOfRange
	case options&noLocal != 0 && unshared(string(filter)) != string(filter):
		return packets.ErrProtocolViolationInvalidSharedNoLocal
	}
	return nil
}

func (i *inspection) checkUnsubscribe(p *parts) error {
	id := p.id()
	var fault error
	if i.level == 5 {
		_, fault = p.properties(inUnsubscribe)
	}
	filters := 0
	for ; len(p.rest) > 0 && !p.short; filters++ {
		p.text()
	}
	switch {
	case fault != nil || p.short:
		return fault
	case id == 0:
		return packets.ErrProtocolViolationNoPacketID
	case filters == 0:
		return packets.ErrProtocolViolationNoFilters
	}
	return p.fault
}

func (i *inspection) checkDisconnect(p *parts) error {
	if i.level < 5 || len(p.rest) == 0 {
		return nil
	}
	reason := p.byte()
	if len(p.rest) > 0 {
		if _, fault := p.properties(inDisconnect); fault != nil {
			return fault
		}
	}
	switch reason { // those of a client, 3.14.2.1
	case 0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99:
		i.reason = reason
		return p.fault
	}
	return packets.ErrProtocolViolationInvalidReason
}

// inspect hands what was read on to mochi as far as it is as it should be.
func (c *conn) inspect(b []byte, err error) (int, error) {
	if len(b) > 0 {
		var good int
		if good, c.inspection.fault = c.inspection.pass(b); good > 0 {
			return good, nil
		}
	}
	var fault packets.Code
	switch {
	case errors.As(c.inspection.fault, &fault):
		c.dismiss(fault)
		c.drain()
		return 0, fault
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.dismiss(packets.ErrKeepAliveTimeout)
	}
	return len(b), err
}
