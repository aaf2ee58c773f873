//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// homeAssistantVersions are the oldest Dominion supports and the newest that
// was tried.
var homeAssistantVersions = []string{"2025.1.4", "2026.11.0"}

// homeAssistant is a real one, with an MQTT integration that points at a broker.
type homeAssistant struct {
	t       testing.TB
	network network
	program string // starts it on a configuration directory
	cfg     string
	token   string
	process *process
	client  *http.Client
	starts  int
}

// address is where it listens, in its network.
const address = "127.0.0.1:8123"

// startHomeAssistant installs the version where it is not yet, and returns once
// it runs. Its network must be a namespace: it calls out by itself.
func startHomeAssistant(t testing.TB, version string, b broker) *homeAssistant {
	t.Helper()
	h := &homeAssistant{t: t, network: b.network, program: filepath.Join(installHomeAssistant(t, version), "hass")}
	h.client = &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{DialContext: h.network.dial, DisableKeepAlives: true},
	}
	h.cfg = filepath.Join(t.TempDir(), "homeassistant")
	args := []string{"homeassistant/config.py", h.cfg, "--broker-port", strconv.Itoa(b.port)}
	if b.username != "" {
		args = append(args, "--username", b.username, "--password", b.password)
	}
	if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	token, err := os.ReadFile(filepath.Join(h.cfg, "token"))
	if err != nil {
		t.Fatal(err)
	}
	h.token = string(token)
	h.start()
	return h
}

// installHomeAssistant returns the directory the version is installed in.
func installHomeAssistant(t testing.TB, version string) string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command("homeassistant/install", version)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("install Home Assistant %s: %v\n%s", version, err, said.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// start runs it, also again after stop, and returns once it says RUNNING. It
// may not have connected to the broker yet.
func (h *homeAssistant) start() {
	h.t.Helper()
	h.starts++
	h.process = start(h.t, h.network.command(h.program, h.cfg))
	eventually(h.t, 3*time.Minute, "Home Assistant runs", func() (bool, string) {
		if !h.process.alive() {
			h.t.Fatalf("Home Assistant ended at its start:\n%s", tail(h.process.output, 40))
		}
		var config struct{ State string }
		if err := h.get("/api/config", &config); err != nil {
			return false, err.Error()
		}
		return config.State == "RUNNING", config.State
	})
}

// stop ends it in good order, and keeps its log from being overwritten.
func (h *homeAssistant) stop() {
	h.t.Helper()
	h.process.stop(time.Minute)
	if err := os.Rename(filepath.Join(h.cfg, "home-assistant.log"), h.log(h.starts)); err != nil {
		h.t.Fatal(err)
	}
}

// log is the file with the log of one of its starts, the first being 1.
func (h *homeAssistant) log(start int) string {
	if h.process != nil && h.process.alive() && start == h.starts {
		return filepath.Join(h.cfg, "home-assistant.log")
	}
	return filepath.Join(h.cfg, fmt.Sprintf("start-%d.log", start))
}

// get asks its REST interface.
func (h *homeAssistant) get(path string, into any) error {
	request, err := http.NewRequestWithContext(h.t.Context(), "GET", "http://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+h.token)
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// ask sends one command to its websocket interface and decodes the result.
func (h *homeAssistant) ask(command map[string]any, into any) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	if err := h.converse(ctx, command, into); err != nil {
		h.t.Fatalf("ask Home Assistant %v: %v", command["type"], err)
	}
}

func (h *homeAssistant) converse(ctx context.Context, command map[string]any, into any) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/api/websocket", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: h.client.Transport},
	})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	if err := wsjson.Write(ctx, conn, map[string]string{"type": "auth", "access_token": h.token}); err != nil {
		return err
	}
	command["id"] = 1
	if err := wsjson.Write(ctx, conn, command); err != nil {
		return err
	}
	for {
		var answer struct {
			ID            int
			Type, Message string
			Success       bool
			Result, Error json.RawMessage
		}
		if err := wsjson.Read(ctx, conn, &answer); err != nil {
			return err
		}
		switch {
		case answer.Type == "auth_invalid":
			return fmt.Errorf("log in: %s", answer.Message)
		case answer.Type == "result" && answer.ID == 1 && !answer.Success:
			return fmt.Errorf("refused: %s", answer.Error)
		case answer.Type == "result" && answer.ID == 1:
			if into == nil {
				return nil
			}
			return json.Unmarshal(answer.Result, into)
		}
	}
}
