package program_test

import (
	"errors"
	"path/filepath"
	"testing"

	"dominion/cmd/program"
)

// TestMachineID holds that who the machine is can be asked while an agent runs.
func TestMachineID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	id, err := program.MachineID(path)
	if err != nil || id == "" {
		t.Fatalf("id %q, %v", id, err)
	}
	data, err := program.OpenData(path)
	if err != nil || data.ID != id {
		t.Fatalf("the program has id %q, %v; want %q", data.ID, err, id)
	}
	defer data.Close()
	if again, err := program.MachineID(path); err != nil || again != id {
		t.Errorf("beside the program the id is %q, %v", again, err)
	}
	if _, err := program.OpenData(path); !errors.Is(err, program.ErrInUse) {
		t.Errorf("a second program: %v", err)
	}
}
