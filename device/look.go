package device

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"dominion/device/host"
	"dominion/topics"
)

// inventory is what stands on this machine, as last looked at.
type inventory struct {
	services  map[topics.Service]string        // found on disk, with their versions
	charges   map[topics.Service]charge        // those of them that a keeper keeps
	own       map[topics.Service]topics.Wanted // what their service.toml says of their terms
	blind     bool                             // the services' directory could not be read
	unread    map[topics.Service]bool          // nor could the service.toml of these
	runners   []string
	addresses []string
	host      string // where services are reached
}

func (i *inventory) has(name topics.Service) bool {
	_, ok := i.services[name]
	return ok
}

// sight is what one look saw: first what stands here, then how it fares; or
// what is plugged in.
type sight struct {
	facts     host.Facts
	inventory *inventory
	readings  *topics.Host
	traits    []topics.Trait
	echoes    map[topics.Target]Echo
}

// look starts to look at the host if it is time. Disks and sensors may be
// slow: the heartbeat does not wait for them.
func (a *Agent) look(work context.Context, now time.Time) {
	v := &a.view
	if v.looking || now.Before(a.nextSight()) {
		return
	}
	v.looking, v.looked = true, now
	cfg, keepers := a.cfg, a.work.keepers
	a.running.Go(func() {
		inv := takeInventory(work, cfg, keepers)
		a.tellSight(work, sight{facts: host.Describe(work), inventory: &inv})
		readings := host.Read(work, cfg.ServicesDir)
		a.tellSight(work, sight{readings: &readings})
	})
}

// watchDevices has what is plugged in and pulled out told at once: a trait may
// have moved to another machine.
func (a *Agent) watchDevices(work context.Context) {
	devices := host.Devices{Root: or(a.cfg.Root, "/")}
	a.running.Go(func() {
		devices.Watch(work, a.cfg.Timing.Devices, func(found []topics.Trait) { a.tellSight(work, sight{traits: found}) })
	})
}

func (a *Agent) tellSight(work context.Context, s sight) {
	select {
	case a.view.seen <- s:
	case <-work.Done():
	}
}

// nextSight is when to look at the host again: sooner while a service waits
// for its directory.
func (a *Agent) nextSight() time.Time {
	every := a.cfg.Timing.Readings
	for _, u := range a.units {
		if u.missing {
			every = min(every, a.cfg.Timing.Missing)
		}
	}
	return a.view.looked.Add(every)
}

// keep takes over from the look before what this one could not see: what is
// unknown is not gone.
func (i *inventory) keep(before *inventory) {
	if i.blind {
		i.services, i.charges, i.own = before.services, before.charges, before.own
		return
	}
	for name := range i.unread {
		if version, ok := before.services[name]; ok {
			i.services[name] = version
		}
		if c, ok := before.charges[name]; ok {
			i.charges[name] = c
		}
		if own, ok := before.own[name]; ok {
			i.own[name] = own
		}
	}
}

// takeInventory looks which services are on disk, which runners there are,
// and where this machine is reached.
func takeInventory(ctx context.Context, cfg Config, keepers map[string]keeper) inventory {
	inv := inventory{services: map[topics.Service]string{}, charges: map[topics.Service]charge{}, own: map[topics.Service]topics.Wanted{}, unread: map[topics.Service]bool{}, runners: []string{"exec"}, host: cfg.Address, addresses: host.Addresses()}
	if inv.host == "" {
		broker := ""
		if cfg.Broker != nil {
			broker = cfg.Broker()
		}
		inv.host = host.Address(ctx, broker, cfg.Loopback)
	}
	if _, err := exec.LookPath("make"); err == nil {
		inv.runners = append(inv.runners, "make")
	}
	for _, kind := range []string{kindSystemd, kindDocker, kindPid} {
		brief, done := context.WithTimeout(ctx, keeperPatience)
		if keepers[kind].available(brief) == nil {
			inv.runners = append(inv.runners, kind)
		}
		done()
	}
	dirs, err := os.ReadDir(cfg.ServicesDir)
	if err != nil {
		inv.blind = !errors.Is(err, fs.ErrNotExist)
		return inv // said once by New; a service that needs it says so itself
	}
	for _, d := range dirs {
		name := topics.Service(d.Name())
		dir := filepath.Join(cfg.ServicesDir, d.Name())
		if name.Check() != nil {
			continue
		}
		manifest, err := readManifest(dir, cfg.Manifest)
		if _, why := findRunner(dir, manifest); why != nil && err == nil {
			continue
		}
		inv.services[name] = manifest.Version
		if err != nil {
			inv.unread[name] = true
			continue
		}
		inv.own[name] = manifest.own()
		if c, ok := manifest.charge(); ok {
			inv.charges[name] = c
		}
	}
	return inv
}

// see takes in what a look saw.
func (a *Agent) see(work context.Context, s sight) {
	now := time.Now()
	v := &a.view
	if s.traits != nil {
		v.traits = slices.Concat(a.cfg.Traits, s.traits)
		slices.Sort(v.traits)
		v.traits = slices.Compact(v.traits)
		if a.link.born {
			a.sayInfo(work)
		}
		a.birth(work, now)
	}
	if s.echoes != nil {
		v.echoes = s.echoes
	}
	if s.inventory != nil {
		before := v.inventory
		if before != nil {
			s.inventory.keep(before)
		}
		for name, u := range a.units {
			if u.missing && s.inventory.has(name) {
				u.missing = false
			}
			if own, ok := s.inventory.own[name]; ok {
				a.learn(u, own, now)
			}
		}
		s.facts.Boot = a.boot(s.facts.Boot)
		v.facts, v.inventory = s.facts, s.inventory
		a.watchCharges(work)
		switch {
		case !a.link.born:
			a.birth(work, now)
		case before == nil || !maps.Equal(before.services, s.inventory.services) || !slices.Equal(before.addresses, s.inventory.addresses) || !slices.Equal(before.runners, s.inventory.runners):
			a.sayInfo(work)
		}
	}
	if s.readings != nil {
		v.looking, v.measured = false, *s.readings
		silent := now.Sub(v.saidAt)
		moved := host.Moved(v.said, host.After(v.said, v.measured)) && silent >= a.cfg.Timing.Readings
		if a.link.born && (moved || silent >= a.cfg.Timing.Repeat) {
			a.sayHost(work, now)
		}
	}
}

// boot is when this machine was booted, as it was found out first: the kernel
// counts back from now, and so its answer moves with each step of the clock.
func (a *Agent) boot(found topics.Stamp) topics.Stamp {
	const step = 2 * time.Second // one second is the clock's own rounding
	var kept struct {
		Boot topics.Stamp `json:"boot"`
	}
	path := filepath.Join(a.cfg.DataDir, "boot.json")
	if kept.Boot = a.view.facts.Boot; kept.Boot == "" {
		_ = readJSON(path, &kept) // else it is found out anew
	}
	if found == "" || found.Time().Sub(kept.Boot.Time()).Abs() < step {
		return kept.Boot
	}
	kept.Boot = found
	if err := writeFile(path, mustJSON(kept), false); err != nil {
		a.cfg.Log.Warn().Err(err).Msg("when this machine was booted cannot be kept: it may be said a second off after the next start")
	}
	return found
}

// host is where services of this machine are reached, "" while unknown.
func (a *Agent) host() string {
	if a.view.inventory == nil {
		if a.cfg.Loopback && a.cfg.Address == "" {
			return "127.0.0.1"
		}
		return a.cfg.Address
	}
	return a.view.inventory.host
}
