package device_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dominion/device"
	"dominion/topics"
)

func (h *home) info() topics.Info {
	return decoded[topics.Info](h.T, h.last(space.Info(attic)).Payload)
}

func (h *home) reply(id string) topics.Reply {
	return decoded[topics.Reply](h.T, h.last(space.Reply(attic, id)).Payload)
}

// answered waits for the last answer to a command.
func (h *home) answered(id string) topics.Reply {
	h.Helper()
	h.eventually(id+" is answered", func() bool { return h.reply(id).Status != "" && h.reply(id).Status.Final() })
	return h.reply(id)
}

// machineFile writes a file of the machine that the agent believes to be on.
func (h *home) machineFile(path, text string) {
	h.Helper()
	path = filepath.Join(h.cfg.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

// TestPluggedStickIsATrait holds that what is plugged in is said beside what the
// owner wrote, from the birth on, and said again when it changes.
func TestPluggedStickIsATrait(t *testing.T) {
	h := newHome(t, nil)
	h.cfg.Root, h.cfg.Traits = t.TempDir(), []topics.Trait{"speaker"}
	h.cfg.Timing.Devices = h.cfg.Timing.Heartbeat / 4
	h.machineFile("sys/bus/usb/devices/1-1/idVendor", "10c4\n")
	h.machineFile("sys/bus/usb/devices/1-1/idProduct", "ea60\n")
	h.begin()
	h.connect()
	has := func(traits ...topics.Trait) func() bool {
		return func() bool {
			got := h.info().Traits
			return !slices.ContainsFunc(traits, func(want topics.Trait) bool { return !slices.Contains(got, want) })
		}
	}
	if !has("speaker", "usb-10c4-ea60")() {
		t.Errorf("born with %v", h.info().Traits)
	}
	h.machineFile("sys/bus/usb/devices/1-1/serial", "0001\n") // is read with the next change
	h.machineFile("sys/bus/usb/devices/1-2/idVendor", "0403\n")
	h.machineFile("sys/bus/usb/devices/1-2/idProduct", "6001\n")
	h.eventually("another stick is said", has("usb-0403-6001", "usb-10c4-ea60-0001"))
	if err := os.RemoveAll(filepath.Join(h.cfg.Root, "sys/bus/usb/devices/1-1")); err != nil {
		t.Fatal(err)
	}
	h.eventually("the first is gone", func() bool { return !has("usb-10c4-ea60")() && has("usb-0403-6001")() })
}

func TestBootIsSaidAlike(t *testing.T) {
	h := newHome(t, nil)
	h.begin()
	h.connect()
	said := h.info().Boot
	h.finish(nil)
	// The next agent finds the clock a second off.
	moved := topics.At(said.Time().Add(-1e9))
	if err := os.WriteFile(filepath.Join(h.cfg.DataDir, "boot.json"), []byte(`{"boot":"`+string(moved)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.connect()
	if got := h.info().Boot; got != moved {
		t.Errorf("boot is %s, was said as %s", got, moved)
	}
}

func TestPS(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.request("ps1", "ps", "host")
	r := h.answered("ps1")
	if r.Status != topics.Done || len(r.Lines) == 0 || !strings.HasPrefix(r.Lines[0], "lamp ") || !strings.Contains(r.Lines[0], " MB ") {
		t.Errorf("answer %+v", r)
	}
	for _, line := range r.Lines {
		if len(line) > 80 {
			t.Errorf("a line has %d columns: %s", len(line), line)
		}
	}
}

func TestIdentify(t *testing.T) {
	h := newHome(t, nil)
	h.cfg.Root = t.TempDir()
	h.begin()
	h.connect()
	if slices.Contains(h.info().Methods, "identify") {
		t.Error("a machine without a light says that it can blink")
	}
	h.request("none", "identify", "host")
	if r := h.answered("none"); r.Status != topics.Refused || !strings.Contains(r.Why.Text, "no light") {
		t.Errorf("answer %+v", r)
	}
	h.finish(nil)

	h.machineFile("sys/class/leds/ACT/trigger", "none [mmc0]\n")
	h.machineFile("sys/class/leds/ACT/brightness", "0\n")
	h.begin()
	h.connect()
	if !slices.Contains(h.info().Methods, "identify") {
		t.Errorf("methods are %v", h.info().Methods)
	}
	topic := space.Command(attic, "identify", "host")
	for id, seconds := range map[string]string{"long": `"0.3"`, "forever": `"1e9"`} {
		h.wire.in <- topics.Inbound{
			Request: &topics.Request{Node: attic, Method: "identify", Subject: "host", ID: id, Topic: topic, Args: map[string]json.RawMessage{"seconds": json.RawMessage(seconds)}},
			Message: topics.Message{Topic: topic},
		}
	}
	if r := h.answered("forever"); r.Status != topics.Refused || !strings.Contains(r.Why.Text, "want 1 to 300") {
		t.Errorf("answer %+v", r)
	}
	if r := h.answered("long"); r.Status != topics.Done || !strings.Contains(r.Result, "blinked") {
		t.Errorf("answer %+v", r)
	}
}

// TestTurn holds that a machine switches itself off only where its own file lets it.
func TestTurn(t *testing.T) {
	h := newHome(t, nil)
	turned := make(chan string, 2)
	h.cfg.Turn = func(_ context.Context, what string) error { turned <- what; return nil }
	h.begin()
	h.connect()
	h.request("no", "reboot", "host")
	if r := h.answered("no"); r.Status != topics.Refused || !strings.Contains(r.Why.Next, `allow = ["reboot"]`) || len(turned) > 0 {
		t.Errorf("answer %+v", r)
	}
	h.finish(nil)

	h.cfg.Allow = []string{"reboot"}
	h.begin()
	h.connect()
	h.request("other", "reboot", "lamp")
	if r := h.answered("other"); r.Status != topics.Refused || len(turned) > 0 {
		t.Errorf("answer %+v", r)
	}
	h.request("yes", "reboot", "host")
	if r := h.answered("yes"); r.Status != topics.Done || <-turned != "reboot" {
		t.Errorf("answer %+v", r)
	}
	h.request("off", "shutdown", "host")
	if r := h.answered("off"); r.Status != topics.Refused {
		t.Errorf("answer %+v", r)
	}
	h.cfg.Allow = []string{"format"}
	if _, err := device.New(h.cfg); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("allow = format: %v", err)
	}
}
