//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lamps are the examples of microdomains, and what runs them.
func lamps(t *testing.T) map[string][]string {
	t.Helper()
	examples, err := filepath.Abs("../examples/microdomains")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]string{
		"shell":  {filepath.Join(examples, "shell", "lamp.sh")},
		"python": {pythonWithPaho(t), filepath.Join(examples, "python", "lamp.py")},
	}
}

// pythonWithPaho is a Python that has the MQTT client from PyPI, which is
// installed where it is not yet.
func pythonWithPaho(t *testing.T) string {
	t.Helper()
	const paho = "paho-mqtt==2.1.0"
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "dominion-e2e", paho)
	python := filepath.Join(dir, "bin", "python")
	if exec.Command(python, "-c", "import paho.mqtt.client").Run() == nil {
		return python
	}
	for _, args := range [][]string{{"python3", "-m", "venv", "--clear", dir}, {python, "-m", "pip", "install", "--quiet", paho}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return python
}

// TestExampleMicrodomainsAreVerified holds that dominion verify finds nothing
// wrong with the microdomains under examples.
func TestExampleMicrodomainsAreVerified(t *testing.T) {
	dominion := program(t, "dominion")
	for language, run := range lamps(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"verify", "--listen", "127.0.0.1:18830", "lamp-2", "--"}, append(run, "lamp-2")...)
			if language == "shell" {
				args = append(args, "-p", "18830")
			}
			out, err := newNamespace(t).command(dominion, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "lamp-2: all of ") || strings.Contains(string(out), "did not come to") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestAgentIsVerified holds the same of the agent, to whom everything is done
// that verify knows.
func TestAgentIsVerified(t *testing.T) {
	t.Parallel()
	out, err := newNamespace(t).command(program(t, "dominion"), "verify", "--listen", "127.0.0.1:0", "attic", "--",
		program(t, "domain"), "--name", "attic", "--data", t.TempDir(), "--services-dir", t.TempDir()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "attic: all of ") || strings.Contains(string(out), "did not come to") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestExampleMicrodomainsInTheDemo does what docs/services.md says: it starts
// each example beside `dominion demo`, which knows it from then on.
func TestExampleMicrodomainsInTheDemo(t *testing.T) {
	d := startDemo(t)
	dominion := func(args ...string) (string, error) {
		out, err := d.broker.network.command(program(t, "dominion"), args...).CombinedOutput()
		return string(out), err
	}
	for language, run := range lamps(t) {
		node := "lamp-" + language
		cmd := d.broker.network.command(run[0], append(run[1:], node)...)
		lamp := start(t, cmd)
		t.Cleanup(lamp.kill)
		d.bus.await(15*time.Second, node+" is judged online", func(m message) bool {
			return m.topic == "dominion/coordinator/state/domain/"+node && strings.Contains(m.payload, `"state":"online"`)
		})
		d.bus.await(15*time.Second, node+" is shown in Home Assistant", func(m message) bool {
			return strings.HasPrefix(m.topic, "homeassistant/device/") && strings.Contains(m.topic, node)
		})
		if out, err := dominion("ping", node); err != nil || out != "pong\n" {
			t.Errorf("dominion ping %s: %v\n%s", node, err, out)
		}
		if out, err := dominion("verify", node); err != nil || !strings.Contains(out, node+": all of ") {
			t.Errorf("dominion verify %s: %v\n%s", node, err, out)
		}
		d.broker.publish(t, "dominion/"+node+"/command/blink/host", "now")
		eventually(t, 10*time.Second, node+" blinks", func() (bool, string) {
			printed, err := os.ReadFile(lamp.output)
			return err == nil && strings.Contains(string(printed), "blink\n"), string(printed)
		})
		lamp.cmd.Process.Signal(syscall.SIGTERM)
		d.bus.await(10*time.Second, node+" says goodbye", func(m message) bool {
			return m.topic == "dominion/"+node+"/state/presence" && strings.Contains(m.payload, `"stopped"`)
		})
		lamp.awaitEnd(10 * time.Second)
	}
}
