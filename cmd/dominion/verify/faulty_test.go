package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"dominion/broker/client"
	"dominion/cmd/dominion/verify"
	"dominion/topics"
)

const lamp topics.Node = "lamp-2"

// faulty is a node with one fault: a right one, with something between it and
// the broker. Both functions are called for each packet, with the number of the
// connection, and return what becomes of it; nil is none.
type faulty struct {
	up   func(conn int, p packets.ControlPacket) []packets.ControlPacket // from the node
	down func(conn int, p packets.ControlPacket) []packets.ControlPacket
}

// between stands before a broker, and returns where the node is to connect.
func (f faulty) between(t *testing.T, broker string) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for number := 1; ; number++ {
			node, err := listener.Accept()
			if err != nil {
				return
			}
			house, err := net.Dial("tcp", broker)
			if err != nil {
				node.Close()
				continue
			}
			all.Go(func() { pass(house, node, number, f.up) })
			all.Go(func() { pass(node, house, number, f.down) })
		}
	})
	return listener.Addr().String()
}

// pass hands packets on until either side ends.
func pass(to, from net.Conn, number int, change func(int, packets.ControlPacket) []packets.ControlPacket) {
	defer to.Close()
	defer from.Close()
	for {
		p, err := packets.ReadPacket(from)
		if err != nil {
			return
		}
		become := []packets.ControlPacket{p}
		if change != nil {
			become = change(number, p)
		}
		for _, p := range become {
			if p.Write(to) != nil {
				return
			}
		}
	}
}

// look runs a right microdomain with something between it and the house, and
// returns what verify finds wrong.
func look(t *testing.T, f faulty) (wrong []string, err error) {
	ctx, end := context.WithTimeout(t.Context(), 3*time.Minute)
	defer end()
	node, stop := context.WithCancel(ctx)
	defer stop()
	h, err := verify.Listen("127.0.0.1:0", verify.Options{
		Node: lamp, Patience: 12 * time.Second,
		Stop: func() bool { stop(); return true },
	})
	if err != nil {
		return nil, err
	}
	m := client.Microdomain{
		Node: lamp, Service: "lamp", Version: "1.0.0", ID: "0123456789abcdef", Broker: "mqtt://" + f.between(t, h.Addr()),
		Run: func(ctx context.Context) error { <-ctx.Done(); return nil },
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(node) }()
	seen, err := h.Run(ctx)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	for _, f := range verify.Judge(seen) {
		if f.Result == verify.Wrong {
			wrong = append(wrong, f.Check+": "+f.Seen)
		}
	}
	return wrong, nil
}

// TestFaultIsNamed holds that verify finds nothing wrong with what our own SDK
// makes, and of a node that has one fault names that, and nothing else. All are
// looked at at the same time: mostly they wait.
func TestFaultIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("it breaks connections, and waits for nodes to come back")
	}
	t.Parallel()
	all := faults()
	all["none"] = fault{"", func() faulty { return faulty{} }}
	var looks sync.WaitGroup
	for name, c := range all {
		looks.Go(func() {
			wrong, err := look(t, c.node())
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case c.want == "" && len(wrong) == 0:
			case len(wrong) != 1 || !strings.HasPrefix(wrong[0], c.want+": "):
				t.Errorf("%s: found %q, want %q alone", name, wrong, c.want)
			}
		})
	}
	looks.Wait()
}

// fault is a faulty node, and the check that is to name it.
type fault struct {
	want string
	node func() faulty
}

// faults are the deliberately broken nodes.
func faults() map[string]fault {
	space := topics.Space{}
	info, presence, service := space.Info(lamp), space.Presence(lamp), space.ServiceState(lamp, "lamp")
	return map[string]fault{
		"no will":          {"will", onConnect(func(p *packets.ConnectPacket) { p.WillFlag, p.WillRetain, p.WillQos = false, false, 0 })},
		"will elsewhere":   {"will", onConnect(func(p *packets.ConnectPacket) { p.WillTopic = "tele/lamp/LWT" })},
		"will not kept":    {"will-retained", onConnect(func(p *packets.ConnectPacket) { p.WillRetain = false })},
		"will says online": {"will-lost", onConnect(func(p *packets.ConnectPacket) { p.WillMessage = []byte("online") })},
		"old session":      {"connect", onConnect(func(p *packets.ConnectPacket) { p.CleanSession = false })},
		"presence first":   {"order", presenceFirst(presence)},
		"wrong kind":       {"kind", onPublish(info, replace(`"micro"`, `"lamp"`))},
		"no kind":          {"fields", onPublish(info, replace(`"kind"`, `"sort"`))},
		"no version":       {"json", onPublish(service, replace(`"v":1,`, ``))},
		"half a payload":   {"json", onPublish(service, func(p *packets.PublishPacket) { p.Payload = p.Payload[:len(p.Payload)/2] })},
		"state not kept":   {"state-retained", onPublish(service, func(p *packets.PublishPacket) { p.Retain = false })},
		"answer kept":      {"event-retained", onPublish("/event/reply/", func(p *packets.PublishPacket) { p.Retain = true })},
		"QoS 0":            {"qos", onPublish(info, func(p *packets.PublishPacket) { p.Qos = 0 })},
		"another's topic":  {"topics", twice(presence, func(p *packets.PublishPacket) { p.TopicName = "dominion/lamp-3/state/presence" })},
		"a name with dots": {"names", twice(presence, func(p *packets.PublishPacket) { p.TopicName = "dominion/lamp-2/state/service/my.lamp" })},
		"too long": {"size", twice(service, func(p *packets.PublishPacket) {
			p.TopicName = service + "-log"
			p.Payload = []byte(`{"v":1,"text":"` + strings.Repeat("x", topics.MaxPayload) + `"}`)
		})},
		"deaf":              {"ping", drop("/event/reply/verify-ping")},
		"silent at unknown": {"unknown-method", drop("/event/reply/verify-unknown")},
		"empty is nothing":  {"empty-payload", drop("/event/error/command")},
		"another id":        {"id", onPublish("/event/reply/verify-ping", replace("verify-ping", "x1"))},
		"runs it twice":     {"repeated-id", newIDs},
		"stays away":        {"comes-back", onlyOnce},
		"forgets its state": {"says-all-again", laterDrop(4, service)},
		"no goodbye":        {"goodbye", onPublish(presence, replace(`"stopped"`, `"online"`))},
		"hangs up":          {"leaves", hangUp},
	}
}

func one(p packets.ControlPacket) []packets.ControlPacket { return []packets.ControlPacket{p} }

func onConnect(change func(*packets.ConnectPacket)) func() faulty {
	return func() faulty {
		return faulty{up: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
			if connect, ok := p.(*packets.ConnectPacket); ok {
				change(connect)
			}
			return one(p)
		}}
	}
}

// onPublish changes what the node publishes on topics that have a part.
func onPublish(part string, change func(*packets.PublishPacket)) func() faulty {
	return func() faulty {
		return faulty{up: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
			if m, ok := p.(*packets.PublishPacket); ok && strings.Contains(m.TopicName, part) {
				change(m)
			}
			return one(p)
		}}
	}
}

// replace changes a word in topic and payload.
func replace(from, to string) func(*packets.PublishPacket) {
	return func(m *packets.PublishPacket) {
		m.TopicName = strings.ReplaceAll(m.TopicName, from, to)
		m.Payload = bytes.ReplaceAll(m.Payload, []byte(from), []byte(to))
	}
}

// twice publishes another message after each on a topic.
func twice(topic string, change func(*packets.PublishPacket)) func() faulty {
	return func() faulty {
		return faulty{up: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
			m, ok := p.(*packets.PublishPacket)
			if !ok || m.TopicName != topic {
				return one(p)
			}
			other := m.Copy()
			other.Qos, other.Retain, other.MessageID = m.Qos, m.Retain, 60000
			change(other)
			return []packets.ControlPacket{p, other}
		}, down: withoutAck(60000)}
	}
}

// withoutAck keeps an acknowledgement from the node, which did not send that.
func withoutAck(id uint16) func(int, packets.ControlPacket) []packets.ControlPacket {
	return func(_ int, p packets.ControlPacket) []packets.ControlPacket {
		if ack, ok := p.(*packets.PubackPacket); ok && ack.MessageID == id {
			return nil
		}
		return one(p)
	}
}

// unheard takes a message from a node, which believes that it was sent.
func unheard(m *packets.PublishPacket) []packets.ControlPacket {
	m.TopicName, m.Retain, m.Payload = "dominion/service/lamp/nothing", false, []byte("{}")
	return one(m)
}

func drop(part string) func() faulty { return laterDrop(1, part) }

// laterDrop drops from a connection on.
func laterDrop(from int, part string) func() faulty {
	return func() faulty {
		return faulty{up: func(conn int, p packets.ControlPacket) []packets.ControlPacket {
			if m, ok := p.(*packets.PublishPacket); ok && conn >= from && strings.Contains(m.TopicName, part) {
				return unheard(m)
			}
			return one(p)
		}}
	}
}

// presenceFirst holds the states back until the presence is said.
func presenceFirst(presence string) func() faulty {
	return func() faulty {
		held, born := map[int][]packets.ControlPacket{}, map[int]bool{}
		return faulty{up: func(conn int, p packets.ControlPacket) []packets.ControlPacket {
			m, ok := p.(*packets.PublishPacket)
			switch {
			case !ok || born[conn] || !strings.Contains(m.TopicName, "/state/"):
				return one(p)
			case m.TopicName == presence:
				born[conn] = true
				return append(one(p), held[conn]...)
			}
			held[conn] = append(held[conn], p)
			return nil
		}}
	}
}

// newIDs has each command look new to the node.
func newIDs() faulty {
	var mu sync.Mutex // guards given, which both directions use
	given := map[string]string{}
	number := 0
	return faulty{down: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
		m, ok := p.(*packets.PublishPacket)
		var command struct{ ID string }
		if !ok || !strings.Contains(m.TopicName, "/command/") || json.Unmarshal(m.Payload, &command) != nil || command.ID == "" {
			return one(p)
		}
		mu.Lock()
		defer mu.Unlock()
		number++
		id := "new" + strings.Repeat("x", number)
		given[id] = command.ID
		m.Payload = bytes.Replace(m.Payload, []byte(command.ID), []byte(id), 1)
		return one(p)
	}, up: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
		mu.Lock()
		defer mu.Unlock()
		if m, ok := p.(*packets.PublishPacket); ok && strings.Contains(m.TopicName, "/event/reply/") {
			id := m.TopicName[strings.LastIndex(m.TopicName, "/")+1:]
			if asked, known := given[id]; known {
				replace(id, asked)(m)
			}
		}
		return one(p)
	}}
}

// onlyOnce lets the node connect once: later ones come to nothing.
func onlyOnce() faulty {
	return faulty{up: func(conn int, p packets.ControlPacket) []packets.ControlPacket {
		if conn > 1 {
			return nil
		}
		return one(p)
	}}
}

// hangUp keeps DISCONNECT from the broker.
func hangUp() faulty {
	return faulty{up: func(_ int, p packets.ControlPacket) []packets.ControlPacket {
		if _, ok := p.(*packets.DisconnectPacket); ok {
			return nil
		}
		return one(p)
	}}
}

// TestAbsent holds that a node that does not come is told as such.
func TestAbsent(t *testing.T) {
	t.Parallel()
	h, err := verify.Listen("127.0.0.1:0", verify.Options{Node: lamp, Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context()); !errors.Is(err, verify.ErrAbsent) {
		t.Errorf("got %v", err)
	}
}

// TestOtherProtocols holds that who speaks another version, or none at all, is
// told so, and ends nothing.
func TestOtherProtocols(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string][]byte{
		"MQTT 5": {0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 2, 'm', 'e'},
		"HTTP":   []byte("GET / HTTP/1.1\r\nHost: lamp\r\nAccept: everything there is on earth, and more\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			h, err := verify.Listen("127.0.0.1:0", verify.Options{Node: lamp, Patience: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", h.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(hello); err != nil {
				t.Fatal(err)
			}
			seen, err := h.Run(t.Context())
			if err != nil && !errors.Is(err, verify.ErrAbsent) {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			connect := slices.IndexFunc(verify.Judge(seen), func(f verify.Finding) bool {
				return f.Check == "connect" && f.Result == verify.Wrong
			})
			if name == "MQTT 5" && connect < 0 {
				t.Error("its version is not told")
			}
		})
	}
}
