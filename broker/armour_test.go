//go:build e2e

package broker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// piece is one piece of armour, as it is on and as it is taken off, and the test
// that fails then.
type piece struct {
	name string // the first column in docs/armour.md
	file string
	on   string // inside of one function
	off  string
	test string
}

// Every piece of armour that is taken off is missed by a test, and docs/armour.md
// has them all.
func TestEveryPieceOfArmourIsMissed(t *testing.T) {
	all := pieces()
	if diff := gocmp.Diff(rowsOf(all), documented(t)); diff != "" {
		t.Errorf("docs/armour.md (-pieces here +there):\n%s", diff)
	}
	tests := withoutPieces(t, all)
	runs := make([]chan error, len(all))
	atOnce := make(chan struct{}, 8) // most of them wait for what does not come
	for i, p := range all {
		runs[i] = make(chan error, 1)
		go func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			runs[i] <- p.missed(t.Context(), tests, i+1)
		}()
	}
	for i, p := range all {
		t.Run(p.name, func(t *testing.T) {
			if err := <-runs[i]; err != nil {
				t.Error(err)
			}
		})
	}
}

// missed returns an error if the piece's test passes without it.
func (p piece) missed(ctx context.Context, tests string, number int) error {
	// A busy machine may not come to the harm in one round.
	run := exec.CommandContext(ctx, tests, "-test.run=^"+p.test+"$", "-test.timeout=90s", "-test.count=3", "-test.failfast")
	run.Env = append(os.Environ(), fmt.Sprintf("%s=%d", takenOff, number))
	if out, err := run.CombinedOutput(); err == nil {
		return fmt.Errorf("%s passes without it:\n%s", p.test, out)
	}
	return nil
}

// row is a line of docs/armour.md.
type row struct{ Name, File, Test string }

func rowsOf(all []piece) []row {
	var rows []row
	for _, p := range all {
		rows = append(rows, row{p.name, p.file, p.test})
	}
	return rows
}

func documented(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../docs/armour.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	line := regexp.MustCompile("(?m)^\\| ([^|]+) \\| `([^`|]+)` \\| `([^`|]+)` \\|$")
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, row{m[1], m[2], m[3]})
	}
	return rows
}

// takenOff is the number of the piece that is, for a program of withoutPieces.
const takenOff = "BROKER_TEST_TAKEN_OFF"

// withoutPieces builds the tests of this package once, so that any piece can be
// taken off when they run: a function that has some has bodies without them too.
func withoutPieces(t *testing.T, all []piece) (program string) {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	replace := func(file, source string) {
		here, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		replaced[here] = filepath.Join(dir, file)
		if err := os.WriteFile(replaced[here], []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bodies := map[string][]insertion{}
	for i, p := range all {
		bodies[p.file] = append(bodies[p.file], p.bodyWithout(t, i+1))
	}
	for file, more := range bodies {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		replace(file, insert(string(source), more))
	}
	replace("takenoff.go", `package broker

import "os"

func takenOff(piece string) bool { return os.Getenv("`+takenOff+`") == piece }
`)
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "broker.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", list, "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build without the pieces: %v\n%s", err, out)
	}
	return program
}

// insertion is text that comes into a source.
type insertion struct {
	at   int
	text string
}

func insert(source string, more []insertion) string {
	slices.SortFunc(more, func(a, b insertion) int { return cmp.Compare(b.at, a.at) })
	for _, m := range more {
		source = source[:m.at] + m.text + source[m.at:]
	}
	return source
}

// bodyWithout is the body of the function that a piece is in, without it, and
// the place where it goes: before what that function does else.
func (p piece) bodyWithout(t *testing.T, number int) insertion {
	t.Helper()
	source, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	if n := strings.Count(text, p.on); n != 1 {
		t.Fatalf("%s: %s has %d of these, want one:\n%s", p.name, p.file, n, p.on)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, p.file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(text, p.on)
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		begin, end := files.Position(f.Body.Lbrace).Offset+1, files.Position(f.Body.Rbrace).Offset
		if at < begin || at+len(p.on) > end {
			continue
		}
		body := strings.Replace(text[begin:end], p.on, p.off, 1)
		if f.Type.Results == nil {
			body += "\n\treturn\n"
		}
		return insertion{begin, fmt.Sprintf("\n\tif takenOff(%q) {%s}\n", fmt.Sprint(number), body)}
	}
	t.Fatalf("%s: in no function of %s:\n%s", p.name, p.file, p.on)
	return insertion{}
}
