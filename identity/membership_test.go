package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/identity"
)

func TestAMembershipIsKept(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	dir := t.TempDir()
	if _, err := identity.LoadMembership(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it joined: %v", err)
	}
	for range 2 {
		if err := m.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := identity.LoadMembership(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("saved, and loaded (-want +got):\n%s", diff)
	}
	for name, mode := range map[string]fs.FileMode{"membership.json": 0o600, "house.crt": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
	if house, err := os.ReadFile(filepath.Join(dir, "house.crt")); err != nil || !bytes.Equal(house, h.AuthorityPEM()) {
		t.Errorf("house.crt: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("in its directory: %v, %v", entries, err)
	}
}

func TestADamagedMembershipIsNamed(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	whole, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "null", "{}", "[]", string(whole[:len(whole)/2]), strings.Repeat(" ", 64<<20)} {
		dir := t.TempDir()
		path := filepath.Join(dir, "membership.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := identity.LoadMembership(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "domain join") {
			t.Errorf("%.20q: %+v, %v", content, got, err)
		}
	}
}

func TestNoBytesOfAMembershipPanic(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	for _, spoil := range []func(*identity.Membership){
		func(m *identity.Membership) { m.Key = nil },
		func(m *identity.Membership) { m.Key = m.Certificate },
		func(m *identity.Membership) { m.Authority = nil },
		func(m *identity.Membership) { m.Authority = m.Key },
		func(m *identity.Membership) {
			m.Certificate = []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
		},
		func(m *identity.Membership) { m.Authority = m.Certificate },
	} {
		spoilt := *m
		spoil(&spoilt)
		if _, err := spoilt.TLS(); err == nil {
			t.Errorf("a spoilt membership is taken: %.80q", spoilt.Authority)
		}
	}
}

func FuzzMembership(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"Node":"attic","Authority":"LS0t","Certificate":"","Key":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "membership.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := identity.LoadMembership(dir)
		if err == nil {
			_, err = m.TLS()
		}
		if err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
	})
}

func FuzzHouse(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "identity")
	if _, err := identity.Create(dir, "Home"); err != nil {
		f.Fatal(err)
	}
	whole := map[string][]byte{}
	files := []string{"authority.crt", "authority.key", "ledger.json", "users.json"}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.Fatal(err)
		}
		whole[name] = content
	}
	f.Add(0, []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add(2, []byte(`{"nodes":{"attic":{"key":"","secret":""}}}`))
	f.Add(3, []byte(`{"users":{"ann":{"role":"operator","password":"$7$1$AAAA$AAAA"}}}`))
	f.Add(3, []byte(`{"users":{"ann":{"role":"operator","password":"$7$99999999$$"}}}`))
	f.Fuzz(func(t *testing.T, which int, content []byte) {
		dir := t.TempDir()
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(dir, name), whole[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		spoilt := files[uint(which)%uint(len(files))]
		if err := os.WriteFile(filepath.Join(dir, spoilt), content, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := identity.Open(dir)
		if err != nil {
			if !strings.Contains(err.Error(), spoilt) {
				t.Errorf("%s: %v", spoilt, err)
			}
			return
		}
		h.Nodes()
		h.Users()
	})
}
