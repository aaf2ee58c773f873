package broker

import (
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// longestConnect bounds what a client may make us keep before it is let in, in
// bytes. mochi would take the largest packet, and from anybody.
const longestConnect = 64 << 10

// What is wrong with a first packet. MQTT 3.1.1, 3.1.4-1, wants such a
// connection closed without an answer.
var (
	errNoConnect  = errors.New("it does not begin with a CONNECT of MQTT")
	errSpeaksTLS  = errors.New("it speaks TLS to a plain listener: give it mqtt:// and this port, or the port of a TLS listener")
	errBigConnect = fmt.Errorf("its CONNECT has more than %d bytes", longestConnect)
	errMalformed  = errors.New("its CONNECT is not as MQTT wants it")
)

// greet reads a client's first packet, and leaves it to be read again by mochi
// if it is a CONNECT as it should be.
func (s *Server) greet(c *conn) bool {
	ahead, err := readConnect(c.Conn)
	var why packets.Code
	switch {
	case err == nil:
		c.ahead = ahead
		c.inspection.level = levelOf(ahead)
		return true
	case errors.As(err, &why):
		s.turnedAway(c, &s.door.garbled, err.Error())
		if levelOf(ahead) == 5 {
			_, _ = c.Write(refuseConnect(why))
			c.part()
			c.drain()
		}
	case errors.Is(err, errNoConnect), errors.Is(err, errSpeaksTLS), errors.Is(err, errBigConnect), errors.Is(err, errMalformed), errors.Is(err, errText):
		s.turnedAway(c, &s.door.garbled, err.Error())
	default:
		s.log.Debug().Err(err).Stringer("remote", c.RemoteAddr()).Msg("no CONNECT came")
	}
	return false
}

// refuseConnect is a CONNACK of MQTT 5 without properties.
func refuseConnect(why packets.Code) []byte {
	return []byte{packets.Connack << 4, 3, 0, why.Code, 0}
}

// levelOf is the version in a whole CONNECT.
func levelOf(packet []byte) byte {
	_, n, _ := varint(packet[1:])
	p := parts{rest: packet[1+n:]}
	p.field()
	return p.byte()
}

// readConnect reads until it has a whole CONNECT, and returns all it has read:
// what follows may have come with it.
func readConnect(r io.Reader) ([]byte, error) {
	got := make([]byte, 0, 512)
	for {
		whole, known, err := connectSize(got)
		if err != nil {
			return nil, err
		}
		if known && len(got) >= whole {
			return got, checkConnect(got[:whole])
		}
		if whole > cap(got) {
			got = append(make([]byte, 0, whole), got...)
		}
		n, err := r.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// connectSize is how long the packet is that begins so, once that can be known.
func connectSize(got []byte) (whole int, known bool, err error) {
	const connectByte, recordByte = 0x10, 0x16
	switch {
	case len(got) == 0:
		return 0, false, nil
	case got[0] == recordByte:
		return 0, false, errSpeaksTLS
	case got[0] != connectByte:
		return 0, false, errNoConnect
	}
	length, n, err := varint(got[1:])
	switch {
	case err != nil:
		return 0, false, err
	case n == 0:
		return 0, false, nil
	case 1+n+length > longestConnect:
		return 0, false, errBigConnect
	}
	return 1 + n + length, true, nil
}

// checkConnect walks through a CONNECT. mochi decodes one without asking
// whether anything is left (3.1.4-1), and takes wrong flags and properties. Of a
// version that there is not we cannot know what it is made of.
func checkConnect(packet []byte) error {
	_, n, _ := varint(packet[1:])
	p := parts{rest: packet[1+n:]}
	p.field() // protocol name
	level, flags := p.byte(), p.byte()
	if level != 4 && level != 5 {
		return nil
	}
	p.skip(2) // keep-alive
	fault := connectFlags(flags)
	if level == 5 && fault == nil {
		fault = p.connectProperties()
	}
	p.text() // client id
	const will, password, user = 0x04, 0x40, 0x80
	if flags&will != 0 {
		if level == 5 && fault == nil {
			_, fault = p.properties(inWill)
		}
		p.text()  // topic
		p.field() // payload
	}
	if flags&user != 0 {
		p.text()
	}
	if flags&password != 0 {
		p.field()
	}
	switch {
	case fault != nil:
	case p.short || len(p.rest) > 0:
		fault = packets.ErrMalformedPacket
	default:
		fault = p.fault
	}
	if fault != nil {
		return fmt.Errorf("%w (%w)", errMalformed, fault)
	}
	return nil
}

// connectFlags holds them to 3.1.2: without a will it has no QoS and is not
// retained (3.1.2-11, -13), and there is no QoS 3 (3.1.2-12).
func connectFlags(flags byte) error {
	const reserved, will, qos, retain = 0x01, 0x04, 0x18, 0x20
	switch {
	case flags&reserved != 0, flags&qos == qos, flags&will == 0 && flags&(qos|retain) != 0:
		return packets.ErrMalformedFlags
	}
	return nil
}

// connectProperties has no use for a method of authentication: there is none
// (4.12.0-1).
func (p *parts) connectProperties() error {
	found, fault := p.properties(inConnect)
	switch {
	case fault != nil:
		return fault
	case found.has(packets.PropAuthenticationMethod):
		return packets.ErrBadAuthenticationMethod
	case found.has(packets.PropAuthenticationData):
		return packets.ErrProtocolViolation
	}
	return nil
}
