package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dominion/topics"
)

// Options say who connects, where, and what it hears.
type Options struct {
	Space topics.Space
	// Node is the name on the bus. Empty is no node (a command line, the Home
	// Assistant bridge): it has no will, no presence, no healing and takes no
	// commands, but the same sessions.
	Node topics.Node
	// ID is this machine's identity; a node needs one.
	ID topics.MachineID
	// Filters are the subscriptions, at QoS 1. They must not overlap, and the
	// node's own commands are one of them or in none. Nil means
	// Space.NodeFilters(Node), for no node nothing at all.
	Filters []string
	// Broker is mqtt://user:password@host:1883, or tcp:// for the same; over TLS
	// mqtts://host:8883, or ssl:// or tls:// for the same. It may be empty when
	// Dial is set.
	Broker string
	// TLS is how the broker is judged and what certificate is shown to it, over
	// TLS. Nil means the machine's own authorities, and no certificate.
	TLS *tls.Config
	// Dial, when set, opens the connection instead of a dial to Broker: the
	// in-memory pipe to the embedded broker, or a search for a broker that moves.
	// Of Broker the login counts then; with mqtts and no user the broker is to
	// know us by a certificate that Dial shows. ctx bounds the dial alone, which
	// should take less than 5 s. Its errors that are not the network's are said as
	// they are: for people, and the same for the same trouble.
	Dial func(ctx context.Context) (net.Conn, error)
	// Shared is set by the coordinator, whose name several machines may bear in
	// turn: nobody is asked whether the name is in use, what the replay
	// showed and it never wrote stays, <base>/+/desired/# is healed as well, and the presence and the
	// heartbeat of another leader reach the room.
	Shared bool
	Log    zerolog.Logger
}

// ErrDown is returned for what cannot be published because the room has no
// synced session. Nothing is kept for later: on the next LinkSynced a room
// publishes everything again.
var ErrDown = errors.New("no connection to the broker")

// NameInUse ends Run: another machine is online under this node's name.
type NameInUse struct {
	Node topics.Node
	ID   topics.MachineID // the other machine
	Sid  topics.Sid       // its session
	Born bool             // this machine was online under the name before, in this Run
}

func (e *NameInUse) Error() string {
	return fmt.Sprintf("name %q is in use by machine %s (session %s): give this machine another name, or stop the agent there",
		e.Node, e.ID, e.Sid)
}

// pace is how long things take, and how much may wait; tests shorten it.
type pace struct {
	retry, spread time.Duration // between two connects: retry, and up to spread more
	fence         time.Duration // of silence, until the replay is taken for whole without the token
	listen        time.Duration // for the heartbeat of the machine that has our name
	quiet         time.Duration // on a topic, before what was heard is compared
	heal          time.Duration // between two heals, or two faults, on one topic
	recheck       time.Duration // after a command, until a retained one is looked for
	restart       time.Duration // in which a second bare restart is the first one
	try           time.Duration // for the answer to a command
	goodbye       time.Duration // for the last acknowledgement
	limit         int           // bytes that may wait for the room
}

func usualPace() pace {
	return pace{
		retry: time.Second, spread: 2 * time.Second,
		fence: 5 * time.Second, listen: 12 * time.Second,
		quiet: 300 * time.Millisecond, heal: time.Second,
		recheck: time.Second, restart: 2 * time.Second,
		try: 10 * time.Second, goodbye: 2 * time.Second,
		limit: 64 << 20,
	}
}

// Client is one node's (or reader's) connection. Run it once.
type Client struct {
	Options
	broker   address
	clientID string
	pace     pace

	inbound   chan topics.Inbound // unbuffered: what was sent was taken by the room
	publishes chan outgoing
	questions chan *question
	withdrawn chan *question
	running   atomic.Bool
	ended     chan struct{}
}

// outgoing is a message on its way from the room to the owner of the state.
type outgoing struct {
	message topics.Message
	result  chan error // buffered
}

// New checks the options. Errors say what is wrong with the broker's address,
// the name or the filters, and what to write instead.
func New(o Options) (*Client, error) {
	c := &Client{
		Options: o, pace: usualPace(),
		inbound:   make(chan topics.Inbound),
		publishes: make(chan outgoing), questions: make(chan *question), withdrawn: make(chan *question),
		ended: make(chan struct{}),
	}
	var err error
	if o.Broker != "" || o.Dial == nil {
		if c.broker, err = parseAddress(o.Broker); err != nil {
			return nil, err
		}
	}
	if err := c.checkName(); err != nil {
		return nil, err
	}
	if c.Filters == nil && c.Node != "" {
		c.Filters = c.Space.NodeFilters(c.Node)
	}
	if err := c.checkFilters(); err != nil {
		return nil, err
	}
	c.clientID = c.makeClientID()
	return c, nil
}

func (c *Client) checkName() error {
	if c.Space.Base != "" {
		if err := c.Space.Base.Check(); err != nil {
			return err
		}
	}
	if c.Node == "" {
		if c.Shared {
			return errors.New("a shared name needs a node (the coordinator)")
		}
		return nil
	}
	if c.ID == "" {
		return fmt.Errorf("node %q has no machine id", c.Node)
	}
	if c.Shared && c.Filters == nil {
		return fmt.Errorf("%s needs filters: a shared name has none of its own", c.Node)
	}
	if c.Shared {
		return topics.CheckName(string(c.Node))
	}
	return c.Node.Check()
}

func (c *Client) checkFilters() error {
	for i, a := range c.Filters {
		if err := checkFilter(a); err != nil {
			return err
		}
		for _, b := range c.Filters[:i] {
			if overlap(a, b) {
				return fmt.Errorf("filters %q and %q overlap: brokers differ in what they deliver then", b, a)
			}
		}
		if c.Node != "" && a != c.commands() && overlap(a, c.commands()) {
			return fmt.Errorf("filter %q takes in the commands of %s: subscribe to %q by itself", a, c.Node, c.commands())
		}
	}
	return nil
}

// makeClientID gives two machines that claim one name different client ids, so
// that the broker does not let them throw each other out.
func (c *Client) makeClientID() string {
	base := strings.ReplaceAll(strings.TrimSuffix(c.own(), "/"), "/", ".")
	if c.Node == "" {
		return base + "." + topics.NewID(10)
	}
	return base + "." + string(c.ID[:min(8, len(c.ID))])
}

// speaker is the node whose event/sync a session's token is published on.
func (c *Client) speaker() topics.Node {
	if c.Node == "" {
		return topics.Reader
	}
	return c.Node
}

// own is <base>/<node>/.
func (c *Client) own() string {
	return strings.TrimSuffix(c.Space.Presence(c.speaker()), "state/presence")
}

func (c *Client) commands() string { return c.Space.Commands(c.Node) }

// guarded tells whether the node is the only writer of a topic and heals it.
func (c *Client) guarded(topic string) bool {
	switch {
	case c.Node == "":
		return false
	case matches(c.own()+"state/#", topic):
		return true
	}
	return c.Shared && matches(c.Space.Filter(topics.Desired), topic)
}

// covered tells whether a message on topic comes to this client.
func (c *Client) covered(topic string) bool {
	for _, f := range c.Filters {
		if matches(f, topic) {
			return true
		}
	}
	return false
}

// Inbound is the room's one ordered stream. It is never closed. What the room
// does not take waits, up to 64 MiB; then the link is dropped.
func (c *Client) Inbound() <-chan topics.Inbound { return c.inbound }

// Publish hands a message to the connection, in order, and does not wait for
// its acknowledgement; a link that breaks later is told by LinkDown. It
// returns ErrDown when the room has no synced session, and an error when the
// message is none this node may send. The payload must not be changed
// afterwards: it is what healing puts back.
func (c *Client) Publish(ctx context.Context, m topics.Message) error {
	if err := c.publish(ctx, m); err != nil {
		return fmt.Errorf("publish %s: %w", m.Topic, err)
	}
	return nil
}

func (c *Client) publish(ctx context.Context, m topics.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.checkOutgoing(m); err != nil {
		return err
	}
	if !c.running.Load() {
		return ErrDown
	}
	out := outgoing{m, make(chan error, 1)}
	select {
	case c.publishes <- out:
		return <-out.result
	case <-c.ended:
		return ErrDown
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) checkOutgoing(m topics.Message) error {
	switch {
	case m.Topic == "" || strings.ContainsAny(m.Topic, "+#\x00"):
		return fmt.Errorf("%q is no topic to publish on", m.Topic)
	case m.QoS > 1:
		return fmt.Errorf("QoS is %d (want 0 or 1)", m.QoS)
	case len(m.Payload) > topics.MaxPayload:
		return fmt.Errorf("payload has %d bytes (at most %d)", len(m.Payload), topics.MaxPayload)
	case m.Retained && !c.Space.Retainable(m.Topic):
		return errors.New("events and commands are never retained")
	case !m.Retained && c.guarded(m.Topic):
		return errors.New("state and desired documents are always retained")
	}
	return nil
}

// Run connects, and connects again, until ctx ends: then it says goodbye (no
// will is sent) and returns nil. It returns *NameInUse when another machine
// has the name.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("the client was run before: make a new one")
	}
	defer close(c.ended)
	return newLife(c).run(ctx)
}
