package configs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/configs"
)

type serviceName string

// word is a setting that checks its own text.
type word string

func (w *word) UnmarshalText(text []byte) error {
	if strings.ContainsAny(string(text), "/ ") {
		return fmt.Errorf("%q is not one word (no blanks, no slashes)", text)
	}
	*w = word(text)
	return nil
}

type Common struct {
	Name word   `toml:"name"`
	Base string `toml:"base"`
}

type logging struct {
	Level string `toml:"level"`
}

type tunnel struct {
	To    string `toml:"to"`
	Ports []int  `toml:"ports"`
}

type readiness struct {
	TCP    bool             `toml:"tcp"`
	Within configs.Duration `toml:"within"`
}

type service struct {
	Priority     string            `toml:"priority"`
	Dependencies []word            `toml:"dependencies"`
	Instances    uint8             `toml:"instances"`
	Env          map[string]string `toml:"env"`
	Ready        readiness         `toml:"ready"`
}

// house has a key of every kind.
type house struct {
	Common
	Listen    []string                `toml:"listen"`
	Insecure  bool                    `toml:"allow_insecure"`
	LostAfter time.Duration           `toml:"lost_after"`
	Waits     []configs.Duration      `toml:"waits"`
	Port      int16                   `toml:"port"`
	Ratio     float64                 `toml:"ratio"`
	Small     *int                    `toml:"small"`
	Log       logging                 `toml:"log"`
	Page      *logging                `toml:"page"`
	Tunnels   []tunnel                `toml:"tunnels"`
	Free      any                     `toml:"free"`
	Services  map[serviceName]service `toml:"services"`
	Rooms     map[word]int            `toml:"rooms"`
	Clock     string                  // no key, so no setting
	Made      string                  `toml:"-"`
}

// write puts text into house.toml in a folder of its own and goes there, so that errors begin with house.toml.
func write(t *testing.T, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("house.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func pointer[T any](v T) *T { return &v }

const everyKind = `# a house
name = "attic"
listen = [
  "a:1", # first
  'b:2',
]
lost_after = "1m30s"
waits = ["5s", "10m"]
port = -3
ratio = 2
small = 0
page.level = "warn"
free = { x = [1, "two"] }
log = { level = "debug" }

[[tunnels]]
to = "a"
ports = [1, 2]

[[tunnels]]
to = """
b"""

[services.webServer]
priority = "dependency"
dependencies = ["x", "y:started"]
env = { GREETING = "a.b # c", "two words" = "" }
ready.within = "1s"

[services."odd name"]
instances = 255

[rooms]
hall = 1
`

func TestLoadReadsEveryKindOfKey(t *testing.T) {
	write(t, everyKind)
	got := house{
		Common:   Common{Base: "kept"},
		Listen:   []string{"replaced"},
		Services: map[serviceName]service{"webServer": {Priority: "replaced", Instances: 2}, "other": {Priority: "kept"}},
		Clock:    "kept",
	}
	want := house{
		Common:    Common{Name: "attic", Base: "kept"},
		Listen:    []string{"a:1", "b:2"},
		LostAfter: 90 * time.Second,
		Waits:     []configs.Duration{configs.Duration(5 * time.Second), configs.Duration(10 * time.Minute)},
		Port:      -3,
		Ratio:     2,
		Small:     pointer(0),
		Log:       logging{Level: "debug"},
		Page:      &logging{Level: "warn"},
		Tunnels:   []tunnel{{To: "a", Ports: []int{1, 2}}, {To: "b"}},
		Free:      map[string]any{"x": []any{int64(1), "two"}},
		Services: map[serviceName]service{
			"webServer": {
				Priority:     "dependency",
				Dependencies: []word{"x", "y:started"},
				Instances:    2,
				Env:          map[string]string{"GREETING": "a.b # c", "two words": ""},
				Ready:        readiness{Within: configs.Duration(time.Second)},
			},
			"odd name": {Instances: 255},
			"other":    {Priority: "kept"},
		},
		Rooms: map[word]int{"hall": 1},
		Clock: "kept",
	}
	file, err := configs.Load(&got, configs.Source{Path: "house.toml"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if file.Path() != "house.toml" {
		t.Errorf("path %q, want house.toml", file.Path())
	}
}

func TestLoadPrefersFlagsToEnvironmentToFile(t *testing.T) {
	write(t, "name = 'file'\nbase = 'file'\nport = 1\nlisten = ['file']\nlog.level = 'file'\n")
	shared := &logging{Level: "shared"}
	got := house{Page: shared, Ratio: 0.5}
	_, err := configs.Load(&got, configs.Source{
		Path:      "house.toml",
		EnvPrefix: "DOMINION",
		Environ: []string{
			"DOMINION_NAME=env", "DOMINION_BASE=env", "DOMINION_PORT=", "DOMINION_LISTEN=a:1, b:2", "DOMINION_LOST_AFTER=5s",
			"DOMINION_WAITS=1s,2s", "DOMINION_SMALL=7", "DOMINION_PAGE_LEVEL=env", "DOMINION_ALLOW_INSECURE=true",
			"DOMINION_UNHEARD_OF=x", "DOMINION_SERVICES=x", "BASE=x", "nonsense",
		},
		Flags: map[string]string{"name": "flag", "log.level": "", "ratio": "0.25"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := house{
		Common:    Common{Name: "flag", Base: "env"},
		Listen:    []string{"a:1", "b:2"},
		Insecure:  true,
		LostAfter: 5 * time.Second,
		Waits:     []configs.Duration{configs.Duration(time.Second), configs.Duration(2 * time.Second)},
		Port:      1,
		Ratio:     0.25,
		Small:     pointer(7),
		Log:       logging{Level: ""},
		Page:      &logging{Level: "env"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if shared.Level != "shared" {
		t.Errorf("wrote %q through a pointer of the defaults", shared.Level)
	}
}

func TestLoadTakesAnEmptyFlagForAnEmptyList(t *testing.T) {
	got := house{Listen: []string{"default"}}
	if _, err := configs.Load(&got, configs.Source{Flags: map[string]string{"listen": ""}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(house{Listen: []string{}}, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestLoadReadsTheFileThatTheEnvironmentNames(t *testing.T) {
	write(t, "name = 'attic'\n")
	env := []string{"DOMINION_CONFIG_FILE=house.toml"}
	var got house
	file, err := configs.Load(&got, configs.Source{EnvPrefix: "DOMINION", Environ: env})
	if err != nil || got.Name != "attic" || file.Path() != "house.toml" {
		t.Errorf("got name %q, file %v, error %v", got.Name, file, err)
	}
	_, err = configs.Load(&got, configs.Source{Path: "other.toml", PathFrom: "--config", EnvPrefix: "DOMINION", Environ: env})
	want := []string{"other.toml: no such file (named by --config; write it or name another)"}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestLoadOfNothingChangesNothing(t *testing.T) {
	got := house{Port: 3}
	file, err := configs.Load(&got, configs.Source{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(house{Port: 3}, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if got := file.Errorf("port", "port: %d is odd", 3).Error(); file.Path() != "" || got != "port: 3 is odd" {
		t.Errorf("path %q, error %q", file.Path(), got)
	}
}

func TestLoadRefusesWhatNoSettingCanBe(t *testing.T) {
	type twice struct {
		A string `toml:"a"`
		B string `toml:"a"`
	}
	type oneVariable struct {
		A struct {
			B string `toml:"b"`
		} `toml:"a"`
		C string `toml:"a_b"`
	}
	type hidden struct {
		a string `toml:"a"`
	}
	type channel struct {
		A []chan int `toml:"a"`
	}
	type numbered struct {
		A map[int]string `toml:"a"`
	}
	_ = hidden{}.a
	tests := []struct {
		name string
		v    any
		src  configs.Source
		want string
	}{
		{"no pointer", house{}, configs.Source{}, "configs: want a pointer to a struct, got configs_test.house"},
		{"nil pointer", (*house)(nil), configs.Source{}, "configs: want a pointer to a struct, got *configs_test.house"},
		{"nil", nil, configs.Source{}, "configs: want a pointer to a struct, got <nil>"},
		{"a key twice", &twice{}, configs.Source{}, `configs: configs_test.twice: two fields have the key "a"`},
		{"a variable twice", &oneVariable{}, configs.Source{}, "configs: *configs_test.oneVariable: keys a.b and a_b would be set by one variable"},
		{"a hidden field", &hidden{}, configs.Source{}, `configs: configs_test.hidden.a: tag "a" needs an exported field and a bare key`},
		{"a channel", &channel{}, configs.Source{}, "configs: key a[]: no setting can be a chan int"},
		{"numbers as names", &numbered{}, configs.Source{}, "configs: key a: a map's keys must be strings, not int"},
		{"a flag of no key", &house{}, configs.Source{Flags: map[string]string{"nme": "x"}},
			`configs: flag --nme: no key "nme" in configs_test.house that one line of text can hold`},
		{"a flag of a table", &house{}, configs.Source{Flags: map[string]string{"services": "x"}},
			`configs: flag --services: no key "services" in configs_test.house that one line of text can hold`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configs.Load(tt.v, tt.src)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestKeysListsWhatAStructKnows(t *testing.T) {
	type small struct {
		Common
		Log     logging            `toml:"log"`
		Tunnels []tunnel           `toml:"tunnels"`
		Rooms   map[string]logging `toml:"rooms"`
		Self    []small            `toml:"self"`
	}
	got, err := configs.Keys(&small{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"base", "log", "log.level", "name", "rooms", "rooms.NAME", "rooms.NAME.level", "self", "self[]",
		"tunnels", "tunnels[]", "tunnels[].ports", "tunnels[].to",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
