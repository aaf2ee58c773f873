//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// debian is a machine with a fresh Debian, in a network that has only a
// loopback. All that is written there is in memory and goes with the test.
type debian struct {
	network
	t    testing.TB
	root string // of its file system, as its namespace sees it
	init int    // the pid of its systemd, as the test sees it; 0: it has not been booted
}

// fresh makes of an unshared shell one that sees a Debian of its own: $1 is the
// Debian, $2 an empty directory, $3 what is to be seen in its /mnt.
const fresh = `
mount -t tmpfs debian "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" debian "$2/root"
hostname pi
cd "$2/root"
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
echo pi >etc/hostname
mount -t proc proc proc
mount -t sysfs -o ro sys sys
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
	touch dev/$device
	mount --bind /dev/$device dev/$device
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 run run
mount --bind "$3" mnt
`

// newDebian makes a machine that sees the directory in its /mnt.
func newDebian(t testing.TB, seen string) *debian {
	t.Helper()
	var said bytes.Buffer
	install := exec.Command("debian/install")
	install.Stderr = &said
	lower, err := install.Output()
	if err != nil {
		t.Fatalf("install Debian: %v\n%s", err, said.Bytes())
	}
	scratch := t.TempDir()
	kinds := []string{"--net", "--uts", "--mount", "--propagation", "private"}
	held := holdNamespace(t, kinds, fresh, strings.TrimSpace(string(lower)), scratch, seen)
	return &debian{network: held, t: t, root: filepath.Join(scratch, "root")}
}

// command prepares a program of the machine, as root types it there.
func (d *debian) command(name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(d.pid), "--net", "--uts", "--mount", "--", "chroot", d.root}
	if d.init != 0 {
		enter = []string{"--target", strconv.Itoa(d.init), "--net", "--uts", "--mount", "--pid", "--ipc", "--cgroup", "--root", "--wd=/", "--"}
	}
	cmd := exec.Command("nsenter", append(append(enter, name), args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// try runs a program of the machine, for two minutes at most, and returns what
// it printed.
func (d *debian) try(name string, args ...string) (string, error) {
	cmd := d.command(name, args...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		return "", err
	}
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	return printed.String(), err
}

// run is try for what must not fail.
func (d *debian) run(name string, args ...string) string {
	d.t.Helper()
	printed, err := d.try(name, args...)
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, printed, d.journal())
	}
	return printed
}

// journal is what the machine's units logged last.
func (d *debian) journal() string {
	if d.init == 0 {
		return ""
	}
	log, _ := d.try("journalctl", "--no-pager", "--lines=60", "--output=cat")
	return "the journal:\n" + log
}

// there tells whether the machine has a file.
func (d *debian) there(path string) bool {
	_, err := d.try("test", "-e", path)
	return err == nil
}

// boot starts the machine's systemd.
func (d *debian) boot() {
	d.t.Helper()
	const script = `
echo $$ >"$3/cgroup.procs"
exec nsenter --target "$1" --net --uts --mount -- \
	unshare --pid --fork --kill-child --mount --propagation private --ipc --cgroup sh -ec '
		mount -t proc proc "$1/proc"
		mount -t cgroup2 cgroup "$1/sys/fs/cgroup"
		exec env -i container=e2e PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /lib/systemd/systemd
	' sh "$2"
`
	group := newControlGroup(d.t)
	systemd := start(d.t, exec.Command("sh", "-ec", script, "sh", strconv.Itoa(d.pid), d.root, group))
	eventually(d.t, time.Minute, "systemd boots", func() (bool, string) {
		if !systemd.alive() {
			d.t.Fatalf("systemd ended:\n%s", tail(systemd.output, 40))
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", systemd.cmd.Process.Pid))
		if err != nil {
			return false, err.Error()
		}
		init, err := strconv.Atoi(strings.TrimSpace(string(children)))
		if err != nil {
			return false, "it has no pid yet"
		}
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", init)); string(name) != "systemd\n" {
			return false, "its pid is still a shell's"
		}
		d.init = init
		state, _ := d.try("systemctl", "is-system-running")
		return state == "running\n" || state == "degraded\n", state
	})
}

// newControlGroup makes a control group for as long as the test lasts. The test
// is skipped where there is none to be had: in most containers.
func newControlGroup(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(fields[1], "dominion-e2e-")
		if err != nil {
			t.Skipf("systemd cannot run here: %v", err)
		}
		t.Cleanup(func() { removeControlGroup(t, dir) })
		return dir
	}
	t.Skip("systemd cannot run here: no cgroup2 is mounted")
	return ""
}

// removeControlGroup removes a group with all below it, once their processes
// have ended.
func removeControlGroup(t testing.TB, dir string) {
	eventually(t, 20*time.Second, "its control groups go", func() (bool, string) {
		var groups []string
		filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append([]string{path}, groups...) // the deepest first
			}
			return nil
		})
		for _, group := range groups {
			os.Remove(group)
		}
		_, err := os.Stat(dir)
		return os.IsNotExist(err), dir
	})
}
