package broker_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
)

// script is a connection whose client sends some bytes and hangs up. What it
// is sent goes nowhere.
type script struct {
	sends  *bytes.Reader
	closed chan struct{}
	once   sync.Once
}

func newScript(b []byte) *script {
	return &script{sends: bytes.NewReader(b), closed: make(chan struct{})}
}

func (s *script) Read(b []byte) (int, error)       { return s.sends.Read(b) }
func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) LocalAddr() net.Addr              { return s.RemoteAddr() }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// besieged is a server that anybody sends anything, and two clients beside it
// who mind their own business.
type besieged struct {
	*broker.Server
	t         testing.TB
	door      *fakeListener
	log       lockedBuffer
	publisher *peer
	reader    *peer
	sessions  int
	routines  int
}

// news is where strangers may not write.
const news = "dominion/coordinator/state/info"

func besiege(t testing.TB) *besieged {
	b := &besieged{t: t, door: newFakeListener()}
	s, err := broker.Open(broker.Options{
		Anonymous: everybody(), Log: zerolog.New(&b.log).Level(zerolog.ErrorLevel),
		MaxRetained: 50, MaxStrangers: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Server = s
	s.AddListener(b.door, nil)
	run(t, s)
	// In the leader's own process nobody takes their client ids.
	b.publisher = join(t, s.Pipe(coordinator), "publisher", nil)
	b.reader = join(t, s.Pipe(coordinator), "reader", func(pk *packets.Packet) { pk.ProtocolVersion = 5 })
	b.reader.subscribe(1, news)
	b.gets([]byte("x")) // accepting is the last that Run begins
	eventually(t, "the first has left", func() bool { return s.Connections() == 2 })
	b.exchange()
	b.count()
	return b
}

// count takes what is there now for what is to be left.
func (b *besieged) count() { b.sessions, b.routines = b.Clients(), runtime.NumGoroutine() }

// with lets another test speak of failures.
func (b *besieged) with(t testing.TB) { b.t, b.publisher.t, b.reader.t = t, t, t }

// gets lets a stranger send some bytes, and returns once it was hung up on.
func (b *besieged) gets(sent []byte) {
	c := newScript(sent)
	b.door.conns <- c
	select {
	case <-c.closed:
	case <-time.After(patience):
		b.t.Fatalf("%x: the connection is not closed", sent)
	}
}

// exchange fails unless the two clients hear each other.
func (b *besieged) exchange() {
	b.t.Helper()
	word := time.Now().Format(time.RFC3339Nano)
	b.publisher.publish(news, word, 1, false)
	if got := string(b.reader.message(news).Payload); got != word {
		b.t.Fatalf("heard %q, want %q", got, word)
	}
}

// asBefore fails unless nothing is left of the strangers.
func (b *besieged) asBefore() {
	b.t.Helper()
	b.exchange()
	late := time.Now().Add(patience)
	for {
		b.ForgetSessions()
		connections, sessions, routines := b.Connections(), b.Clients(), runtime.NumGoroutine()
		if connections == 2 && sessions == b.sessions && routines <= b.routines {
			return
		}
		if time.Now().After(late) {
			stacks := make([]byte, 1<<20)
			b.t.Fatalf("%d connections, %d sessions, %d goroutines are left; want 2, %d, %d\n%s",
				connections, sessions, routines, b.sessions, b.routines, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// panics is how often the log told of one since it was last asked.
func (b *besieged) panics() int {
	return strings.Count(b.log.take(), `"panic":`)
}

// everything are all properties; an encoder takes those that its packet has.
func everything() packets.Properties {
	return packets.Properties{
		CorrelationData:           []byte{1, 2, 3},
		User:                      []packets.UserProperty{{Key: "k", Val: "v"}, {Key: "k", Val: ""}},
		ContentType:               "text/plain",
		ResponseTopic:             "answers/here",
		ReasonString:              "why",
		ServerReference:           "elsewhere",
		MessageExpiryInterval:     60,
		SessionExpiryInterval:     60,
		WillDelayInterval:         1,
		MaximumPacketSize:         1 << 16,
		ReceiveMaximum:            10,
		TopicAliasMaximum:         10,
		PayloadFormat:             1,
		PayloadFormatFlag:         true,
		SessionExpiryIntervalFlag: true,
		RequestProblemInfo:        1,
		RequestProblemInfoFlag:    true,
		RequestResponseInfo:       1,
	}
}

// named is a packet as it is sent.
type named struct {
	name  string
	bytes []byte
}

// validPackets are what a client may send, of every type and with all that it
// may have; the first is a CONNECT.
func validPackets(t testing.TB, version byte) []named {
	var all []named
	add := func(name string, pk packets.Packet, encode func(*packets.Packet, *bytes.Buffer) error) {
		pk.ProtocolVersion = version
		pk.Mods.AllowResponseInfo = true
		var buf bytes.Buffer
		if err := encode(&pk, &buf); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, named{name, buf.Bytes()})
	}
	head := func(kind, flags byte) packets.FixedHeader {
		return packets.FixedHeader{Type: kind, Qos: flags >> 1 & 3, Retain: flags&1 > 0, Dup: flags&8 > 0}
	}
	connect := connect("stranger", with(withWill("will/of/stranger", "lost", true), func(pk *packets.Packet) {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte("user")
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte("password")
		pk.Connect.WillProperties = everything()
		pk.Connect.Clean = false
		pk.Properties = everything()
	}))
	add("CONNECT", connect, (*packets.Packet).ConnectEncode)
	publish := packets.Packet{FixedHeader: head(packets.Publish, 0), TopicName: "a/topic", Payload: []byte("payload"), Properties: everything()}
	add("PUBLISH QoS 0", publish, (*packets.Packet).PublishEncode)
	publish.FixedHeader, publish.PacketID = head(packets.Publish, 1<<1|1), 10
	add("PUBLISH QoS 1 retained", publish, (*packets.Packet).PublishEncode)
	publish.FixedHeader, publish.PacketID = head(packets.Publish, 8|2<<1), 11
	publish.Properties.TopicAlias, publish.Properties.TopicAliasFlag = 3, true
	add("PUBLISH QoS 2 again, with an alias", publish, (*packets.Packet).PublishEncode)
	for _, ack := range []struct {
		name   string
		kind   byte
		flags  byte
		reason byte
		encode func(*packets.Packet, *bytes.Buffer) error
	}{
		{"PUBACK", packets.Puback, 0, 0x10, (*packets.Packet).PubackEncode},
		{"PUBREC", packets.Pubrec, 0, 0x10, (*packets.Packet).PubrecEncode},
		{"PUBREL", packets.Pubrel, 1 << 1, 0, (*packets.Packet).PubrelEncode},
		{"PUBCOMP", packets.Pubcomp, 0, 0, (*packets.Packet).PubcompEncode},
	} {
		add(ack.name, packets.Packet{FixedHeader: head(ack.kind, ack.flags), PacketID: 11, ReasonCode: ack.reason, Properties: everything()}, ack.encode)
	}
	filters := packets.Subscriptions{{Filter: "a/#", Qos: 2, RetainHandling: 1, NoLocal: true}, {Filter: "+/topic", Qos: 1}, {Filter: "$share/g/x", Qos: 0}}
	subscribe := packets.Packet{FixedHeader: head(packets.Subscribe, 1<<1), PacketID: 12, Filters: filters, Properties: everything()}
	subscribe.Properties.SubscriptionIdentifier = []int{300}
	add("SUBSCRIBE", subscribe, (*packets.Packet).SubscribeEncode)
	add("UNSUBSCRIBE", packets.Packet{FixedHeader: head(packets.Unsubscribe, 1<<1), PacketID: 13, Filters: filters, Properties: everything()}, (*packets.Packet).UnsubscribeEncode)
	add("PINGREQ", packets.Packet{FixedHeader: head(packets.Pingreq, 0)}, (*packets.Packet).PingreqEncode)
	disconnect := packets.Packet{FixedHeader: head(packets.Disconnect, 0), Properties: everything()}
	add("DISCONNECT", disconnect, (*packets.Packet).DisconnectEncode)
	if version == 5 {
		disconnect.ReasonCode = packets.CodeDisconnectWillMessage.Code
		add("DISCONNECT with will", disconnect, (*packets.Packet).DisconnectEncode)
	}
	return all
}

// relength makes a packet's header say how long it is.
func relength(packet []byte) []byte {
	_, n := binary.Uvarint(packet[1:])
	body := packet[1+max(n, 0):]
	return append(binary.AppendUvarint([]byte{packet[0]}, uint64(len(body))), body...)
}
