package identity_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dominion/identity"
)

func TestAHouseIsTheSameWhenItIsOpenedAgain(t *testing.T) {
	h, dir := create(t, "Haus am See")
	again, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Name() != "Haus am See" || again.Fingerprint() != h.Fingerprint() || !bytes.Equal(again.AuthorityPEM(), h.AuthorityPEM()) {
		t.Errorf("opened again: %q, %s", again.Name(), again.Fingerprint())
	}
	if !regexp.MustCompile(`^[0-9a-f]{4}( [0-9a-f]{4}){3}$`).MatchString(h.Fingerprint()) {
		t.Errorf("fingerprint %q", h.Fingerprint())
	}
}

func TestTheAuthorityIsWhatToolsExpect(t *testing.T) {
	h, _ := create(t, "Home")
	c := certificate(t, h.AuthorityPEM())
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.Subject.CommonName != "Dominion house Home" || len(c.SubjectKeyId) == 0 {
		t.Errorf("CA %v, path %d, name %q, key id %x", c.IsCA, c.MaxPathLen, c.Subject.CommonName, c.SubjectKeyId)
	}
	if time.Until(c.NotAfter) < years(40) {
		t.Errorf("it ends at %v", c.NotAfter)
	}
}

func TestSecretsAreTheOwnersOnly(t *testing.T) {
	h, dir := create(t, "Home")
	admit(t, h, "attic", "machine-1")
	if err := h.SetUser("ann", "operator", "correct horse"); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHouseIsNeverOverwritten(t *testing.T) {
	_, dir := create(t, "Home")
	before := contents(t, dir)
	if _, err := identity.Create(dir, "Other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	// What is damaged is never taken for nothing.
	for name := range before {
		hidden := filepath.Join(dir, name)
		if err := os.Rename(hidden, hidden+".away"); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.Create(dir, "Other"); err == nil {
			t.Errorf("Create made a house where only %s was missing", name)
		}
		if err := os.Rename(hidden+".away", hidden); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range contents(t, dir) {
		if before[name] != content {
			t.Errorf("%s has changed", name)
		}
	}
}

func TestNoHouseIsNotADamagedOne(t *testing.T) {
	if _, err := identity.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := identity.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	_, dir := create(t, "Home")
	for _, name := range []string{"authority.key", "authority.crt", "ledger.json", "users.json"} {
		hidden := filepath.Join(dir, name)
		if err := os.Rename(hidden, hidden+".away"); err != nil {
			t.Fatal(err)
		}
		_, err := identity.Open(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), hidden) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.Rename(hidden+".away", hidden); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEmptyDirectoryMayBecomeAHouse(t *testing.T) {
	dir := t.TempDir()
	if _, err := identity.Create(dir, "Home"); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Open(dir); err != nil {
		t.Error(err)
	}
}

func TestEachKindOfDamageIsNamedAndKept(t *testing.T) {
	other, otherDir := create(t, "Other")
	_ = other
	foreignKey, err := os.ReadFile(filepath.Join(otherDir, "authority.key"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		file, content string
	}{
		{"authority.crt", ""}, {"authority.crt", "nonsense"}, {"authority.crt", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"},
		{"authority.key", ""}, {"authority.key", "nonsense"}, {"authority.key", string(foreignKey)},
		{"ledger.json", ""}, {"ledger.json", "[]"}, {"ledger.json", `{"nodes":{"attic":{}}}`}, {"ledger.json", strings.Repeat(" ", 64<<20)},
		{"users.json", ""}, {"users.json", "null"}, {"users.json", `{"users":{"a.b":{}}}`}, {"users.json", `{"users":{"ann":{"role":"operator","password":"$7$x"}}}`},
	}
	for _, tt := range tests {
		_, dir := create(t, "Home")
		path := filepath.Join(dir, tt.file)
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := identity.Open(dir)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s with %.40q: %v", tt.file, tt.content, err)
		}
		if _, err := identity.Create(dir, "Home"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create over a damaged %s: %v", tt.file, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != tt.content {
			t.Errorf("%s was changed: %v", tt.file, err)
		}
	}
}

func TestManyMayCreateAtOnceAndOneDoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := identity.Create(dir, "Home")
			results <- err
		}()
	}
	made := 0
	for range 8 {
		switch err := <-results; {
		case err == nil:
			made++
		case !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d houses were made", made)
	}
	if _, err := identity.Open(dir); err != nil {
		t.Error(err)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > 0 { // not a lock
			all[entry.Name()] = string(content)
		}
	}
	return all
}
