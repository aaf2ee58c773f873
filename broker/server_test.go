package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

func TestOpenSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inUse := t.TempDir()
	start(t, func(o *broker.Options) { o.Data = inUse })

	for _, c := range []struct {
		name   string
		listen string
		data   string
		is     error
		want   []string
	}{
		{"port in use", taken.Addr().String(), "", syscall.EADDRINUSE, []string{fmt.Sprintf("127.0.0.1:%d", port), "is in use", fmt.Sprintf("--broker mqtt://127.0.0.1:%d", port)}},
		{"not an address", "attic", "", nil, []string{"attic", `want "127.0.0.1:1883"`}},
		{"foreign address", "192.0.2.1:1883", "", syscall.EADDRNOTAVAIL, []string{"192.0.2.1:1883", "no such address"}},
		{"data below a file", "127.0.0.1:0", filepath.Join(file, "data"), syscall.ENOTDIR, []string{file, "name one that this user may write"}},
		{"store open elsewhere", "127.0.0.1:0", inUse, nil, []string{inUse, "another process has it open"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := broker.Open(broker.Options{Listen: []string{"127.0.0.1:0", c.listen}, Data: c.data, Log: zerolog.Nop()})
			if err == nil {
				t.Fatal("no error")
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v is not %v", err, c.is)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestAListenerSurvivesErrorsOfAccept(t *testing.T) {
	var log lockedBuffer
	s, err := broker.Open(broker.Options{Anonymous: everybody(), Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	l := newFakeListener()
	l.fail.Store(4)
	s.AddListener(l, nil)
	run(t, s)
	began := time.Now()
	join(t, l.dial("127.0.0.1"), "after", nil)
	if l.failed.Load() != 4 {
		t.Errorf("%d failures, want 4", l.failed.Load())
	}
	if took := time.Since(began); took < 70*time.Millisecond { // 5 + 10 + 20 + 40
		t.Errorf("tried again after %v in all: no back-off", took)
	}
	if n := strings.Count(log.String(), "trying again"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}

func TestConnectionsAreCapped(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.MaxConnections = 3 })
	var in []*peer
	for i := range 3 {
		in = append(in, join(t, dial(t, s), fmt.Sprint(i), nil))
	}
	over := try(t, dial(t, s), "over", nil)
	if over.connack.FixedHeader.Type == packets.Connack {
		t.Error("a fourth client came in")
	}
	join(t, s.Pipe(coordinator), "room", nil) // the leader's own rooms are not counted
	in[0].disconnect()
	eventually(t, "the place is free again", func() bool {
		return try(t, dial(t, s), "next", nil).connack.FixedHeader.Type == packets.Connack
	})
}

func TestAPlannedShutdownPublishesNoWill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := startAndStop(t, func(o *broker.Options) { o.Data = dir })
	want := map[string]string{}
	for i := range 20 {
		topic := fmt.Sprintf("dominion/node%d/state/presence", i)
		nc := dial(t, s)
		if i%2 == 0 {
			nc = s.Pipe(topics.Identity{Role: topics.RoleNode})
		}
		p := join(t, nc, topic, withWill(topic, "lost", true))
		p.publish(topic, "online", 1, true)
		want[topic] = "online"
		go func() { // some are in the middle of something
			for i := range 1000 {
				p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "busy", Payload: []byte{byte(i)}})
			}
		}()
	}
	stop()
	s = start(t, func(o *broker.Options) { o.Data = dir })
	if diff := cmp.Diff(want, retained(t, s, "dominion/+/state/presence")); diff != "" {
		t.Errorf("presence after the restart (-want +got):\n%s", diff)
	}
}

// A client that cannot send any more hangs up without reading on, as Home
// Assistant does. It must have read the last words of the house before.
func TestTheLastWordsOfAPlannedShutdownAreHeard(t *testing.T) {
	t.Parallel()
	slow := 0
	for round := 0; round < 6; {
		switch heard, took := lastWordsHeard(t, round%2 == 1); {
		case heard:
			round++
		case took < time.Second: // for so long the broker waits for a client to hang up
			t.Fatalf("round %d: the last words were not heard, %v after the broker began to close", round, took)
		default: // nobody was quick enough to hear them
			if slow++; slow == 20 {
				t.Fatal("this machine is too slow to say")
			}
		}
	}
}

// lastWordsHeard closes a broker while a client talks. It returns whether the
// client heard the last words of the house, and how long all of it took.
func lastWordsHeard(t *testing.T, secure bool) (heard bool, took time.Duration) {
	s, stop := startTLS(t, nil)
	nc := dial(t, s)
	if secure {
		nc = dialTLS(t, s)
	}
	held := &heldReader{Conn: nc, held: make(chan struct{})}
	held.release()
	p := join(t, held, "busy", nil)
	p.subscribe(1, "dominion/coordinator/state/#")
	held.hold()
	room := join(t, s.Pipe(coordinator), "room", nil)
	for i := range 50 {
		room.publish(fmt.Sprintf("dominion/coordinator/state/alert/a%d", i), "", 1, true)
	}
	room.publish("dominion/coordinator/state/presence", "stopped", 1, true)
	room.disconnect()
	began := time.Now()
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for range 20 { // it goes on talking while the broker closes
		p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "busy", Payload: []byte("x")})
		time.Sleep(10 * time.Millisecond)
	}
	held.release()
	for pk := range p.in {
		heard = heard || pk.TopicName == "dominion/coordinator/state/presence"
	}
	took = time.Since(began)
	<-stopped
	return heard, took
}

// A message that is still being written when the server is closed is not lost.
func TestLastWordsWaitInTheQueue(t *testing.T) {
	s, stop := startAndStop(t, nil)
	const topic = "dominion/coordinator/state/presence"
	if err := s.AddHook(&encodeHook{before: func(pk packets.Packet) {
		if pk.TopicName == topic {
			time.Sleep(100 * time.Millisecond)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	p := join(t, s.Pipe(coordinator), "reader", nil)
	p.subscribe(0, topic)
	written := make(chan error, 1)
	go func() { written <- s.Inject(topic, []byte("stopped"), true, 1) }()
	time.Sleep(20 * time.Millisecond)
	stop()
	p.message(topic)
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// heldReader reads nothing while it is held, and hangs up when it cannot send.
type heldReader struct {
	net.Conn
	mu   sync.Mutex // guards held
	held chan struct{}
}

func (h *heldReader) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = make(chan struct{})
}

func (h *heldReader) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.held)
}

func (h *heldReader) Write(b []byte) (int, error) {
	n, err := h.Conn.Write(b)
	if err != nil {
		h.Conn.Close()
	}
	return n, err
}

func (h *heldReader) Read(b []byte) (int, error) {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	<-held
	return h.Conn.Read(b)
}

func TestAPipeIsServedFromOpenToClose(t *testing.T) {
	s, err := broker.Open(broker.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	p := join(t, s.Pipe(coordinator), "early", nil)
	p.publish("dominion/attic/desired/services", "{}", 1, true)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	p.gone()
	if n, err := s.Pipe(coordinator).Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after Close: %d bytes, %v; want 0, EOF", n, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseMayBeCalledByAnybodyAtOnce(t *testing.T) {
	s, stop := startAndStop(t, func(o *broker.Options) { o.Data = t.TempDir() })
	p := join(t, dial(t, s), "here", nil)
	var closing sync.WaitGroup
	for range 8 {
		closing.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	stop()
	p.gone()
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("it still listens")
	}
}

func TestAQuietBrokerLogsNothing(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) { o.Log = zerolog.New(&log).Level(zerolog.InfoLevel) })
	p := join(t, dial(t, s), "quiet", func(pk *packets.Packet) { pk.Connect.Keepalive = 5 })
	p.subscribe(1, "#")
	p.publish("a/topic", "v", 1, true)
	p.disconnect()
	_ = join(t, dial(t, s), "lost", withWill("w", "lost", false)).conn.Close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 1 || !strings.Contains(lines[0], "broker listens") {
		t.Errorf("log:\n%s\nwant the listener alone", log.String())
	}
}

// A pipe behaves like a socket: it buffers, and has deadlines.
func TestPipe(t *testing.T) {
	near, far := broker.NewPipe()
	for range 2 {
		if n, err := near.Write(make([]byte, 128<<10)); n != 128<<10 || err != nil {
			t.Fatalf("write without a reader: %d, %v", n, err)
		}
	}
	_ = near.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := near.Write(make([]byte, 1<<20)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write into a full pipe: %d, %v; want none and the deadline", n, err)
	}
	if n, err := io.ReadFull(far, make([]byte, 256<<10)); err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	_ = far.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from an empty pipe: %v, want the deadline", err)
	}
	_ = far.SetReadDeadline(time.Time{})
	go func() {
		_, _ = far.Write([]byte("bye"))
		_ = far.Close()
	}()
	if got, err := io.ReadAll(near); string(got) != "bye" || err != nil {
		t.Errorf("after the other end closed: %q, %v", got, err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a closed pipe: %v", err)
	}
}

func TestMochisLogIsBridgedWithoutPackets(t *testing.T) {
	var log lockedBuffer
	s := start(t, func(o *broker.Options) { o.Log = zerolog.New(&log).Level(zerolog.DebugLevel) })
	p := join(t, dial(t, s), "loud", nil)
	p.raw([]byte("\x30\x08\x00\x00secret")) // a PUBLISH without a topic: mochi logs the packet
	p.gone()
	eventually(t, "mochi's line", func() bool { return strings.Contains(log.String(), "mochi: error processing packet") })
	for _, line := range strings.Split(log.String(), "\n") {
		if strings.Contains(line, "mochi: ") && !strings.Contains(line, `"level":"debug"`) {
			t.Errorf("not quiet: %s", line)
		}
	}
	for _, secret := range []string{"secret", "c2VjcmV0"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has the password:\n%s", log.String())
		}
	}
}
