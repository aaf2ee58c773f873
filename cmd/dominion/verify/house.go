package verify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// House is a house of the kit's own: a broker that nobody else uses, with a
// leader that is none. Whoever connects to it is the node.
type House struct {
	Options
	listener net.Listener
	record   *record
	id       topics.HouseID
	term     uint64

	connections sync.WaitGroup

	mu     sync.Mutex // guards what follows
	server *broker.Server
	leader *hand
	closed bool // who comes is sent away
	count  int
	conns  map[net.Conn]bool
}

// Options say what is looked at.
type Options struct {
	Space topics.Space
	Node  topics.Node
	// Patience is how long the node may take to come, and to come back: 45 s.
	Patience time.Duration
	// Say is told what is done now, for people. Nil: nobody is.
	Say func(string)
	// Stop has the node stop as it usually does, or asks somebody to; false: it
	// cannot. Nil: it is not stopped.
	Stop func() bool
}

func (o Options) withDefaults() Options {
	if o.Patience == 0 {
		o.Patience = 45 * time.Second
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return o
}

// Listen opens a house at a TCP address.
func Listen(address string, o Options) (*House, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	h := &House{
		Options: o, listener: listener, record: newRecord(o.Space, o.Node, true),
		id: topics.HouseID(topics.NewID(6)), conns: map[net.Conn]bool{},
	}
	if err := h.rise(); err != nil {
		listener.Close()
		return nil, err
	}
	h.connections.Go(h.accept)
	return h, nil
}

// Addr is where the node is to connect.
func (h *House) Addr() string { return h.listener.Addr().String() }

// Close ends the house, and returns when nothing of it is left.
func (h *House) Close() {
	h.listener.Close()
	h.fall()
	h.connections.Wait()
}

// open are the rules of a broker that is not ours: it keeps what it is told to,
// and lets everybody write.
type open struct{}

func (open) MayWrite(topics.Identity, string) bool { return true }
func (open) MayEmpty(topics.Identity, string) bool { return true }
func (open) MayRead(topics.Identity, string) bool  { return true }
func (open) Retainable(string) bool                { return true }
func (open) Durable(string) bool                   { return false }

// rise opens a broker that remembers nothing.
func (h *House) rise() error {
	server, err := broker.Open(broker.Options{Rules: open{}, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	conn := server.Pipe(topics.Identity{Role: topics.RoleCoordinator, Name: string(topics.Coordinator)})
	leader, err := connectHand(conn, Login{}, nil, func(topics.Message) {})
	if err != nil {
		server.Close()
		return fmt.Errorf("the kit's own broker: %w", err)
	}
	h.mu.Lock()
	h.server, h.leader = server, leader
	h.mu.Unlock()
	return nil
}

// fall ends the broker, and all connections to it.
func (h *House) fall() {
	h.cut()
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	server.Close()
}

// cut breaks all connections of the node, and lets nobody in until admit.
func (h *House) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for conn := range h.conns {
		conn.Close()
	}
}

func (h *House) admit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = false
}

func (h *House) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		if number, in := h.enter(conn); in {
			h.connections.Go(func() {
				h.serve(conn, number)
				h.exit(conn)
			})
		}
	}
}

// mostConnections of a node are open at one time.
const mostConnections = 64

func (h *House) enter(conn net.Conn) (number int, in bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.conns) >= mostConnections {
		conn.Close()
		return 0, false
	}
	h.count++
	h.conns[conn] = true
	return h.count, true
}

func (h *House) exit(conn net.Conn) {
	conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, conn)
}

// connected tells how many connections the node has.
func (h *House) connected() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// serve hands what the node sends to the broker, packet by packet, after it was
// taken down.
func (h *House) serve(conn net.Conn, number int) {
	in := bufio.NewReader(conn)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	raw, err := frame(in)
	if err != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	e := opening(raw)
	e.Conn = number
	h.record.add(e)
	if e.Fault != "" {
		_ = turnedAway(conn) // it is closed next
		return
	}
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	pipe := server.Pipe(topics.Identity{Role: topics.RoleNode, Name: string(h.Node)})
	defer pipe.Close()
	h.connections.Go(func() {
		io.Copy(conn, pipe)
		conn.Close()
	})
	if !h.listen(in, pipe, raw, number) {
		h.record.add(Event{What: Broke, Conn: number})
	}
}

// listen goes on until the connection ends; true: with DISCONNECT.
func (h *House) listen(in *bufio.Reader, pipe io.Writer, raw []byte, number int) (left bool) {
	for {
		if _, err := pipe.Write(raw); err != nil || left {
			return left
		}
		var err error
		if raw, err = frame(in); err != nil {
			return false
		}
		all, err := events(raw)
		if err != nil {
			return false
		}
		for _, e := range all {
			e.Conn = number
			h.record.add(e)
			left = left || e.What == Left
		}
	}
}

// tell has the leader publish; a broker of our own that does not take it has
// ended, and so has what is tried on it.
func (h *House) tell(m topics.Message) {
	h.mu.Lock()
	leader := h.leader
	h.mu.Unlock()
	_ = leader.publish(m)
}

// keep has the leader publish something that is retained.
func (h *House) keep(topic string, payload any) {
	h.tell(topics.Message{Topic: topic, Payload: topics.Encode(payload), QoS: 1, Retained: true})
}

// lead says that the house has a leader, and beats until ctx ends.
func (h *House) lead(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		h.tell(topics.Message{Topic: h.Space.PlanHeartbeat(), Payload: topics.Encode(topics.Heartbeat{Sid: leaderSid, Seq: seq, Term: h.term})})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// leaderSid is the session of the leader that is none.
const leaderSid topics.Sid = "verify"

// present has the leader say who it is.
func (h *House) present() {
	const id = "c0ffee00c0ffee00"
	h.keep(h.Space.Info(topics.Coordinator), topics.Info{Kind: topics.KindCoordinator, ID: id, Sid: leaderSid, House: h.id, Name: "verify", Protocol: topics.Protocol})
	h.keep(h.Space.Presence(topics.Coordinator), topics.Presence{State: topics.Online, Sid: leaderSid, ID: id, House: h.id, Term: h.term, Role: topics.Active})
}
