package identity_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dominion/identity"
	"dominion/topics"
)

// smallDisk is where this test's second process has mounted a disk of some
// pages; it is empty in the first.
const smallDisk = "IDENTITY_TEST_SMALL_DISK"

// TestAFullDiskLeavesNothingHalfDone runs itself again in a mount namespace of
// its own, where a full disk is a small tmpfs.
func TestAFullDiskLeavesNothingHalfDone(t *testing.T) {
	if disk := os.Getenv(smallDisk); disk != "" {
		onAFullDisk(t, disk)
		return
	}
	disk := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+disk)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no namespaces here: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

func onAFullDisk(t *testing.T, disk string) {
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("no small disk here: %v", err)
	}
	dir, member := filepath.Join(disk, "identity"), filepath.Join(disk, "member")
	// Create, with the disk full at each of its pages in turn.
	for free := 0; ; free++ {
		remove := fill(t, disk, free)
		_, err := identity.Create(dir, "Home")
		if err == nil {
			remove()
			break
		}
		says(t, err, dir)
		if _, err := identity.Open(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("with %d pages free: what is left is a house, or %v", free, err)
		}
		if left, _ := filepath.Glob(dir + "*"); len(left) != 0 {
			t.Errorf("with %d pages free: left over: %v", free, left)
		}
		remove()
		if free > 16 {
			t.Fatal("the disk is never large enough")
		}
	}
	h, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := admit(t, h, "attic", "machine-1")
	if err := m.Save(member); err != nil {
		t.Fatal(err)
	}
	before, key := contents(t, dir), m.Key
	defer fill(t, disk, 0)()

	says(t, h.SetUser("ann", topics.RoleOperator, "correct horse"), dir)
	says(t, h.Forget("attic"), dir)
	_, err = h.Admit("cellar", "machine-2", request(t, key, "cellar"))
	says(t, err, dir)
	_, err = h.Admit("attic", "machine-1", request(t, key, "attic"))
	says(t, err, dir)
	if _, err := h.Certificate(certificate(t, m.Certificate)); err != nil {
		t.Errorf("a machine that was in: %v", err)
	}
	for name, content := range contents(t, dir) {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
	later := *m
	later.Broker = "mqtts://10.0.0.9:8883"
	says(t, later.Save(member), member)
	if got, err := identity.LoadMembership(member); err != nil || got.Broker != m.Broker {
		t.Errorf("the membership after that: %+v, %v", got, err)
	}
	// The leader serves, though it cannot keep its new certificate.
	account, err := h.Certificate(shake(t, h.TLS(named("pi1")), memberTLS(t, m)).shown(t))
	if err != nil || account.Name != "node attic" {
		t.Errorf("with a full disk: %+v, %v", account, err)
	}
}

// says tells whether an error is that of a full disk, and where that is.
func says(t *testing.T, err error, where string) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "full") {
		t.Errorf("on a full disk: %v", err)
	}
}

// fill leaves some pages of a disk free, until remove is called.
func fill(t *testing.T, disk string, free int) (remove func()) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, pages := make([]byte, os.Getpagesize()), 0
	for err == nil {
		_, err = f.Write(page)
		pages++
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(max(0, pages-1-free) * len(page))); err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(path) }
}

func TestWhatRootWritesIsTheOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("for root")
	}
	const leader = 12345
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, leader, leader); err != nil {
		t.Skipf("may not give away: %v", err)
	}
	dir := filepath.Join(data, "identity")
	h, err := identity.Create(dir, "Home")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	shake(t, h.TLS(named("pi1")), memberTLS(t, admit(t, h, "attic", "machine-1")))
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != leader {
			t.Errorf("%s is of user %d", path, owner)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestALinkInPlaceOfTheLockIsNotFollowed(t *testing.T) {
	for _, there := range []bool{true, false} {
		h, dir := create(t, "Home")
		target := filepath.Join(t.TempDir(), "precious")
		if there {
			if err := os.WriteFile(target, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(target, filepath.Join(dir, "lock")); err != nil {
			t.Fatal(err)
		}
		if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err == nil {
			t.Errorf("a link was taken for the lock (its target exists: %v)", there)
		}
		if _, err := os.Lstat(target); (err == nil) != there {
			t.Errorf("the link's target: %v", err)
		}
	}
}

func TestAListThatLooksTheSameIsReadAgain(t *testing.T) {
	h, dir := create(t, "Home")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	h.Users()
	path := filepath.Join(dir, "users.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other") // as long, and as old
	if err := os.WriteFile(other, []byte(strings.ReplaceAll(string(content), `"ann"`, `"bob"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if got := h.Users(); len(got) != 1 || got[0].Name != "bob" {
		t.Errorf("users: %+v", got)
	}
}
