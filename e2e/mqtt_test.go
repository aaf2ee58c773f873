//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// broker is where a broker listens and how to log in to it.
type broker struct {
	network            network
	port               int
	username, password string
}

// arguments are those that all of mosquitto's clients share.
func (b broker) arguments() []string {
	args := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(b.port)}
	if b.username != "" {
		args = append(args, "-u", b.username, "-P", b.password)
	}
	return args
}

// url is how Dominion names it.
func (b broker) url() string {
	login := ""
	if b.username != "" {
		login = b.username + ":" + b.password + "@"
	}
	return fmt.Sprintf("mqtt://%s127.0.0.1:%d", login, b.port)
}

// answers says whether somebody listens there.
func (b broker) answers() (bool, string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := b.network.dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)))
	if err != nil {
		return false, err.Error()
	}
	conn.Close()
	return true, ""
}

// publish sends one message with mosquitto_pub, QoS 1.
func (b broker) publish(t testing.TB, topic, payload string, options ...string) {
	t.Helper()
	args := append(b.arguments(), "-q", "1", "-t", topic, "-m", payload)
	cmd := b.network.command("mosquitto_pub", append(args, options...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %s: %v\n%s", topic, err, out)
	}
}

// message is a line of mosquitto_sub: what a person sees who listens.
type message struct {
	retained       bool
	topic, payload string
}

// capture is a mosquitto_sub that runs, and all it has printed.
type capture struct {
	t       testing.TB
	process *process

	lock sync.Mutex // guards seen, which the reader of the output appends to
	seen []message
}

// subscribe starts mosquitto_sub on the filters and returns once it listens.
func (b broker) subscribe(t testing.TB, filters ...string) *capture {
	t.Helper()
	return b.listen(t, b, "e2e/here", filters...)
}

// listen does it for a login that may not do everything: here is a topic that
// it may read, and that another may write.
func (b broker) listen(t testing.TB, another broker, here string, filters ...string) *capture {
	t.Helper()
	args := append(b.arguments(), "-v", "-F", "%r %t %p", "-q", "1")
	for _, filter := range append(filters, here) {
		args = append(args, "-t", filter)
	}
	cmd := b.network.command("mosquitto_sub", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &capture{t: t}
	c.process = start(t, cmd)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			c.add(lines.Text())
		}
	}()
	// What comes back to it was sent after its subscription.
	for deadline := time.Now().Add(10 * time.Second); len(c.on(here)) == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto_sub hears nothing: %s", tail(c.process.output, 5))
		}
		another.publish(t, here, "now")
	}
	return c
}

func (c *capture) add(line string) {
	retained, rest, _ := strings.Cut(line, " ")
	topic, payload, _ := strings.Cut(rest, " ")
	c.lock.Lock()
	defer c.lock.Unlock()
	c.seen = append(c.seen, message{retained == "1", topic, payload})
}

// all returns what was heard so far.
func (c *capture) all() []message {
	c.lock.Lock()
	defer c.lock.Unlock()
	return append([]message(nil), c.seen...)
}

// on returns what was heard so far on one topic, the oldest first.
func (c *capture) on(topic string) []message {
	var found []message
	for _, m := range c.all() {
		if m.topic == topic {
			found = append(found, m)
		}
	}
	return found
}

// await waits for the first message, of those already heard and those to come,
// that the test asks for.
func (c *capture) await(limit time.Duration, what string, wanted func(message) bool) message {
	c.t.Helper()
	var found message
	eventually(c.t, limit, what, func() (bool, string) {
		seen := c.all()
		for _, m := range seen {
			if wanted(m) {
				found = m
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d messages, none of them it", len(seen))
	})
	return found
}

// is asks for one topic and payload.
func is(topic, payload string) func(message) bool {
	return func(m message) bool { return m.topic == topic && m.payload == payload }
}
