package broker_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
)

// startTLS runs a server with a plain and a TLS listener.
func startTLS(t testing.TB, change func(*broker.Options)) (*broker.Server, func()) {
	t.Helper()
	return startAndStop(t, func(o *broker.Options) {
		o.ListenTLS, o.TLS = []string{"127.0.0.1:0"}, serverTLS(t)
		if change != nil {
			change(o)
		}
	})
}

func dialTLS(t testing.TB, s *broker.Server) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.TLSAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return tls.Client(nc, clientTLS())
}

func TestATLSListener(t *testing.T) {
	s, _ := startTLS(t, nil)
	if plain, secure := s.Addrs(), s.TLSAddrs(); len(plain) != 1 || len(secure) != 1 || plain[0].String() == secure[0].String() {
		t.Fatalf("listens on %v, and for TLS on %v", plain, secure)
	}
	watcher := join(t, dial(t, s), "watcher", nil)
	watcher.subscribe(1, "#")
	p := join(t, dialTLS(t, s), "secure", withWill("will/of/secure", "lost", false))
	p.publish("from/secure", strings.Repeat("x", 100<<10), 1, false)
	watcher.message("from/secure")
	_ = p.conn.Close()
	watcher.message("will/of/secure")

	old := tls.Client(mustDial(t, s.TLSAddrs()[0]), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func mustDial(t testing.TB, a net.Addr) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func TestATLSListenerNeedsACertificate(t *testing.T) {
	_, err := broker.Open(broker.Options{ListenTLS: []string{"127.0.0.1:0"}, Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), "dominion init") {
		t.Errorf("error %v, want what makes a certificate", err)
	}
}

// Who does not finish the handshake, or CONNECT after it, is gone when CONNECT
// was due, and has a place among the connections until then.
func TestAHandshakeThatIsNotFinished(t *testing.T) {
	for name, begin := range map[string]func(net.Conn){
		"nothing sent":     func(net.Conn) {},
		"half a handshake": func(nc net.Conn) { _, _ = nc.Write([]byte{22, 3, 1, 2, 0, 1, 0}) },
		"handshake alone":  func(nc net.Conn) { _ = tls.Client(nc, clientTLS()).Handshake() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lan(t, ours(), func(o *broker.Options) { o.MaxConnections = 1 })
				began := time.Now()
				slow := d.secure.dial(elsewhere)
				begin(slow)
				if p := try(t, d.dialTLS(elsewhere), "ann", as("ann", "right")); p.connack.FixedHeader.Type != 0 {
					t.Error("it had no place among the connections")
				}
				_, _ = io.Copy(io.Discard, slow)
				if took := time.Since(began); took != 5*time.Second {
					t.Errorf("gone after %v, want 5s", took)
				}
				synctest.Wait()
				join(t, d.dialTLS(elsewhere), "ann", as("ann", "right"))
			})
		})
	}
}

// The log has what the owner of a house may want to know, and seldom; of port
// scanners it has nothing.
func TestTheLogOfHandshakes(t *testing.T) {
	for _, c := range []struct {
		name string
		try  func(t *testing.T, d *doors)
		want string // "" for nothing
	}{
		{"port scanner", func(_ *testing.T, d *doors) { _ = d.secure.dial(elsewhere).Close() }, ""},
		{"port scanner at the plain listener", func(_ *testing.T, d *doors) { _ = d.plain.dial(elsewhere).Close() }, ""},
		{"MQTT to the TLS listener", func(t *testing.T, d *doors) {
			nc := d.secure.dial(elsewhere)
			_, _ = nc.Write(encode(t, connect("plain", nil)))
			got, _ := io.ReadAll(nc)
			if len(got) != 7 || got[0] != 21 {
				t.Errorf("answered %x, want a TLS alert", got)
			}
		}, "MQTT without TLS"},
		{"TLS to the plain listener", func(t *testing.T, d *doors) {
			if err := tls.Client(d.plain.dial(elsewhere), clientTLS()).Handshake(); err == nil {
				t.Error("the handshake succeeded")
			}
		}, "TLS to a plain listener"},
		{"HTTP to the plain listener", func(_ *testing.T, d *doors) {
			nc := d.plain.dial(elsewhere)
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n")
			_, _ = io.ReadAll(nc)
		}, "does not begin with a CONNECT"},
		{"a client that does not know the authority", func(t *testing.T, d *doors) {
			if err := tls.Client(d.secure.dial(elsewhere), &tls.Config{ServerName: "leader"}).Handshake(); err == nil {
				t.Error("the handshake succeeded")
			}
		}, "refuses this broker's certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lockedBuffer
				d := lan(t, ours(), func(o *broker.Options) { o.Log = zerolog.New(&log).Level(zerolog.InfoLevel) })
				for range 20 {
					c.try(t, d)
				}
				synctest.Wait()
				want := 1
				if c.want == "" {
					want = 0
				}
				if n := strings.Count(log.String(), "turned away"); n != want {
					t.Errorf("%d lines, want %d:\n%s", n, want, log.String())
				}
				time.Sleep(10 * time.Second)
				c.try(t, d)
				synctest.Wait()
				if said := log.String(); c.want != "" && (!strings.Contains(said, c.want) || !strings.Contains(said, `"unsaid":19`)) {
					t.Errorf("log, want %q and how much was not said:\n%s", c.want, said)
				}
			})
		})
	}
}

// A client over TLS that takes nothing is gone after one write deadline: nobody
// waits until goodbye was said to it.
func TestNoGoodbyeForAStuckClientOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), nil)
		watcher := join(t, d.Pipe(coordinator), "watcher", nil)
		watcher.subscribe(1, "dominion/attic/#")
		gate := &gatedReader{Conn: d.secure.dial(elsewhere), open: make(chan struct{})}
		stuck := join(t, tls.Client(gate, clientTLS(certificate(t, "attic", "our house"))), "stuck", withWill(presence, "lost", false))
		stuck.subscribe(0, "dominion/attic/desired/#")
		gate.shut.Store(true)
		began := time.Now()
		for range 10 {
			if err := d.Inject("dominion/attic/desired/much", make([]byte, 64<<10), false, 0); err != nil {
				t.Fatal(err)
			}
		}
		watcher.message(presence)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("gone after %v, want 2s", took)
		}
		close(gate.open)
	})
}

// A client that takes nothing more does not hold up the end of the server, and
// the others are said goodbye to.
func TestAPlannedShutdownOverTLS(t *testing.T) {
	t.Parallel()
	s, stop := startTLS(t, nil)
	raw := mustDial(t, s.TLSAddrs()[0])
	_ = raw.(*net.TCPConn).SetReadBuffer(4096)
	gate := &gatedReader{Conn: raw, open: make(chan struct{})}
	stuck := join(t, tls.Client(gate, clientTLS()), "stuck", nil)
	stuck.subscribe(0, "much/data")
	gate.shut.Store(true)
	secure := dialTLS(t, s)
	good := join(t, secure, "good", nil)
	good.subscribe(1, "dominion/coordinator/state/#")
	go func() {
		for range 200 {
			if err := s.Inject("much/data", make([]byte, 64<<10), false, 0); err != nil {
				return
			}
		}
	}()
	room := join(t, s.Pipe(coordinator), "room", nil)
	room.publish("dominion/coordinator/state/presence", "stopped", 1, true)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
	good.message("dominion/coordinator/state/presence")
	good.gone()
	close(gate.open)
}

// Over TLS a client is told that nothing more comes; to some the end of the
// connection alone is an attack.
func TestThePartingIsSaidInTLS(t *testing.T) {
	s, stop := startTLS(t, nil)
	seen := &recorder{Conn: mustDial(t, s.TLSAddrs()[0])}
	// In TLS 1.3 an alert looks like any other record.
	p := join(t, tls.Client(seen, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}), "polite", nil)
	stop()
	p.gone()
	const alert, length = 21, 5 + 8 + 2 + 16
	if last := seen.got[max(0, len(seen.got)-length):]; last[0] != alert {
		t.Errorf("the last record: %x, want close_notify", last)
	}
}

// recorder keeps what was read.
type recorder struct {
	net.Conn
	got []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.got = append(r.got, b[:n]...)
	return n, err
}

func TestConnect(t *testing.T) {
	encode := func(change func(*packets.Packet)) []byte { return encode(t, connect("client", change)) }
	whole := with(withWill("will/topic", "lost", true), as("ann", "right"))
	for _, c := range []struct {
		name   string
		packet []byte
		code   int // -1: hung up on
	}{
		{"3.1.1", encode(whole), 0},
		{"5", encode(with(version(5), whole, keep)), 0},
		{"trailing byte in 3.1.1", longer(encode(whole), 1), -1},
		{"trailing byte in 5", longer(encode(with(version(5), whole)), 1), 0x81},
		{"a byte short", longer(encode(whole), -1), -1},
		{"a byte short in 5", longer(encode(with(version(5), whole)), -1), 0x81},
		{"3.1", []byte("\x10\x14\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x06client"), 1},
		{"MQTT 6", []byte("\x10\x12\x00\x04MQTT\x06\x02\x00\x3c\x00\x06client"), 1},
		{"another protocol", []byte("\x10\x12\x00\x04MQXX\x04\x02\x00\x3c\x00\x06client"), -1},
		{"reserved flag", []byte("\x10\x12\x00\x04MQTT\x04\x03\x00\x3c\x00\x06client"), -1},
		{"64 KiB announced", []byte("\x10\x80\x80\x04\x00\x04MQTT"), -1},
		{"256 MiB announced", []byte("\x10\xff\xff\xff\x7f\x00\x04MQTT"), -1},
		{"length without end", []byte("\x10\xff\xff\xff\xff"), -1},
		{"PUBLISH first", []byte("\x30\x03\x00\x01a"), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := lan(t, ours(), nil)
				nc := d.plain.dial("127.0.0.1")
				began := time.Now()
				_, _ = nc.Write(c.packet)
				got := make([]byte, 4)
				n, _ := io.ReadFull(nc, got)
				switch {
				case c.code < 0 && n > 0:
					t.Errorf("answered %x, want nothing", got[:n])
				case c.code >= 0 && (n < 4 || got[0] != 0x20 || int(got[3]) != c.code):
					t.Errorf("answered %x, want CONNACK with code %d", got[:n], c.code)
				}
				if c.code != 0 {
					_, _ = io.ReadAll(nc)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("took %v", took)
				}
				_ = nc.Close()
			})
		})
	}
}

// Every way to break a CONNECT off, byte by byte, and one sent together with
// what follows it.
func TestAConnectInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lan(t, ours(), func(o *broker.Options) { o.Anonymous = everybody() })
		packet := encode(t, connect("client", with(version(5), as("ann", "right"))))
		for cut := range packet {
			nc := d.plain.dial("127.0.0.1")
			_, _ = nc.Write(packet[:cut])
			_ = nc.Close()
		}
		nc := d.plain.dial("127.0.0.1")
		for i := range packet {
			_, _ = nc.Write(packet[i : i+1])
			synctest.Wait()
		}
		_, _ = nc.Write([]byte{0xc0, 0}) // PINGREQ
		if got, err := read2(nc); err != nil || got != "CONNACK PINGRESP" {
			t.Errorf("byte by byte: %s, %v", got, err)
		}
		_ = nc.Close()
		nc = d.plain.dial("127.0.0.1")
		_, _ = nc.Write(append(packet, 0xc0, 0))
		if got, err := read2(nc); err != nil || got != "CONNACK PINGRESP" {
			t.Errorf("at once: %s, %v", got, err)
		}
		_ = nc.Close()
	})
}

// read2 names the next two packets.
func read2(nc net.Conn) (string, error) {
	var names []string
	r := bufio.NewReader(nc)
	for range 2 {
		pk, err := read(r, 5)
		if err != nil {
			return fmt.Sprint(names), err
		}
		names = append(names, map[byte]string{packets.Connack: "CONNACK", packets.Pingresp: "PINGRESP"}[pk.FixedHeader.Type])
	}
	return strings.Join(names, " "), nil
}

// longer changes the length of a short packet; what it has more is zero.
func longer(packet []byte, by int) []byte {
	out := append([]byte(nil), packet...)
	if by < 0 {
		out = out[:len(out)+by]
	} else {
		out = append(out, make([]byte, by)...)
	}
	out[1] += byte(by)
	return out
}
