//go:build e2e

package client_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// installed starts a mosquitto of its own for each test, which keeps what is
// retained in memory only.
func installed() func(*testing.T) *testBroker {
	return func(t *testing.T) *testBroker {
		path, err := exec.LookPath("mosquitto")
		if err != nil {
			t.Skip("mosquitto is not installed (apt-get install mosquitto)")
		}
		m := &mosquitto{t: t, path: path, addr: freeAddress(t)}
		m.start()
		t.Cleanup(m.kill)
		return &testBroker{url: "mqtt://" + m.addr, dial: m.dial, kill: m.kill, back: m.start}
	}
}

type mosquitto struct {
	t          *testing.T
	path, addr string
	cmd        *exec.Cmd
}

func (m *mosquitto) start() {
	host, port, _ := net.SplitHostPort(m.addr)
	conf := filepath.Join(m.t.TempDir(), "mosquitto.conf")
	settings := fmt.Sprintf("listener %s %s\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nuser root\n", port, host)
	if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.cmd = exec.Command(m.path, "-c", conf)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", m.addr); err == nil {
			conn.Close()
			return
		}
	}
	m.t.Fatal("mosquitto does not listen")
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
		m.cmd = nil
	}
}

func (m *mosquitto) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", m.addr)
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
