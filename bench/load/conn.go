package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// Conn is one client's connection: one goroutine may read it, another write.
type Conn struct {
	tcp     net.Conn
	in      *Reader
	out     *bufio.Writer
	scratch []byte
	release func() bool // no longer closed when its context ends
}

// patience is how long a broker may take for one answer.
const patience = 5 * time.Second

// Dial connects a client with a clean session to a broker on a loopback
// address; any other is refused. The connection is closed when ctx ends.
func Dial(ctx context.Context, addr, id string) (*Conn, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !at.IP.IsLoopback() {
		return nil, fmt.Errorf("load on %s: only a loopback address is loaded, use 127.0.0.1", addr)
	}
	dialer := net.Dialer{Timeout: patience}
	tcp, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	c := &Conn{tcp: tcp, in: NewReader(tcp), out: bufio.NewWriterSize(tcp, 16<<10)}
	c.release = context.AfterFunc(ctx, func() { _ = tcp.Close() })
	answer, err := c.ask(Packet{Kind: Connect, Topic: []byte(id)}, Connack)
	if err == nil && answer.Code != 0 {
		err = fmt.Errorf("refused with code %d", answer.Code)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect %s to %s: %w", id, addr, err)
	}
	return c, nil
}

// Subscribe subscribes to one filter. What is retained may come before the
// SUBACK; it would be skipped, so a load that counts it uses Send and Next.
func (c *Conn) Subscribe(filter string, qos byte) error {
	answer, err := c.ask(Packet{Kind: Subscribe, ID: 1, Topic: []byte(filter), QoS: qos}, Suback)
	if err == nil && answer.Code > 1 {
		err = fmt.Errorf("refused with code %#x", answer.Code)
	}
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	return nil
}

// Ping asks whether the broker still knows this client.
func (c *Conn) Ping() error {
	_, err := c.ask(Packet{Kind: Pingreq}, Pingresp)
	return err
}

// ask sends a packet and reads up to its answer.
func (c *Conn) ask(p Packet, want Kind) (Packet, error) {
	_ = c.tcp.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = c.tcp.SetReadDeadline(time.Time{}) }()
	if err := c.Send(p); err != nil {
		return Packet{}, err
	}
	if err := c.Flush(); err != nil {
		return Packet{}, err
	}
	for {
		answer, err := c.Next()
		if err != nil || answer.Kind == want {
			return answer, err
		}
	}
}

// Send puts a packet into the write buffer.
func (c *Conn) Send(p Packet) error {
	c.scratch = p.Append(c.scratch[:0])
	_, err := c.out.Write(c.scratch)
	return err
}

// Flush writes what Send buffered.
func (c *Conn) Flush() error { return c.out.Flush() }

// Next reads a packet.
func (c *Conn) Next() (Packet, error) { return c.in.Next() }

// Leave disconnects in good order and waits for the broker to close, so that
// no port stays behind in TIME_WAIT: a load makes thousands of connections.
func (c *Conn) Leave() error {
	defer c.Close()
	if err := c.Send(Packet{Kind: Disconnect}); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	_ = c.tcp.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := c.Next(); err != nil {
			return nil // the end is what was waited for
		}
	}
}

// Close drops the connection.
func (c *Conn) Close() {
	c.release()
	if tcp, ok := c.tcp.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.tcp.Close()
}
