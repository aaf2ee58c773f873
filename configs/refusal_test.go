package configs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/configs"
)

func TestLoadSaysWhatIsWrongInTheFile(t *testing.T) {
	tests := []struct {
		name string
		file string
		want []string
	}{
		{"an unknown key", "\nnaem = 'x'\n",
			[]string{`house.toml:2: unknown key "naem" (name?)`}},
		{"an unknown key of a table", "[services.lights]\n\ndependancies = []\n",
			[]string{`house.toml:3: services.lights: unknown key "dependancies" (dependencies?)`}},
		{"an unknown table", "[service.lights]\npriority = 'x'\n[service.b]\n",
			[]string{`house.toml:1: unknown key "service" (services?)`}},
		{"an unknown key, near nothing", "[log]\ncolour = true\n",
			[]string{`house.toml:2: log: unknown key "colour" (known: level)`}},
		{"another case", "Name = 'x'\n",
			[]string{`house.toml:1: unknown key "Name" (name? keys are case-sensitive)`}},
		{"another case beside the right one", "name = 'x'\nNAME = 'y'\n",
			[]string{`house.toml:2: unknown key "NAME" (name? keys are case-sensitive)`}},
		{"dashes", "lost-after = '5s'\n",
			[]string{`house.toml:1: unknown key "lost-after" (lost_after?)`}},
		{"a key of the top level below a table", "[log]\nlevel = 'x'\nallow_insecure = true\n",
			[]string{`house.toml:3: log: unknown key "allow_insecure" (it is a key of the top level: write it above the first [table])`}},
		{"a key of a table at the top level", "priority = 'required'\n",
			[]string{`house.toml:1: unknown key "priority" (it is a key of [services.NAME])`}},
		{"a key of an array of tables at the top level", "ports = [1]\n",
			[]string{`house.toml:1: unknown key "ports" (port?)`}},
		{"an unknown key in the second of an array", "[[tunnels]]\nto = 'a'\n[[tunnels]]\n\nton = 'b'\n",
			[]string{`house.toml:5: tunnels[1]: unknown key "ton" (to?)`}},
		{"an unknown key in an inline table", "log = { level = 'x', lvel = 'y' }\n",
			[]string{`house.toml:1: log: unknown key "lvel" (level?)`}},
		{"an unknown quoted key", "\n\"a b\" = 1\n",
			[]string{`house.toml:2: unknown key "a b" (known: allow_insecure, base, free, listen, log, lost_after, name, page, port, ratio, rooms, services, small, tunnels, waits)`}},
		{"a key of an oddly named service", "[services.\"odd name\"]\ninstances = 'many'\n",
			[]string{`house.toml:2: services."odd name".instances: wants a whole number, is a string`}},

		{"a number for text", "name = 5\n",
			[]string{`house.toml:1: name: wants a string, is 5 (name = "5")`}},
		{"a truth for text", "base = true\n",
			[]string{`house.toml:1: base: wants a string, is true (base = "true")`}},
		{"a list for text", "base = ['x']\n",
			[]string{`house.toml:1: base: wants a string, is a list`}},
		{"a date for text", "base = 2026-01-02\n",
			[]string{`house.toml:1: base: wants a string, is a date`}},
		{"text for a number", "port = '80'\n",
			[]string{`house.toml:1: port: wants a whole number, is a string (port = 80)`}},
		{"text for a number that is none", "port = 'http'\n",
			[]string{`house.toml:1: port: wants a whole number, is a string`}},
		{"text for a truth", "allow_insecure = 'true'\n",
			[]string{`house.toml:1: allow_insecure: wants true or false, is a string (allow_insecure = true)`}},
		{"text for a fraction", "ratio = '0.5'\n",
			[]string{`house.toml:1: ratio: wants a number, is a string (ratio = 0.5)`}},
		{"a fraction for a whole number", "port = 1.5\n",
			[]string{`house.toml:1: port: wants a whole number, is 1.5`}},
		{"text for a list", "listen = 'a:1'\n",
			[]string{`house.toml:1: listen: wants a list, is a string (listen = ["a:1"])`}},
		{"a number for a list of text", "listen = 1883\n",
			[]string{`house.toml:1: listen: wants a list, is 1883`}},
		{"a number for a list of numbers", "[[tunnels]]\nports = 1\n",
			[]string{`house.toml:2: tunnels[0].ports: wants a list, is 1 (ports = [1])`}},
		{"a table for a list", "[listen]\n",
			[]string{`house.toml:1: listen: wants a list, is a table`}},
		{"text for a table", "log = 'debug'\n",
			[]string{`house.toml:1: log: wants a table, is a string (write [log] and its keys below)`}},
		{"text for a map", "services = 'x'\n",
			[]string{`house.toml:1: services: wants a table, is a string (write [services] and the names below)`}},
		{"an array for a map", "[[services]]\nname = 'x'\n",
			[]string{`house.toml:1: services: wants a table, is a list (write [services] and the names below)`}},
		{"one table for an array of tables", "[tunnels]\nto = 'x'\n",
			[]string{`house.toml:1: tunnels: wants a list, is a table (write [[tunnels]] for each, and its keys below)`}},
		{"a number too high", "port = 70000\n",
			[]string{`house.toml:1: port: wants a whole number from -32768 to 32767, is 70000`}},
		{"a number too low", "[services.a]\ninstances = -1\n",
			[]string{`house.toml:2: services.a.instances: wants a whole number from 0 to 255, is -1`}},
		{"an element of a list", "listen = [\n 'a:1', # fine\n 2,\n]\n",
			[]string{`house.toml:3: listen[1]: wants a string, is 2 ("2")`}},
		{"text that a type refuses", "[services.a]\ndependencies = [\n'b', 'c/d']\n",
			[]string{`house.toml:3: services.a.dependencies[1]: "c/d" is not one word (no blanks, no slashes)`}},
		{"a name that a type refuses", "[rooms]\n'a b' = 1\n",
			[]string{`house.toml:2: rooms."a b": "a b" is not one word (no blanks, no slashes)`}},
		{"a value of a map", "[services.a.env]\nPORT = 80\n",
			[]string{`house.toml:2: services.a.env.PORT: wants a string, is 80 (PORT = "80")`}},

		{"a duration without a unit", "lost_after = 60\n",
			[]string{`house.toml:1: lost_after: 60 has no unit (write "60s", or another unit: ms, s, m, h)`}},
		{"no time without a unit", "lost_after = 0\n",
			[]string{`house.toml:1: lost_after: 0 has no unit (write "0s", or another unit: ms, s, m, h)`}},
		{"half a duration without a unit", "lost_after = 1.5\n",
			[]string{`house.toml:1: lost_after: 1.5 has no unit (write "1.5s", or another unit: ms, s, m, h)`}},
		{"a quoted duration without a unit", "lost_after = '60'\n",
			[]string{`house.toml:1: lost_after: 60 has no unit (write "60s", or another unit: ms, s, m, h)`}},
		{"a duration in words", "lost_after = 'soon'\n",
			[]string{`house.toml:1: lost_after: wants a duration, is "soon" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`}},
		{"a duration with blanks", "lost_after = '5 m'\n",
			[]string{`house.toml:1: lost_after: wants a duration, is "5 m" ("5m", without spaces?)`}},
		{"a duration in days", "lost_after = '2d'\n",
			[]string{`house.toml:1: lost_after: wants a duration, is "2d" (there is no unit for days: "48h")`}},
		{"a duration that is a truth", "lost_after = true\n",
			[]string{`house.toml:1: lost_after: wants a duration, is true`}},
		{"an own duration without a unit", "[services.a.ready]\nwithin = 5\n",
			[]string{`house.toml:2: services.a.ready.within: 5 has no unit (write "5s", or another unit: ms, s, m, h)`}},
		{"a list of durations", "waits = ['5s',\n5]\n",
			[]string{`house.toml:2: waits[1]: 5 has no unit (write "5s", or another unit: ms, s, m, h)`}},

		{"a key twice", "name = 'a'\n\nname = 'b'\n",
			[]string{`house.toml:3: name is set twice (first on line 1; keep one)`}},
		{"a key of a table twice", "[services.a]\npriority = 'a'\n[log]\n[services.b]\npriority = 'x'\npriority = 'b'\n",
			[]string{`house.toml:6: services.b.priority is set twice (first on line 5; keep one)`}},
		{"a table twice", "[log]\nlevel = 'a'\n[rooms]\n[log]\n",
			[]string{`house.toml:4: log is set twice (first on line 1; keep one)`}},
		{"a key twice in one line", "log = { level = 'a', level = 'b' }\n",
			[]string{`house.toml:1: log.level is set twice (keep one)`}},
		{"a key that is a table too", "log = 1\nlog.level = 'x'\n",
			[]string{`house.toml:2: log is set twice (first on line 1; keep one)`}},

		{"no value", "name = \n",
			[]string{`house.toml:1: expected value but found '\n' (a line is key = value)`}},
		{"no quotes", "name = attic\n",
			[]string{`house.toml:1: expected value but found "attic" (text stands in double quotes; true and false have no capitals)`}},
		{"a duration without quotes", "lost_after = 5s\n",
			[]string{`house.toml:1: expected a top-level item to end with a newline, comment, or EOF, but got 's' (one key = value a line; text, durations and addresses stand in double quotes)`}},
		{"an address without quotes", "listen = [127.0.0.1:1883]\n",
			[]string{`house.toml:1: invalid float value: "127.0.0.1" (text, such as an address, stands in double quotes)`}},
		{"a capital truth", "allow_insecure = True\n",
			[]string{`house.toml:1: expected value but found "True" (text stands in double quotes; true and false have no capitals)`}},
		{"a colon", "name: 'x'\n",
			[]string{`house.toml:1: expected '.' or '=', but got ':' (a line is key = value)`}},
		{"no equals sign", "\nname\n",
			[]string{`house.toml:2: expected '.' or '=', but got '\n' (a line is key = value)`}},
		{"no key", "= 5\n",
			[]string{`house.toml:1: unexpected '=': key name appears blank (a line is key = value)`}},
		{"an open quote", "name = \"attic\nbase = 'x'\n",
			[]string{`house.toml:1: strings cannot contain newlines (close the quote on this line)`}},
		{"an open quote at the end", "name = \"attic",
			[]string{`house.toml:1: unexpected EOF; expected '"' (a quote or a bracket is still open)`}},
		{"an open long quote", "name = '''attic\n\n",
			[]string{`house.toml:2: unexpected EOF; expected "'''" (a quote or a bracket is still open)`}},
		{"an open list", "listen = ['a:1'\nname = 'x'\n",
			[]string{`house.toml:2: expected a comma (',') or array terminator (']'), but got 'n' (commas between the elements, ] after the last)`}},
		{"an open list at the end", "listen = ['a:1',\n",
			[]string{`house.toml:1: unexpected EOF; expected value (a quote or a bracket is still open)`}},
		{"an open header", "\n[log\nlevel = 'x'\n",
			[]string{`house.toml:2: expected '.' or ']' to end table name, but got '\n' (a table's line is [name])`}},
		{"two values", "port = 1 2\n",
			[]string{`house.toml:1: expected a top-level item to end with a newline, comment, or EOF, but got '2' (one key = value a line; text, durations and addresses stand in double quotes)`}},
		{"a Windows path", "base = \"C:\\house\"\n",
			[]string{`house.toml:1: invalid escape in string '\h' (write a backslash twice, or use 'single quotes')`}},
		{"zeroes in front", "port = 080\n",
			[]string{`house.toml:1: invalid integer "080": cannot have leading zeroes (write it without zeroes in front, or in double quotes)`}},
		{"a number beyond all", "port = 99999999999999999999\n",
			[]string{`house.toml:1: 99999999999999999999 is out of range for int64 (write a smaller number)`}},
		{"another encoding", "name = 'caf\xe9'\n",
			[]string{`house.toml:1: invalid UTF-8 byte: 0xe9 (save the file as UTF-8)`}},
		{"two bytes a letter", "n\x00a\x00",
			[]string{`house.toml:1: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8 (save the file as UTF-8)`}},
		{"too deep", "\nfree = " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n",
			[]string{`house.toml:2: more than 64 tables or lists inside one another`}},

		{"all of it, in the order of the lines", "[services.b]\npriority = 1\n[services.a]\nprio = 'x'\n[log]\nlevel = 3\n", []string{
			`house.toml:2: services.b.priority: wants a string, is 1 (priority = "1")`,
			`house.toml:4: services.a: unknown key "prio" (known: dependencies, env, instances, priority, ready)`,
			`house.toml:6: log.level: wants a string, is 3 (level = "3")`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write(t, tt.file)
			got := house{Common: Common{Base: "before"}, Services: map[serviceName]service{}}
			file, err := configs.Load(&got, configs.Source{Path: "house.toml"})
			if diff := cmp.Diff(tt.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(house{Common: Common{Base: "before"}, Services: map[serviceName]service{}}, got); diff != "" {
				t.Errorf("settings changed (-want +got):\n%s", diff)
			}
			if file != nil {
				t.Errorf("got a file %v beside errors", file)
			}
		})
	}
}

func TestLoadSaysWhyAFileIsNone(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T)
		src  configs.Source
		want string
	}{
		{"missing, named by a flag", nil, configs.Source{Path: "no.toml", PathFrom: "--config"},
			"no.toml: no such file (named by --config; write it or name another)"},
		{"missing, named by a variable", nil, configs.Source{EnvPrefix: "DOMAIN", Environ: []string{"DOMAIN_CONFIG_FILE=no.toml"}},
			"no.toml: no such file (named by DOMAIN_CONFIG_FILE; write it or name another)"},
		{"missing", nil, configs.Source{Path: "no.toml"},
			"no.toml: no such file (write it or name another)"},
		{"a folder", func(t *testing.T) { must(t, os.Mkdir("etc", 0o700)) }, configs.Source{Path: "etc", PathFrom: "--config"},
			"etc: is a directory (named by --config; name the file in it)"},
		{"below a file", func(t *testing.T) { must(t, os.WriteFile("x", nil, 0o600)) }, configs.Source{Path: "x/house.toml"},
			"x/house.toml: not a directory (name another)"},
		{"a secret", func(t *testing.T) {
			must(t, os.WriteFile("house.toml", nil, 0))
			if f, err := os.Open("house.toml"); err == nil {
				f.Close()
				t.Skip("this user may read everything")
			}
		}, configs.Source{Path: "house.toml"}, "house.toml: may not be read by this user (chmod or chown it)"},
		{"a film", func(t *testing.T) { must(t, os.WriteFile("film", make([]byte, 1<<20+1), 0o600)) }, configs.Source{Path: "film"},
			"film: is longer than 1 MiB, too long for a configuration (name another)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tt.make != nil {
				tt.make(t)
			}
			_, err := configs.Load(&house{}, tt.src)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoadSkipsTheMarkOfUTF8(t *testing.T) {
	write(t, "\ufeffname = 'attic'\nbse = 'x'\n")
	_, err := configs.Load(&house{}, configs.Source{Path: "house.toml"})
	if diff := cmp.Diff([]string{`house.toml:2: unknown key "bse" (base?)`}, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestLoadNamesTheVariableOrTheFlagThatIsWrong(t *testing.T) {
	write(t, "\nport = 'x'\n")
	got := house{Ratio: 1}
	_, err := configs.Load(&got, configs.Source{
		Path:      "house.toml",
		EnvPrefix: "DOMINION",
		Environ: []string{
			"DOMINION_WAITS=5s,soon", "DOMINION_LOST_AFTER=60", "DOMINION_PORT=70000", "DOMINION_ALLOW_INSECURE=yes", "DOMINION_RATIO=half",
			"DOMINION_SMALL=99999999999999999999",
		},
		Flags: map[string]string{"lost_after": "", "name": "a/b", "port": "1e3", "page.level": "fine"},
	})
	want := []string{
		`house.toml:2: port: wants a whole number, is a string`,
		`DOMINION_ALLOW_INSECURE: wants true or false, is "yes"`,
		`DOMINION_LOST_AFTER: 60 has no unit (write "60s", or another unit: ms, s, m, h)`,
		`DOMINION_WAITS: wants a duration, is "soon" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`,
		`DOMINION_PORT: wants a whole number from -32768 to 32767, is 70000`,
		`DOMINION_RATIO: wants a number, is "half"`,
		`DOMINION_SMALL: wants a whole number, is "99999999999999999999"`,
		`--lost-after: wants a duration, is "" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`,
		`--name: "a/b" is not one word (no blanks, no slashes)`,
		`--port: wants a whole number, is "1e3"`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(house{Ratio: 1}, got); diff != "" {
		t.Errorf("settings changed (-want +got):\n%s", diff)
	}
}

func TestErrorsCanBeTakenApart(t *testing.T) {
	write(t, "\nnmae = 'x'\n")
	_, err := configs.Load(&house{}, configs.Source{Path: "house.toml"})
	var placed *configs.Error
	if !errors.As(err, &placed) || placed.Where != "house.toml" || placed.Line != 2 {
		t.Errorf("got %#v of %v", placed, err)
	}
}

func TestFileRemembersTheLines(t *testing.T) {
	write(t, everyKind)
	file, err := configs.Load(&house{}, configs.Source{Path: "house.toml"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		key  string
		want int
	}{
		{"name", 2},
		{"listen", 3},
		{"listen[1]", 5},
		{"listen[7]", 3},
		{"log.level", 14},
		{"tunnels[1].to", 21},
		{"tunnels[1].ports", 20},
		{"services", 24},
		{"services.webServer", 24},
		{"services.webServer.dependencies", 26},
		{"services.webServer.env.GREETING", 27},
		{"services.webServer.traits", 24},
		{"services.odd name.instances", 31},
		{"port.unheard", 9},
		{"base", 0},
		{"", 0},
	}
	for _, tt := range tests {
		if got := file.Line(tt.key); got != tt.want {
			t.Errorf("Line(%q) = %d, want %d", tt.key, got, tt.want)
		}
	}
}

func TestErrorfPutsThePlaceInFront(t *testing.T) {
	write(t, "\nlisten = ['a']\nport = 1\n\n[services.lights]\n")
	file, err := configs.Load(&house{}, configs.Source{
		Path: "house.toml", EnvPrefix: "DOMINION", Environ: []string{"DOMINION_LISTEN=a,b", "DOMINION_PAGE_LEVEL=x"},
		Flags: map[string]string{"page.level": "y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ key, want string }{
		{"port", "house.toml:3: is odd"},
		{"services.lights.priority", "house.toml:5: is odd"},
		{"base", "house.toml: is odd"},
		{"listen[1]", "DOMINION_LISTEN: is odd"},
		{"page.level", "--page-level: is odd"},
	}
	for _, tt := range tests {
		if got := file.Errorf(tt.key, "is %s", "odd").Error(); got != tt.want {
			t.Errorf("Errorf(%q) = %q, want %q", tt.key, got, tt.want)
		}
	}
	if err := file.Errorf("port", "port: %w", fs.ErrInvalid); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v does not wrap what it was given", err)
	}
}

func TestJoinOrdersTheErrorsOfSeveralChecks(t *testing.T) {
	write(t, "\nname = 'x'\nport = 1\n")
	file, err := configs.Load(&house{}, configs.Source{Path: "house.toml", Flags: map[string]string{"base": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	port, name, base := file.Errorf("port", "is odd"), file.Errorf("name", "is odd"), file.Errorf("base", "is odd")
	plain := errors.New("the house is odd")
	whole := fmt.Errorf("two things: %w and %w", plain, port)
	got := configs.Join(nil, plain, base, errors.Join(port, nil, configs.Join(name, port)), whole, file.Errorf("port", "is odd"))
	want := []string{
		"house.toml:2: is odd", "house.toml:3: is odd", "two things: the house is odd and house.toml:3: is odd",
		"--base: is odd", "the house is odd",
	}
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if !errors.Is(got, plain) {
		t.Errorf("%v does not hold what was joined", got)
	}
	if got := configs.Join(nil, errors.Join(), nil); got != nil {
		t.Errorf("nothing joined is %v", got)
	}
}

// FuzzLoad holds that any file is read or refused with a place, in order, and the same each time.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{everyKind, configs.DominionExample(), "a = [", "[log]\nlevel = 1\nlevle = 2\nname = 'x'\n", "lost_after = 5\nx = 1\n"} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		t.Chdir(dir)
		must(t, os.WriteFile("house.toml", []byte(text), 0o600))
		var first, second house
		_, err := configs.Load(&first, configs.Source{Path: "house.toml"})
		_, again := configs.Load(&second, configs.Source{Path: "house.toml"})
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Errorf("%q is refused in two ways:\n%v\n\n%v", text, err, again)
		}
		var all configs.Errors
		errors.As(err, &all)
		last := 0
		for _, err := range all {
			var placed *configs.Error
			if !errors.As(err, &placed) || placed.Line < max(last, 1) || placed.Line > 1+strings.Count(text, "\n") {
				t.Errorf("%q: out of place: %v", text, err)
				continue
			}
			last = placed.Line
		}
		if (err == nil) != (len(all) == 0) {
			t.Errorf("%q: %v is no list of errors", text, err)
		}
	})
}
