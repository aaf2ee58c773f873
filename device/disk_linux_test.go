package device_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dominion/topics"
)

// smallDisk is a disk of its own for a test, that can be filled. The test is
// run in a mount namespace, so that nothing is left of it.
type smallDisk struct {
	*testing.T
	path string
}

// diskEnv tells the test's own program that it is in that namespace.
const diskEnv = "DEVICE_TEST_DISK"

// onASmallDisk runs the test that calls it again where it has a small disk, and
// returns that there; the caller is done when it returns nil.
func onASmallDisk(t *testing.T) *smallDisk {
	t.Helper()
	if os.Getenv(diskEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), diskEnv+"=here")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		switch {
		case errors.Is(err, fs.ErrPermission) || strings.Contains(string(out), "--- SKIP"):
			t.Skipf("this machine gives its tests no disk: %v %s", err, out)
		case err != nil:
			t.Errorf("%v:\n%s", err, out)
		}
		return nil
	}
	d := &smallDisk{t, t.TempDir()}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skip(err)
	}
	if err := unix.Mount("disk", d.path, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.path, unix.MNT_DETACH) })
	return d
}

// fill leaves no byte on it, and takes what becomes free until it is emptied.
func (d *smallDisk) fill() (empty func()) {
	d.Helper()
	f, err := os.Create(filepath.Join(d.path, "filling"))
	if err != nil {
		d.Fatal(err)
	}
	d.take(f)
	stop, taking := make(chan struct{}), sync.WaitGroup{}
	taking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				d.take(f)
			}
		}
	})
	return sync.OnceFunc(func() {
		close(stop)
		taking.Wait()
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			d.Error(err)
		}
	})
}

// take writes until there is no room for a byte.
func (d *smallDisk) take(f *os.File) {
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			d.Error(err)
			return
		}
	}
}

// TestReadinessIsStoredOnceThereIsRoom holds that a service which said that it
// is ready while the disk was full need not say so again.
func TestReadinessIsStoredOnceThereIsRoom(t *testing.T) {
	disk := onASmallDisk(t)
	if disk == nil {
		return
	}
	h := newHome(t, map[string]string{"lamp": plays("notifier")})
	h.cfg.DataDir = filepath.Join(disk.path, "data")
	h.begin()
	h.connect()
	want := one("lamp", topics.Wanted{Run: true, Rev: "1", Ready: &topics.Readiness{By: topics.ReadyNotify, Timeout: 3}})
	h.want(want)
	h.eventually("it is started", func() bool { return h.state("lamp").PID != 0 })
	empty := disk.fill()
	t.Cleanup(func() { empty() })
	h.write("lamp/say", "READY=1")
	s := h.ready("lamp")
	empty()
	h.eventually("the ledger knows it", func() bool {
		raw, _ := os.ReadFile(filepath.Join(h.cfg.DataDir, "runs", "lamp.json"))
		return strings.Contains(string(raw), `"ready": true`)
	})
	h.finish(nil)
	h.begin()
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, h.gen, want)})
	if now := h.ready("lamp"); now.Start != s.Start {
		t.Errorf("state %+v, before %+v", now, s)
	}
}

// TestAOneshotThatEndsOnAFullDiskIsDone holds that it does not run again.
func TestAOneshotThatEndsOnAFullDiskIsDone(t *testing.T) {
	disk := onASmallDisk(t)
	if disk == nil {
		return
	}
	h := newHome(t, map[string]string{"once": "start:\n\t@echo $$START_ID >> starts; while [ ! -e end ]; do sleep 0.02; done\n"})
	h.cfg.DataDir = filepath.Join(disk.path, "data")
	h.begin()
	h.connect()
	want := one("once", topics.Wanted{Run: true, Rev: "1", Type: topics.Oneshot})
	h.want(want)
	h.eventually("it runs", func() bool { return len(h.starts("once")) == 1 })
	empty := disk.fill()
	t.Cleanup(func() { empty() })
	h.write("once/end", "")
	h.phase("once", topics.PhaseDone)
	empty()
	h.eventually("it is stored", func() bool {
		raw, _ := os.ReadFile(filepath.Join(h.cfg.DataDir, "ended.json"))
		return strings.Contains(string(raw), `"once"`)
	})
	h.finish(nil)
	h.begin()
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, h.gen, want)})
	h.phase("once", topics.PhaseDone)
	if n := len(h.starts("once")); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestAFullDiskIsNoEnd(t *testing.T) {
	disk := onASmallDisk(t)
	if disk == nil {
		return
	}
	h := newHome(t, map[string]string{"lamp": stays, "web": listens()})
	h.cfg.DataDir = filepath.Join(disk.path, "data")
	leftAlone := h.beside()
	wish := map[topics.Service]topics.Wanted{"beside": run("1"), "lamp": run("1"), "late": run("1")}
	h.want(wish)
	lamp := h.ready("lamp")

	// What cannot be stored is not done, and is when there is room.
	empty := disk.fill()
	t.Cleanup(func() { empty() })
	wish["web"] = topics.Wanted{Run: true, Ready: &topics.Readiness{By: topics.ReadyTCP}}
	h.want(wish)
	if f := h.fault(topics.ErrDesired, topics.FaultBad); !strings.Contains(f.Text, "cannot be stored") || !strings.Contains(f.Text, "no space left") || !strings.Contains(f.Next, "df -h") {
		t.Errorf("fault %+v", f)
	}
	if len(h.starts("web")) != 0 {
		t.Error("it is started, though the next agent would know nothing of it")
	}
	leftAlone()
	empty()
	h.acknowledged()
	h.ready("web")

	// A service that ends waits for room, and that is none of its failures; so
	// does one that has no port yet.
	empty = disk.fill()
	if err := syscall.Kill(lamp.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.write("late/Makefile", listens())
	for _, name := range []topics.Service{"lamp", "late"} {
		s := h.why(name, topics.DiskFull)
		if !strings.Contains(s.Why.Text, "no space left") || !strings.Contains(s.Why.Next, "df -h "+h.cfg.DataDir) || s.Phase != topics.PhaseBackoff {
			t.Errorf("%s: phase %s, why %+v", name, s.Phase, s.Why)
		}
	}
	leftAlone()

	// An agent that begins then takes over what runs, also when it has files to
	// write that the former one had not.
	h.finish(nil)
	if err := os.Remove(filepath.Join(h.cfg.DataDir, "runs", "shell")); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, h.gen, wish)})
	h.ready("web")
	h.why("lamp", topics.DiskFull)
	leftAlone()
	empty()
	if s := h.ready("lamp"); s.Start == lamp.Start {
		t.Errorf("state %+v", s)
	}
	port := h.ready("late").Port
	h.finish(nil)
	h.begin()
	h.connect(topics.Message{Topic: space.DesiredServices(attic), Payload: document(1, h.gen, wish)})
	if s := h.ready("late"); s.Port != port || len(h.starts("late")) != 1 || len(h.starts("lamp")) != 2 || len(h.starts("web")) != 1 {
		t.Errorf("state %+v; starts %v, %v, %v", s, h.starts("late"), h.starts("lamp"), h.starts("web"))
	}
	leftAlone()
}
