package around_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dominion/cmd/domain/around"
	"dominion/device/outside"
)

// TestMain lets the test's own program be one that listens.
func TestMain(m *testing.M) {
	if os.Getenv("AROUND_TEST_LISTENS") == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test is over
}

// listens starts a process that listens, and tells its port.
func listens(t *testing.T, env ...string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "AROUND_TEST_LISTENS=1"), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestProcessesThatListenAreFound(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	one, two := listens(t), listens(t)
	service := listens(t, "START_ID=u4n8s2k7")
	name := filepath.Base(os.Args[0])
	things := around.All(t.Context()).Things
	at := slices.IndexFunc(things, func(f around.Thing) bool { return f.Kind == around.Process && f.Name == name })
	if at < 0 {
		t.Fatalf("no %s in %+v", name, things)
	}
	got := things[at]
	if !slices.Contains(got.Ports, one) || !slices.Contains(got.Ports, two) || got.State != outside.Up || got.Service != "" {
		t.Errorf("it listens on %d and %d: %+v", one, two, got)
	}
	if slices.Contains(got.Ports, service) {
		t.Errorf("a service of the house is offered: %+v", got)
	}
	found, err := around.Look(t.Context(), around.Process, name)
	if err != nil || found.State != outside.Up || len(found.Ports) != 1 {
		t.Errorf("looked at: %+v, %v", found, err)
	}
}
