package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// LED is a light on the board that can be made to blink: a folder of Linux' LED
// class.
type LED string

// ErrNoLED is returned when there is none, or none that this user may switch.
var ErrNoLED = errors.New("this machine has no light that can be switched")

// FindLED picks the board's own light: on a Pi the one for its card, elsewhere
// any that is not of a keyboard, a disk or a network card. root is where /sys
// is, "/" but in tests.
func FindLED(root string) (LED, error) {
	all, _ := filepath.Glob(filepath.Join(root, "sys/class/leds/*"))
	var fit []string
	for _, dir := range all {
		name := filepath.Base(dir)
		if name == "ACT" || name == "led0" {
			return writable(dir)
		}
		if !slices.ContainsFunc([]string{"input", "mmc", "phy", "eth", "enp", "lan", "wan"}, func(of string) bool { return strings.HasPrefix(name, of) }) {
			fit = append(fit, dir)
		}
	}
	if len(fit) == 0 {
		return "", ErrNoLED
	}
	return writable(slices.Min(fit))
}

func writable(dir string) (LED, error) {
	f, err := os.OpenFile(filepath.Join(dir, "brightness"), os.O_WRONLY, 0)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoLED, err)
	}
	return LED(dir), f.Close()
}

// blink is how long the light is on, and how long it is off.
const blink = 250 * time.Millisecond

// Blink has the light blink until ctx ends, and then leaves it as it was.
func (l LED) Blink(ctx context.Context) error {
	trigger, bright := l.trigger(), l.read("brightness")
	defer func() {
		if trigger != "" && trigger != "none" {
			_ = l.write("trigger", trigger)
			return
		}
		_ = l.write("brightness", bright)
	}()
	if trigger != "" {
		if err := l.write("trigger", "none"); err != nil {
			return err
		}
	}
	most := l.read("max_brightness")
	if most == "" {
		most = "1"
	}
	t := time.NewTicker(blink)
	defer t.Stop()
	for on := true; ; on = !on {
		level := "0"
		if on {
			level = most
		}
		if err := l.write("brightness", level); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// trigger is what the kernel switches the light by: the word in brackets.
func (l LED) trigger() string {
	_, rest, _ := strings.Cut(l.read("trigger"), "[")
	name, _, _ := strings.Cut(rest, "]")
	return name
}

func (l LED) read(name string) string {
	raw, _ := os.ReadFile(filepath.Join(string(l), name))
	return strings.TrimSpace(string(raw))
}

func (l LED) write(name, text string) error {
	return os.WriteFile(filepath.Join(string(l), name), []byte(text), 0) // the kernel's own files are there
}
