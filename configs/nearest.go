package configs

import (
	"fmt"
	"slices"
	"strings"
)

// unknown is the error for a key that a table does not have, with the one that was meant, if that can be told.
func (d *decoder) unknown(name string, fields []field, p place) error {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	err := fmt.Errorf("unknown key %q", name)
	if near := Nearest(name, keys); near != "" {
		if strings.EqualFold(near, name) {
			return withRemedy(err, near+"? keys are case-sensitive")
		}
		return withRemedy(err, near+"?")
	}
	if elsewhere := d.elsewhere(name); elsewhere != "" {
		return withRemedy(err, elsewhere)
	}
	slices.Sort(keys)
	return withRemedy(err, "known: "+strings.Join(keys, ", "))
}

// elsewhere says where a key of that very name does stand. A key below a [table] belongs to the table, which surprises people.
func (d *decoder) elsewhere(name string) string {
	for _, s := range d.known {
		if s.key == name {
			return "it is a key of the top level: write it above the first [table]"
		}
	}
	for _, s := range d.known {
		if table, ok := strings.CutSuffix(s.key, "."+name); ok {
			if array, ok := strings.CutSuffix(table, "[]"); ok {
				return "it is a key of [[" + array + "]]"
			}
			return "it is a key of [" + table + "]"
		}
	}
	return ""
}

// Nearest returns the key, or any other known word, that name was most likely meant to be, of which at most a third of the
// letters, or one, are wrong; empty if there is none. It serves every "did you mean".
func Nearest(name string, keys []string) string {
	if len(name) > 64 {
		return ""
	}
	letters := plain(name)
	best, least := "", max(1, len(letters)/3)+1
	for _, key := range slices.Sorted(slices.Values(keys)) {
		if n := distance(letters, plain(key)); n < least {
			best, least = key, n
		}
	}
	return best
}

// plain is a key without what people mix up.
func plain(key string) []rune {
	return []rune(strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(key)))
}

// distance counts the letters to insert, delete, change, or swap with the next to make b of a (optimal string alignment).
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
