package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"dominion/cmd/program"
	"dominion/topics"
)

// A house that lost who belongs to it leads on, and says so.
func TestAnIdentityThatIsGoneIsAnAlert(t *testing.T) {
	dir := t.TempDir()
	open := func() map[string]topics.Alert {
		t.Helper()
		l := &leader{config: defaults(), log: zerolog.Nop(), data: &program.Data{Path: dir}}
		alerts := map[string]topics.Alert{}
		if err := l.openGate(alerts); err != nil {
			t.Fatal(err)
		}
		return alerts
	}
	if alerts := open(); len(alerts) > 0 {
		t.Errorf("a new house: %v", alerts)
	}
	if err := os.WriteFile(filepath.Join(dir, "coordinator.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if alerts := open(); len(alerts) > 0 {
		t.Errorf("the second start: %v", alerts)
	}
	if err := os.RemoveAll(filepath.Join(dir, identityDir)); err != nil {
		t.Fatal(err)
	}
	if alerts := open(); !strings.Contains(alerts["identity-new"].Text, "join again") {
		t.Errorf("without its identity: %v", alerts)
	}
}
