package broker

import (
	"bytes"
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// site is where properties stand; one bit each.
type site byte

const (
	inConnect site = 1 << iota
	inWill
	inPublish
	inAck
	inSubscribe
	inUnsubscribe
	inDisconnect

	everywhere = inConnect | inWill | inPublish | inAck | inSubscribe | inUnsubscribe | inDisconnect
)

// shape is what the value of a property is like.
type shape byte

const (
	aFlag shape = iota + 1 // 0 or 1
	aShort
	aShortNotZero
	aLong
	aLongNotZero
	aVarintNotZero
	aText
	aTopic
	someData
	aPair
)

// property says what a property's value is like and where a client may send it
// (2.2.2.2); a zero shape means that there is no such property.
func property(id byte) (shape, site) {
	switch id {
	case packets.PropPayloadFormat:
		return aFlag, inPublish | inWill
	case packets.PropMessageExpiryInterval:
		return aLong, inPublish | inWill
	case packets.PropContentType:
		return aText, inPublish | inWill
	case packets.PropResponseTopic:
		return aTopic, inPublish | inWill
	case packets.PropCorrelationData:
		return someData, inPublish | inWill
	case packets.PropSubscriptionIdentifier:
		return aVarintNotZero, inSubscribe
	case packets.PropSessionExpiryInterval:
		return aLong, inConnect | inDisconnect
	case packets.PropAuthenticationMethod:
		return aText, inConnect
	case packets.PropAuthenticationData:
		return someData, inConnect
	case packets.PropRequestProblemInfo, packets.PropRequestResponseInfo:
		return aFlag, inConnect
	case packets.PropWillDelayInterval:
		return aLong, inWill
	case packets.PropReasonString:
		return aText, inAck | inDisconnect
	case packets.PropServerReference: // means nothing from a client
		return aText, inDisconnect
	case packets.PropReceiveMaximum:
		return aShortNotZero, inConnect
	case packets.PropTopicAliasMaximum:
		return aShort, inConnect
	case packets.PropTopicAlias:
		return aShort, inPublish
	case packets.PropUser:
		return aPair, everywhere
	case packets.PropMaximumPacketSize:
		return aLongNotZero, inConnect
	}
	return 0, 0
}

// properties are which were found.
type properties struct {
	ids   uint64 // one bit each
	alias uint16
}

func (f properties) has(id byte) bool { return f.ids>>id&1 == 1 }

// properties walks through those of MQTT 5.
func (p *parts) properties(in site) (found properties, fault error) {
	length, n, err := varint(p.rest)
	switch {
	case err != nil:
		return found, packets.ErrMalformedVariableByteInteger
	case n == 0:
		p.short = true
		return found, nil
	}
	p.skip(n)
	own := parts{rest: p.skip(length)}
	for len(own.rest) > 0 && !p.short {
		id := own.byte()
		what, where := property(id)
		switch {
		case id == packets.PropSubscriptionIdentifier && in == inPublish:
			return found, packets.ErrProtocolViolationSurplusSubID // 3.3.4-6
		case where&in == 0:
			return found, packets.ErrMalformedBadProperty
		case found.has(id) && what != aPair:
			return found, packets.ErrProtocolViolation
		}
		found.ids |= 1 << id
		number, fault := own.value(what)
		switch {
		case own.short:
			return found, packets.ErrMalformedProperties
		case fault != nil:
			return found, fault
		case id == packets.PropTopicAlias:
			found.alias = uint16(number)
		}
	}
	return found, own.fault
}

// value reads one; texts are no numbers.
func (p *parts) value(what shape) (number int, fault error) {
	switch what {
	case aFlag:
		if number = int(p.byte()); number > 1 {
			return 0, packets.ErrProtocolViolation
		}
		return number, nil
	case aShort, aShortNotZero:
		number = int(p.id())
	case aLong, aLongNotZero:
		if b := p.skip(4); b != nil {
			number = int(binary.BigEndian.Uint32(b))
		}
	case aVarintNotZero:
		value, n, err := varint(p.rest)
		p.short = p.short || err != nil || n == 0
		p.skip(n)
		number = value
	case aText:
		p.text()
		return 0, nil
	case aTopic: // of a response, 3.3.2-14
		if bytes.ContainsAny(p.text(), "+#") {
			return 0, packets.ErrProtocolViolationSurplusWildcard
		}
		return 0, nil
	case someData:
		p.field()
		return 0, nil
	case aPair:
		p.text()
		p.text()
		return 0, nil
	}
	if number == 0 && (what == aShortNotZero || what == aLongNotZero || what == aVarintNotZero) {
		return 0, packets.ErrProtocolViolation
	}
	return number, nil
}
