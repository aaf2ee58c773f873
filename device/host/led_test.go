package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dominion/device/host"
)

// light puts a light on a machine.
func (m machine) light(name, trigger, brightness string) {
	m.Helper()
	at := "sys/class/leds/" + name
	m.write(at+"/trigger", trigger)
	m.write(at+"/brightness", brightness)
	m.write(at+"/max_brightness", "255\n")
}

func (m machine) reads(path string) string {
	m.Helper()
	raw, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func TestFindLED(t *testing.T) {
	m := machine{t, t.TempDir()}
	find := func(want string) {
		t.Helper()
		led, err := host.FindLED(m.root)
		if got := filepath.Base(string(led)); want != "" && (err != nil || got != want) || want == "" && !errors.Is(err, host.ErrNoLED) {
			t.Errorf("got %q, %v, want %q", led, err, want)
		}
	}
	find("")
	m.light("input3::capslock", "none", "0")
	m.light("mmc0::", "[mmc0]", "0")
	find("")
	m.light("platform::status", "none", "0")
	find("platform::status")
	m.light("ACT", "[mmc0]", "0")
	find("ACT")
}

func TestBlink(t *testing.T) {
	for _, c := range []struct{ trigger, brightness, wantTrigger, wantBrightness string }{
		{"none timer [mmc0]", "0", "mmc0", ""},
		{"[none] timer", "1", "none", "1"},
	} {
		m := machine{t, t.TempDir()}
		m.light("ACT", c.trigger, c.brightness)
		led, err := host.FindLED(m.root)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- led.Blink(ctx) }()
			var seen []string
			for range 4 {
				synctest.Wait()
				seen = append(seen, m.reads("sys/class/leds/ACT/brightness"))
				time.Sleep(250 * time.Millisecond)
			}
			if got := strings.Join(seen, " "); got != "255 0 255 0" {
				t.Errorf("the light was %s", got)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		if got := m.reads("sys/class/leds/ACT/trigger"); got != c.wantTrigger {
			t.Errorf("trigger %q, want %q", got, c.wantTrigger)
		}
		if got := m.reads("sys/class/leds/ACT/brightness"); c.wantBrightness != "" && got != c.wantBrightness {
			t.Errorf("brightness %q, want %q", got, c.wantBrightness)
		}
	}
}
