package broker

import (
	"crypto/tls"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"
)

// AddHook lets a test watch mochi, or stand in its way.
func (s *Server) AddHook(h mqtt.Hook) error { return s.mqtt.AddHook(h, nil) }

// AddListener lets a test bring its own; over TLS, if there is a configuration.
func (s *Server) AddListener(l net.Listener, secure *tls.Config) {
	s.entrances = append(s.entrances, entrance{l, secure})
}

// Clients is how many sessions mochi knows.
func (s *Server) Clients() int { return s.mqtt.Clients.Len() }

// Connections is how many there are, pipes included.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// ForgetSessions ends the sessions that wait for their clients.
func (s *Server) ForgetSessions() {
	s.endSessions(func(session) bool { return true })
}

// Subscriptions is how many clients are subscribed to anything, once for each
// of their filters.
func (s *Server) Subscriptions() int { return int(atomic.LoadInt64(&s.mqtt.Info.Subscriptions)) }

// Guessers is how many addresses, or user names from one, are remembered for
// wrong passwords.
func (s *Server) Guessers() int {
	s.guesses.mu.Lock()
	defer s.guesses.mu.Unlock()
	return max(len(s.guesses.addresses.of), len(s.guesses.logins.of))
}

// Inject publishes as the broker itself does, past the access rules.
func (s *Server) Inject(topic string, payload []byte, retain bool, qos byte) error {
	return s.Injector()(topic, payload, retain, qos)
}

// Injector is Inject, for many messages of one client.
func (s *Server) Injector() func(topic string, payload []byte, retain bool, qos byte) error {
	cl := s.mqtt.NewClient(nil, mqtt.LocalListener, "test", true)
	return func(topic string, payload []byte, retain bool, qos byte) error {
		return s.mqtt.InjectPacket(cl, publishPacket(topic, payload, retain, qos))
	}
}

// Matches is the broker's reading of filters.
func Matches(filter, topic string) bool { return matches(filter, topic) }

// ValidFilter is the broker's idea of a filter.
func ValidFilter(filter string) bool { return validFilter(filter) }

// NewPipe is the connection that Pipe is made of.
func NewPipe() (net.Conn, net.Conn) { return newPipe() }

func publishPacket(topic string, payload []byte, retain bool, qos byte) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: retain, Qos: qos},
		TopicName:   topic,
		Payload:     payload,
		PacketID:    uint16(qos),
	}
}

// RetainAt retains a message as if it had come at another time, in Unix seconds.
func (s *Server) RetainAt(topic, payload string, created int64) {
	pk := publishPacket(topic, []byte(payload), true, 0)
	pk.Created = created
	s.mqtt.Topics.RetainMessage(pk)
	s.retained(nil, topic)
}

// BreakStore has every write to the store's file fail from here on, as a disk
// that is dying does: not before, but in the middle of a transaction.
func (s *Server) BreakStore() error {
	st := s.store
	st.writing.Lock()
	defer st.writing.Unlock()
	readOnly, err := os.Open(st.path)
	if err != nil {
		return err
	}
	defer readOnly.Close()
	return syscall.Dup3(int(readOnly.Fd()), int(st.volume.file.Fd()), syscall.O_CLOEXEC)
}

// CompactAlways has the store compacted whenever it is written. It is called
// before Run.
func (s *Server) CompactAlways() {
	s.store.wasteful = func(int64, int64) bool { return true }
	s.store.poke()
}

// Store is what Figures says of the store.
func (s *Server) Store() StoreFigures { return s.store.figures() }

// BareStore is a store without a broker, which flushes when it is told to.
type BareStore struct {
	Kept  map[string]string // what is retained
	Moved string
	st    *store
}

// OpenBareStore opens the store in a directory.
func OpenBareStore(dir string) (*BareStore, error) {
	st, kept, moved, err := openStore(Options{Data: dir, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	b := &BareStore{Kept: map[string]string{}, Moved: moved, st: st}
	for _, pk := range kept {
		b.Kept[pk.TopicName] = string(pk.Payload)
	}
	st.current = func(topic string) (packets.Packet, bool) {
		payload, ok := b.Kept[topic]
		return publishPacket(topic, []byte(payload), true, 1), ok
	}
	return b, nil
}

// Put retains a payload; an empty one clears the topic.
func (b *BareStore) Put(topic, payload string) {
	b.Kept[topic] = payload
	if payload == "" {
		delete(b.Kept, topic)
	}
	b.st.touch(topic)
}

// Turn is what the store does after each interval.
func (b *BareStore) Turn() error { return b.st.turn() }

// CompactAlways has each turn compact.
func (b *BareStore) CompactAlways() { b.st.wasteful = func(int64, int64) bool { return true } }

// Figures are the store's.
func (b *BareStore) Figures() StoreFigures { return b.st.figures() }

// Close writes what waits.
func (b *BareStore) Close() error { return b.st.close() }

// Parents is how many subscriptions are remembered whose filters end in +/#.
func (s *Server) Parents() (n int) {
	s.parents.mu.Lock()
	defer s.parents.mu.Unlock()
	for _, ids := range s.parents.of {
		n += len(ids)
	}
	return n
}
