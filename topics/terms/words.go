// Package terms reads how a service is run from the words that a person
// writes: they are the same in the leader's catalogue and in a service.toml.
package terms

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dominion/topics"
)

// Words are the keys of a service that both files know. Lengths of time are
// written with their unit, "30s"; sizes too, "128M".
type Words struct {
	Type     string `toml:"type"`
	Schedule string `toml:"schedule"`

	Ready        string `toml:"ready"`
	ReadyPath    string `toml:"ready_path"`
	ReadyDelay   string `toml:"ready_delay"`
	StartTimeout string `toml:"start_timeout"`

	Live         string `toml:"live"`
	LivePath     string `toml:"live_path"`
	LiveInterval string `toml:"live_interval"`
	LiveTimeout  string `toml:"live_timeout"`
	LiveFailures int    `toml:"live_failures"`

	Restart      string `toml:"restart"`
	RestartFirst string `toml:"restart_first"`
	RestartCap   string `toml:"restart_cap"`

	Memory string  `toml:"memory"`
	CPU    float64 `toml:"cpu"`
}

// Fault is one thing wrong with Words: the key, and what to write instead.
type Fault struct{ Key, Text string }

// Read is what the words say, and all that is wrong with them, in the order
// of the fields of Words. Of the result only what Words speaks of is set.
func (w Words) Read() (topics.Wanted, []Fault) {
	r := reader{}
	want := topics.Wanted{Type: w.Type, Schedule: w.Schedule, CPU: w.CPU}
	if w.Schedule != "" {
		if _, err := ParseSchedule(w.Schedule); err != nil {
			r.fault("schedule", "%v", err)
			want.Schedule = ""
		}
	}
	want.Ready = r.readiness(w)
	want.Live = r.liveness(w)
	want.Restart = r.restart(w)
	want.Memory = r.size("memory", w.Memory)
	for _, f := range want.Faults() {
		r.fault(key(f.Field), "%s", f.Text)
	}
	return want, r.faults
}

// reader collects the faults on the way.
type reader struct{ faults []Fault }

func (r *reader) fault(key, format string, args ...any) {
	r.faults = append(r.faults, Fault{key, fmt.Sprintf(format, args...)})
}

func (r *reader) seconds(key, text string) float64 {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.fault(key, "%q is no duration (write 5s, 2m)", text)
		return 0
	}
	return d.Seconds()
}

func (r *reader) readiness(w Words) *topics.Readiness {
	rule := topics.Readiness{
		By: w.Ready, Path: w.ReadyPath,
		Delay: r.seconds("ready_delay", w.ReadyDelay), Timeout: r.seconds("start_timeout", w.StartTimeout),
	}
	switch {
	case rule == topics.Readiness{}:
		return nil
	case rule.By != "":
	case rule.Path != "":
		r.fault("ready_path", "needs ready beside it (want http or file)")
		return nil
	case rule.Delay > 0:
		rule.By = topics.ReadyDelay
	case w.Type == topics.Oneshot || w.Schedule != "":
		rule.By = topics.ReadyDone
	default:
		r.fault("start_timeout", "needs ready beside it (want tcp, http, file, notify, topic or delay)")
		return nil
	}
	return &rule
}

func (r *reader) liveness(w Words) *topics.Liveness {
	rule := topics.Liveness{
		By: w.Live, Path: w.LivePath, Failures: w.LiveFailures,
		Interval: r.seconds("live_interval", w.LiveInterval), Timeout: r.seconds("live_timeout", w.LiveTimeout),
	}
	if (rule == topics.Liveness{}) {
		return nil
	}
	if rule.By == "" {
		r.fault(w.aboutLive(), "needs live beside it (want tcp, http, file, notify or topic)")
		return nil
	}
	return &rule
}

// aboutLive is the first word there is about a liveness that is not named.
func (w Words) aboutLive() string {
	switch {
	case w.LivePath != "":
		return "live_path"
	case w.LiveInterval != "":
		return "live_interval"
	case w.LiveTimeout != "":
		return "live_timeout"
	}
	return "live_failures"
}

func (r *reader) restart(w Words) *topics.Restart {
	restart := topics.Restart{Policy: w.Restart, First: r.seconds("restart_first", w.RestartFirst), Cap: r.seconds("restart_cap", w.RestartCap)}
	if (restart == topics.Restart{}) {
		return nil
	}
	return &restart
}

func (r *reader) size(key, text string) uint64 {
	if text == "" {
		return 0
	}
	n, err := ParseSize(text)
	if err != nil {
		r.fault(key, "%v", err)
	}
	return n
}

// ParseSize reads a size with its unit, K, M or G, each 1024 of the one
// before: "128M", "1.5G". KiB, MiB and GiB mean the same.
func ParseSize(text string) (uint64, error) {
	wrong := fmt.Errorf("%q is no size (write 128M, 1.5G)", text)
	number := strings.TrimSuffix(strings.TrimSuffix(text, "B"), "i")
	if number == "" {
		return 0, wrong
	}
	unit := strings.IndexByte("KMG", number[len(number)-1])
	if unit < 0 {
		return 0, wrong
	}
	n, err := strconv.ParseFloat(number[:len(number)-1], 64)
	if err != nil || !(n > 0 && n < 1<<20) {
		return 0, wrong
	}
	return uint64(n * float64(uint64(1)<<(10*(unit+1)))), nil
}

// key is the word for a field of a Wanted.
func key(field string) string {
	switch field {
	case "ready.by", "live.by", "restart.policy":
		head, _, _ := strings.Cut(field, ".")
		return head
	case "ready.timeout":
		return "start_timeout"
	}
	return strings.ReplaceAll(field, ".", "_")
}

// Merged is what the catalogue wants of a service, and where that says
// nothing, what its own service.toml says.
func Merged(catalogue, own topics.Wanted) (topics.Wanted, error) {
	m := catalogue
	if m.Type == "" && m.Schedule == "" {
		m.Type = own.Type
	}
	if m.Schedule == "" {
		m.Schedule = own.Schedule
	}
	if m.Ready == nil {
		m.Ready = own.Ready
	}
	if m.Live == nil {
		m.Live = own.Live
	}
	if m.Restart == nil {
		m.Restart = own.Restart
	}
	if m.Memory == 0 {
		m.Memory = own.Memory
	}
	if m.CPU == 0 {
		m.CPU = own.CPU
	}
	if m.Port == 0 {
		m.Port = own.Port
	}
	var field *topics.FieldError
	if err := m.CheckTerms(); errors.As(err, &field) {
		return m, fmt.Errorf("%s %s", key(field.Field), field.Text)
	}
	if m.Schedule != "" {
		if _, err := ParseSchedule(m.Schedule); err != nil {
			return m, fmt.Errorf("schedule %w", err)
		}
	}
	return m, nil
}
