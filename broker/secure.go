package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// secure does a TLS client's handshake, under the deadline of CONNECT. A plain
// connection is as secure as it will be.
func (s *Server) secure(c *conn) bool {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return true
	}
	err := t.Handshake()
	if err == nil {
		return true
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil {
		_, _ = header.Conn.Write(unexpectedMessage())
	}
	if why := handshakeTrouble(err); why != "" {
		s.turnedAway(c, &s.door.garbled, why)
	} else {
		s.log.Debug().Err(err).Stringer("remote", c.RemoteAddr()).Msg("TLS handshake broken off")
	}
	return false
}

// unexpectedMessage is a fatal TLS alert, for who does not speak TLS: crypto/tls
// leaves the answer to us, and a client that reads it can say what is wrong.
func unexpectedMessage() []byte { return []byte{21, 3, 1, 0, 2, 2, 10} }

// handshakeTrouble says what went wrong, if the owner of the house may want to
// know: who opens a connection and hangs up is a port scanner.
func handshakeTrouble(err error) string {
	var header tls.RecordHeaderError
	var network *net.OpError
	switch {
	case errors.As(err, &header) && header.RecordHeader[0] == 0x10:
		return "it speaks MQTT without TLS to a TLS listener: give it mqtts:// and this port, or the port of a plain listener"
	case errors.As(err, &header):
		return "it does not speak TLS"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "it did not finish the TLS handshake in time"
	case errors.As(err, &network) && network.Op == "remote error":
		return "it refuses this broker's certificate (" + network.Err.Error() + "): does it know the house's authority?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return ""
	}
	return err.Error()
}
