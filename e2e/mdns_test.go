//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dominion/discovery"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
)

// mdnsTask makes the test's own program one that announces or looks for
// something: discovery works in the network of its process.
const mdnsTask = "DOMINION_E2E_MDNS"

// doMDNS is that program. It prints what it finds as lines of JSON.
func doMDNS(task string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	out, log := json.NewEncoder(os.Stdout), zerolog.New(os.Stderr)
	switch task {
	case "advertise": // what stands in a file, which may change
		discovery.Advertise(ctx, log, func() []discovery.Announcement {
			var what []discovery.Announcement
			content, err := os.ReadFile(args[0])
			if err == nil {
				err = json.Unmarshal(content, &what)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			return what
		})
	case "browse":
		for list := range (discovery.Search{Service: args[0], Every: 200 * time.Millisecond, Listen: time.Second, Log: log}).Browse(ctx) {
			out.Encode(list)
		}
	case "often": // browses many times; prints the goroutines of before and after
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		for range (discovery.Search{Service: args[0], Every: time.Millisecond, Listen: 20 * time.Millisecond, Log: log}).Browse(ctx) {
		}
		time.Sleep(time.Second)
		out.Encode([]int{before, runtime.NumGoroutine()})
	case "flood": // for how long
		limit, err := time.ParseDuration(args[0])
		if err != nil {
			return 1
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := flood(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "find": // the instance, and for how long
		limit, err := time.ParseDuration(args[2])
		if err != nil {
			return 1
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		entry, tried, err := discovery.Find(ctx, args[0], func(e discovery.Entry) bool { return e.Instance == args[1] })
		out.Encode(finding{entry, tried, errors.Is(err, discovery.ErrNotFound)})
	}
	return 0
}

// finding is what the task find prints.
type finding struct {
	Entry    discovery.Entry
	Tried    discovery.Tried
	NotFound bool
}

// mdns starts a task on a host.
func (h *host) mdns(task string, args ...string) *process {
	h.t.Helper()
	program, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.command(program, args...)
	cmd.Env = append(os.Environ(), mdnsTask+"="+task)
	return start(h.t, cmd)
}

// find looks for an instance from a host.
func (h *host) find(service, instance string, limit time.Duration) finding {
	h.t.Helper()
	p := h.mdns("find", service, instance, limit.String())
	p.awaitEnd(limit + 10*time.Second)
	var f finding
	said(h.t, p, &f)
	return f
}

// mustFind is find, of one that must be there.
func (h *host) mustFind(service, instance string) finding {
	h.t.Helper()
	f := h.find(service, instance, 10*time.Second)
	if f.NotFound {
		h.t.Fatalf("%s does not find %s; %v", h.name, instance, f.Tried)
	}
	return f
}

// said decodes the last whole line of JSON that a task printed.
func said(t testing.TB, p *process, into any) bool {
	t.Helper()
	content, err := os.ReadFile(p.output)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	for _, line := range slices.Backward(lines) {
		if bytes.HasSuffix(line, []byte("\n")) && !bytes.Contains(line, []byte(`"level":`)) && json.Valid(line) {
			if err := json.Unmarshal(line, into); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			return true
		}
	}
	return false
}

// awaitList waits until a browsing task's list is as it should be.
func awaitList(t testing.TB, p *process, limit time.Duration, what string, ok func([]discovery.Entry) bool) []discovery.Entry {
	t.Helper()
	var list []discovery.Entry
	eventually(t, limit, what, func() (bool, string) {
		list = nil
		heard := said(t, p, &list)
		return heard && ok(list), fmt.Sprintf("%+v", list)
	})
	return list
}

// announced is a file for the task advertise.
type announced string

func announce(t testing.TB, what ...discovery.Announcement) announced {
	t.Helper()
	a := announced(filepath.Join(t.TempDir(), "announced.json"))
	a.set(t, what...)
	return a
}

// set replaces what is announced.
func (a announced) set(t testing.TB, what ...discovery.Announcement) {
	t.Helper()
	content, err := json.Marshal(what)
	if err == nil {
		err = os.WriteFile(string(a)+".new", content, 0o644)
	}
	if err == nil {
		err = os.Rename(string(a)+".new", string(a))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func leader(port int) discovery.Announcement {
	return discovery.Announcement{Service: discovery.DominionService, Instance: "home-7f3a9c", Port: port,
		Text: map[string]string{"v": "1", "house": "7f3a9c", "name": `Müllers\Haus "am See"`, "url": "mqtts://:8883"}}
}

func lonely() discovery.Announcement {
	return discovery.Announcement{Service: discovery.DomainService, Instance: "attic-1b2c", Port: 9,
		Text: map[string]string{"v": "1", "name": "attic", "why": "lonely"}}
}

// at are the addresses of hosts.
func at(hosts ...*host) []netip.Addr {
	var all []netip.Addr
	for _, h := range hosts {
		all = append(all, netip.MustParseAddr(h.address))
	}
	return all
}

// plainly compares what was found without what is made up by chance.
func plainly() cmp.Options {
	return cmp.Options{cmpopts.IgnoreFields(discovery.Entry{}, "Host", "Seen"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
}

func TestMachinesFindOneAnother(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	a.mdns("advertise", string(announce(t, leader(8443))))
	b.mdns("advertise", string(announce(t, lonely())))
	for _, c := range []struct {
		from, to *host
		what     discovery.Announcement
	}{{b, a, leader(8443)}, {a, b, lonely()}, {a, a, leader(8443)}} {
		found := c.from.mustFind(c.what.Service, c.what.Instance).Entry
		want := discovery.Entry{Service: c.what.Service, Instance: c.what.Instance, Addresses: at(c.to), Port: c.what.Port, Text: c.what.Text, Interface: "eth0"}
		if diff := cmp.Diff(want, found, plainly()); diff != "" {
			t.Errorf("%s found (-want +got):\n%s", c.from.name, diff)
		}
	}
	missing := b.find(discovery.DominionService, "another", 2*time.Second)
	if !missing.NotFound || missing.Tried.Lasted < 2*time.Second || missing.Tried.Lasted > 5*time.Second ||
		!cmp.Equal(missing.Tried.Interfaces, []string{"eth0 (10.77.0.12)"}) || len(missing.Tried.Heard) != 1 {
		t.Errorf("what was tried for one who is not there: %+v", missing)
	}
}

func TestAWatcherFollowsALeader(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	file := announce(t, leader(8443))
	watcher := b.mdns("browse", discovery.DominionService)
	awaitList(t, watcher, 10*time.Second, "an empty list", func(list []discovery.Entry) bool { return len(list) == 0 })
	serving := a.mdns("advertise", string(file))
	one := func(is func(discovery.Entry) bool) func([]discovery.Entry) bool {
		return func(list []discovery.Entry) bool { return len(list) == 1 && is(list[0]) }
	}
	awaitList(t, watcher, 10*time.Second, "the leader", one(func(e discovery.Entry) bool { return e.Port == 8443 }))

	a.setAddress("10.77.0.99")
	awaitList(t, watcher, 10*time.Second, "its new address, first", one(func(e discovery.Entry) bool { return e.Addresses[0] == at(a)[0] }))
	awaitList(t, watcher, 10*time.Second, "its new address alone", one(func(e discovery.Entry) bool { return slices.Equal(e.Addresses, at(a)) }))

	changed := leader(9443)
	changed.Text["name"] = "Home"
	file.set(t, changed)
	awaitList(t, watcher, 10*time.Second, "its new port and text", one(func(e discovery.Entry) bool { return e.Port == 9443 && e.Text["name"] == "Home" }))

	serving.kill()
	file.set(t, leader(7443))
	a.mdns("advertise", string(file))
	awaitList(t, watcher, 10*time.Second, "the one that was started again", one(func(e discovery.Entry) bool { return e.Port == 7443 }))
}

func TestALeaderThatDiedAgesOut(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	file := announce(t, leader(8443))
	serving := l.host(1).mdns("advertise", string(file))
	watcher := l.host(2).mdns("browse", discovery.DominionService)
	awaitList(t, watcher, 10*time.Second, "the leader", func(list []discovery.Entry) bool { return len(list) == 1 })
	serving.kill()
	awaitList(t, watcher, 12*time.Second, "that it is gone", func(list []discovery.Entry) bool { return len(list) == 0 })
}

func TestAnInterfaceThatComesLater(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	a, late := l.host(1), l.joinUnplugged()
	a.mdns("advertise", string(announce(t, leader(8443))))
	late.mdns("advertise", string(announce(t, lonely())))
	seeker := late.mdns("find", discovery.DominionService, leader(8443).Instance, "30s")
	watcher := a.mdns("browse", discovery.DomainService)
	awaitList(t, watcher, 10*time.Second, "an empty list", func(list []discovery.Entry) bool { return len(list) == 0 })
	late.addInterface("eth0")
	late.setAddress("10.77.0.12")
	awaitList(t, watcher, 10*time.Second, "the one who came later", func(list []discovery.Entry) bool { return len(list) == 1 })
	seeker.awaitEnd(10 * time.Second)
	var f finding
	if said(t, seeker, &f); f.NotFound || len(f.Tried.Trouble) == 0 {
		t.Errorf("who had no network at first found %+v", f)
	}
}

func TestTwoInterfacesInOneNetwork(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	a.addInterface("wlan0")
	a.setAddressOf("wlan0", "10.77.0.111")
	a.mdns("advertise", string(announce(t, leader(8443))))
	watcher := b.mdns("browse", discovery.DominionService)
	both := append(at(a), netip.MustParseAddr("10.77.0.111"))
	of := func(list []discovery.Entry) bool {
		return len(list) == 1 && !slices.ContainsFunc(list[0].Addresses, func(a netip.Addr) bool { return !slices.Contains(both, a) })
	}
	awaitList(t, watcher, 10*time.Second, "it with its own addresses", of)
	found := a.mustFind(discovery.DominionService, leader(8443).Instance)
	if len(found.Tried.Interfaces) != 2 {
		t.Errorf("it looked on %v", found.Tried.Interfaces)
	}
	a.unplug("eth0")
	if left := b.mustFind(discovery.DominionService, leader(8443).Instance).Entry.Addresses; !slices.Equal(left, both[1:]) {
		t.Errorf("without its cable it is found at %v", left)
	}
}

func TestAWatcherLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	l.host(1).mdns("advertise", string(announce(t, leader(8443))))
	watcher := l.host(2).mdns("often", discovery.DominionService)
	watcher.awaitEnd(20 * time.Second)
	var goroutines []int
	if said(t, watcher, &goroutines); len(goroutines) != 2 || goroutines[1] > goroutines[0]+3 {
		t.Errorf("goroutines before and after about a hundred browses: %v", goroutines)
	}
}

// containers gives a host a bridge as Docker makes it, with a container on it.
func (h *host) containers() {
	h.t.Helper()
	h.ip(h.t, "link", "add", "docker0", "type", "bridge")
	h.ip(h.t, "address", "add", "172.17.0.1/16", "dev", "docker0")
	h.ip(h.t, "link", "add", "veth1", "type", "veth", "peer", "name", "veth2")
	for _, name := range []string{"docker0", "veth1", "veth2"} {
		h.ip(h.t, "link", "set", name, "up")
	}
	h.ip(h.t, "link", "set", "veth1", "master", "docker0")
}

func TestContainersAreNotTheHouse(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	a.containers()
	b.containers()
	a.mdns("advertise", string(announce(t, leader(8443))))
	f := b.mustFind(discovery.DominionService, leader(8443).Instance)
	if !slices.Equal(f.Entry.Addresses, at(a)) || !slices.Equal(f.Tried.Interfaces, []string{"eth0 (10.77.0.12)"}) {
		t.Errorf("it looked on %v and found %v", f.Tried.Interfaces, f.Entry.Addresses)
	}
}

// avahi starts avahi on a host, with the bus that its tools need.
func (h *host) avahi() {
	h.t.Helper()
	dir := h.t.TempDir()
	conf := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(conf, []byte(`<busconfig>
		<listen>unix:path=/run/dbus/system_bus_socket</listen>
		<auth>EXTERNAL</auth>
		<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
	</busconfig>`), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.run("mkdir", "-p", "/run/dbus", "/run/avahi-daemon")
	start(h.t, h.command("dbus-daemon", "--config-file="+conf, "--nofork"))
	h.eventually(5*time.Second, "test", "-S", "/run/dbus/system_bus_socket")
	start(h.t, h.command("avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits"))
	h.eventually(10*time.Second, "avahi-browse", "-at")
}

// eventually waits until a program on the host succeeds.
func (h *host) eventually(limit time.Duration, name string, args ...string) {
	h.t.Helper()
	eventually(h.t, limit, name, func() (bool, string) {
		out, err := h.command(name, args...).CombinedOutput()
		return err == nil, fmt.Sprintf("%v %s", err, out)
	})
}

func TestAvahiSeesALeaderAndIsSeen(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	a, b, c := l.host(1), l.host(2), l.host(3)
	b.avahi()
	c.avahi() // and runs beside ours
	file := announce(t, leader(8443))
	serving := a.mdns("advertise", string(file))
	c.mdns("advertise", string(announce(t, lonely())))
	browse := func(service string) func() (bool, string) {
		return func() (bool, string) {
			out := b.run("avahi-browse", "-rtp", service)
			at := map[string]string{discovery.DominionService: `;home-7f3a9c;_dominion._tcp;local;pi1-`, discovery.DomainService: `;attic-1b2c;_domain._tcp;local;pi3-`}[service]
			address := map[string]string{discovery.DominionService: ";10.77.0.11;8443;", discovery.DomainService: ";10.77.0.13;9;"}[service]
			return strings.Contains(out, at) && strings.Contains(out, address), out
		}
	}
	eventually(t, 10*time.Second, "avahi shows the lonely one", browse(discovery.DomainService))
	eventually(t, 10*time.Second, "avahi shows the leader", browse(discovery.DominionService))
	shown := b.run("avahi-browse", "-rt", discovery.DominionService)
	t.Logf("avahi-browse -rt _dominion._tcp\n%s", shown)
	for _, pair := range []string{`"v=1"`, `"house=7f3a9c"`, `"url=mqtts://:8883"`} {
		if !strings.Contains(shown, pair) {
			t.Errorf("avahi-browse does not show %s", pair)
		}
	}

	start(t, b.command("avahi-publish", "-s", "My house. 2", discovery.DominionService, "8444", "house=aa55", "name=Zweites Häuschen"))
	found := a.mustFind(discovery.DominionService, "My house. 2").Entry
	want := discovery.Entry{Service: discovery.DominionService, Instance: "My house. 2", Addresses: at(b), Port: 8444,
		Text: map[string]string{"house": "aa55", "name": "Zweites Häuschen"}, Interface: "eth0"}
	if diff := cmp.Diff(want, found, plainly(), cmpopts.IgnoreFields(discovery.Entry{}, "Addresses")); diff != "" {
		t.Errorf("found of avahi's (-want +got):\n%s", diff)
	}
	if found.Addresses[0] != at(b)[0] {
		t.Errorf("its addresses are %v", found.Addresses)
	}

	serving.stop(5 * time.Second)
	eventually(t, 5*time.Second, "avahi heard the goodbye", func() (bool, string) {
		out := b.run("avahi-browse", "-tp", "--cache", discovery.DominionService)
		return !strings.Contains(out, "home-7f3a9c"), out
	})
}
