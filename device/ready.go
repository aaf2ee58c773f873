package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dominion/topics"
)

// How often a service that is not ready yet is looked at: often at first.
const (
	probeFirst = 50 * time.Millisecond
	probeCap   = 250 * time.Millisecond
)

// probeTimeout is how long one look may take while it is not ready.
const probeTimeout = 5 * time.Second

// readiness tells once, by its rule, that a service is ready. A oneshot never
// is while it runs.
func (w *worker) readiness(ctx context.Context, p prepared, r *run) <-chan struct{} {
	switch p.entry.Rule.By {
	case topics.ReadyTopic, topics.ReadyNotify:
		return r.heard
	case topics.ReadyTCP, topics.ReadyHTTP:
		return w.until(ctx, r, w.answers(p, p.entry.Rule.By, p.entry.Rule.Path))
	case topics.ReadyFile:
		return w.until(ctx, r, func(context.Context) error {
			if now := markOf(p.fileOf(p.entry.Rule.Path)); now == "" || now == p.entry.Mark {
				return errors.New("it was not written")
			}
			return nil
		})
	case topics.ReadyDone:
		return nil
	}
	done := make(chan struct{}, 1)
	time.AfterFunc(seconds(p.entry.Rule.Delay), func() { done <- struct{}{} })
	return done
}

// look is one look at a service: nil, or what came instead.
type look func(ctx context.Context) error

// until tells once that a look was good, and leaves in the run what came of
// those that were not.
func (w *worker) until(ctx context.Context, r *run, try look) <-chan struct{} {
	done := make(chan struct{}, 1)
	w.probes.Go(func() {
		wait := probeFirst
		t := time.NewTimer(0)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			once, cancel := context.WithTimeout(ctx, probeTimeout)
			err := try(once)
			cancel()
			if err == nil {
				done <- struct{}{}
				return
			}
			if ctx.Err() == nil {
				r.last.Store(&err)
			}
			t.Reset(wait)
			wait = min(wait*5/4, probeCap)
		}
	})
	return done
}

// answers looks whether the service's port answers, on loopback or where the
// service is reached by others. The error is what loopback said.
func (w *worker) answers(p prepared, by, path string) look {
	ask := func(ctx context.Context, at string) error { return dial(ctx, at) }
	if by == topics.ReadyHTTP {
		ask = func(ctx context.Context, at string) error { return get(ctx, "http://"+at+or(path, "/")) }
	}
	hosts := []string{"127.0.0.1"}
	if p.entry.Host != "" && p.entry.Host != hosts[0] {
		hosts = append(hosts, p.entry.Host)
	}
	return func(ctx context.Context) error {
		var first error
		for _, host := range hosts {
			err := ask(ctx, net.JoinHostPort(host, strconv.Itoa(p.entry.Port)))
			if err == nil {
				return nil
			}
			first = or(first, err)
		}
		return first
	}
}

func dial(ctx context.Context, at string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		return plain(err)
	}
	return conn.Close()
}

// get asks a page and looks at the status alone. A redirection is an answer.
func get(ctx context.Context, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "dominion")
	// A connection of its own for each look: none is left in the service.
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return plain(err)
	}
	res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// plain is what went wrong, without what was being done: the caller says it.
func plain(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return errors.New("no answer in time")
	case errors.As(err, &op) && op.Err != nil:
		err = op.Err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// fileOf is the file that a rule names.
func (p prepared) fileOf(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.place.dir, path)
}

// markOf changes when a file is written, by whatever clock; "" while there is
// none.
func markOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
}

// waitsFor says what a started service lacks to be ready.
func waitsFor(e entry) *topics.Why {
	why := topics.Why{Code: topics.Starting, Text: "is not ready yet"}
	switch e.Rule.By {
	case topics.ReadyTCP:
		why.Text = fmt.Sprintf("is ready once its port %d accepts a connection", e.Port)
	case topics.ReadyHTTP:
		why.Text = fmt.Sprintf("is ready once http://127.0.0.1:%d%s answers with a status below 400", e.Port, or(e.Rule.Path, "/"))
	case topics.ReadyFile:
		why.Text = fmt.Sprintf("is ready once it has written the file %s", e.Rule.Path)
	case topics.ReadyNotify:
		why.Text = "is ready once it says READY=1 on its NOTIFY_SOCKET"
	case topics.ReadyTopic:
		why.Text = "is ready once it publishes its START_ID on SERVICE_TOPIC/ready"
	case topics.ReadyDelay:
		why.Text = fmt.Sprintf("is ready once it has lived for %v", seconds(e.Rule.Delay))
	case topics.ReadyDone:
		why.Text = "runs, and is done once it ends with exit code 0"
	}
	return &why
}
