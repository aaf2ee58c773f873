package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxSize bounds a file; what is longer was meant to be something else.
const maxSize = 1 << 20

// read parses the file at path. The table is nil if there are errors.
func read(path, from string) (map[string]any, *node, []error) {
	bad := func(line int, err error) []error {
		return []error{&Error{Where: path, Line: line, Err: err}}
	}
	text, err := readText(path, from)
	if err != nil {
		return nil, nil, bad(0, err)
	}
	root, tooDeep := scan(text)
	if tooDeep > 0 {
		return nil, root, bad(tooDeep, fmt.Errorf("more than %d tables or lists inside one another", maxDepth))
	}
	table, err := parse(text)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		// The library's own line is one too high for an error at the end of a line.
		start := min(max(syntax.Position.Start, 0), len(text))
		line := 1 + strings.Count(text[:start], "\n")
		return nil, root, bad(line, explain(syntax.Message, line, root))
	}
	if err != nil {
		return nil, root, bad(0, err)
	}
	return table, root, nil
}

func readText(path, from string) (string, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && from != "":
		return "", withRemedy(errors.New("no such file"), "named by "+from+"; write it or name another")
	case errors.Is(err, fs.ErrNotExist):
		return "", withRemedy(errors.New("no such file"), "write it or name another")
	case errors.Is(err, fs.ErrPermission):
		return "", withRemedy(errors.New("may not be read by this user"), namedBy(from, "chmod or chown it"))
	case err != nil:
		return "", withRemedy(reason(err), namedBy(from, "name another"))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", withRemedy(errors.New("is a directory"), namedBy(from, "name the file in it"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case err != nil:
		return "", withRemedy(reason(err), namedBy(from, "name another"))
	case len(text) > maxSize:
		return "", withRemedy(errors.New("is longer than 1 MiB, too long for a configuration"), namedBy(from, "name another"))
	}
	return strings.TrimPrefix(string(text), "\ufeff"), nil
}

func namedBy(from, remedy string) string {
	if from == "" {
		return remedy
	}
	return "named by " + from + "; " + remedy
}

// reason is err without the path, which stands in front already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// parse reads TOML. The library panics where it contradicts itself; here that is an error like any other.
func parse(text string) (table map[string]any, err error) {
	defer func() {
		if bug := recover(); bug != nil {
			table, err = nil, fmt.Errorf("not understood by the TOML library: %v", bug)
		}
	}()
	_, err = toml.Decode(text, &table)
	return table, err
}

// explain turns the library's message into ours, with a remedy.
func explain(message string, line int, root *node) error {
	if key, ok := duplicate(message); ok {
		file := File{lines: root.flatten()}
		if first := file.lines[key]; first > 0 && first < line {
			return fmt.Errorf("%s is set twice (first on line %d; keep one)", key, first)
		}
		return fmt.Errorf("%s is set twice (keep one)", key)
	}
	text := strings.TrimSuffix(message, " instead")
	text = strings.ToLower(text[:min(1, len(text))]) + text[min(1, len(text)):]
	for _, known := range []struct{ part, remedy string }{
		{"unexpected EOF", `a quote or a bracket is still open`},
		{`expected value but found '\n'`, `a line is key = value`},
		{"expected value", `text stands in double quotes; true and false have no capitals`},
		{"Invalid float", `text, such as an address, stands in double quotes`},
		{"Invalid integer", `write it without zeroes in front, or in double quotes`},
		{"out of range", `write a smaller number`},
		{"top-level item", `one key = value a line; text, durations and addresses stand in double quotes`},
		{"expected '.' or '='", `a line is key = value`},
		{"key name appears blank", `a line is key = value`},
		{"table name", `a table's line is [name]`},
		{"strings cannot contain newlines", `close the quote on this line`},
		{"expected a comma", `commas between the elements, ] after the last`},
		{"invalid escape", `write a backslash twice, or use 'single quotes'`},
		{"invalid UTF-8", `save the file as UTF-8`},
		{"NULL bytes", `save the file as UTF-8`},
	} {
		if strings.Contains(message, known.part) {
			return withRemedy(errors.New(text), known.remedy)
		}
	}
	return errors.New(text)
}

// duplicate returns the key in "Key 'a.b' has already been defined." and its like.
func duplicate(message string) (key string, ok bool) {
	_, rest, ok := strings.Cut(message, "Key '")
	key, rest, cut := strings.Cut(rest, "' ")
	return key, ok && cut && strings.Contains(rest, "already")
}
