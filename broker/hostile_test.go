package broker_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

func TestAThousandThatNeverSpeakAreGoneInTenSeconds(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	in := join(t, dial(t, s), "in", nil)
	hello := encode(t, connect("shy", nil))
	const n = 1000
	took := make(chan time.Duration, n)
	for i := range n {
		nc := dial(t, s)
		began := time.Now()
		_, _ = nc.Write(hello[:i%len(hello)])
		go func() {
			defer nc.Close()
			_ = nc.SetReadDeadline(time.Now().Add(2 * patience))
			if got, _ := io.ReadAll(nc); len(got) > 0 {
				t.Errorf("half a CONNECT was answered: %x", got)
			}
			took <- time.Since(began)
		}()
	}
	for range n {
		if d := <-took; d > 10*time.Second {
			t.Fatalf("a connection was open for %v", d)
		}
	}
	in.stays()
	join(t, dial(t, s), "next", nil)
}

// At the limit of file descriptors nobody new comes in, and below it again
// everybody does.
func TestNoFileDescriptorLeft(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childData+"="+t.TempDir(), childFiles+"=64")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	reach := func() net.Conn {
		nc, err := net.Dial("tcp", strings.TrimSpace(address))
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	before := join(t, reach(), "before", nil)
	var many []net.Conn
	for range 200 {
		many = append(many, reach())
	}
	eventually(t, "it says that it has no file descriptor left", func() bool {
		return strings.Contains(log.String(), "too many open files")
	})
	before.stays()
	for _, nc := range many {
		_ = nc.Close()
	}
	join(t, reach(), "after", nil).stays()
	before.stays()
}

// What a header announces is not what is set aside for it.
func TestAnnouncedGiantsCostNothing(t *testing.T) {
	const n = 100
	for _, c := range []struct {
		name   string
		before []byte
	}{
		{"instead of CONNECT", nil},
		{"after CONNECT, 3.1.1", encode(t, connect("", nil))},
		{"after CONNECT, 5", encode(t, connect("", version(5)))},
	} {
		for first := range byte(16) {
			s := start(t, nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var conns []net.Conn
			for range n {
				nc := dial(t, s)
				conns = append(conns, nc)
				_, _ = nc.Write(slices.Concat(c.before, []byte{first << 4, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M'}))
			}
			for _, nc := range conns {
				_ = nc.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, nc); os.IsTimeout(err) {
					t.Errorf("%s: packet type %d of 256 MiB: the connection stays open", c.name, first)
				}
				_ = nc.Close()
			}
			runtime.ReadMemStats(&after)
			if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
				t.Errorf("%s: %d packets of type %d and 256 MiB: %d MiB were allocated", c.name, n, first, made>>20)
			}
		}
	}
}

// Three clients with topics of 32,000 levels: nobody waits.
func TestDeepTopicsHoldNobodyUp(t *testing.T) {
	deep := strings.Repeat("a/", 32_000)
	for _, c := range []struct {
		name string
		try  func(s func() net.Conn, id string)
	}{
		{"filters", func(dial func() net.Conn, id string) {
			small(t, dial(), id).subscribe(1, deep+"#", "+/"+deep, deep)
		}},
		{"topics", func(dial func() net.Conn, id string) {
			p := small(t, dial(), id)
			p.publish(deep, "v", 1, true)
			p.publish(deep, "", 1, true)
		}},
		{"wills", func(dial func() net.Conn, id string) {
			try(t, dial(), id, withWill(deep, "lost", true)).is(5)
		}},
		{"unsubscribing", func(dial func() net.Conn, id string) {
			p := small(t, dial(), id)
			p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{{Filter: deep + "#"}, {Filter: deep}}})
			p.stays()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, nil)
			reader := join(t, dial(t, s), "reader", nil)
			reader.subscribe(1, "short/topic")
			writer := join(t, dial(t, s), "writer", nil)
			done := make(chan struct{})
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					for range 10 {
						c.try(func() net.Conn { return dial(t, s) }, fmt.Sprint("deep", i))
					}
				})
			}
			go func() { all.Wait(); close(done) }()
			var longest time.Duration
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				began := time.Now()
				writer.publish("short/topic", "v", 1, false)
				reader.message("short/topic")
				longest = max(longest, time.Since(began))
			}
			if longest > 2*time.Second {
				t.Errorf("a message took %v meanwhile", longest)
			}
		})
	}
}

// A slow subscriber is replayed everything while the house goes on writing, and
// ends with the newest word on each topic.
func TestReplayIsWholeWhileOthersWrite(t *testing.T) {
	t.Parallel()
	const n = 3000
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			fill(t, s, n)
			stop := make(chan struct{})
			var writing sync.WaitGroup
			for w := range 2 {
				writing.Go(func() {
					put, pause := s.Injector(), time.NewTicker(time.Millisecond)
					defer pause.Stop()
					for v := n; ; v++ {
						select {
						case <-stop:
							return
						case <-pause.C:
						}
						// A topic has one writer.
						if err := put(fmt.Sprintf("devices/%05d/state", (v*14+w)%n), fmt.Append(nil, v), true, 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			p := join(t, &slowReader{Conn: dial(t, s)}, "slow", nil)
			p.subscribe(qos, "devices/#", "token/here")
			last := map[string]string{}
			listen := func() {
				for _, pk := range p.upTo("token/here") {
					last[pk.TopicName] = string(pk.Payload)
				}
			}
			listen()
			if len(last) != n {
				t.Errorf("%d topics before the token, want %d", len(last), n)
			}
			close(stop)
			writing.Wait()
			listen()
			if diff := cmp.Diff(retained(t, s, "devices/#"), last); diff != "" {
				t.Errorf("last heard (-retained +heard):\n%s", diff)
			}
		})
	}
}

// small is a peer of which there are many.
func small(t testing.TB, c net.Conn, id string) *peer {
	t.Helper()
	p := tryWithRoom(t, c, id, nil, 10)
	p.is(0)
	return p
}
