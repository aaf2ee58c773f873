package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/dominion/setup"
	"dominion/configs"
	"dominion/coordinator"
	"dominion/topics/terms"
)

func TestAppend(t *testing.T) {
	const entry = "[services.x]\npriority = \"manual\"\n"
	tests := []struct{ name, text, want string }{
		{"an empty file", "", entry},
		{"a file", "# mine\nname = 'x'   # ours\n", "# mine\nname = 'x'   # ours\n\n" + entry},
		{"a last line without an end", "name = 'x' # ours", "name = 'x' # ours\n\n" + entry},
		{"an editor of Windows", "name = 'x'\r\n", "name = 'x'\r\n\r\n[services.x]\r\npriority = \"manual\"\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, setup.Append(tt.text, entry)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// house is what of a leader's file the tests look at.
type house struct {
	Name      string                       `toml:"name"`
	Data      string                       `toml:"data"`
	Listen    []string                     `toml:"listen"`
	ListenTLS []string                     `toml:"listen_tls"`
	HTTPS     string                       `toml:"https"`
	Broker    string                       `toml:"broker"`
	Username  string                       `toml:"username"`
	Password  string                       `toml:"password_file"`
	LogLevel  string                       `toml:"log_level"`
	LostAfter time.Duration                `toml:"lost_after"`
	Services  map[string]coordinator.Entry `toml:"services"`
}

func read(t *testing.T, text string) house {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dominion.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var h house
	if _, err := configs.Load(&h, configs.Source{Path: path}); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return h
}

func TestFirstIsReadAsItWasMeant(t *testing.T) {
	const name = "Ann's \"Häuschen\" \\ \x01"
	text, err := setup.First(configs.DominionExample(), []setup.Setting{
		setup.Text("https", ":8443"), setup.Text("name", name), setup.List("listen", "127.0.0.1:1883", "[::1]:1883"),
		setup.List("listen_tls", ":8883"), setup.Text("log_level", "debug"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := house{Name: name, Listen: []string{"127.0.0.1:1883", "[::1]:1883"}, ListenTLS: []string{":8883"}, HTTPS: ":8443", LogLevel: "debug"}
	if diff := cmp.Diff(want, read(t, text)); diff != "" {
		t.Errorf("%s\nin %s", diff, text)
	}
	for _, part := range []string{"# ---- The house\n\n", "# Where machines join the house", "# ---- The catalogue", "#   priority       \"required\"", "# ---- The log"} {
		if !strings.Contains(text, part) {
			t.Errorf("does not say %q:\n%s", part, text)
		}
	}
	for _, part := range []string{"services.webServer", "# ---- Patience", "lost_after", "A lamp"} {
		if strings.Contains(text, part) {
			t.Errorf("says %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "\n\n\n") || !strings.HasSuffix(text, "\n") {
		t.Errorf("is not tidy:\n%s", text)
	}
}

func TestFirstKeepsOneOfTwoKeysOfAParagraph(t *testing.T) {
	text, err := setup.First(configs.DominionExample(), []setup.Setting{setup.Text("broker", "mqtt://10.0.0.1"), setup.Text("username", "ann")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(house{Broker: "mqtt://10.0.0.1", Username: "ann"}, read(t, text)); diff != "" {
		t.Errorf("%s\nin %s", diff, text)
	}
	if strings.Contains(text, "password_file =") {
		t.Errorf("has a key that nobody wanted:\n%s", text)
	}
}

func TestFirstRefusesWhatTheExampleDoesNotHave(t *testing.T) {
	if text, err := setup.First(configs.DominionExample(), []setup.Setting{setup.Text("lisen", "x")}); err == nil || !strings.Contains(err.Error(), `"lisen"`) {
		t.Errorf("gives %v and\n%s", err, text)
	}
}

// TestEntryOfAFirstFile holds that what is proposed is read from the file that
// it is added to.
func TestEntryOfAFirstFile(t *testing.T) {
	text, err := setup.First(configs.DominionExample(), []setup.Setting{setup.Text("name", "home")})
	if err != nil {
		t.Fatal(err)
	}
	entry := coordinator.Entry{Priority: "required", Dependencies: []string{"a"}, Traits: []string{"b"}, Instances: 2, Port: 80, Words: terms.Words{Ready: "tcp"}}
	got := read(t, setup.Append(text, setup.Proposal{Name: "x", Entry: entry}.TOML()))
	if diff := cmp.Diff(map[string]coordinator.Entry{"x": entry}, got.Services); diff != "" {
		t.Error(diff)
	}
}
