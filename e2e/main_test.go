//go:build e2e

// Package e2e tries a whole house with what a user has beside it: Debian's
// mosquitto and Home Assistant, as programs of their own.
//
// Run it as root with `go test -tags e2e ./e2e/`, after
// `apt-get install mosquitto mosquitto-clients iproute2 debootstrap avahi-daemon
// avahi-utils dbus`.
// Home Assistant is installed by the tests that need it (homeassistant/install).
//
// Home Assistant calls out by itself, so it runs with its broker and its house
// in a network namespace that has only a loopback. The test stays outside: it
// starts programs in the namespace and dials into it.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(mdnsTask); task != "" {
		os.Exit(doMDNS(task, os.Args[1:]))
	}
	if as := os.Getenv(part); as != "" {
		fmt.Fprintln(os.Stderr, play(as))
		os.Exit(1)
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: network namespaces need root: run the tests as root")
		os.Exit(1)
	}
	for _, program := range []string{"mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_passwd", "ip", "nsenter", "debootstrap",
		"avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: no %s: run apt-get install mosquitto mosquitto-clients iproute2 util-linux debootstrap avahi-daemon avahi-utils dbus\n", program)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// eventually waits until done says so, and ends the test with what it said last
// when it takes longer than the limit.
func eventually(t testing.TB, limit time.Duration, what string, done func() (bool, string)) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ok, said := done()
		if ok {
			return
		}
		last = said
	}
	t.Fatalf("%s: not within %v; last: %s", what, limit, last)
}
