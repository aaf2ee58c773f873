package host

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dominion/topics"
)

// Devices finds out what this machine plainly has, in words that services can
// ask for: arch-arm64; usb-10c4-ea60 and usb-10c4-ea60-0001 for a plugged
// stick, by vendor, product and serial number; gpio, i2c, spi, camera; docker.
// Root is where /sys and /dev are looked for, "/" but in tests.
type Devices struct {
	Root string

	bus   map[string]made // what the kernel has on the USB, as last seen
	usb   []topics.Trait
	nodes nodes
	shown []topics.Trait
	gone  map[topics.Trait]int // looks since a shown one was last there
}

// goneLooks is for how many looks a trait stays that is not there any more: a
// stick that its service resets, and an engine that starts anew, come back, and
// what uses them is not stopped and moved for that.
const goneLooks = 8

// Look returns the traits in the order of their names, and whether they differ
// from the last look's.
func (d *Devices) Look() (traits []topics.Trait, changed bool) {
	now := d.find()
	gone := map[topics.Trait]int{}
	for _, t := range d.shown {
		if looks := d.gone[t] + 1; !slices.Contains(now, t) && looks < goneLooks {
			gone[t] = looks
			now = append(now, t)
		}
	}
	slices.Sort(now)
	now = slices.Compact(now)
	changed = !slices.Equal(now, d.shown)
	d.shown, d.gone = now, gone
	return slices.Clone(now), changed
}

// Watch looks again and again until ctx ends, and tells the first look and each
// that differs.
func (d *Devices) Watch(ctx context.Context, every time.Duration, tell func([]topics.Trait)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for first := true; ; first = false {
		if traits, changed := d.Look(); changed || first {
			tell(traits)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Devices) find() []topics.Trait {
	traits := []topics.Trait{topics.Trait("arch-" + runtime.GOARCH)}
	if bus := d.plugged(); d.bus == nil || !maps.Equal(bus, d.bus) {
		d.bus, d.usb = bus, d.sticks(bus)
	}
	traits = append(traits, d.usb...)
	traits = append(traits, d.inDev()...)
	if d.docker() {
		traits = append(traits, "docker")
	}
	return traits
}

// nodes is what /dev told when it was last read.
type nodes struct {
	traits []topics.Trait
	at     time.Time // when something was last added there or removed
	twice  bool      // it was read again since: within one tick of the clock more may have changed
}

// inDev are the traits that kinds of devices make, which come with a file in
// /dev. That is read when it has changed.
func (d *Devices) inDev() []topics.Trait {
	var at time.Time
	if info, err := os.Stat(d.path("dev")); err == nil {
		at = info.ModTime()
	}
	same := at.Equal(d.nodes.at)
	if same && d.nodes.twice {
		return d.nodes.traits
	}
	d.nodes = nodes{at: at, twice: same}
	for trait, pattern := range map[topics.Trait]string{"gpio": "dev/gpiochip*", "i2c": "dev/i2c-*", "spi": "dev/spidev*"} {
		if found, _ := filepath.Glob(d.path(pattern)); len(found) > 0 {
			d.nodes.traits = append(d.nodes.traits, trait)
		}
	}
	if d.camera() {
		d.nodes.traits = append(d.nodes.traits, "camera")
	}
	return d.nodes.traits
}

func (d *Devices) path(of string) string { return filepath.Join(d.Root, of) }

const usbDevices = "sys/bus/usb/devices"

// made tells an entry of the kernel's from another of the same name: what was
// plugged in after it.
type made struct {
	inode uint64
	at    int64 // nanoseconds
}

// plugged are the names of what is on the USB.
func (d *Devices) plugged() map[string]made {
	entries, _ := os.ReadDir(d.path(usbDevices))
	bus := map[string]made{}
	for _, e := range entries {
		if strings.Contains(e.Name(), ":") { // an interface of a device
			continue
		}
		var which made
		if info, err := e.Info(); err == nil {
			which.at = info.ModTime().UnixNano()
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				which.inode = stat.Ino
			}
		}
		bus[e.Name()] = which
	}
	return bus
}

// sticks reads the devices of the USB. Hubs, and those in the machine's own
// ports, are nothing that a service would ask for.
func (d *Devices) sticks(bus map[string]made) []topics.Trait {
	const linuxFoundation, hub = "1d6b", "09"
	var traits []topics.Trait
	for name := range bus {
		attribute := func(of string) string {
			raw, err := os.ReadFile(filepath.Join(d.path(usbDevices), name, of))
			if err != nil {
				return ""
			}
			return strings.TrimSpace(string(raw))
		}
		vendor, product := attribute("idVendor"), attribute("idProduct")
		if vendor == "" || product == "" || vendor == linuxFoundation || attribute("bDeviceClass") == hub {
			continue
		}
		trait := "usb-" + vendor + "-" + product
		traits = append(traits, topics.Trait(trait))
		if serial := attribute("serial"); serial != "" {
			traits = append(traits, word(trait+"-"+serial))
		}
	}
	return traits
}

// word makes a trait of what a manufacturer chose.
func word(text string) topics.Trait {
	text = topics.Spell(text, '_')
	return topics.Trait(text[:min(len(text), topics.MaxName)])
}

// camera tells whether a picture can be taken here. A Pi's codecs and image
// processors look like cameras to Video4Linux.
func (d *Devices) camera() bool {
	names, _ := filepath.Glob(d.path("sys/class/video4linux/video*/name"))
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		says := strings.ToLower(string(raw))
		if !slices.ContainsFunc([]string{"codec", "isp", "hevc", "vpu", "jpeg", "decoder", "encoder"}, func(no string) bool { return strings.Contains(says, no) }) {
			return true
		}
	}
	return false
}

// docker tells whether this program may speak to a container engine.
func (d *Devices) docker() bool {
	for _, socket := range []string{"run/docker.sock", "var/run/docker.sock", "run/podman/podman.sock"} {
		if unix.Access(d.path(socket), unix.R_OK|unix.W_OK) == nil {
			return true
		}
	}
	return false
}
