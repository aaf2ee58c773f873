package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
)

// childData names the data directory to a child process that is to be a broker,
// childFiles is how many files it may have open, childCompact has it compact its
// store all the time, and killed says how often a broker is killed.
const (
	childData    = "BROKER_TEST_CHILD_DATA"
	childFiles   = "BROKER_TEST_CHILD_FILES"
	childCompact = "BROKER_TEST_CHILD_COMPACT"
	killed       = "BROKER_TEST_KILLS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childData); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child is a broker that runs until its standard input ends, or it is killed.
func child(dir string) int {
	if most, err := strconv.ParseUint(os.Getenv(childFiles), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	s, err := broker.Open(broker.Options{
		Listen: []string{"127.0.0.1:0"}, Anonymous: everybody(), Data: dir, Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv(childCompact) != "" {
		s.CompactAlways()
	}
	fmt.Println(s.Addrs()[0])
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // its parent is gone
		os.Exit(2)
	}()
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// What was acknowledged before a moment is on the disk two transactions later:
// the first may have begun before it. In every other round the broker compacts
// its store without end, so that it is killed in every moment of that.
func TestRetainedMessagesSurviveKill9(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := startAndStop(t, in(dir))
	put := s.Injector()
	for i := range 3000 { // more than one transaction
		if err := put(fmt.Sprintf("still/%d", i), []byte("here"), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for round := range kills(t) {
		killInStorm(t, dir, round)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v; want the store alone", left, err)
	}
}

// kills is how many rounds there are.
func kills(t *testing.T) int {
	n := os.Getenv(killed)
	if n == "" {
		return 4
	}
	rounds, err := strconv.Atoi(n)
	if err != nil {
		t.Fatalf("%s: %v", killed, err)
	}
	return rounds
}

func killInStorm(t *testing.T, dir string, round int) {
	const writers = 4
	var mu sync.Mutex // guards acked
	acked := map[string]int{}
	address, kill := startChild(t, dir, round%2 == 1)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			storm(t, address, w, round, func(topic string, n int) {
				mu.Lock()
				defer mu.Unlock()
				acked[topic] = n
			})
		})
	}
	file := filepath.Join(dir, "retained.db")
	eventually(t, "something is acknowledged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) > 0
	})
	awaitCommits(t, file, round%3)
	mu.Lock()
	safe := maps.Clone(acked)
	mu.Unlock()
	awaitCommits(t, file, 2)
	kill()
	writing.Wait()

	s, stop := startAndStop(t, func(o *broker.Options) { o.Data = dir })
	defer stop()
	if s.Recovered() != "" {
		t.Fatalf("round %d: the store is damaged: %s", round, s.Recovered())
	}
	kept := retained(t, s, "#")
	for topic, n := range safe {
		if got, err := strconv.Atoi(kept[topic]); err != nil || got < n {
			t.Errorf("round %d: %s is %q, but %d was acknowledged two transactions before the kill", round, topic, kept[topic], n)
		}
	}
	for i := range 3000 {
		if topic := fmt.Sprintf("still/%d", i); kept[topic] != "here" {
			t.Fatalf("round %d: %s is gone", round, topic)
		}
	}
}

// awaitCommits waits until so many transactions more were written to a bbolt
// file. Each changes one of the two meta pages at its front.
func awaitCommits(t *testing.T, file string, n int) {
	t.Helper()
	meta := func() string {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 2*os.Getpagesize())
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for range n {
		before := meta()
		eventually(t, "a transaction", func() bool { return meta() != before })
	}
}

// storm publishes counting numbers on a few topics until the connection ends.
func storm(t *testing.T, address string, writer, round int, acked func(topic string, n int)) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	p := join(t, c, fmt.Sprintf("writer%d", writer), nil)
	for n := round * 1_000_000; ; n++ {
		topic := fmt.Sprintf("storm/%d/%d", writer, n%50)
		id := uint16(n%60_000 + 1)
		p.send(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true},
			TopicName:   topic, Payload: []byte(strconv.Itoa(n)), PacketID: id,
		})
		if pk, ok := <-p.in; !ok || pk.FixedHeader.Type != packets.Puback || pk.PacketID != id {
			return
		}
		acked(topic, n)
	}
}

func startChild(t *testing.T, dir string, compact bool) (address string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childData+"="+dir)
	if compact {
		cmd.Env = append(cmd.Env, childCompact+"=1")
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(kill)
	line := bufio.NewScanner(stdout)
	if !line.Scan() {
		t.Fatal("the child says no address")
	}
	return line.Text(), kill
}
