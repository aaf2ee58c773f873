package demo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dominion/cmd/dominion/demo"

	"github.com/google/go-cmp/cmp"
)

func TestSweepRemovesOnlyWhatNobodyHolds(t *testing.T) {
	parent := t.TempDir()
	left, err := demo.NewFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	left.Release() // as if its demo had been killed
	lives, err := demo.NewFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer lives.Release()
	made := filepath.Join(parent, "dominion-demo-made")     // a moment ago
	killed := filepath.Join(parent, "dominion-demo-killed") // an hour ago, before it had its lock
	strange := filepath.Join(parent, "strange")
	for _, path := range []string{made, killed, strange} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	for _, path := range []string{killed, strange} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(strange, filepath.Join(parent, "dominion-demo-link")); err != nil {
		t.Fatal(err)
	}
	demo.Sweep(parent)
	for path, want := range map[string]bool{left.Path(): false, lives.Path(): true, made: true, killed: false, strange: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

func TestNewFolderRefusesWhatCannotTravel(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "with a blank")
	if err := os.Mkdir(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := demo.NewFolder(parent)
	if err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// TestMakeStartsTheProgram runs make on a Makefile of the demo with a program
// whose path has what make and the shell would take for their own.
func TestMakeStartsTheProgram(t *testing.T) {
	needMake(t)
	f, err := demo.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	program := filepath.Join(t.TempDir(), `it's $(HOME) a "pro#gram" \`)
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Furnish(program, 1883); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ domain, service string }{
		{"attic", "webServer"}, {"attic", "lightOrchestrator"}, {"kitchen", "webServer"}, {"kitchen", "lightOrchestrator"}, {"porch", "npBar"},
	} {
		out, err := exec.Command("make", "-C", filepath.Join(f.Path(), tt.domain, "services", tt.service), "--no-print-directory", "start").CombinedOutput()
		if err != nil || string(out) != "demo-service "+tt.service+"\n" {
			t.Errorf("%v: %v, %s", tt, err, out)
		}
	}
}

func TestTheHouseIsNotSteeredByTheUsersOwn(t *testing.T) {
	got := demo.CleanEnvironment([]string{
		"PATH=/bin", "DOMINION_LISTEN=0.0.0.0:1883", "DOMAIN_NAME=x", "DOMINION_CONFIG_FILE=y", "MAKEFLAGS=-n", "MAKELEVEL=1",
		"NOTIFY_SOCKET=/run/x", "HOME=/root", "DOMINIONS=3",
	})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/root", "DOMINIONS=3"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
