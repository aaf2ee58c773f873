//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The packages of two versions, of the same programs.
const (
	firstVersion  = "0.1.0"
	secondVersion = "0.1.1"
)

// debs builds the packages of both versions, once for all tests, by the one
// command that builds them for everybody.
var debs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dominion-e2e-debs-")
	if err != nil {
		return "", err
	}
	for _, version := range []string{firstVersion, secondVersion} {
		cmd := exec.Command("go", "run", "./packaging", "-for", "amd64", "-version", version, "-out", dir)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the packages: %w\n%s", err, out)
		}
	}
	return dir, nil
})

// newPi is a machine that has the packages in its /mnt.
func newPi(t testing.TB) *debian {
	t.Helper()
	dir, err := debs()
	if err != nil {
		t.Fatal(err)
	}
	return newDebian(t, dir)
}

// install installs or upgrades packages by dpkg.
func (d *debian) install(version string, packages ...string) string {
	d.t.Helper()
	args := []string{"--install"}
	for _, p := range packages {
		args = append(args, fmt.Sprintf("/mnt/%s_%s_amd64.deb", p, version))
	}
	return d.run("dpkg", args...)
}

// house is what of a house must outlive an upgrade: its configuration and
// state, and whose they are.
func (d *debian) house() string {
	d.t.Helper()
	return d.run("sh", "-ec", `
		for file in /etc/dominion/*.toml /var/lib/dominion/identity/authority.* /var/lib/dominion/identity/ledger.json /var/lib/dominion/identity/users.json \
			/var/lib/dominion/machine-id /var/lib/dominion/domain/membership.json; do
			if [ -e "$file" ]; then stat -c '%n %U %a' "$file"; cat "$file"; fi
		done`)
}

// TestPackagesInADebianWithoutSystemd installs, runs, upgrades and purges the
// leader where nothing but dpkg is: a chroot, a container.
func TestPackagesInADebianWithoutSystemd(t *testing.T) {
	t.Parallel()
	pi := newPi(t)
	if said := pi.install(firstVersion, "dominion"); !strings.Contains(said, "dominion: make a house with:  sudo dominion init") {
		t.Errorf("dpkg does not say what comes next:\n%s", said)
	}
	if said := pi.run("dominion", "version"); !strings.HasPrefix(said, "dominion 0.") {
		t.Errorf("version: %s", said)
	}
	said, err := pi.try("dominion", "install")
	if exit := exitCode(err); exit != 5 || !strings.Contains(said, "this machine has no systemd") {
		t.Errorf("install without systemd: exit %d\n%s", exit, said)
	}
	t.Log(pi.run("dominion", "init", "--yes", "--name", "Home"))
	leader := start(t, pi.command("dominion", "serve"))
	leads := func() (bool, string) {
		said, _ := pi.try("dominion", "status")
		return strings.Contains(said, "Home"), said
	}
	eventually(t, 20*time.Second, "the leader answers", leads)

	before := pi.house()
	pi.install(secondVersion, "dominion")
	if got := pi.run("dpkg-query", "--show", "--showformat=${Version}", "dominion"); got != secondVersion {
		t.Errorf("after the upgrade it is %s", got)
	}
	if !leader.alive() {
		t.Error("the upgrade ended a leader that was not dpkg's")
	}
	leader.stop(10 * time.Second)
	leader = start(t, pi.command("dominion", "serve"))
	eventually(t, 20*time.Second, "the new leader answers", leads)
	if diff := cmp.Diff(before, pi.house()); diff != "" {
		t.Errorf("the upgrade changed the house (-before +after):\n%s", diff)
	}
	leader.stop(10 * time.Second)

	pi.run("dpkg", "--remove", "dominion")
	if diff := cmp.Diff(before, pi.house()); diff != "" {
		t.Errorf("removing the package changed the house (-before +after):\n%s", diff)
	}
	pi.run("dpkg", "--purge", "dominion")
	for _, gone := range []string{"/var/lib/dominion", "/etc/dominion", "/usr/bin/dominion"} {
		if pi.there(gone) {
			t.Errorf("%s is there after the purge:\n%s", gone, pi.run("find", gone))
		}
	}
}

// TestUnits holds what systemd says of the units that the packages bring.
func TestUnits(t *testing.T) {
	t.Parallel()
	pi := newPi(t)
	pi.install(firstVersion, "dominion", "dominion-domain")
	const units = "/usr/lib/systemd/system/"
	if said := pi.run("systemd-analyze", "verify", "--man=no", units+"dominion.service", units+"dominion-domain.service"); strings.Contains(said, "dominion") {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	// 10 is a unit that root could as well have typed. The agent's services are
	// anybody's programs, and its unit says why they have no walls.
	for unit, most := range map[string]float64{"dominion.service": 2, "dominion-domain.service": 9} {
		said := pi.run("systemd-analyze", "security", "--offline=true", "--no-pager", units+unit)
		level := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`).FindStringSubmatch(said)
		if level == nil {
			t.Fatalf("systemd-analyze security: %s", said)
		}
		exposure, err := strconv.ParseFloat(level[1], 64)
		if err != nil || exposure > most {
			t.Errorf("%s has the exposure %s, want %v at most:\n%s", unit, level[1], most, said)
		}
		t.Log(level[0])
	}
}

// TestAHouseOfPackages is a Raspberry Pi from the packages to a running
// service, through an upgrade, a hung agent, and to the packages' end.
func TestAHouseOfPackages(t *testing.T) {
	t.Parallel()
	pi := newPi(t)
	pi.boot()
	pi.run("groupadd", "--system", "gpio")
	pi.install(firstVersion, "dominion", "dominion-domain")
	for _, unit := range []string{"dominion", "dominion-domain"} {
		if state, _ := pi.try("systemctl", "is-enabled", unit); state != "disabled\n" {
			t.Errorf("a fresh %s is %q", unit, state)
		}
	}
	if groups := pi.run("id", "-nG", "dominion-domain"); !strings.Contains(groups, "gpio") || !strings.Contains(groups, "audio") {
		t.Errorf("the agent's groups are %s", groups)
	}

	t.Log(pi.run("dominion", "init", "--yes", "--name", "Home"))
	pi.serves("dominion", "leads the house")
	pi.run("sh", "-ec", `
		mkdir /usr/local/dominion/services/lamp
		printf 'command = ["sleep", "100000"]\n' >/usr/local/dominion/services/lamp/service.toml`)
	t.Log(pi.run("dominion", "add", "/usr/local/dominion/services/lamp", "--yes"))
	code := regexp.MustCompile(`domain join (\S+)`).FindStringSubmatch(pi.run("dominion", "invite"))
	if code == nil {
		t.Fatal("invite gives no code")
	}
	t.Log(pi.run("domain", "join", code[1], "--leader", "127.0.0.1"))
	pi.serves("dominion-domain", "supervises this machine's services")
	lamp := pi.lamp()

	// What is as it should be stays so.
	agent := pi.mainPID("dominion-domain")
	if said := pi.run("domain", "install"); !strings.Contains(said, "runs already") || pi.mainPID("dominion-domain") != agent {
		t.Errorf("installed again: %s", said)
	}

	before, leader := pi.house(), pi.mainPID("dominion")
	pi.install(secondVersion, "dominion", "dominion-domain")
	pi.serves("dominion", "leads the house")
	pi.serves("dominion-domain", "supervises this machine's services")
	if pi.mainPID("dominion") == leader || pi.mainPID("dominion-domain") == agent {
		t.Error("the upgrade left an old program running")
	}
	if now := pi.lamp(); now != lamp {
		t.Errorf("the upgrade restarted a service: it was %s, and is %s", lamp, now)
	}
	if diff := cmp.Diff(before, pi.house()); diff != "" {
		t.Errorf("the upgrade changed the house (-before +after):\n%s", diff)
	}

	pi.hangs("dominion-domain")
	if now := pi.lamp(); now != lamp {
		t.Errorf("the watchdog restarted a service: it was %s, and is %s", lamp, now)
	}

	pi.run("dpkg", "--remove", "dominion-domain")
	if said, err := pi.try("pgrep", "--full", "^sleep 100000"); err == nil {
		t.Errorf("a service outlived the agent's package: %s", said)
	}
	if !pi.there("/var/lib/dominion/domain/membership.json") {
		t.Error("removing the agent's package forgot its house")
	}
	pi.run("dpkg", "--purge", "dominion-domain")
	if pi.there("/var/lib/dominion/domain") || !pi.there("/var/lib/dominion/identity/authority.key") {
		t.Error("the purge of one package took too little or too much")
	}
	pi.serves("dominion", "leads the house")
	pi.run("dpkg", "--purge", "dominion")
	for _, gone := range []string{"/var/lib/dominion", "/etc/dominion", "/etc/systemd/system/multi-user.target.wants/dominion.service"} {
		if pi.there(gone) {
			t.Errorf("%s is there after the purge:\n%s", gone, pi.run("find", gone))
		}
	}
}

// serves waits until a unit runs and has said that it does.
func (d *debian) serves(unit, status string) {
	d.t.Helper()
	eventually(d.t, time.Minute, unit+" runs", func() (bool, string) {
		said, _ := d.try("systemctl", "show", "--property=ActiveState,StatusText", unit)
		return strings.Contains(said, "ActiveState=active\n") && strings.Contains(said, "StatusText="+status+"\n"), said + d.journal()
	})
}

func (d *debian) mainPID(unit string) string {
	d.t.Helper()
	return d.run("systemctl", "show", "--property=MainPID,ExecMainStartTimestampMonotonic", unit)
}

// lamp waits until the service runs as the agent's user, and tells which
// process it is.
func (d *debian) lamp() string {
	d.t.Helper()
	var which string
	eventually(d.t, time.Minute, "lamp runs", func() (bool, string) {
		said, _ := d.try("dominion", "status")
		which, _ = d.try("pgrep", "--full", "--list-full", "--euid", "dominion-domain", "^sleep 100000")
		return regexp.MustCompile(`lamp +ready`).MatchString(said) && strings.Count(which, "\n") == 1, said + which + d.journal()
	})
	return which
}

// hangs has a unit's program stand still, with a systemd that is less patient
// than usual, and waits until another runs.
func (d *debian) hangs(unit string) {
	d.t.Helper()
	d.run("sh", "-ec", `
		mkdir -p /run/systemd/system/$1.service.d
		printf '[Service]\nWatchdogSec=20s\nTimeoutAbortSec=1s\n' >/run/systemd/system/$1.service.d/impatient.conf
		systemctl daemon-reload
		systemctl restart $1`, "sh", unit)
	before := d.mainPID(unit)
	d.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", unit)
	eventually(d.t, time.Minute, "a hung "+unit+" is started anew", func() (bool, string) {
		now, _ := d.try("systemctl", "show", "--property=MainPID,ExecMainStartTimestampMonotonic", unit)
		state, _ := d.try("systemctl", "is-active", unit)
		return now != before && state == "active\n", state + now + d.journal()
	})
	if restarts := d.run("systemctl", "show", "--property=NRestarts", unit); restarts != "NRestarts=1\n" {
		d.t.Errorf("%s after it hung: %s", unit, restarts)
	}
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}
