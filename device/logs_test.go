package device_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dominion/device"
	"dominion/topics"
)

// talks is a service that prints a line, and then each that is put into its
// directory.
const talks = "start:\n\t@echo hello; exec tail -n +1 -F said 2>/dev/null\n"

// asksFor sends a command with fields.
func (h *home) asksFor(id, method, subject string, fields map[string]any) {
	h.Helper()
	topic := space.Command(attic, method, subject)
	raw, err := json.Marshal(fields)
	if err != nil {
		h.Fatal(err)
	}
	var args map[string]json.RawMessage
	if err := json.Unmarshal(raw, &args); err != nil {
		h.Fatal(err)
	}
	h.wire.in <- topics.Inbound{
		Request: &topics.Request{Node: attic, Method: method, Subject: subject, ID: id, Topic: topic, Args: args},
		Message: topics.Message{Topic: topic, Payload: raw},
	}
}

// lines are those of one stream, as they were published.
func (h *home) lines(subject, stream string) (lines []string) {
	h.Helper()
	seq := 0
	for _, m := range h.wire.all() {
		if m.Topic != space.Occurrence(attic, "log", subject) {
			continue
		}
		l := decoded[topics.LogLines](h.T, m.Payload)
		if l.Stream != stream {
			continue
		}
		if seq++; l.Seq != seq || m.Retained || m.QoS != 1 {
			h.Errorf("message %+v", l)
		}
		lines = append(lines, l.Lines...)
	}
	return lines
}

func TestTail(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": talks})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.eventually("it says hello", func() bool {
		raw, err := os.ReadFile(filepath.Join(h.cfg.DataDir, "output", "lamp.log"))
		return err == nil && strings.Contains(string(raw), "hello\n")
	})

	h.asksFor("t1", "tail", "lamp", map[string]any{"lines": 1})
	if r := h.answered("t1"); r.Status != topics.Done || r.Result != "1 line" {
		t.Errorf("answer %+v", r)
	}
	if got := h.lines("lamp", "t1"); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("told %q", got)
	}

	h.asksFor("t2", "tail", "lamp", map[string]any{"lines": 0, "follow": 60, "stream": "ann"})
	h.answered("t2")
	h.asksFor("t3", "tail", "lamp", map[string]any{"follow": 60, "stream": "ann"})
	if r := h.answered("t3"); !strings.Contains(r.Result, "more") {
		t.Errorf("answer %+v", r)
	}
	h.write("lamp/said", "a\nb\n")
	h.eventually("what it says is told", func() bool { return slices.Contains(h.lines("lamp", "ann"), "b") })
	h.want(one("lamp", topics.Wanted{Run: false, Rev: "1"}))
	h.phase("lamp", topics.PhaseStopped)
	h.eventually("its end is marked", func() bool {
		got := h.lines("lamp", "ann")
		return len(got) > 0 && strings.HasPrefix(got[len(got)-1], "--- was ended by SIGTERM ")
	})
	if got := h.lines("lamp", "ann"); !slices.Contains(got, "a") || slices.Index(got, "b") != slices.Index(got, "a")+1 {
		t.Errorf("told %q", got)
	}
}

// TestTailIsLeased holds that nothing is sent to nobody.
func TestTailIsLeased(t *testing.T) {
	h := newHome(t, map[string]string{"lamp": stays})
	h.begin()
	h.connect()
	h.want(one("lamp", run("1")))
	h.ready("lamp")
	h.asksFor("t1", "tail", "lamp", map[string]any{"lines": 0, "follow": 1, "stream": "short"})
	h.answered("t1")
	h.eventually("the lease is over", func() bool {
		h.asksFor("again", "tail", "lamp", map[string]any{"lines": 0, "follow": 0, "stream": "short"})
		return h.answered("again").Result == "0 lines"
	})
	for i := range 20 {
		h.asksFor(fmt.Sprint("many", i), "tail", "lamp", map[string]any{"follow": 60})
	}
	if r := h.answered("many19"); r.Status != topics.Refused || !strings.Contains(r.Why.Text, "16 streams") {
		t.Errorf("answer %+v", r)
	}
}

func TestTailOfTheAgent(t *testing.T) {
	h := newHome(t, nil)
	log, err := device.OwnLog(h.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprintln(log, "2026-11-21 the agent begins")
	h.begin()
	h.connect()
	h.asksFor("t1", "tail", "host", nil)
	h.answered("t1")
	if got := h.lines("host", "t1"); !slices.Equal(got, []string{"2026-11-21 the agent begins"}) {
		t.Errorf("told %q", got)
	}
	for id, c := range map[string]struct {
		subject string
		fields  map[string]any
		says    string
	}{
		"r1": {"nothing", nil, `knows no service "nothing"`},
		"r2": {"_agent", nil, "knows no service"},
		"r3": {"host", map[string]any{"lines": -1}, "want 0 to 2000"},
		"r4": {"host", map[string]any{"follow": "long"}, "want 0 to 300"},
		"r5": {"host", map[string]any{"stream": "a/b"}, "stream: "},
	} {
		h.asksFor(id, "tail", c.subject, c.fields)
		if r := h.answered(id); r.Status != topics.Refused || !strings.Contains(r.Why.Text, c.says) {
			t.Errorf("%s: %+v, why %+v", c.subject, r, r.Why)
		}
	}
}
