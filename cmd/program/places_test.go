package program_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
)

// TestLoadOwn holds which file is read: the one that is named, else this
// user's, and nobody's for a command that is not the file's program.
func TestLoadOwn(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write(".config/dominion/tool.toml", `name = "own"`)
	elsewhere := write("xdg/dominion/tool.toml", `name = "elsewhere"`)
	named, flagged := write("named.toml", `name = "named"`), write("flagged.toml", `name = "flagged"`)
	t.Setenv("HOME", home)

	tests := []struct {
		name       string
		xdg, env   string
		args       []string
		load       func(*cobra.Command, any, string, []program.Setting) (name, path string)
		want, file string
	}{
		{name: "takes this user's", load: loadOwn, want: "own", file: own},
		{name: "looks where the user's files are", xdg: filepath.Join(home, "xdg"), load: loadOwn, want: "elsewhere", file: elsewhere},
		{name: "takes the variable's before", env: named, load: loadOwn, want: "named", file: named},
		{name: "takes the flag's before", env: named, args: []string{"--config", flagged}, load: loadOwn, want: "flagged", file: flagged},
		{name: "takes none that is another program's", load: load},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_CONFIG_HOME", tt.xdg)
			t.Setenv("TOOL_CONFIG_FILE", tt.env)
			cmd := &cobra.Command{Use: "tool", RunE: func(cmd *cobra.Command, _ []string) error {
				var c struct {
					Name string `toml:"name"`
				}
				if name, path := tt.load(cmd, &c, "TOOL", nil); c.Name != tt.want || path != tt.file {
					t.Errorf("%s: read %q from %q, want %q from %q", name, c.Name, path, tt.want, tt.file)
				}
				return nil
			}}
			program.AddFlags(cmd, nil)
			cmd.SetArgs(append([]string{}, tt.args...))
			if err := cmd.Execute(); err != nil {
				t.Error(err)
			}
		})
	}
}

func loadOwn(cmd *cobra.Command, v any, prefix string, settings []program.Setting) (name, path string) {
	file, err := program.LoadOwn(cmd, v, prefix, settings)
	if err != nil {
		return err.Error(), ""
	}
	return "LoadOwn", file.Path()
}

func load(cmd *cobra.Command, v any, prefix string, settings []program.Setting) (name, path string) {
	file, err := program.Load(cmd, v, prefix, settings)
	if err != nil {
		return err.Error(), ""
	}
	return "Load", file.Path()
}

func TestPlaces(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("STATE_DIRECTORY", "")
	data, config := filepath.Join(home, ".local", "share", "dominion", "domain"), filepath.Join(home, ".config", "dominion", "domain.toml")
	if os.Geteuid() == 0 {
		data, config = "/var/lib/dominion/domain", "/etc/dominion/domain.toml"
	}
	if got, err := program.DataDir("domain"); err != nil || got != data {
		t.Errorf("data is in %s, %v; want %s", got, err, data)
	}
	if got := program.NewConfigFile("domain"); got != config {
		t.Errorf("a new file is %s, want %s", got, config)
	}
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	if got, err := program.DataDir(); err != nil || got != filepath.Join(home, "data", "dominion") {
		t.Errorf("data is in %s, %v", got, err)
	}
	t.Setenv("STATE_DIRECTORY", "/srv/domain")
	if got, err := program.DataDir("domain"); err != nil || got != "/srv/domain" {
		t.Errorf("a unit's data is in %s, %v", got, err)
	}
}
