package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// patience is how long a test waits for what must happen; it never waits that
// long for what does.
const patience = 20 * time.Second

// everybody may do what a loopback client in the demo may, and be a node.
func everybody() []topics.Identity {
	return []topics.Identity{{Role: topics.RoleOperator}, {Role: topics.RoleHomeAssistant}, {Role: topics.RoleNode}}
}

var coordinator = topics.Identity{Role: topics.RoleCoordinator}

// start runs a server on a free port until the test ends. change may alter its options.
func start(t testing.TB, change func(*broker.Options)) *broker.Server {
	t.Helper()
	s, _ := startAndStop(t, change)
	return s
}

// startAndStop also returns what ends the server, and waits for its end.
func startAndStop(t testing.TB, change func(*broker.Options)) (*broker.Server, func()) {
	t.Helper()
	o := broker.Options{
		Listen:    []string{"127.0.0.1:0"},
		Anonymous: everybody(),
		Log:       zerolog.Nop(),
	}
	if change != nil {
		change(&o)
	}
	s, err := broker.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, run(t, s)
}

func run(t testing.TB, s *broker.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func dial(t testing.TB, s *broker.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// peer is an MQTT client that does nothing by itself but acknowledge.
type peer struct {
	t       testing.TB
	conn    net.Conn
	version byte
	in      chan packets.Packet // all that came, after CONNACK; closed at the end
	nextID  uint16
	silent  atomic.Bool // do not acknowledge
	connack packets.Packet
	mu      sync.Mutex // one writer at a time
}

// connect is a CONNECT of MQTT 3.1.1; change may alter it.
func connect(id string, change func(*packets.Packet)) packets.Packet {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connect},
		ProtocolVersion: 4,
		Connect:         packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60},
	}
	if change != nil {
		change(&pk)
	}
	return pk
}

func withWill(topic, payload string, retain bool) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag = true
		pk.Connect.WillTopic = topic
		pk.Connect.WillPayload = []byte(payload)
		pk.Connect.WillRetain = retain
		pk.Connect.WillQos = 1
	}
}

// join connects a peer and fails the test if it is not let in.
func join(t testing.TB, c net.Conn, id string, change func(*packets.Packet)) *peer {
	t.Helper()
	p := try(t, c, id, change)
	if p.connack.FixedHeader.Type != packets.Connack || p.connack.ReasonCode != 0 {
		t.Fatalf("%s: CONNECT got packet type %d with code %d, want CONNACK with 0", id, p.connack.FixedHeader.Type, p.connack.ReasonCode)
	}
	return p
}

// try connects a peer; its connack is a zero packet if the connection ended without.
func try(t testing.TB, c net.Conn, id string, change func(*packets.Packet)) *peer {
	t.Helper()
	return tryWithRoom(t, c, id, change, 1<<16) // some 30 MB
}

// tryWithRoom connects a peer that may leave so many packets unread.
func tryWithRoom(t testing.TB, c net.Conn, id string, change func(*packets.Packet), room int) *peer {
	t.Helper()
	pk := connect(id, change)
	p := &peer{t: t, conn: c, version: pk.ProtocolVersion, in: make(chan packets.Packet)}
	t.Cleanup(func() { _ = c.Close() })
	p.send(pk)
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var err error
	if p.connack, err = read(r, p.version); err != nil {
		close(p.in)
		return p
	}
	_ = c.SetReadDeadline(time.Time{})
	if p.connack.ReasonCode == 0 {
		p.in = make(chan packets.Packet, room)
	}
	go p.listen(r)
	return p
}

func (p *peer) listen(r *bufio.Reader) {
	defer close(p.in)
	defer p.conn.Close() // who is hung up on hangs up
	for {
		pk, err := read(r, p.version)
		if err != nil {
			return
		}
		if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 1 && !p.silent.Load() {
			p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
		p.in <- pk
	}
}

func read(r *bufio.Reader, version byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: version}
	b, err := r.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(b); err != nil {
		return pk, err
	}
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(r); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(r, body); err != nil {
		return pk, err
	}
	decode := map[byte]func([]byte) error{
		packets.Connack: pk.ConnackDecode, packets.Publish: pk.PublishDecode, packets.Puback: pk.PubackDecode,
		packets.Suback: pk.SubackDecode, packets.Unsuback: pk.UnsubackDecode, packets.Disconnect: pk.DisconnectDecode,
	}[pk.FixedHeader.Type]
	if decode != nil {
		err = decode(body)
	}
	return pk, err
}

func (p *peer) send(pk packets.Packet) {
	pk.ProtocolVersion = p.version
	p.raw(encode(p.t, pk))
}

func encode(t testing.TB, pk packets.Packet) []byte {
	t.Helper()
	var buf bytes.Buffer
	encode := map[byte]func(*bytes.Buffer) error{
		packets.Connect: pk.ConnectEncode, packets.Publish: pk.PublishEncode, packets.Puback: pk.PubackEncode,
		packets.Subscribe: pk.SubscribeEncode, packets.Unsubscribe: pk.UnsubscribeEncode, packets.Disconnect: pk.DisconnectEncode,
		packets.Pingreq: pk.PingreqEncode,
	}[pk.FixedHeader.Type]
	if err := encode(&buf); err != nil {
		t.Errorf("encode packet of type %d: %v", pk.FixedHeader.Type, err)
	}
	return buf.Bytes()
}

// raw writes bytes; that the connection may be gone is for the reader to see.
func (p *peer) raw(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.conn.Write(b)
}

// id is the next packet id; 0 is none.
func (p *peer) id() uint16 {
	p.nextID = max(p.nextID+1, 1)
	return p.nextID
}

func (p *peer) publish(topic, payload string, qos byte, retain bool) {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Retain: retain}, TopicName: topic, Payload: []byte(payload)}
	if qos > 0 {
		pk.PacketID = p.id()
	}
	p.send(pk)
	if qos > 0 {
		p.await("PUBACK of "+topic, func(a packets.Packet) bool {
			return a.FixedHeader.Type == packets.Puback && a.PacketID == pk.PacketID
		})
	}
}

// subscribe returns the codes of SUBACK.
func (p *peer) subscribe(qos byte, filters ...string) []byte {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: p.id()}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	p.send(pk)
	return p.await("SUBACK", func(a packets.Packet) bool {
		return a.FixedHeader.Type == packets.Suback && a.PacketID == pk.PacketID
	}).ReasonCodes
}

// await skips to the packet that is wanted.
func (p *peer) await(what string, wanted func(packets.Packet) bool) packets.Packet {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case pk, ok := <-p.in:
			if !ok {
				p.t.Fatalf("connection ended, want %s", what)
			}
			if wanted(pk) {
				return pk
			}
		case <-late:
			p.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// message skips to the next message on a topic.
func (p *peer) message(topic string) packets.Packet {
	p.t.Helper()
	return p.await("message on "+topic, func(pk packets.Packet) bool {
		return pk.FixedHeader.Type == packets.Publish && pk.TopicName == topic
	})
}

// upTo publishes a token to itself and returns all messages that came before it.
func (p *peer) upTo(token string) []packets.Packet {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: token, Payload: []byte("token"), PacketID: p.id()})
	var before []packets.Packet
	p.await("token on "+token, func(pk packets.Packet) bool {
		if pk.FixedHeader.Type != packets.Publish {
			return false
		}
		if pk.TopicName == token {
			return true
		}
		before = append(before, pk)
		return false
	})
	return before
}

// gone waits for the end of the connection.
func (p *peer) gone() {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-p.in:
			if !ok {
				return
			}
		case <-late:
			p.t.Fatalf("connection still open after %v", patience)
		}
	}
}

func (p *peer) disconnect() {
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	p.gone()
}

// retained asks a server what it retains for a filter: topic to payload.
func retained(t testing.TB, s *broker.Server, filter string) map[string]string {
	t.Helper()
	p := join(t, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "asks-"+time.Now().Format("150405.000000000"), nil)
	defer p.disconnect()
	p.subscribe(1, filter, "ask/token")
	kept := map[string]string{}
	for _, pk := range p.upTo("ask/token") {
		if pk.FixedHeader.Retain {
			kept[pk.TopicName] = string(pk.Payload)
		}
	}
	return kept
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// sendPublish publishes with QoS 1 and waits for nothing.
func (p *peer) sendPublish(topic, payload string, id uint16) {
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
		TopicName:   topic, Payload: []byte(payload), PacketID: id,
	})
}
