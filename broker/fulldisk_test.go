package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker"
)

// smallDisk says to a process that it is in a mount namespace of its own.
const smallDisk = "BROKER_TEST_SMALL_DISK"

// onSmallDisk runs a test on a disk of so many bytes: a file system in memory,
// in a process with a mount namespace of its own.
func onSmallDisk(t *testing.T, size int, do func(t *testing.T, disk string)) {
	t.Helper()
	if os.Getenv(smallDisk) != "" {
		disk := t.TempDir()
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("none", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
		do(t, disk)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), smallDisk+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOSPC):
		t.Skipf("no namespace of its own here: %v", err)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Fatalf("%v\n%s", err, out)
	}
}

// ballast leaves so many bytes of a disk free, and returns what frees the rest.
func ballast(t *testing.T, disk string, left int64) (free func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n, err := io.Copy(file, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk takes %d bytes: %v", n, err)
	}
	if err := file.Truncate(max(0, n-left)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(file.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestAFullDisk(t *testing.T) {
	onSmallDisk(t, 4<<20, func(t *testing.T, disk string) {
		told := make(chan error, 10)
		data := filepath.Join(disk, "data")
		s, stop := startAndStop(t, func(o *broker.Options) { in(data)(o); o.StoreTrouble = func(err error) { told <- err } })
		p := join(t, dial(t, s), "attic", nil)
		want := map[string]string{}
		publish := func(topic, payload string) {
			p.publish(topic, payload, 1, true)
			want[topic] = payload
		}
		for i := range 100 {
			publish(fmt.Sprintf("devices/%d", i), "before")
		}
		eventually(t, "all is on the disk", func() bool { return s.Store().Waiting == 0 })
		free := ballast(t, disk, 0)
		for i := range 200 {
			publish(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 1000))
		}
		err := <-told
		var e *broker.StoreError
		if !errors.As(err, &e) || !e.Full || !errors.Is(err, syscall.ENOSPC) || e.Waiting == 0 || e.Need < 200<<10 || e.Need > 4<<20 {
			t.Errorf("told %#v", err)
		}
		if f := s.Store(); f.Trouble == "" || f.Waiting == 0 {
			t.Errorf("%+v", f)
		}
		publish("devices/late", "it")
		if diff := cmp.Diff(want, retained(t, s, "#")); diff != "" {
			t.Errorf("while the disk is full (-want +got):\n%s", diff)
		}
		free()
		for err := range told { // more came to wait, until it ends
			if err == nil {
				break
			}
			if !errors.As(err, &e) || e.Waiting <= 1 {
				t.Errorf("told %#v", err)
			}
		}
		if f := s.Store(); f.Trouble != "" || f.Waiting != 0 {
			t.Errorf("%+v", f)
		}
		stop()
		next := openBare(t, data)
		defer next.Close()
		if diff := cmp.Diff(want, next.Kept); diff != "" || next.Moved != "" {
			t.Errorf("afterwards (moved %q; -want +got):\n%s", next.Moved, diff)
		}
	})
}

func TestADiskThatIsFullAtTheStart(t *testing.T) {
	onSmallDisk(t, 1<<20, func(t *testing.T, disk string) {
		for _, there := range []string{"nothing", "a damaged file"} {
			data := filepath.Join(disk, there)
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			if there != "nothing" {
				if err := os.WriteFile(filepath.Join(data, "retained.db"), []byte("text"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			free := ballast(t, disk, 0)
			told := make(chan error, 10)
			s, stop := startAndStop(t, func(o *broker.Options) { in(data)(o); o.StoreTrouble = func(err error) { told <- err } })
			if err := <-told; !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: told %v", there, err)
			}
			join(t, dial(t, s), "attic", nil).publish("devices/1", "it", 1, true)
			free()
			for <-told != nil { // more came to wait, until it ends
			}
			stop()
			next := openBare(t, data)
			if diff := cmp.Diff(map[string]string{"devices/1": "it"}, next.Kept); diff != "" || next.Moved != "" {
				t.Errorf("%s: afterwards (moved %q; -want +got):\n%s", there, next.Moved, diff)
			}
			if err := next.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The disk becomes full at any moment of a transaction, again and again: the
// file always has what was flushed last, and takes the rest when there is room.
func TestADiskThatBecomesFullOverAndOver(t *testing.T) {
	onSmallDisk(t, 3<<20, func(t *testing.T, disk string) {
		random := rand.New(rand.NewPCG(3, 4))
		data := filepath.Join(disk, "data")
		s := openBare(t, data)
		failed := 0
		for round := range 50 {
			if round == 40 { // and while it is compacted
				s.CompactAlways()
			}
			flushed := maps.Clone(s.Kept)
			free := ballast(t, disk, int64(random.IntN(40<<10)))
			for range random.IntN(200) {
				topic := fmt.Sprintf("devices/%d", random.IntN(400))
				s.Put(topic, strings.Repeat(fmt.Sprint(round), random.IntN(3000)))
			}
			err := s.Turn()
			if err != nil {
				failed++
				if f := s.Figures(); !errors.Is(err, syscall.ENOSPC) || f.Waiting == 0 || f.Trouble == "" {
					t.Fatalf("round %d: %v; %+v", round, err, f)
				}
			} else {
				flushed = maps.Clone(s.Kept)
			}
			// What a power cut would leave now; it has no room here.
			file, readErr := os.ReadFile(filepath.Join(data, "retained.db"))
			if readErr != nil {
				t.Fatal(readErr)
			}
			if kept, moved := opened(t, file); moved != "" || !maps.Equal(kept, flushed) {
				t.Fatalf("round %d (%v): moved %q; -flushed +got\n%s", round, err, moved, cmp.Diff(flushed, kept))
			}
			free()
			turn(t, s)
		}
		if failed < 5 {
			t.Errorf("the disk was full %d times: this tests nothing", failed)
		}
		t.Logf("the disk was full %d times", failed)
	})
}

// Errors of the disk that bbolt is not sound after: the file is not trusted any
// more, and another takes its place at once.
func TestAFileThatCannotBeWrittenIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log lockedBuffer
	told := make(chan error, 10)
	s, stop := startAndStop(t, func(o *broker.Options) {
		in(dir)(o)
		o.Log = zerolog.New(&log)
		o.StoreTrouble = func(err error) { told <- err }
	})
	p := join(t, dial(t, s), "attic", nil)
	want := map[string]string{}
	for round := range 3 {
		for i := range 50 {
			want[fmt.Sprintf("devices/%d", i)] = fmt.Sprint(round)
			p.publish(fmt.Sprintf("devices/%d", i), fmt.Sprint(round), 1, true)
		}
		eventually(t, "all is on the disk", func() bool { return s.Store().Waiting == 0 })
		if err := s.BreakStore(); err != nil {
			t.Fatal(err)
		}
	}
	want["devices/late"] = "it"
	p.publish("devices/late", "it", 1, true)
	stop()
	if n := strings.Count(log.String(), "not trusted"); n != 3 || len(told) > 0 {
		t.Errorf("it was said %d times that a file is not trusted, want 3; %d alerts\n%s", n, len(told), log.String())
	}
	next := openBare(t, dir)
	defer next.Close()
	if diff := cmp.Diff(want, next.Kept); diff != "" || next.Moved != "" {
		t.Errorf("afterwards (moved %q; -want +got):\n%s", next.Moved, diff)
	}
	onlyTheStore(t, dir)
}
