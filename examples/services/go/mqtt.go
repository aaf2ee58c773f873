package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"
)

// bus is the little of MQTT 3.1.1 that it takes to publish. A real program
// takes a library, such as github.com/eclipse/paho.mqtt.golang.
type bus struct{ net.Conn }

// dial connects to the broker of a URL, mqtt:// or mqtts://, which is vouched
// for by the authority in the file ca.
func dial(broker, ca string) (bus, error) {
	at, err := url.Parse(broker)
	if err != nil {
		return bus{}, err
	}
	conn, err := connect(at, ca)
	if err != nil {
		return bus{}, err
	}
	flags, login := byte(2), []byte(nil) // a clean session
	if name := at.User.Username(); name != "" {
		flags, login = flags|0x80, text(login, name)
	}
	if password, ok := at.User.Password(); ok {
		flags, login = flags|0x40, text(login, password)
	}
	hello := append(text(nil, "MQTT"), 4, flags, 0, 60)
	hello = append(text(hello, "counter-"+os.Getenv("START_ID")), login...)
	answer := make([]byte, 4)
	if _, err := conn.Write(packet(0x10, hello)); err != nil {
		return bus{}, err
	}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return bus{}, err
	}
	if answer[0] != 0x20 || answer[3] != 0 {
		return bus{}, fmt.Errorf("the broker answered %x, which is no welcome", answer)
	}
	return bus{conn}, nil
}

func connect(at *url.URL, ca string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if at.Scheme != "mqtts" {
		return dialer.Dial("tcp", net.JoinHostPort(at.Hostname(), or(at.Port(), "1883")))
	}
	trust := &tls.Config{}
	if ca != "" {
		authority, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(authority)
	}
	return tls.DialWithDialer(dialer, "tcp", net.JoinHostPort(at.Hostname(), or(at.Port(), "8883")), trust)
}

// publish has a topic keep a payload.
func (b bus) publish(topic, payload string) error {
	_, err := b.Write(packet(0x31, append(text(nil, topic), payload...)))
	return err
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func packet(kind byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
