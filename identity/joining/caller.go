package joining

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	callWithin    = 15 * time.Second // a message and its answer
	connectWithin = 5 * time.Second
	longestWait   = time.Hour // that a leader can ask for
)

// caller posts messages to a door.
type caller struct {
	door  string
	http  *http.Client
	house helloAnswer // for errors; zero until it is known
}

// anyLeader is for a newcomer, which cannot judge the certificate of a leader:
// nothing that it sends or takes depends on it.
func anyLeader() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
}

func newCaller(door string, config *tls.Config) *caller {
	return &caller{door: door, http: &http.Client{
		Timeout: callWithin,
		Transport: &http.Transport{
			Proxy:                  nil, // the leader is in the house
			DialContext:            (&net.Dialer{Timeout: connectWithin}).DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    connectWithin,
			MaxResponseHeaderBytes: longestMessage,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it sends us elsewhere") },
	}}
}

func (c *caller) close() { c.http.CloseIdleConnections() }

// strange is an answer that is none of the protocol.
type strange struct{ error }

func (e *strange) Unwrap() error { return e.error }

// refusal is a leader's refusal. Reasons that we do not know are its fault.
func (c *caller) refusal(why Why, wait time.Duration) *Refusal {
	known := []Why{WrongCode, Used, NoInvitation, Member, WindowClosed, Rejected, Busy, LeaderDisk, BadRequest, OtherVersion, Stale, Stranger}
	if !slices.Contains(known, why) {
		why = LeaderFault
	}
	return &Refusal{Why: why, Door: c.door, House: c.house.House, Name: c.house.Name, Wait: min(max(wait, 0), longestWait)}
}

// post sends a message and returns its answer. Errors: *Refusal, *BrokenAnswer
// (around *strange, if it is none of the protocol), those of ctx and of the
// network.
func post[A message](ctx context.Context, c *caller, path string, question any) (A, error) {
	var none A
	status, body, err := c.send(ctx, path, question)
	if err != nil {
		return none, err
	}
	if status != http.StatusOK {
		no, err := decode[refusalAnswer](body)
		if err != nil || no.Why == "" {
			return none, &BrokenAnswer{c.door, &strange{fmt.Errorf("HTTP status %d", status)}}
		}
		return none, c.refusal(no.Why, time.Duration(no.Wait)*time.Second)
	}
	answer, err := decode[A](body)
	switch {
	case errors.Is(err, errVersion):
		return none, c.refusal(OtherVersion, 0)
	case err != nil:
		return none, &BrokenAnswer{c.door, &strange{errors.New("it is not in JSON as ours")}}
	}
	return answer, nil
}

func (c *caller) send(ctx context.Context, path string, question any) (status int, body []byte, err error) {
	text, err := json.Marshal(question)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.door+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, fmt.Errorf("the leader's address %q: %w", c.door, err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.unreached(ctx, err)
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, longestMessage+1))
	switch {
	case ctx.Err() != nil:
		return 0, nil, ctx.Err()
	case err != nil:
		return 0, nil, &BrokenAnswer{c.door, err}
	case len(body) > longestMessage:
		return 0, nil, &BrokenAnswer{c.door, &strange{fmt.Errorf("it is longer than %d KiB", longestMessage>>10)}}
	}
	return res.StatusCode, body, nil
}

// unreached says in plain words why there was no answer at all.
func (c *caller) unreached(ctx context.Context, err error) error {
	var plain tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &plain), strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "server gave HTTP response"):
		return &BrokenAnswer{c.door, &strange{errors.New("it does not speak HTTPS")}}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return &BrokenAnswer{c.door, &hangsUp{err}}
	}
	var call *net.OpError
	var within interface{ Timeout() bool }
	switch {
	case errors.As(err, &call) && call.Op == "dial":
		return fmt.Errorf("nobody answers at %s (%w)", c.door, reason{err})
	case errors.As(err, &within) && within.Timeout():
		return fmt.Errorf("nobody answers at %s (%w)", c.door, &late{err})
	}
	return fmt.Errorf("the leader at %s: %w", c.door, reason{err})
}

// hangsUp is a connection that ended where an answer was due.
type hangsUp struct{ error }

func (e *hangsUp) Error() string { return "it hangs up" }
func (e *hangsUp) Unwrap() error { return e.error }

// late is an answer that did not come in time.
type late struct{ error }

func (e *late) Error() string { return "not in time" }
func (e *late) Unwrap() error { return e.error }

// reason shows of an error of the network only the innermost: what Go tells
// around it says what it called, not why it failed.
type reason struct{ error }

func (e reason) Error() string {
	err := e.error
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var call *net.OpError
	if errors.As(err, &call) {
		err = call.Err
	}
	var system *os.SyscallError
	if errors.As(err, &system) {
		err = system.Err
	}
	return err.Error()
}

func (e reason) Unwrap() error { return e.error }
