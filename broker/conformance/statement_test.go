package conformance_test

import (
	"testing"

	"dominion/broker"
)

// statement is a normative statement of a standard.
type statement struct {
	number string // as "MQTT-3.1.0-1"
	asks   string // what it asks, in our words

	test func(*trial) // what shows that it holds; nil: nothing here
	why  string       // why nothing here can

	deviation string // where the broker departs from it on purpose, and why
}

// Reasons why a statement has no test.
const (
	bindsClients = "binds the client, and a server cannot tell whether it was kept"
)

// trial is one statement's test: a *testing.T and the broker that it shares
// with the others. Topics and client ids carry the number, so that none meets
// another's.
type trial struct {
	*testing.T
	s      *broker.Server
	number string
}

// walk tests every statement that can be tested, under its number.
func walk(t *testing.T, statements []statement) {
	s := start(t, nil)
	for _, st := range statements {
		if st.test == nil {
			continue
		}
		t.Run(st.number, func(t *testing.T) { st.test(&trial{t, s, st.number}) })
	}
}

// topic is one below the statement's own.
func (x *trial) topic(levels string) string { return x.number + "/" + levels }

// id is the client id of one of the statement's own clients.
func (x *trial) id(name string) string { return x.number + "." + name }

// join connects a client under an id of the statement's own.
func (x *trial) join(name string) *client {
	x.Helper()
	return join(x, x.s, connect{id: x.id(name)})
}

// resume connects a client with a session that is kept.
func (x *trial) resume(name string) *client {
	x.Helper()
	return join(x, x.s, connect{id: x.id(name), resume: true})
}

// turnsAway sends bytes on a new connection that must be closed without a word.
func (x *trial) turnsAway(what string, parts ...[]byte) {
	x.Helper()
	c := dial(x, x.s)
	c.send(parts...)
	if got, err := c.next(); err == nil {
		x.Errorf("%s: the server answers %v, want the end of the connection", what, got)
	}
}

// hangsUpOn sends bytes as a connected client, whose connection must be closed
// as a lost one: its will is published.
func (x *trial) hangsUpOn(what string, parts ...[]byte) {
	x.Helper()
	watcher := x.join("watcher")
	watcher.subscribe(filter{x.topic("will"), 0})
	c := join(x, x.s, connect{id: x.id("wrong"), will: &will{topic: x.topic("will"), payload: what}})
	c.send(append(parts, pingreq())...)
	for {
		p, err := c.next()
		if err != nil {
			break
		}
		if p.kind == PINGRESP {
			x.Errorf("%s: the connection stays, want its end", what)
			c.leave()
			watcher.leave()
			return
		}
	}
	if m := watcher.message(); m.payload != what {
		x.Errorf("the will is %q, want %q", m.payload, what)
	}
	watcher.leave()
}

// payloads are what a list of messages says.
func payloads(messages []packet) []string {
	said := []string{}
	for _, m := range messages {
		said = append(said, m.payload)
	}
	return said
}
