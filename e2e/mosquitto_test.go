//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// mosquitto is Debian's mosquitto with a login, set up as docs would tell a user
// who lets the house live on it.
type mosquitto struct {
	broker
	t       testing.TB
	conf    string
	process *process
}

// settings of a mosquitto a house can live on. Without the autosaves a kill -9
// loses all retained messages, without set_tcp_nodelay each answer takes 40 ms
// longer. As root it would become the user mosquitto, who cannot write here.
const settings = `listener %d 127.0.0.1
allow_anonymous false
password_file %s
persistence true
persistence_location %s/
autosave_interval 1
autosave_on_changes true
set_tcp_nodelay true
user root
log_type error
log_type warning
log_type notice
`

// startMosquitto starts a mosquitto with the login house:s3cret on a free port.
func startMosquitto(t testing.TB, n network) *mosquitto {
	t.Helper()
	port := 1883
	if n.pid == 0 {
		port = freePort(t)
	}
	dir := t.TempDir()
	m := &mosquitto{
		broker: broker{network: n, port: port, username: "house", password: "s3cret"},
		t:      t,
		conf:   filepath.Join(dir, "mosquitto.conf"),
	}
	passwords := filepath.Join(dir, "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", passwords, m.username, m.password).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
	if err := os.WriteFile(m.conf, fmt.Appendf(nil, settings, m.port, passwords, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	return m
}

// start runs it, also again after kill, and returns once it accepts connections.
func (m *mosquitto) start() {
	m.t.Helper()
	m.process = start(m.t, m.network.command("mosquitto", "-c", m.conf))
	eventually(m.t, 10*time.Second, "mosquitto listens", m.answers)
}

// kill ends it as a power cut does.
func (m *mosquitto) kill() {
	m.process.kill()
}

func TestMosquitto(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, network{})

	t.Run("asks for the login", func(t *testing.T) {
		stranger := m.broker
		stranger.password = "wrong"
		cmd := stranger.network.command("mosquitto_pub", append(stranger.arguments(), "-t", "house/lamp", "-m", "on")...)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("it let a stranger in: %s", out)
		}
	})

	t.Run("keeps what is retained when it is killed", func(t *testing.T) {
		heard := m.subscribe(t, "house/#")
		m.publish(t, "house/lamp", "on", "-r")
		m.publish(t, "house/bell", "rings")
		heard.await(5*time.Second, "the bell", is("house/bell", "rings"))
		eventually(t, 5*time.Second, "it has written the lamp to disk", func() (bool, string) {
			file, err := os.ReadFile(filepath.Join(filepath.Dir(m.conf), "mosquitto.db"))
			return bytes.Contains(file, []byte("house/lamp")), fmt.Sprint(len(file), err)
		})
		m.kill()
		m.start()
		again := m.subscribe(t, "house/#")
		got := again.await(5*time.Second, "the lamp", func(m message) bool { return m.topic == "house/lamp" })
		if want := (message{retained: true, topic: "house/lamp", payload: "on"}); got != want {
			t.Errorf("after the restart: got %+v, want %+v", got, want)
		}
		if rung := again.on("house/bell"); len(rung) > 0 {
			t.Errorf("after the restart it still rings: %+v", rung)
		}
	})
}
