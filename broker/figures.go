package broker

import (
	"cmp"
	"fmt"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Figures are what a broker has to say about itself at one moment. What counts
// up begins with zero when the process begins.
type Figures struct {
	Started time.Time // when Run began; zero: not yet

	Connections     int // clients that are let in now, those on a Pipe too
	ConnectionsMost int // the most of them at one time
	Sessions        int // the same, and clients that are gone and may come back
	Subscriptions   int // of all sessions
	Retained        int // messages; $SYS is not counted
	RetainedBytes   int // of those: what their publishers chose, see Options.MaxRetainedBytes

	BytesReceived    uint64 // MQTT packets, without TLS or WebSocket around them
	BytesSent        uint64
	PacketsReceived  uint64 // of any type
	PacketsSent      uint64
	MessagesReceived uint64 // PUBLISH packets
	MessagesSent     uint64 // one for each subscriber
	Dropped          uint64 // messages that found no place among those that wait for a client

	Accepted   uint64 // connections that came over listeners and had a place
	TurnedAway uint64 // connections that ended, or were ended, before they were let in
	Refused    uint64 // what clients wanted and were not let do, one for each Refusal
	Panics     uint64 // that cost one client its connection, and nobody else anything

	Store StoreFigures // zero without a store
}

// counters are what mochi does not count.
type counters struct {
	most       atomic.Int64 // connections at one time
	dropped    atomic.Uint64
	accepted   atomic.Uint64
	turnedAway atomic.Uint64
	refused    atomic.Uint64
	panics     atomic.Uint64
}

// connected follows a client that was let in.
func (c *counters) connected(now int64) {
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
}

// Figures returns them. It may be called at any time, by anybody, and keeps
// nobody waiting.
func (s *Server) Figures() Figures {
	info := s.mqtt.Info.Clone()
	f := Figures{
		Connections:      int(info.ClientsConnected),
		ConnectionsMost:  int(s.count.most.Load()),
		BytesReceived:    uint64(info.BytesReceived),
		BytesSent:        uint64(info.BytesSent),
		PacketsReceived:  uint64(info.PacketsReceived),
		PacketsSent:      uint64(info.PacketsSent),
		MessagesReceived: uint64(info.MessagesReceived),
		MessagesSent:     uint64(info.MessagesSent),
		// What mochi has no place for in flight is lost without asking a hook.
		Dropped:    s.count.dropped.Load() + uint64(info.InflightDropped),
		Accepted:   s.count.accepted.Load(),
		TurnedAway: s.count.turnedAway.Load(),
		Refused:    s.count.refused.Load(),
		Panics:     s.count.panics.Load(),
	}
	if began := s.began.Load(); began != 0 {
		f.Started = time.Unix(0, began)
	}
	// mochi's own counts of these go wrong when sessions are taken over.
	for _, cl := range s.mqtt.Clients.GetAll() {
		f.Sessions++
		f.Subscriptions += cl.State.Subscriptions.Len()
	}
	f.Retained, f.RetainedBytes = s.index.sizes()
	if s.store != nil {
		f.Store = s.store.figures()
	}
	return f
}

// Serving tells whether clients are served: between the beginning of Run and the
// end.
func (s *Server) Serving() bool { return s.began.Load() != 0 && !s.stopping.Load() }

// tellEach is how often the figures are published.
const tellEach = time.Minute

// tellFigures publishes the figures below $SYS until done is closed.
func (s *Server) tellFigures(done <-chan struct{}) {
	next := time.NewTicker(tellEach)
	defer next.Stop()
	for {
		s.publishFigures(time.Now())
		select {
		case <-next.C:
		case <-done:
			return
		}
	}
}

// forgetMochis takes back what mochi has published below $SYS when it began:
// half of its names mean something else in mosquitto, which the tools that read
// them expect.
func (s *Server) forgetMochis() {
	for topic := range s.mqtt.Topics.Retained.GetAll() {
		if isOwn(topic) {
			s.mqtt.Topics.Retained.Delete(topic)
		}
	}
}

// isOwn tells whether a topic is the broker's own.
func isOwn(topic string) bool { return len(topic) > 0 && topic[0] == '$' }

func (s *Server) publishFigures(now time.Time) {
	ghost := s.mqtt.NewClient(nil, mqtt.LocalListener, "figures", true)
	info := s.mqtt.Info
	for _, figure := range s.Figures().published(now, info.Version) {
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true},
			TopicName:   "$SYS/broker/" + figure.name,
			Payload:     []byte(figure.value),
		}
		if err := s.mqtt.InjectPacket(ghost, pk); err != nil {
			s.log.Error().Err(err).Str("topic", pk.TopicName).Msg("figure not published")
			continue
		}
		// Nobody sent it.
		atomic.AddInt64(&info.PacketsReceived, -1)
		atomic.AddInt64(&info.MessagesReceived, -1)
	}
}

// figure is one of what is published.
type figure struct{ name, value string }

// published are the figures under mosquitto's names, where it has one.
func (f Figures) published(now time.Time, version string) []figure {
	var all []figure
	say := func(name string, value any) { all = append(all, figure{name, fmt.Sprint(value)}) }
	say("version", "mochi-mqtt "+version)
	say("uptime", int64(now.Sub(f.Started).Seconds()))

	say("clients/connected", f.Connections)
	say("clients/disconnected", max(0, f.Sessions-f.Connections))
	say("clients/maximum", f.ConnectionsMost)
	say("clients/total", f.Sessions)
	say("connections/socket/count", f.Accepted)
	say("subscriptions/count", f.Subscriptions)
	say("retained messages/count", f.Retained)
	say("heap/current", heap())

	say("bytes/received", f.BytesReceived)
	say("bytes/sent", f.BytesSent)
	say("messages/received", f.PacketsReceived)
	say("messages/sent", f.PacketsSent)
	say("publish/messages/received", f.MessagesReceived)
	say("publish/messages/sent", f.MessagesSent)
	say("publish/messages/dropped", f.Dropped)

	// mosquitto has none of these.
	say("retained messages/bytes", f.RetainedBytes)
	say("connections/turned away", f.TurnedAway)
	say("refused", f.Refused)
	say("panics", f.Panics)
	if f.Store.Path == "" {
		return all
	}
	say("store/bytes", f.Store.Bytes)
	say("store/waiting", f.Store.Waiting)
	if !f.Store.Flushed.IsZero() {
		say("store/flush/age", int64(now.Sub(f.Store.Flushed).Seconds()))
	}
	say("store/trouble", cmp.Or(f.Store.Trouble, "none"))
	return all
}

// heap is how many bytes the process has on its heap. (runtime.MemStats would
// stop all clients for a moment.)
func heap() string {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return "0"
	}
	return strconv.FormatUint(sample[0].Value.Uint64(), 10)
}
