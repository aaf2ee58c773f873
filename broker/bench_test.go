package broker_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// BenchmarkStorePut publishes retained messages that differ each time, and ends
// with the last of them on the disk: messages a second through the batch.
func BenchmarkStorePut(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("%d topics", n), func(b *testing.B) {
			s, err := broker.Open(broker.Options{Data: b.TempDir(), Log: zerolog.Nop()})
			if err != nil {
				b.Fatal(err)
			}
			stop, put := run(b, s), s.Injector()
			b.ResetTimer()
			for i := range b.N {
				if err := put("dominion/attic/state/service/s"+strconv.Itoa(i%n), []byte(payload(i)), true, 1); err != nil {
					b.Fatal(err)
				}
			}
			stop()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkStoreOpen opens a store with 10,000 retained messages.
func BenchmarkStoreOpen(b *testing.B) {
	dir := b.TempDir()
	open := func() *broker.Server {
		s, err := broker.Open(broker.Options{Data: dir, Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s := open()
	put := s.Injector()
	for i := range 10_000 {
		if err := put("dominion/attic/state/service/s"+strconv.Itoa(i), []byte(payload(i)), true, 1); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
	for b.Loop() {
		s := open()
		b.StopTimer()
		_ = s.Close()
		b.StartTimer()
	}
}

// BenchmarkReplay is a QoS 1 subscriber that is sent 10,000 retained messages.
func BenchmarkReplay(b *testing.B) {
	s := start(b, nil)
	fill(b, s, 10_000)
	for b.Loop() {
		p := join(b, s.Pipe(topics.Identity{Role: topics.RoleOperator}), "reader", nil)
		p.subscribe(1, "devices/#", "token/here")
		if n := len(p.upTo("token/here")); n != 10_000 {
			b.Fatalf("%d messages", n)
		}
		p.disconnect()
	}
}

// BenchmarkDeliver is one publisher and one subscriber, QoS 1, over TCP, the
// publisher at most 500 messages ahead.
func BenchmarkDeliver(b *testing.B) {
	s := start(b, nil)
	sub := join(b, dial(b, s), "sub", nil)
	sub.subscribe(1, "bench/topic")
	pub := join(b, dial(b, s), "pub", nil)
	ahead := make(chan struct{}, 500)
	go func() {
		for range pub.in {
			<-ahead
		}
	}()
	go func() {
		for i := range b.N {
			ahead <- struct{}{}
			pub.sendPublish("bench/topic", payload(i), uint16(i%60_000+1))
		}
	}()
	b.ResetTimer()
	for range b.N {
		sub.message("bench/topic")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func payload(i int) string {
	return fmt.Sprintf(`{"v":1,"sid":"k3v9x2","service":"webServer","phase":"running","ready":true,"rev":"9f2c","version":"1.2.0","pid":%d,"since":%q}`, i, time.Unix(int64(i), 0).UTC().Format(time.RFC3339))
}
