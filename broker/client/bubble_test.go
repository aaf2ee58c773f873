package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker/client"
	"dominion/topics"
)

// standIn is a broker for tests with a clock of their own: it lets in, takes
// subscriptions and gives back what is published, late if it is told to.
type standIn struct {
	late time.Duration                 // what is published on state/ comes back so much later
	told map[string]string             // by payload: what another client's publish puts before it comes back
	got  func(topic, payload string)   // everything that is published
	news chan func(to io.Writer) error // what is sent to the client; one goroutine writes
}

func (b *standIn) serve(conn net.Conn) {
	defer conn.Close()
	b.news = make(chan func(io.Writer) error, 1000)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case send := <-b.news:
				send(conn)
			case <-done:
				return
			}
		}
	}()
	for {
		in, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		switch p := in.(type) {
		case *packets.ConnectPacket:
			b.news <- packets.NewControlPacket(packets.Connack).Write
		case *packets.SubscribePacket:
			ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			ack.MessageID, ack.ReturnCodes = p.MessageID, p.Qoss
			b.news <- ack.Write
		case *packets.PublishPacket:
			b.published(p)
		case *packets.PingreqPacket:
			b.news <- packets.NewControlPacket(packets.Pingresp).Write
		case *packets.DisconnectPacket:
			return
		}
	}
}

func (b *standIn) published(p *packets.PublishPacket) {
	payload := string(p.Payload)
	if b.got != nil {
		b.got(p.TopicName, payload)
	}
	if p.Qos == 1 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		b.news <- ack.Write
	}
	if foreign, ok := b.told[payload]; ok {
		delete(b.told, payload) // once
		b.news <- publish(p.TopicName, foreign).Write
	}
	back := publish(p.TopicName, payload)
	if b.late == 0 || !strings.Contains(p.TopicName, "/state/") {
		b.news <- back.Write
		return
	}
	time.AfterFunc(b.late, func() { b.news <- back.Write })
}

func publish(topic, payload string) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, []byte(payload)
	return p
}

// inBubble is a node on a stand-in, born and with its lamp published, and what
// it has published of its state and its faults so far.
func inBubble(t *testing.T, b *standIn, test func(t *testing.T, c *client.Client, published func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		b.got = func(topic, payload string) {
			if strings.Contains(topic, "/service/") || strings.Contains(topic, "/error/") {
				all = append(all, strings.TrimPrefix(topic, "dominion/attic/")+" "+payload)
			}
		}
		c, err := client.New(client.Options{Node: "attic", ID: "m1", Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go b.serve(there)
			return here, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		<-c.Inbound()
		in := <-c.Inbound()
		birth := topics.Presence{State: topics.Online, Sid: in.Sid, ID: "m1"}
		if err := c.Publish(ctx, topics.Message{Topic: topics.Space{}.Presence("attic"), Payload: topics.Encode(birth), QoS: 1, Retained: true}); err != nil {
			t.Fatal(err)
		}
		test(t, c, func() []string {
			time.Sleep(time.Minute)
			synctest.Wait()
			return all
		})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		time.Sleep(time.Minute) // for what comes back late
	})
}

// It does not take its own words, come back late, for another's.
func TestLateEcho(t *testing.T) {
	inBubble(t, &standIn{late: 2 * time.Second}, func(t *testing.T, c *client.Client, published func() []string) {
		var want []string
		for _, payload := range []string{"a", "b", "", "a", "c"} {
			m := service(topics.Space{}, "attic", "lamp", payload)
			if err := c.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			want = append(want, "state/service/lamp "+payload)
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff(want, published()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

// It writes again what it published while another's word was on its way: a
// broker may have kept either.
func TestCrossedWords(t *testing.T) {
	inBubble(t, &standIn{told: map[string]string{"mine": "theirs"}}, func(t *testing.T, c *client.Client, published func() []string) {
		if err := c.Publish(t.Context(), service(topics.Space{}, "attic", "lamp", "mine")); err != nil {
			t.Fatal(err)
		}
		got := published()
		if len(got) != 3 || got[0] != "state/service/lamp mine" || got[1] != "state/service/lamp mine" || !strings.Contains(got[2], "FOREIGN_WRITE") {
			t.Errorf("published %q, want mine, mine again and a fault", got)
		}
	})
}

// It does not put right what it has overwritten itself meanwhile.
func TestOvertaken(t *testing.T) {
	b := &standIn{late: 2 * time.Second, told: map[string]string{"old": "theirs"}}
	inBubble(t, b, func(t *testing.T, c *client.Client, published func() []string) {
		for _, payload := range []string{"old", "new"} {
			if err := c.Publish(t.Context(), service(topics.Space{}, "attic", "lamp", payload)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if diff := cmp.Diff([]string{"state/service/lamp old", "state/service/lamp new"}, published()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

// It logs the first failure at once, then each ten minutes, and the return.
func TestLogIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := &logBook{}
		began := time.Now()
		o := client.Options{Node: "attic", ID: "m1", Log: zerolog.New(logged), Dial: func(context.Context) (net.Conn, error) {
			if time.Since(began) < 25*time.Minute {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			here, there := net.Pipe()
			go (&standIn{}).serve(there)
			return here, nil
		}}
		o.Broker = "mqtt://nas"
		c, err := client.New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		for _, in := range []topics.Link{topics.LinkUp, topics.LinkSynced} {
			if got := <-c.Inbound(); got.Link != in {
				t.Errorf("told %v, want %v", got.Link, in)
			}
		}
		refused := "warn no link, still trying: no broker answers at nas:1883 (connection refused): is it running, and is that its address?"
		want := []string{refused, refused, refused, "info the link to the broker is back"}
		if diff := cmp.Diff(want, logged.messages(t)); diff != "" {
			t.Errorf("the log (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took > 25*time.Minute+5*time.Second {
			t.Errorf("the link was up after %s, want at most 3 s after the broker was", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// It notices a broker that freezes, although the network library waits for
// ever to write its acknowledgements and pings, and takes its own time-outs.
func TestFrozenBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen, thaw := make(chan struct{}), make(chan struct{})
		defer close(thaw)
		var frozenAt time.Time
		c, err := client.New(client.Options{Node: "attic", ID: "m1", Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) {
			if !frozenAt.IsZero() {
				return nil, io.EOF
			}
			here, there := net.Pipe()
			freezes := &freezer{there, frozen, thaw}
			go (&standIn{}).serve(freezes)
			return here, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		<-c.Inbound()
		if in := <-c.Inbound(); in.Link != topics.LinkSynced {
			t.Fatalf("told %+v", in)
		}
		time.Sleep(time.Minute) // an idle link stays
		frozenAt = time.Now()
		close(frozen)
		if in := <-c.Inbound(); in.Link != topics.LinkDown {
			t.Errorf("told %+v, want LinkDown", in)
		}
		if took := time.Since(frozenAt); took > 25*time.Second {
			t.Errorf("noticed after %s", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// freezer is a connection whose far end stops reading, and so writing.
type freezer struct {
	net.Conn
	frozen, thaw chan struct{}
}

func (f *freezer) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	select {
	case <-f.frozen:
		<-f.thaw
		return 0, io.EOF
	default:
		return n, err
	}
}
