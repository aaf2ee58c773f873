package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestIsSmall holds that the agent fits the smallest machines. What makes it
// jump by a fourth is text/template, or anything else that finds methods by
// their names: then the linker keeps every exported method of every type.
func TestIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	const most = 12 << 20
	path := filepath.Join(t.TempDir(), "domain")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("the program has %d bytes, %d is the most", info.Size(), most)
	}
}
