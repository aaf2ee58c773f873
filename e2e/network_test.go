//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// network is where programs run and connect: the machine's own network, or a
// network namespace whose loopback is all it has.
type network struct {
	pid int // of the process that holds the namespace, 0 for the machine's own
}

// newNamespace makes a network namespace that lasts as long as the test.
func newNamespace(t testing.TB) network {
	t.Helper()
	return holdNamespace(t, []string{"--net"}, "")
}

// holdNamespace makes namespaces of the kinds that unshare has options for, and
// prepares them with a script. They have no name, only a process that holds
// them: nothing is left if the test is killed.
func holdNamespace(t testing.TB, kinds []string, prepare string, args ...string) network {
	t.Helper()
	script := "ip link set lo up\n" + prepare + "\necho up\nexec sleep infinity"
	cmd := exec.Command("unshare", append(append(kinds, "sh", "-ec", script, "sh"), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("make a network namespace: %v %q", err, line)
	}
	return network{pid: cmd.Process.Pid}
}

// command prepares a program that will run in the network. Its pid is the
// program's own: what enters the namespace becomes the program.
func (n network) command(name string, args ...string) *exec.Cmd {
	if n.pid == 0 {
		return exec.Command(name, args...)
	}
	return exec.Command("nsenter", append([]string{"--net=" + n.path(), "--", name}, args...)...)
}

// dial connects from inside the network. The address must be a literal one.
func (n network) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	var dialer net.Dialer
	if n.pid == 0 {
		return dialer.DialContext(ctx, proto, address)
	}
	inside, err := os.Open(n.path())
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	// A socket belongs to the namespace its thread was in when it was made. The
	// thread must come back and live on: when it ends, the kernel kills the
	// programs it started.
	runtime.LockOSThread()
	outside, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer outside.Close()
	if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter %s: %w", n.path(), err)
	}
	conn, dialErr := dialer.DialContext(ctx, proto, address)
	if err := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("leave %s: %v", n.path(), err))
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

func (n network) path() string {
	return fmt.Sprintf("/proc/%d/ns/net", n.pid)
}

// freePort returns a loopback port of the machine that nobody uses.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
