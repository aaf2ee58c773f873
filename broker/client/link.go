package client

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"dominion/topics"
)

// keepAlive and the time-outs of one connection.
const (
	keepAlive   = 10 * time.Second
	pingTimeout = 5 * time.Second
	connectTime = 5 * time.Second
	writeTime   = 5 * time.Second
)

// link is one connection to the broker: subscribed, and its token sent. All
// calls to the network library that may block are made by one goroutine of the
// link (work), and the caller stops waiting when the link is lost: the library
// would hold it for the whole write time-out.
type link struct {
	paho mqtt.Client
	conn *wire
	mail *mailbox
	lost chan error // holds why, once

	work chan func() error
	done chan error
	dead bool        // lost was seen by do
	last mqtt.Token  // of the last QoS 1 publish
	stop func() bool // ends the watch over the connect's ctx
}

// connect opens a session: CONNECT with the will of this sid, the
// subscriptions, and after their acknowledgement the token that ends the
// retained replay.
func (c *Client) connect(ctx context.Context, sid topics.Sid, running *sync.WaitGroup) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*connectTime)
	defer cancel()
	l := &link{
		mail: newMailbox(c.pace.limit), lost: make(chan error, 1),
		work: make(chan func() error), done: make(chan error, 1),
	}
	options := c.pahoOptions(sid, l)
	options.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := c.open(ctx)
		if err != nil {
			return nil, err
		}
		l.conn = newWire(conn)
		l.stop = context.AfterFunc(ctx, func() { l.conn.raw.Close() })
		return l.conn, nil
	})
	l.paho = mqtt.NewClient(options)
	token := l.paho.Connect()
	<-token.Done() // bounded by ctx and, once a connection is open, by connectTime
	if err := c.explain(token.Error()); err != nil {
		return nil, err
	}
	running.Go(l.serve)
	err := c.subscribeAll(l, sid)
	if !l.stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.goodbye(c.pace.goodbye)
		return nil, err
	}
	return l, nil
}

// pahoOptions are the settings that must be set: without them the library
// falls back to MQTT 3.1, keeps the old will on a reconnect, resends out of
// order, waits for ever, or lets the acknowledgement of what it reads wait for
// what it writes (on an in-memory pipe both sides then wait for each other).
func (c *Client) pahoOptions(sid topics.Sid, l *link) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().
		AddBroker("tcp://" + c.broker.String()).
		SetClientID(c.clientID).
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetKeepAlive(keepAlive).
		SetPingTimeout(pingTimeout).
		SetConnectTimeout(connectTime).
		SetWriteTimeout(writeTime).
		SetStore(mqtt.NewOrderedMemoryStore()).
		SetOrderMatters(true).
		SetAutoAckDisabled(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			l.mail.put(letter{topics.Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retained: m.Retained()}, m.Ack})
		}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.lost <- err })
	if c.broker.user != "" {
		o.SetUsername(c.broker.user).SetPassword(c.broker.password)
	}
	if c.Node != "" {
		will := topics.Encode(topics.Presence{State: topics.Lost, Sid: sid, ID: c.ID})
		o.SetBinaryWill(c.Space.Presence(c.Node), will, 1, true)
	}
	return o
}

func (c *Client) subscribeAll(l *link, sid topics.Sid) error {
	filters := map[string]byte{}
	for _, f := range c.Filters {
		filters[f] = 1
	}
	sync := c.Space.Sync(c.speaker(), sid)
	if !c.covered(sync) {
		filters[sync] = 1
	}
	var token mqtt.Token
	if err := l.do(func() error { token = l.paho.SubscribeMultiple(filters, nil); return nil }); err != nil {
		return err
	}
	select {
	case <-token.Done():
	case err := <-l.lost:
		return fmt.Errorf("the broker at %s ended the connection when asked for %d filters (%w): does it let this client read them?", c.broker, len(filters), err)
	case <-time.After(connectTime):
		return fmt.Errorf("the broker at %s did not acknowledge the subscriptions", c.broker)
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("subscribe at %s: %w", c.broker, err)
	}
	for filter, code := range token.(*mqtt.SubscribeToken).Result() {
		if code > 2 {
			return fmt.Errorf("the broker at %s does not let this client read %q: allow it in its access rules", c.broker, filter)
		}
	}
	return l.publish(topics.Message{Topic: sync, Payload: topics.Encode(syncToken{Sid: sid}), QoS: 1})
}

// syncToken is the payload of a sync event: nobody but its sender reads it.
type syncToken struct {
	V   topics.V   `json:"v"`
	Sid topics.Sid `json:"sid"`
}

// serve does the link's blocking work until end.
func (l *link) serve() {
	for f := range l.work {
		l.done <- f()
	}
}

// do runs f on the link's goroutine and waits for it, unless the link is lost.
func (l *link) do(f func() error) error {
	if l.dead {
		return ErrDown
	}
	select {
	case l.work <- f:
	case err := <-l.lost:
		return l.bury(err)
	}
	select {
	case err := <-l.done:
		return err
	case err := <-l.lost:
		return l.bury(err)
	}
}

// bury keeps why the link was lost for Run, which waits for it too.
func (l *link) bury(err error) error {
	l.dead = true
	l.lost <- err
	return err
}

func (l *link) publish(m topics.Message) error {
	return l.do(func() error {
		token := l.paho.Publish(m.Topic, m.QoS, m.Retained, m.Payload)
		if m.QoS > 0 {
			l.last = token
		}
		select {
		case <-token.Done():
			return token.Error()
		default:
			return nil
		}
	})
}

// subscribe asks for a filter, once more or for the first time; its answer is
// not waited for: brokers work through one connection in order.
func (l *link) subscribe(filter string) error {
	return l.do(func() error { l.paho.Subscribe(filter, 1, nil); return nil })
}

func (l *link) unsubscribe(filter string) error {
	return l.do(func() error { l.paho.Unsubscribe(filter); return nil })
}

// acknowledge answers what was read, in the order it was read.
func (l *link) acknowledge(mail []letter) error {
	return l.do(func() error {
		for _, letter := range mail {
			letter.ack()
		}
		return nil
	})
}

// abort breaks the connection, so that the broker sends the will.
func (l *link) abort() { l.conn.Close() }

// end lets the link's goroutine go; the link must be lost or said goodbye to.
func (l *link) end() { close(l.work) }

// goodbye waits for the last acknowledgement and disconnects: no will is sent.
func (l *link) goodbye(patience time.Duration) {
	if l.last != nil && !l.dead {
		select {
		case <-l.last.Done():
		case <-l.lost:
		case <-time.After(patience):
		}
	}
	l.conn.partWithin(patience)
	l.paho.Disconnect(250)
	l.conn.Close() // waits for the library's call of it
	l.end()
}
