package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"dominion/topics"
)

// maxFrame is more than any payload of the protocol may be, so that one that is
// too long is seen.
const maxFrame = 4 << 20

// errFrame is returned for a packet that is longer, or none of MQTT.
var errFrame = errors.New("it sent what is no packet of MQTT 3.1.1, or one of more than 4 MiB")

// frame reads one packet, whole.
func frame(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	raw, length := []byte{first}, 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		raw = append(raw, b)
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return nil, errFrame
		}
	}
	if length > maxFrame {
		return nil, errFrame
	}
	head := len(raw)
	raw = append(raw, make([]byte, length)...)
	_, err = io.ReadFull(r, raw[head:])
	return raw, err
}

// events are what a packet of a client means.
func events(raw []byte) ([]Event, error) {
	packet, err := packets.ReadPacket(bytes.NewReader(raw))
	if err != nil {
		return nil, errFrame
	}
	switch p := packet.(type) {
	case *packets.PublishPacket:
		m := topics.Message{Topic: p.TopicName, Payload: p.Payload, QoS: p.Qos, Retained: p.Retain}
		return []Event{{What: Said, Message: m}}, nil
	case *packets.SubscribePacket:
		var all []Event
		for _, filter := range p.Topics {
			all = append(all, Event{What: Subscribed, Filter: filter})
		}
		return all, nil
	case *packets.DisconnectPacket:
		return []Event{{What: Left}}, nil
	}
	return nil, nil
}

// opening reads a CONNECT. An Event with a Fault is one that is not of MQTT
// 3.1.1.
func opening(raw []byte) Event {
	packet, err := packets.ReadPacket(bytes.NewReader(raw))
	connect, ok := packet.(*packets.ConnectPacket)
	e := Event{What: Opened}
	switch {
	case ok && connect.ProtocolVersion != 4:
		e.Fault = fmt.Sprintf("its CONNECT is of MQTT version %d (3.1.1 is 4)", connect.ProtocolVersion)
	case err != nil || !ok:
		e.Fault = "its first packet is no CONNECT of MQTT 3.1.1"
	default:
		e.Client, e.Clean = connect.ClientIdentifier, connect.CleanSession
		if connect.WillFlag {
			e.Will = &topics.Message{Topic: connect.WillTopic, Payload: connect.WillMessage, QoS: connect.WillQos, Retained: connect.WillRetain}
		}
	}
	return e
}

// turnedAway is the answer to a CONNECT of another version.
func turnedAway(w io.Writer) error {
	refusal := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	refusal.ReturnCode = packets.ErrRefusedBadProtocolVersion
	return refusal.Write(w)
}
