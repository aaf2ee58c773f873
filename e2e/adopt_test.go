//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// bridgeUnit has a unit that runs without the house.
const bridgeUnit = `
cat >/etc/systemd/system/bridge.service <<'unit'
[Unit]
Description=A bridge to something
[Service]
ExecStart=/bin/sh -c 'echo the bridge is up; exec sleep 4711'
unit
systemctl daemon-reload
systemctl start bridge`

// TestAUnitIsAdopted has a real systemd's unit observed, run by the house, and
// let go of. The unit is restarted by nobody who was not asked to.
func TestAUnitIsAdopted(t *testing.T) {
	t.Parallel()
	pi := newPi(t)
	pi.boot()
	pi.install(firstVersion, "dominion", "dominion-domain")
	t.Log(pi.run("dominion", "init", "--yes", "--name", "Home"))
	pi.serves("dominion", "leads the house")
	pi.run("sh", "-ec", bridgeUnit)

	if said := pi.run("domain", "adopt", "--list"); !regexp.MustCompile(`(?m)^systemd  bridge\.service +up +-$`).MatchString(said) {
		t.Errorf("it is not in the list, or the list has what is the system's:\n%s", said)
	} else {
		t.Log(said)
	}
	t.Log(pi.run("domain", "adopt", "bridge.service"))
	code := regexp.MustCompile(`domain join (\S+)`).FindStringSubmatch(pi.run("dominion", "invite"))
	if code == nil {
		t.Fatal("invite gives no code")
	}
	pi.run("domain", "join", code[1], "--leader", "127.0.0.1", "--no-run")
	// Not the package's unit: that runs as a user who may not start units.
	agent := start(t, pi.command("domain"))

	pi.shows(`bridge +ready .*observed`)
	pi.run("systemctl", "kill", "--signal=KILL", "bridge")
	pi.shows(`bridge +failing`)
	why, _ := pi.try("dominion", "why", "bridge")
	for _, want := range []string{"ended by SIGKILL", "the bridge is up", "journalctl -n 50 -u bridge.service"} {
		if !strings.Contains(strings.Join(strings.Fields(why), " "), want) {
			t.Errorf("why does not say %q:\n%s", want, why)
		}
	}
	if said, err := pi.try("dominion", "start", "bridge"); err == nil || !strings.Contains(said, "only observed") {
		t.Errorf("start of what is only observed: %v\n%s", err, said)
	}
	pi.run("systemctl", "start", "bridge")
	pi.shows(`bridge +ready .*observed`)

	// The house takes it over as it runs.
	pid := pi.mainPID("bridge")
	t.Log(pi.run("domain", "adopt", "bridge", "--own"))
	t.Log(pi.run("dominion", "add", "/usr/local/dominion/services/bridge", "--yes"))
	pi.shows(`bridge +ready .*required`)
	if now := pi.mainPID("bridge"); now != pid {
		t.Errorf("taking it over restarted it: %s, was %s", now, pid)
	}
	pi.run("dominion", "stop", "bridge")
	pi.is("bridge", "inactive")
	pi.run("dominion", "start", "bridge")
	pi.shows(`bridge +ready`)
	pi.is("bridge", "active")

	// It outlives its agent, and the next one has it.
	pid = pi.mainPID("bridge")
	agent.kill()
	agent = start(t, pi.command("domain"))
	pi.shows(`bridge +ready`)
	if now := pi.mainPID("bridge"); now != pid {
		t.Errorf("the agent's death or the next agent restarted it: %s, was %s", now, pid)
	}
	pi.run("systemctl", "kill", "--signal=KILL", "bridge")
	eventually(t, time.Minute, "it is started again", func() (bool, string) {
		now, _ := pi.try("systemctl", "show", "--property=MainPID,ExecMainStartTimestampMonotonic", "bridge")
		state, _ := pi.try("systemctl", "is-active", "bridge")
		return now != pid && state == "active\n", now + tail(agent.output, 20)
	})

	pid = pi.mainPID("bridge")
	t.Log(pi.run("domain", "adopt", "--undo", "bridge"))
	pi.shows(`bridge +(failing|waiting|starting)`)
	if now := pi.mainPID("bridge"); now != pid {
		t.Errorf("letting go of it restarted it: %s, was %s", now, pid)
	}
	agent.kill()
	pi.is("bridge", "active")
}

// shows waits until the house's screen has a line.
func (d *debian) shows(line string) {
	d.t.Helper()
	want := regexp.MustCompile(line)
	eventually(d.t, 90*time.Second, "status shows "+line, func() (bool, string) {
		said, _ := d.try("dominion", "status")
		return want.MatchString(said), said + d.journal()
	})
}

// is waits until a unit has a state.
func (d *debian) is(unit, state string) {
	d.t.Helper()
	eventually(d.t, time.Minute, unit+" is "+state, func() (bool, string) {
		now, _ := d.try("systemctl", "is-active", unit)
		return now == state+"\n", now
	})
}
