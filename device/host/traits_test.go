package host_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/device/host"
	"dominion/topics"
)

// machine is a folder that looks like the root of one.
type machine struct {
	*testing.T
	root string
}

func (m machine) write(path, text string) {
	m.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
}

// plug puts a device on a port of the USB.
func (m machine) plug(port, vendor, product, serial string) {
	m.Helper()
	at := "sys/bus/usb/devices/" + port
	m.write(at+"/idVendor", vendor+"\n")
	m.write(at+"/idProduct", product+"\n")
	if serial != "" {
		m.write(at+"/serial", serial+"\n")
	}
}

func (m machine) unplug(port string) {
	m.Helper()
	if err := os.RemoveAll(filepath.Join(m.root, "sys/bus/usb/devices", port)); err != nil {
		m.Fatal(err)
	}
}

func with(traits ...topics.Trait) []topics.Trait {
	traits = append(traits, topics.Trait("arch-"+runtime.GOARCH))
	slices.Sort(traits)
	return traits
}

func TestDevicesAreFound(t *testing.T) {
	m := machine{t, t.TempDir()}
	d := host.Devices{Root: m.root}
	look := func(what string, wantChanged bool, want ...topics.Trait) {
		t.Helper()
		got, changed := d.Look()
		if diff := cmp.Diff(with(want...), got); diff != "" || changed != wantChanged {
			t.Errorf("%s: changed %v\n%s", what, changed, diff)
		}
	}
	look("an empty machine", true)
	look("again", false)

	m.plug("usb1", "1d6b", "0002", "3f980000.usb")
	m.plug("1-1", "0424", "9514", "")
	m.write("sys/bus/usb/devices/1-1/bDeviceClass", "09\n")
	m.write("sys/bus/usb/devices/1-1:1.0/bInterfaceClass", "09\n")
	look("hubs are nothing to ask for", false)

	m.plug("1-1.2", "10c4", "ea60", "ab/c 0001")
	look("a stick", true, "usb-10c4-ea60", "usb-10c4-ea60-ab_c_0001")

	m.unplug("1-1.2")
	m.plug("1-1.2", "0403", "6001", "")
	look("another one in its place", true, "usb-0403-6001", "usb-10c4-ea60", "usb-10c4-ea60-ab_c_0001")
	const looks = 8 // for which what is gone is still told
	for range looks - 2 {
		look("it may come back", false, "usb-0403-6001", "usb-10c4-ea60", "usb-10c4-ea60-ab_c_0001")
	}
	look("the first is gone", true, "usb-0403-6001")

	m.unplug("1-1.2")
	look("gone for a moment", false, "usb-0403-6001")
	m.plug("1-1.2", "0403", "6001", "")
	look("and back", false, "usb-0403-6001")

	look("nothing in /dev for a while", false, "usb-0403-6001")
	m.write("dev/gpiochip0", "")
	m.write("dev/i2c-1", "")
	m.write("sys/class/video4linux/video10/name", "bcm2835-codec-decode\n")
	look("a Pi without a camera", true, "usb-0403-6001", "gpio", "i2c")
	m.write("sys/class/video4linux/video0/name", "unicam\n")
	m.write("dev/video0", "")
	m.write("run/docker.sock", "")
	look("with one, and an engine", true, "usb-0403-6001", "gpio", "i2c", "camera", "docker")
}

func TestATraitOfAnySerialIsAName(t *testing.T) {
	m := machine{t, t.TempDir()}
	m.plug("1-1", "10c4", "ea60", "ÄÖ#\x01 a very long serial number that somebody was proud of, and then some more")
	traits, _ := (&host.Devices{Root: m.root}).Look()
	for _, trait := range traits {
		if err := topics.CheckName(string(trait)); err != nil {
			t.Errorf("%q: %v", trait, err)
		}
	}
	if len(traits) != 3 {
		t.Errorf("got %q", traits)
	}
}

// TestWatchTells holds that what is plugged in is told within a look, and what
// is pulled out within eight, and nothing in between.
func TestWatchTells(t *testing.T) {
	m := machine{t, t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tellings := make(chan []topics.Trait, 9)
		ended := make(chan struct{})
		go func() {
			(&host.Devices{Root: m.root}).Watch(ctx, 2*time.Second, func(traits []topics.Trait) { tellings <- traits })
			close(ended)
		}()
		var told [][]topics.Trait
		after := func(wait time.Duration, want int) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			for len(tellings) > 0 {
				told = append(told, <-tellings)
			}
			if len(told) != want {
				t.Fatalf("told %d times, want %d: %v", len(told), want, told)
			}
		}
		after(time.Minute, 1)
		m.plug("1-1", "10c4", "ea60", "")
		after(2*time.Second, 2)
		m.unplug("1-1")
		after(14*time.Second, 2)
		after(2*time.Second, 3)
		after(time.Minute, 3)
		if !slices.Contains(told[1], "usb-10c4-ea60") || slices.Contains(told[2], "usb-10c4-ea60") {
			t.Errorf("told %v", told)
		}
		cancel()
		<-ended
	})
}
