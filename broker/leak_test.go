package broker_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/broker"
)

// However connections end, nothing is left of them: no goroutine, no file, no
// session, no memory.
func TestNothingIsLeftOfConnections(t *testing.T) {
	rounds := 25
	if heavy {
		rounds = 300
	}
	s, _ := startTLS(t, func(o *broker.Options) { o.ConnectTimeout = patience })
	if err := s.AddHook(&packetPanics{}); err != nil {
		t.Fatal(err)
	}
	watcher := join(t, s.Pipe(coordinator), "watcher", nil)
	watcher.subscribe(1, "left")
	go func() {
		for range watcher.in {
		}
	}()
	endings := connectionEndings(t, s)
	meet := func(round int) {
		for i, e := range endings {
			e.do(fmt.Sprintf("%d-%d", round, i))
		}
	}
	meet(0) // what is made once is made now
	settled := func() resources {
		s.ForgetSessions()
		r := counted()
		r.connections, r.sessions = s.Connections(), s.Clients()
		return r
	}
	eventually(t, "the first are gone", func() bool { return settled().connections == 1 })
	before := settled()
	beforeMemory := inUse()
	for round := range rounds {
		meet(round + 1)
	}
	var after resources
	eventually(t, "all are gone", func() bool {
		after = settled()
		return after.goroutines <= before.goroutines && after.files <= before.files &&
			after.connections == before.connections && after.sessions == before.sessions
	})
	n := rounds * len(endings)
	t.Logf("%d connections: before %+v, after %+v", n, before, after)
	if grown := inUse() - beforeMemory; grown > 4<<20 {
		t.Errorf("%d KiB are left of %d connections", grown>>10, n)
	}
}

// resources are what connections may leave behind.
type resources struct{ goroutines, files, connections, sessions int }

func counted() resources {
	files, _ := os.ReadDir("/proc/self/fd") // elsewhere they are not counted
	return resources{goroutines: runtime.NumGoroutine(), files: len(files)}
}

type ending struct {
	name string
	do   func(id string)
}

// connectionEndings are all ways in which a connection begins and ends. None
// waits for the server to be done with it.
func connectionEndings(t *testing.T, s *broker.Server) []ending {
	plain := func() *net.TCPConn { return dial(t, s).(*net.TCPConn) }
	say := func(c net.Conn, packets ...[]byte) {
		for _, p := range packets {
			_, _ = c.Write(p)
		}
	}
	hear := func(c net.Conn, n int) { // or its end
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _ = io.ReadFull(c, make([]byte, n))
	}
	const connack = 4
	hello := func(id string, change func(*packets.Packet)) []byte {
		return encode(t, connect(id, with(withWill("left", "lost", false), change)))
	}
	subscribe := []byte("\x82\x06\x00\x01\x00\x01a\x01")
	publish := encode(t, packets.Packet{ProtocolVersion: 4, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: "panic", PacketID: 1})
	disconnect := []byte{0xe0, 0}
	goodbye := func(change func(*packets.Packet), packets ...[]byte) func(string) {
		return func(id string) {
			c := plain()
			defer c.Close()
			say(c, hello(id, change))
			hear(c, connack)
			say(c, packets...)
			hear(c, 1<<20)
		}
	}
	return []ending{
		{"nothing said", func(string) { _ = plain().Close() }},
		{"half a CONNECT", func(id string) { c := plain(); say(c, hello(id, nil)[:9]); _ = c.Close() }},
		{"another protocol", func(string) { c := plain(); say(c, []byte("GET / HTTP/1.1\r\n\r\n")); hear(c, 1); _ = c.Close() }},
		{"not waiting for CONNACK", func(id string) { c := plain(); say(c, hello(id, nil)); _ = c.Close() }},
		{"DISCONNECT", goodbye(nil, subscribe, disconnect)},
		{"DISCONNECT of MQTT 5 with will", goodbye(version(5), []byte{0xe0, 2, 4, 0})},
		{"a session kept", goodbye(keep, subscribe, disconnect)},
		{"a session kept in MQTT 5", goodbye(with(version(5), keep), disconnect)},
		{"a panic", goodbye(nil, publish)},
		{"a second CONNECT", goodbye(nil, hello("x", nil))},
		{"a wrong packet", goodbye(nil, []byte{0xff, 0})},
		{"a giant", goodbye(nil, []byte{0x30, 0xff, 0xff, 0xff, 0x7f})},
		{"a refused will", func(id string) {
			c := plain()
			say(c, encode(t, connect(id, withWill("a/#", "lost", true))))
			hear(c, 1<<20)
			_ = c.Close()
		}},
		{"RST", func(id string) {
			c := plain()
			say(c, hello(id, nil))
			hear(c, connack)
			_ = c.SetLinger(0)
			_ = c.Close()
		}},
		{"FIN", func(id string) { c := plain(); say(c, hello(id, nil)); hear(c, connack); _ = c.Close() }},
		{"half closed", func(id string) {
			c := plain()
			say(c, hello(id, nil), subscribe)
			_ = c.CloseWrite()
			hear(c, 1<<20)
			_ = c.Close()
		}},
		{"taken over", func(string) {
			old, next := plain(), plain()
			say(old, hello("one", nil))
			hear(old, connack)
			say(next, hello("one", nil))
			hear(next, connack)
			hear(old, 1)
			_ = old.Close()
			_ = next.Close()
		}},
		{"TLS", func(id string) {
			c := tls.Client(mustDial(t, s.TLSAddrs()[0]), clientTLS())
			say(c, hello(id, nil))
			hear(c, connack)
			_ = c.Close()
		}},
		{"half a handshake", func(string) { c := mustDial(t, s.TLSAddrs()[0]); say(c, []byte{22, 3, 1, 0, 200, 1}); _ = c.Close() }},
		{"a pipe", func(id string) { c := s.Pipe(coordinator); say(c, hello(id, nil)); hear(c, connack); _ = c.Close() }},
	}
}
