// Package docker watches, starts and stops containers that exist already, by
// the Docker Engine API over its unix socket; Podman speaks it too. It never
// makes one. It needs six requests, so it has no SDK.
//
// https://docs.docker.com/reference/api/engine/
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrNone is returned where no engine is.
var ErrNone = errors.New("no Docker or Podman engine is on this machine")

// ErrRefused is returned for a socket that this user may not open.
var ErrRefused = errors.New("the engine's socket is not for this user")

const (
	// patience bounds one question.
	patience = 10 * time.Second
	// longest is what is read of one answer.
	longest = 4 << 20
	// speaks is the newest version of the API that this was written for. It is
	// asked for, unless the engine is older.
	speaks = "1.41"
)

// Engine is a container engine behind its unix socket.
type Engine struct {
	Socket  string
	client  *http.Client
	version atomic.Pointer[string] // agreed with the engine; nil: not asked yet
}

// New is the engine behind a socket.
func New(socket string) *Engine {
	dialer := net.Dialer{Timeout: patience}
	return &Engine{Socket: socket, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns: 1, IdleConnTimeout: patience,
	}}}
}

// Find is the engine of this machine: what DOCKER_HOST names, Docker's socket,
// else one of Podman's; nil: there is none.
func Find() *Engine {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		if socket, ok := strings.CutPrefix(host, "unix://"); ok {
			return New(socket)
		}
		return nil // another machine's: its containers do not run here
	}
	sockets := []string{"/var/run/docker.sock", "/run/podman/podman.sock"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Geteuid() != 0 {
		sockets = append([]string{filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman", "podman.sock")}, sockets...)
	}
	for _, socket := range sockets {
		if info, err := os.Stat(socket); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return New(socket)
		}
	}
	return nil
}

// Ping asks whether the engine answers.
func (e *Engine) Ping(ctx context.Context) error {
	_, err := e.agreed(ctx)
	return err
}

// agreed is the version of the API that both sides speak.
func (e *Engine) agreed(ctx context.Context) (string, error) {
	if v := e.version.Load(); v != nil {
		return *v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said struct{ APIVersion, MinAPIVersion string }
	if err := e.json(ctx, http.MethodGet, "/version", &said); err != nil {
		return "", err
	}
	version := speaks
	switch {
	case said.APIVersion != "" && older(said.APIVersion, version):
		version = said.APIVersion
	case said.MinAPIVersion != "" && older(version, said.MinAPIVersion):
		version = said.MinAPIVersion
	}
	e.version.Store(&version)
	return version, nil
}

// older compares versions of the API: 1.9 is older than 1.41.
func older(a, b string) bool {
	major, minor := numbers(a)
	majorB, minorB := numbers(b)
	return major < majorB || major == majorB && minor < minorB
}

func numbers(version string) (major, minor int) {
	a, b, _ := strings.Cut(version, ".")
	major, _ = strconv.Atoi(a)
	minor, _ = strconv.Atoi(b)
	return major, minor
}

// Fault is what the engine answered instead.
type Fault struct {
	Status  int
	Message string
}

func (f *Fault) Error() string { return fmt.Sprintf("the engine says: %s (%d)", f.Message, f.Status) }

// NoSuch tells whether an error means that there is no such container.
func NoSuch(err error) bool {
	var f *Fault
	return errors.As(err, &f) && f.Status == http.StatusNotFound
}

// open sends one request; the answer is a good one, and the caller closes it.
func (e *Engine) open(ctx context.Context, method, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := e.client.Do(r)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w", e.Socket, ErrRefused)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", e.Socket, ErrNone)
	case err != nil:
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without its invented address
		}
		return nil, fmt.Errorf("%s: %w", e.Socket, err)
	case answer.StatusCode >= 400:
		defer answer.Body.Close()
		fault := &Fault{Status: answer.StatusCode, Message: answer.Status}
		var said struct{ Message string }
		raw, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		if json.Unmarshal(raw, &said) == nil && said.Message != "" {
			fault.Message = said.Message
		}
		return nil, fault
	}
	return answer.Body, nil
}

// json reads an answer into v, nil: there is nothing to read.
func (e *Engine) json(ctx context.Context, method, path string, v any) error {
	body, err := e.open(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if v == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(body, longest))
		return err
	}
	if err := json.NewDecoder(io.LimitReader(body, longest)).Decode(v); err != nil {
		return fmt.Errorf("the engine's answer to %s: %w", path, err)
	}
	return nil
}

// ask is json in the agreed version, with a bound on its time.
func (e *Engine) ask(ctx context.Context, bound time.Duration, method, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	version, err := e.agreed(ctx)
	if err != nil {
		return err
	}
	return e.json(ctx, method, "/v"+version+path, v)
}

func container(name, verb string) string { return "/containers/" + url.PathEscape(name) + verb }

// Start starts a container; one that runs already is left as it is.
func (e *Engine) Start(ctx context.Context, name string) error {
	return e.ask(ctx, time.Minute, http.MethodPost, container(name, "/start"), nil)
}

// Stop stops a container: its signal, and KILL after the grace.
func (e *Engine) Stop(ctx context.Context, name string, grace time.Duration) error {
	seconds := int(max(grace.Round(time.Second), time.Second) / time.Second)
	return e.ask(ctx, grace+time.Minute, http.MethodPost, container(name, "/stop?t="+strconv.Itoa(seconds)), nil)
}

// Kill ends a container at once.
func (e *Engine) Kill(ctx context.Context, name string) error {
	return e.ask(ctx, patience, http.MethodPost, container(name, "/kill"), nil)
}

// Lines are the last that a container printed; nil if they cannot be had.
func (e *Engine) Lines(ctx context.Context, name string, n int) []string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	version, err := e.agreed(ctx)
	if err != nil {
		return nil
	}
	body, err := e.open(ctx, http.MethodGet, "/v"+version+container(name, "/logs?stdout=1&stderr=1&tail="+strconv.Itoa(n)))
	if err != nil {
		return nil
	}
	defer body.Close()
	raw, _ := io.ReadAll(io.LimitReader(body, longest))
	var lines []string
	for line := range strings.Lines(string(unframed(raw))) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// unframed takes the frames away that a container without a terminal has its
// output in: a byte for the stream, three zeros, four for the length.
func unframed(raw []byte) []byte {
	const header = 8
	var text bytes.Buffer
	for rest := raw; len(rest) > 0; {
		if len(rest) < header || rest[0] > 2 || rest[1] != 0 || rest[2] != 0 || rest[3] != 0 {
			return raw // it has a terminal, and no frames
		}
		length := int(rest[4])<<24 | int(rest[5])<<16 | int(rest[6])<<8 | int(rest[7])
		rest = rest[header:]
		length = min(length, len(rest))
		text.Write(rest[:length])
		rest = rest[length:]
	}
	return text.Bytes()
}
