package unit_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/program/unit"
)

// update writes the golden files: go test ./cmd/program/unit -update
var update = flag.Bool("update", false, "write the golden files")

func TestRender(t *testing.T) {
	both := unit.Leader()
	both.Runs = true
	elsewhere := unit.Leader()
	elsewhere.Config, elsewhere.Writes = "/srv/house/dominion.toml", []string{"/srv/house/data"}
	tests := []struct {
		golden  string
		part    unit.Part
		user    string
		command []string
	}{
		{"leader.golden", unit.Leader(), unit.Leader().Name, []string{"/usr/bin/dominion"}},
		{"leader_with_agent.golden", both, unit.Leader().Name, []string{"/usr/bin/dominion"}},
		{"leader_elsewhere.golden", elsewhere, unit.Leader().Name, []string{"/usr/local/bin/dominion"}},
		{"agent.golden", unit.Agent(), unit.Agent().Name, []string{"/usr/bin/domain"}},
		{"agent_of_dominion.golden", unit.Agent(), "pi", []string{"/usr/local/bin/dominion", "domain"}},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			got := tt.part.Render(tt.user, tt.command...)
			path := filepath.Join("testdata", tt.golden)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("read the difference, then go test -update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderQuotesTheCommand(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/domain":      "/usr/bin/domain",
		"/opt/my house/domain": `"/opt/my house/domain"`,
		"/opt/100%/$HOME/x":    "/opt/100%%/$$HOME/x",
		`/opt/a"b\c`:           `"/opt/a\"b\\c"`,
		"/opt/two\nlines":      `"/opt/two\nlines"`,
	} {
		if got := unit.Agent().Render("dominion-domain", path); !strings.Contains(got, "\nExecStart="+want+"\n") {
			t.Errorf("%s is not written as %s:\n%s", path, want, got)
		}
	}
}

// TestSystemdTakesTheUnits holds that systemd knows every line of them.
func TestSystemdTakesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	dir := t.TempDir()
	for _, part := range []unit.Part{unit.Leader(), {Name: "both", Leads: true, Runs: true, Config: "/x", State: "x"}, unit.Agent()} {
		path := filepath.Join(dir, part.File())
		if err := os.WriteFile(path, []byte(part.Render("root", "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), dir) {
			t.Errorf("%s: %v\n%s", part.File(), err, out)
		}
	}
}
