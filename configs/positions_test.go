package configs_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"dominion/configs"
)

func TestLinesAreThoseOfTheKeys(t *testing.T) {
	tests := []struct {
		name string
		text string
		want map[string]int
	}{
		{"nothing", "", map[string]int{}},
		{"comments alone", "# a = 1\n\n  # [b]\n", map[string]int{}},
		{"plain keys", "a = 1\n\n\tb=2 # c = 3\n", map[string]int{"a": 1, "b": 3}},
		{"carriage returns", "a = 1\r\n[b]\r\nc = 2\r\n", map[string]int{"a": 1, "b": 2, "b.c": 3}},
		{"dotted keys", "a.b = 1\na . c = 2\n", map[string]int{"a": 1, "a.b": 1, "a.c": 2}},
		{"quoted keys", "\"a b\" = 1\n'c.d'.\"e\\u0041\" = 2\n", map[string]int{"a b": 1, "c.d": 2, "c.d.eA": 2}},
		{"tables", "[a]\nb = 1\n\n[ c . 'd' ] # x\ne = 2\n", map[string]int{"a": 1, "a.b": 2, "c": 4, "c.d": 4, "c.d.e": 5}},
		{"a table after its part", "[a.b]\nc = 1\n[a]\nd = 2\n", map[string]int{"a": 3, "a.b": 1, "a.b.c": 2, "a.d": 4}},
		{"an array of tables", "[[a]]\nb = 1\n[a.c]\nd = 1\n[[a]]\nb = 2\n[[a.e]]\nf = 3\n", map[string]int{
			"a": 1, "a[0]": 1, "a[0].b": 2, "a[0].c": 3, "a[0].c.d": 4, "a[1]": 5, "a[1].b": 6, "a[1].e": 7, "a[1].e[0]": 7, "a[1].e[0].f": 8}},
		{"a list", "a = [1, 2] \nb = [ # x ]\n  'p', # y\n\n  \"q\"]\n", map[string]int{
			"a": 1, "a[0]": 1, "a[1]": 1, "b": 2, "b[0]": 3, "b[1]": 5}},
		{"lists in lists", "a = [[1],\n[\n2]]\n", map[string]int{"a": 1, "a[0]": 1, "a[0][0]": 1, "a[1]": 2, "a[1][0]": 3}},
		{"inline tables", "a = { b = 1, c.d = [\n{ e = 2 }] }\nf = {}\n", map[string]int{
			"a": 1, "a.b": 1, "a.c": 1, "a.c.d": 1, "a.c.d[0]": 2, "a.c.d[0].e": 2, "f": 3}},
		{"strings that look like TOML", "a = \"[b]\\\" # \\\\\"\nc = '''\n[d]\ne = 1 '' '''\nf = \"\"\"\n\\\"\"\"\ng = 1\"\"\"\"\"\nh = 'x\\'\ni = 1\n", map[string]int{
			"a": 1, "c": 2, "f": 5, "h": 8, "i": 9}},
		{"dates with a blank", "a = [1979-05-27 07:32:00, \n2]\nb = 1979-05-27 07:32:00\nc = 1\n", map[string]int{
			"a": 1, "a[0]": 1, "a[1]": 2, "b": 3, "c": 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var parsed map[string]any
			if _, err := toml.Decode(tt.text, &parsed); err != nil {
				t.Fatalf("the example is no TOML: %v", err)
			}
			got, _ := configs.Lines(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzLines holds the scanner against the library: what the library accepts, the scanner has found, each key on a line
// where its name can be read, and nothing else. For any other text it must end.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{
		everyKind, configs.DominionExample(), configs.DomainExample(),
		"a.b = [[1], {c = 2}]\n[[d.e]]\n[d.e.f]\n", "a = '''x''''\n", "[a", "a = [", "a = {", "\"", "= ", "[[", "a = \"\\", "a.\n", ".a = 1", "a = {b.c = [{}, 1]}\n",
		"a = \"\"\"\"\"\"\n", "a = \"\"\"\\\n  \"\"\"\"\"\nb = 1", "a=1\r\n", "a=[\r\n]\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		got, tooDeep := configs.Lines(text)
		parsed, ok := library(text)
		if !ok || tooDeep {
			return
		}
		want := map[string]bool{}
		unambiguous := paths(parsed, "", want)
		if !unambiguous {
			return
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("keys of %q (-library +scanner):\n%s", text, diff)
		}
		rows := strings.Split(text, "\n")
		for key, line := range got {
			name := regexp.MustCompile(`[A-Za-z0-9_-]*$`).FindString(key)
			if line < 1 || line > len(rows) {
				t.Errorf("%q: key %q on line %d of %d", text, key, line, len(rows))
			} else if !strings.Contains(rows[line-1], name) && !strings.Contains(text, `\`) {
				t.Errorf("%q: key %q is not on line %d: %q", text, key, line, rows[line-1])
			}
		}
	})
}

// library parses with the library alone; it panics on some texts.
func library(text string) (parsed map[string]any, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, err := toml.Decode(text, &parsed)
	return parsed, err == nil
}

// paths lists the keys of a decoded value as Lines writes them; false if a name makes them ambiguous.
func paths(v any, key string, into map[string]bool) bool {
	unambiguous := true
	visit := func(key string, v any) {
		unambiguous = !into[key] && paths(v, key, into) && unambiguous
		into[key] = true
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			if name == "" || strings.ContainsAny(name, ".[") {
				return false
			}
			visit(strings.TrimPrefix(key+"."+name, "."), child)
		}
	case []any:
		for i, child := range v {
			visit(fmt.Sprintf("%s[%d]", key, i), child)
		}
	case []map[string]any:
		for i, child := range v {
			visit(fmt.Sprintf("%s[%d]", key, i), child)
		}
	}
	return unambiguous
}
