package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi puts everything that is retained into the subscriber's queue at once,
// and what finds no place there is lost in silence. So mochi is told to replay
// nothing, and each connection has a replay of its own, as fast as its client
// takes it. What holds:
//
//   - Every message that is retained when SUBACK is sent, and not replaced
//     before its turn, reaches the subscriber with the retain flag.
//   - A client that publishes something to itself after SUBACK receives it
//     after the last of them: the end of the replay can be seen.
//   - The last message a subscriber gets on a topic is the newest: news and the
//     replay overtake each other only with that in mind.

// How far a replay runs ahead of the acknowledgements (QoS 1 and 2): little
// enough for a socket's buffer, so that publishers never wait for it.
const (
	aheadMessages = 1024
	aheadBytes    = 256 << 10
	// A client may acknowledge late, but then it is not waited for.
	ackPatience = 2 * time.Second
)

// mostOwed is how many topics may wait to be replayed to one client. Who asks
// again and again for all there is, and does not take it, is disconnected.
const mostOwed = 1 << 18

// Retain handling of a subscription, MQTT 5, 3.8.3.1.
const (
	replayIfNew = 1
	neverReplay = 2
)

// replayOrigin is the origin of replayed messages, where mochi keeps the
// publisher's client id; no client id has a NUL in it.
const replayOrigin = "\x00replay"

// wish is one filter of a SUBSCRIBE whose retained messages are to be sent.
type wish struct {
	sub     packets.Subscription
	wanted  bool
	refusal byte     // reason for SUBACK; 0: none
	topics  []string // once it is granted: what comes to be retained later is news
}

func newWish(sub packets.Subscription, existed bool) wish {
	shared := unshared(sub.Filter) != sub.Filter // MQTT 5, 4.8.2: no replay
	wanted := !shared && sub.RetainHandling != neverReplay && (sub.RetainHandling != replayIfNew || !existed)
	return wish{sub: sub, wanted: wanted}
}

// replay is what one connection is still owed of the retained messages.
type replay struct {
	mu      sync.Mutex // guards queue, topics, owed, running, ahead, bytes
	queue   []wish
	topics  int  // of all in queue
	owed    bool // queue is not worked off
	running bool
	ahead   map[uint16]int // packet id: bytes, of what is not acknowledged
	bytes   int            // their sum

	acks    chan struct{} // has an element after an acknowledgement
	workers sync.WaitGroup
}

// add is called before SUBACK: from here on the fence holds. It tells whether
// the client is owed more than can be kept for it.
func (r *replay) add(granted wish) (tooMuch bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tooMuch = r.topics > 0 && r.topics+len(granted.topics) > mostOwed
	r.queue = append(r.queue, granted)
	r.topics += len(granted.topics)
	r.owed = true
	return tooMuch
}

// startReplay is called after SUBACK.
func (s *Server) startReplay(c *conn) {
	r := &c.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || len(r.queue) == 0 {
		return
	}
	r.running = true
	if r.acks == nil {
		r.acks = make(chan struct{}, 1)
	}
	if r.ahead == nil {
		r.ahead = map[uint16]int{}
	}
	r.workers.Go(func() { s.contain(c, "replaying", func() { s.replayAll(c) }) })
}

// wait returns when the worker has ended, which it does when its connection is closed.
func (r *replay) wait() { r.workers.Wait() }

func (s *Server) replayAll(c *conn) {
	for {
		w, ok := c.replay.next()
		if !ok {
			s.release(c) // what the fence kept back
			return
		}
		for _, topic := range w.topics {
			if !s.replayTopic(c, w.sub, topic) {
				return // the connection is closed
			}
		}
	}
}

func (r *replay) next() (wish, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.owed, r.queue, r.running = false, nil, false
		r.ahead, r.bytes = nil, 0
		return wish{}, false
	}
	w := r.queue[0]
	r.queue = r.queue[1:]
	r.topics -= len(w.topics)
	return w, true
}

// replayTopic sends what is retained on one topic. News on the topic that came
// meanwhile may have been written before it, so it looks again afterwards, and
// sends again: mochi retains a message before it delivers it.
func (s *Server) replayTopic(c *conn, sub packets.Subscription, topic string) bool {
	var sent *byte // the payload's place tells one retained message from the next
	for {
		pk, ok := s.mqtt.Topics.Retained.Get(topic)
		switch {
		case !ok && sent == nil:
			return true
		case !ok:
			// Emptied meanwhile, and the word of it may have come first.
			return s.replayOne(c, sub, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Created: time.Now().Unix()})
		case len(pk.Payload) == 0 || sent == &pk.Payload[0]:
			return true
		case expired(pk, time.Now()):
			return true
		}
		sent = &pk.Payload[0]
		if !s.replayOne(c, sub, pk) {
			return false
		}
	}
}

// replayOne writes one message, past the news that wait for the client.
func (s *Server) replayOne(c *conn, sub packets.Subscription, pk packets.Packet) bool {
	cl := c.client
	pk.FixedHeader.Retain = len(pk.Payload) > 0
	pk.FixedHeader.Dup = false
	pk.FixedHeader.Qos = min(pk.FixedHeader.Qos, sub.Qos)
	pk.Origin = replayOrigin
	pk.Properties.SubscriptionIdentifier = nil
	if sub.Identifier > 0 {
		pk.Properties.SubscriptionIdentifier = []int{sub.Identifier}
	}
	if !c.awaitOut(func(waiting int) bool { return waiting < aheadBytes }, nil) {
		return false
	}
	if pk.FixedHeader.Qos > 0 {
		if !s.paced(c, cl) {
			return false
		}
		id, err := cl.NextPacketID()
		if err != nil { // none is free, which paced excludes
			_ = c.Close()
			return false
		}
		pk.PacketID = uint16(id)
		c.replay.goesAhead(pk.PacketID, len(pk.TopicName)+len(pk.Payload))
		if cl.State.Inflight.Set(pk) {
			atomic.AddInt64(&s.mqtt.Info.Inflight, 1)
		}
		s.waits(cl, pk)
	}
	if !s.write(cl, pk) {
		c.replay.acknowledged(pk.PacketID)
	}
	return !c.over()
}

// paced waits until the client has acknowledged enough of what was sent. The
// end of the packet ids is waited for without end, one's own moderation only
// so long. (What a client takes at all, flow.go sees to.)
func (s *Server) paced(c *conn, cl *mqtt.Client) bool {
	most := int(s.mqtt.Options.Capabilities.MaximumInflight) - 1024
	patience := time.NewTimer(ackPatience)
	defer patience.Stop()
	for cl.State.Inflight.Len() >= most || !c.replay.room() {
		select {
		case <-c.closed:
			return false
		case <-c.replay.acks:
			patience.Reset(ackPatience)
		case <-patience.C:
			c.replay.forget()
			patience.Reset(ackPatience)
		}
	}
	return true
}

func (r *replay) room() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ahead) < aheadMessages && r.bytes < aheadBytes
}

func (r *replay) goesAhead(id uint16, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += bytes - r.ahead[id]
	r.ahead[id] = bytes
}

func (r *replay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.ahead)
	r.bytes = 0
}

// acknowledged is called after every PUBACK and PUBCOMP of the client.
func (r *replay) acknowledged(id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running {
		return
	}
	r.bytes -= r.ahead[id]
	delete(r.ahead, id)
	select {
	case r.acks <- struct{}{}:
	default:
	}
}

// fences tells whether a message has to wait for the end of the replay: one that
// the client published itself, as long as it is owed something.
func (c *conn) fences(pk packets.Packet) bool {
	if pk.Origin != c.client.ID {
		return false
	}
	c.replay.mu.Lock()
	defer c.replay.mu.Unlock()
	return c.replay.owed
}

// index knows the topics on which something is retained. (mochi's own search
// reads without its locks, and does not find x for x/#.)
type index struct {
	mu     sync.RWMutex   // guards topics and what follows
	topics map[string]int // and the weight of what is retained there
	sum    holding        // of all but the broker's own
}

// update takes over what is retained on a topic. Asking under the lock makes
// the last of two calls right, whatever their order.
func (x *index) update(topic string, retained func(string) (packets.Packet, bool)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	pk, is := retained(topic)
	if old, known := x.topics[topic]; known {
		x.add(topic, holding{-1, -old})
	}
	if !is {
		delete(x.topics, topic)
		return
	}
	x.topics[topic] = weight(pk)
	x.add(topic, holding{1, weight(pk)})
}

func (x *index) add(topic string, more holding) {
	if !isOwn(topic) {
		x.sum = x.sum.plus(more)
	}
}

func (x *index) sizes() (topics, bytes int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.sum.topics, x.sum.bytes
}

// matching returns the topics of a filter in the order of their names.
func (x *index) matching(filter string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []string
	if _, ok := x.topics[filter]; ok {
		found = append(found, filter) // a topic, for no topic has a wildcard
		return found
	}
	for topic := range x.topics {
		if matches(filter, topic) {
			found = append(found, topic)
		}
	}
	slices.Sort(found)
	return found
}

// retained follows every change of what is retained on a topic; by is whose
// change it was, nil for the broker itself.
func (s *Server) retained(by *conn, topic string) {
	s.quota.settle(topic, by, s.mqtt.Topics.Retained.Get)
	s.index.update(topic, s.mqtt.Topics.Retained.Get)
	if s.store != nil && s.opt.Rules.Durable(topic) {
		s.store.touch(topic)
	}
}
