package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// answering is a person who types these lines.
func answering(t *testing.T, lines ...string) (person, *bytes.Buffer) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if _, err := w.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	shown := &bytes.Buffer{}
	return person{in: r, out: shown}, shown
}

func TestAskBroker(t *testing.T) {
	found := neighbours{
		brokers: []neighbour{{"10.0.0.5:1883", "Home Assistant is there"}},
		houses:  []neighbour{{"10.0.0.7:8443", "Cabin"}},
	}
	tests := []struct {
		name  string
		types []string
		want  string
		shows string
	}{
		{"its own is usual", []string{""}, "", "1  its own"},
		{"the one that was found", []string{"2"}, "mqtt://10.0.0.5:1883", "2  the one at 10.0.0.5:1883 (Home Assistant is there)"},
		{"one that is typed", []string{"3", "mqtt://", "mqtts://10.0.0.9"}, "mqtts://10.0.0.9", "broker mqtt: is no MQTT address"},
		{"one that is not there", []string{"0", "4", "two", "1"}, "", "a number from 1 to 3"},
		{"that there is a house already", []string{"1"}, "", "There is a house here already: Cabin, its leader at 10.0.0.7."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			around := make(chan neighbours, 1)
			around <- found
			f := &founding{config: unfounded()}
			p, shown := answering(t, tt.types...)
			if err := f.askBroker(t.Context(), p, around); err != nil {
				t.Fatal(err)
			}
			if f.config.Broker != tt.want {
				t.Errorf("takes %q, want %q", f.config.Broker, tt.want)
			}
			if !strings.Contains(shown.String(), tt.shows) {
				t.Errorf("does not show %q:\n%s", tt.shows, shown)
			}
		})
	}
}

func TestQuestionsEndWithTheirCommand(t *testing.T) {
	silent, typing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	defer typing.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Ctrl-C
	if answer, err := (person{in: silent, out: io.Discard}).line(ctx, "Really?"); !errors.Is(err, errUnanswered) {
		t.Errorf("takes %q, %v", answer, err)
	}
}

func TestQuestionsEndWithoutAnAnswer(t *testing.T) {
	p, _ := answering(t, "maybe")
	if said, err := p.yes(t.Context(), "Really?", true); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("takes %v, %v", said, err)
	}
}

// TestBootDenied holds that whoever must start his house himself is told how
// to start that one, and no other.
func TestBootDenied(t *testing.T) {
	f := &founding{path: "/home/ann/.config/dominion/dominion.toml", config: config{Data: "/home/ann/.local/share/dominion"}}
	if err := f.bootDenied(); err != nil {
		t.Errorf("without --boot: %v", err)
	}
	if bootable() && os.Geteuid() == 0 {
		return // here it could
	}
	f.boot = choice{said: true, wanted: true}
	const own = "\n  dominion serve --config /home/ann/.config/dominion/dominion.toml --data /home/ann/.local/share/dominion"
	if err := f.bootDenied(); err == nil || !strings.HasSuffix(err.Error(), own) {
		t.Errorf("says %v, want at its end:%s", err, own)
	}
}
