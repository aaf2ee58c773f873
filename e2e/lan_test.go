//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lan is a switch and the hosts on it. The switch is a bridge in a namespace of
// its own, each host another: nothing of it is on the machine's own network,
// and nothing is left if the test is killed.
type lan struct {
	t      testing.TB
	middle network
	hosts  []*host
	ports  int
}

// host is a machine on a lan. It has its own network, its own name, and for
// what is started with its command its own /sys, /run, /root, /etc and /var/lib:
// it sees what is installed, and nobody else sees what it writes.
type host struct {
	network // for what needs no more of the machine than this
	t       testing.TB
	lan     *lan
	name    string
	address string            // of eth0: "10.77.0.11"
	ports   map[string]string // an interface and its port of the switch
}

// machine is what turns an unshared shell into a host. All it writes is in
// memory and goes with it.
const machine = `
hostname "$1"
mount -t tmpfs run /run
mkdir /run/sys
mount --rbind /sys /run/sys
mount -t sysfs sysfs /sys
mount --rbind /run/sys/fs/cgroup /sys/fs/cgroup
umount -l /run/sys
for own in /etc /root /var/lib; do
	mkdir -p /run/machine$own/upper /run/machine$own/work
	mount -t overlay -o lowerdir=$own,upperdir=/run/machine$own/upper,workdir=/run/machine$own/work machine $own
done
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
`

// newLAN makes a lan with hosts pi1, pi2, … at 10.77.0.11, 10.77.0.12, ….
func newLAN(t testing.TB, hosts int) *lan {
	t.Helper()
	l := &lan{t: t, middle: newNamespace(t)}
	l.middle.ip(t, "link", "add", "lan", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	l.middle.ip(t, "link", "set", "lan", "up")
	for range hosts {
		l.join()
	}
	return l
}

// host returns a host by its number, from 1 on.
func (l *lan) host(number int) *host { return l.hosts[number-1] }

// join adds the next host, with its cable plugged in.
func (l *lan) join() *host {
	l.t.Helper()
	h := l.joinUnplugged()
	h.addInterface("eth0")
	h.setAddress(fmt.Sprintf("10.77.0.%d", 10+len(l.hosts)))
	return h
}

// joinUnplugged adds the next host, which has no interface but its loopback.
func (l *lan) joinUnplugged() *host {
	l.t.Helper()
	name := fmt.Sprintf("pi%d", len(l.hosts)+1)
	h := &host{
		network: holdNamespace(l.t, []string{"--net", "--uts", "--mount", "--propagation", "private"}, machine, name),
		t:       l.t, lan: l, name: name, ports: map[string]string{},
	}
	l.hosts = append(l.hosts, h)
	return h
}

// command prepares a program that will run on the host, in the directory that
// the test has. Its pid is the program's own.
func (h *host) command(name string, args ...string) *exec.Cmd {
	in := []string{"--target", fmt.Sprint(h.pid), "--net", "--uts", "--mount", "--wd=.", "--", name}
	return exec.Command("nsenter", append(in, args...)...)
}

// run runs a program on the host and returns what it printed. The test ends if
// it fails.
func (h *host) run(name string, args ...string) string {
	h.t.Helper()
	return finish(h.t, h.command(name, args...))
}

// addInterface gives the host an interface with a cable to the switch, up, and
// with no address yet.
func (h *host) addInterface(name string) {
	h.t.Helper()
	h.lan.ports++
	port := fmt.Sprintf("port%d", h.lan.ports)
	h.lan.middle.ip(h.t, "link", "add", port, "type", "veth", "peer", "name", name, "netns", fmt.Sprint(h.pid))
	h.lan.middle.ip(h.t, "link", "set", port, "master", "lan", "up")
	h.ip(h.t, "link", "set", name, "up")
	h.ports[name] = port
}

// setAddress moves eth0 to another address of 10.77.0.0/24, as a router does
// that gives out another lease.
func (h *host) setAddress(address string) {
	h.t.Helper()
	h.setAddressOf("eth0", address)
	h.address = address
}

// setAddressOf moves an interface to another address of 10.77.0.0/24.
func (h *host) setAddressOf(name, address string) {
	h.t.Helper()
	h.ip(h.t, "-4", "address", "flush", "dev", name)
	h.ip(h.t, "address", "add", address+"/24", "dev", name)
	// Every host has a way for multicast, as one with a default route has. A
	// second interface in the same network has none of its own.
	if name == "eth0" {
		h.ip(h.t, "route", "replace", "224.0.0.0/4", "dev", name)
	}
}

// unplug pulls an interface's cable: its addresses stay.
func (h *host) unplug(name string) {
	h.t.Helper()
	h.lan.middle.ip(h.t, "link", "set", h.ports[name], "down")
}

// plug puts an interface's cable back.
func (h *host) plug(name string) {
	h.t.Helper()
	h.lan.middle.ip(h.t, "link", "set", h.ports[name], "up")
}

// shutDown sets an interface down: its addresses stay, its routes are gone.
func (h *host) shutDown(name string) {
	h.t.Helper()
	h.ip(h.t, "link", "set", name, "down")
}

// bringUp sets an interface up that has been shut down.
func (h *host) bringUp(name string) {
	h.t.Helper()
	h.ip(h.t, "link", "set", name, "up")
	if name == "eth0" {
		h.ip(h.t, "route", "replace", "224.0.0.0/4", "dev", name)
	}
}

// ip runs ip in the network.
func (n network) ip(t testing.TB, args ...string) {
	t.Helper()
	finish(t, n.command("ip", args...))
}

// finish runs a command to its end, for ten seconds at most, and returns what
// it printed.
func finish(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var printed, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &complained
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, printed.String(), complained.String())
	}
	return printed.String()
}

func TestLANJoinsItsHosts(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	start(t, b.command("python3", "-m", "http.server", "8080"))
	reach := func(h *host, address string) (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		conn, err := h.dial(ctx, "tcp", address+":8080")
		if err != nil {
			return false, err.Error()
		}
		conn.Close()
		return true, ""
	}
	reaches := func(what, address string) {
		t.Helper()
		eventually(t, 5*time.Second, what, func() (bool, string) { return reach(a, address) })
	}
	reaches("a host reaches another", "10.77.0.12")
	b.setAddress("10.77.0.99")
	reaches("a host reaches another at its new address", b.address)
	if ok, _ := reach(a, "10.77.0.12"); ok {
		t.Error("the old address still answers")
	}
	b.unplug("eth0")
	if ok, _ := reach(a, b.address); ok {
		t.Error("a host without a cable answers")
	}
	b.plug("eth0")
	reaches("a host that was plugged in again", b.address)
	b.shutDown("eth0")
	if ok, _ := reach(a, b.address); ok {
		t.Error("a host answers on an interface that is down")
	}
	b.bringUp("eth0")
	reaches("a host whose interface is up again", b.address)
	b.addInterface("eth1")
	b.setAddressOf("eth1", "10.77.0.112")
	reaches("a host's second interface", "10.77.0.112")
	third := l.join()
	eventually(t, 5*time.Second, "a host that came later reaches another", func() (bool, string) { return reach(third, b.address) })
}

func TestHostsAreMachinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.host(1), l.host(2)
	if got := strings.TrimSpace(a.run("hostname")) + strings.TrimSpace(b.run("hostname")); got != "pi1pi2" {
		t.Errorf("their names are %q", got)
	}
	if a.run("cat", "/etc/machine-id") == b.run("cat", "/etc/machine-id") {
		t.Error("they have one machine id")
	}
	for _, dir := range []string{"/etc", "/root", "/var/lib"} {
		file := filepath.Join(dir, "dominion-e2e")
		a.run("touch", file)
		if out, err := b.command("ls", file).CombinedOutput(); err == nil {
			t.Errorf("pi2 has pi1's %s", out)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("the machine of the test has pi1's %s", file)
		}
	}
	dir := t.TempDir()
	cmd := a.command("pwd")
	cmd.Dir = dir
	if got := strings.TrimSpace(finish(t, cmd)); got != dir {
		t.Errorf("a command runs in %s, not in %s", got, dir)
	}
}
