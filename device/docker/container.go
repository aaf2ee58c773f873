package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dominion/device/outside"
	"dominion/device/process"
)

// retry is how long an engine that does not answer is left alone.
const retry = time.Second

// inspected is what is read of GET /containers/<name>/json.
type inspected struct {
	State struct {
		Status     string
		Running    bool
		Paused     bool
		Restarting bool
		OOMKilled  bool
		Dead       bool
		Pid        int
		ExitCode   int
		Error      string
		StartedAt  time.Time
		Health     *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostPort string }
	}
}

// Look is how a container is now.
func (e *Engine) Look(ctx context.Context, name string) (outside.State, error) {
	var c inspected
	err := e.ask(ctx, patience, http.MethodGet, container(name, "/json"), &c)
	if NoSuch(err) {
		return outside.State{Stage: outside.Missing, Says: "is no container that the engine has"}, nil
	}
	if err != nil {
		return outside.State{}, err
	}
	return c.state(), nil
}

func (c inspected) state() outside.State {
	s := outside.State{PID: c.State.Pid, Port: c.port(), Since: c.State.StartedAt}
	switch {
	case c.State.Restarting:
		s.Stage, s.Says = outside.Again, "ended"+c.reason()+", and is started again by the engine"
	case c.State.Paused:
		s.Stage, s.Says = outside.Unwell, "is paused"
	case c.State.Running && c.State.Health != nil:
		s.Stage, s.Says = c.health()
	case c.State.Running:
		s.Stage = outside.Up
	case c.State.Status == "created" && c.State.Error == "":
		s.Stage, s.Says = outside.Down, "was never started"
	case c.State.ExitCode != 0 || c.State.OOMKilled || c.State.Error != "":
		s.Stage, s.Says = outside.Failed, "ended"+c.reason()
	default:
		s.Stage, s.Says = outside.Down, "does not run"
	}
	if !c.State.Running {
		s.PID, s.Since, s.Exit = 0, time.Time{}, c.exit()
	}
	return s
}

func (c inspected) health() (outside.Stage, string) {
	switch h := c.State.Health; h.Status {
	case "starting":
		return outside.Starting, "is being looked at by its health check"
	case "unhealthy":
		said := ""
		if n := len(h.Log); n > 0 && strings.TrimSpace(h.Log[n-1].Output) != "" {
			said = ": " + strings.TrimSpace(h.Log[n-1].Output)
		}
		return outside.Unwell, "is unhealthy, as its own check says" + said
	}
	return outside.Up, ""
}

func (c inspected) reason() string {
	switch {
	case c.State.OOMKilled:
		return ": the kernel killed it, its memory was used up"
	case c.State.Error != "":
		return ": " + c.State.Error
	case c.State.ExitCode > 128:
		return fmt.Sprintf(": it was ended by signal %d", c.State.ExitCode-128)
	}
	return fmt.Sprintf(" with code %d", c.State.ExitCode)
}

func (c inspected) exit() process.Exit {
	switch {
	case c.State.Status == "created":
		return process.Exit{}
	case c.State.OOMKilled:
		return process.Exit{Known: true, Signal: syscall.SIGKILL}
	}
	return process.Exit{Known: true, Code: c.State.ExitCode}
}

// port is where a container is reached on this machine: the smallest published
// one.
func (c inspected) port() int {
	smallest := 0
	for inside, published := range c.NetworkSettings.Ports {
		if !strings.HasSuffix(inside, "/tcp") {
			continue
		}
		for _, p := range published {
			if port, err := strconv.Atoi(p.HostPort); err == nil && port > 0 && (smallest == 0 || port < smallest) {
				smallest = port
			}
		}
	}
	return smallest
}

// Watch tells how a container is, at once and whenever it changes, until ctx
// ends. An error is told while the engine cannot be asked; it is asked again.
func (e *Engine) Watch(ctx context.Context, name string, tell func(outside.State, error)) {
	for ctx.Err() == nil {
		if err := e.watch(ctx, name, tell); ctx.Err() == nil && !errors.Is(err, io.EOF) {
			e.version.Store(nil) // it may come back as another
			tell(outside.State{}, fmt.Errorf("watch %s: %w", name, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// watch is Watch for as long as one stream of events holds.
func (e *Engine) watch(ctx context.Context, name string, tell func(outside.State, error)) error {
	version, err := e.agreed(ctx)
	if err != nil {
		return err
	}
	filters, err := json.Marshal(map[string][]string{"type": {"container"}, "container": {name}})
	if err != nil {
		return err
	}
	// Before the first look: nothing that happens after it is missed.
	events, err := e.open(ctx, http.MethodGet, "/v"+version+"/events?filters="+url.QueryEscape(string(filters)))
	if err != nil {
		return err
	}
	defer events.Close()
	for heard := json.NewDecoder(events); ; {
		state, err := e.Look(ctx, name)
		if err != nil {
			return err
		}
		tell(state, nil)
		if err := next(heard); err != nil {
			return err
		}
	}
}

// next waits for an event that may change a container's state: its exec_create
// and exec_start are those of its health check, every few seconds.
func next(events *json.Decoder) error {
	for {
		var event struct {
			Action string
			Status string `json:"status"` // Podman's, and older engines'
		}
		if err := events.Decode(&event); err != nil {
			return err
		}
		action := event.Action
		if action == "" {
			action = event.Status
		}
		if !strings.HasPrefix(action, "exec_") && action != "top" && action != "attach" && action != "resize" {
			return nil
		}
	}
}

// List has the containers that are there, by name.
func (e *Engine) List(ctx context.Context) ([]outside.Found, error) {
	var said []struct {
		Names  []string
		Image  string
		State  string
		Status string
		Ports  []struct {
			PublicPort int
			Type       string
		}
	}
	if err := e.ask(ctx, patience, http.MethodGet, "/containers/json?all=1", &said); err != nil {
		return nil, err
	}
	var all []outside.Found
	for _, c := range said {
		if len(c.Names) == 0 {
			continue
		}
		f := outside.Found{Name: strings.TrimPrefix(c.Names[0], "/"), About: c.Image, State: outside.State{Stage: outside.Down, Says: c.Status}}
		if c.State == "running" {
			f.State.Stage = outside.Up
		}
		for _, p := range c.Ports {
			if p.Type == "tcp" && p.PublicPort > 0 && !slices.Contains(f.Ports, p.PublicPort) {
				f.Ports = append(f.Ports, p.PublicPort)
			}
		}
		slices.Sort(f.Ports)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b outside.Found) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
