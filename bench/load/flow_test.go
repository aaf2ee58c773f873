package load_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"dominion/bench/load"
)

func TestOnlyLoopbackIsLoaded(t *testing.T) {
	_, err := load.Dial(t.Context(), "192.0.2.1:1883", "me")
	if err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v, want a refusal that names loopback", err)
	}
}

func TestFlowCountsWhatIsLost(t *testing.T) {
	for name, every := range map[string]int{"nothing": 0, "each tenth": 10} {
		t.Run(name, func(t *testing.T) {
			f := load.Flow{Publishers: 2, Subscribers: 1, QoS: 1, Payload: 16, Window: 10, For: 50 * time.Millisecond}
			got, err := f.Run(t.Context(), lossy(t, every))
			if err != nil {
				t.Fatal(err)
			}
			lost := 0
			if every > 0 {
				lost = got.Sent / every
			}
			if got.Sent < 100 || got.Lost != lost || got.Received != got.Sent-lost || got.PerSecond <= 0 || got.Cut != 0 {
				t.Errorf("got %+v, want %d lost", got, lost)
			}
		})
	}
}

// lossy is a broker for one subscriber, which acknowledges all messages and
// drops each one whose turn it is.
func lossy(t *testing.T, every int) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		serving    sync.WaitGroup
		mu         sync.Mutex // guards subscriber, n and the writing to it
		subscriber net.Conn
		n          int
	)
	serve := func(c net.Conn) {
		defer c.Close()
		for r := load.NewReader(c); ; {
			p, err := r.Next()
			if err != nil {
				return
			}
			mu.Lock()
			switch p.Kind {
			case load.Connect:
				_, _ = c.Write(load.Packet{Kind: load.Connack}.Append(nil))
			case load.Subscribe:
				subscriber = c
				_, _ = c.Write(load.Packet{Kind: load.Suback, ID: p.ID, Code: 1}.Append(nil))
			case load.Publish:
				_, _ = c.Write(load.Packet{Kind: load.Puback, ID: p.ID}.Append(nil))
				if n++; every == 0 || n%every != 0 {
					_, _ = subscriber.Write(p.Append(nil))
				}
			}
			mu.Unlock()
		}
	}
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}
