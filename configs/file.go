package configs

import (
	"fmt"
	"strings"
)

// File remembers where each setting was said, so that a room's own check of its Config can point there: its Errorf is what
// such a check is handed. The zero File knows no place.
type File struct {
	path  string
	lines map[string]int    // of every key in the file, names joined by dots, elements of lists as listen[0]
	set   map[string]string // the variable or flag that overrides the file, by key
}

// Path is the file that was read, as the user named it; empty if there was none.
func (f *File) Path() string { return f.path }

// Line is the line of the file on which a key stands ("services.lights.dependencies"; an element of a list is
// "listen[0]"), or, if the key is not written there, its table's; 0 if that is not either. A name with a dot in it is written as it is.
func (f *File) Line(key string) int {
	for ; key != ""; key = parent(key) {
		if line, ok := f.lines[key]; ok {
			return line
		}
	}
	return 0
}

// Errorf is fmt.Errorf with the place of a key in front: "house.toml:12: …", or the variable or flag that set it, or, for a
// key that nobody set, its table's line, or the file alone. The format should name the key. The error is an [*Error].
func (f *File) Errorf(key, format string, args ...any) error {
	e := &Error{Err: fmt.Errorf(format, args...), layer: nowhere}
	for k := key; k != ""; k = parent(k) {
		if where, ok := f.set[k]; ok {
			e.Where, e.layer = where, inEnvironment
			if strings.HasPrefix(where, "--") {
				e.layer = inFlags
			}
			return e
		}
	}
	if f.path != "" {
		e.Where, e.Line, e.layer = f.path, f.Line(key), inFile
	}
	return e
}

// parent is the key of the list or table in which key stands, empty for a key of the top level.
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}
