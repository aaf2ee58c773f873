package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"dominion/topics"
)

// hand is a connection that writes what no honest client would: broker/client
// refuses to.
type hand struct {
	conn net.Conn
	mu   sync.Mutex // guards writing
	next uint16     // packet identifier
}

// Login is how a hand is known to a broker.
type Login struct{ Username, Password string }

// connectHand connects, subscribes to the filters at QoS 1, and hands what
// comes to hear, in a goroutine that ends with the connection.
func connectHand(conn net.Conn, login Login, filters []string, hear func(topics.Message)) (*hand, error) {
	h := &hand{conn: conn}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession = "MQTT", 4, true
	connect.Keepalive, connect.ClientIdentifier = 600, "dominion.verify."+topics.NewID(8)
	connect.UsernameFlag, connect.Username = login.Username != "", login.Username
	connect.PasswordFlag, connect.Password = login.Password != "", []byte(login.Password)
	if err := h.write(connect); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	raw, err := frame(in)
	if err != nil {
		return nil, err
	}
	packet, err := packets.ReadPacket(bytes.NewReader(raw))
	if ack, ok := packet.(*packets.ConnackPacket); err != nil || !ok {
		return nil, errors.New("the broker does not answer as one")
	} else if ack.ReturnCode != packets.Accepted {
		return nil, fmt.Errorf("the broker refuses: %s", packets.ConnackReturnCodes[ack.ReturnCode])
	}
	conn.SetDeadline(time.Time{})
	go h.read(in, hear)
	if len(filters) > 0 {
		subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, filters, bytes.Repeat([]byte{1}, len(filters))
		h.next = 1
		return h, h.write(subscribe)
	}
	return h, nil
}

func (h *hand) read(in *bufio.Reader, hear func(topics.Message)) {
	for {
		raw, err := frame(in)
		if err != nil {
			h.conn.Close()
			return
		}
		packet, err := packets.ReadPacket(bytes.NewReader(raw))
		if err != nil {
			h.conn.Close()
			return
		}
		p, ok := packet.(*packets.PublishPacket)
		if !ok {
			continue
		}
		if p.Qos == 1 {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			_ = h.write(ack) // a broken connection is seen by the reader
		}
		hear(topics.Message{Topic: p.TopicName, Payload: p.Payload, QoS: p.Qos, Retained: p.Retain})
	}
}

func (h *hand) write(p packets.ControlPacket) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return p.Write(h.conn)
}

// publish sends a message, and does not wait for its acknowledgement.
func (h *hand) publish(m topics.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.Retain = m.Topic, m.Payload, m.QoS, m.Retained
	if m.QoS > 0 {
		h.next = max(1, h.next+1)
		p.MessageID = h.next
	}
	return p.Write(h.conn)
}

// leave ends the connection in order.
func (h *hand) leave() {
	_ = h.write(packets.NewControlPacket(packets.Disconnect))
	h.conn.Close()
}
