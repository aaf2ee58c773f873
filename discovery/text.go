package discovery

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape writes a text as the DNS library wants it, where a backslash begins an
// escape.
func escape(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// unescape undoes how the DNS library shows what it read: `\.`, `\032`.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			b.WriteByte(s[i])
		case i+3 < len(s) && isByte(s[i+1:i+4]):
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
		case i+1 < len(s):
			i++
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// isByte says whether three characters are a byte in decimal.
func isByte(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s <= "255"
}

// showable says whether a text can stand on a person's screen: no control
// characters, nothing that turns the writing round.
func showable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// parseText reads the strings of a TXT record (RFC 6763 section 6). Keys are
// lower case there; of two that are the same the first counts. What could not
// be shown to a person is left out.
func parseText(texts []string) map[string]string {
	pairs := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(unescape(text), "=")
		key = strings.ToLower(key)
		if _, there := pairs[key]; there || key == "" || !showable(key) || !showable(value) {
			continue
		}
		if len(pairs) == maxPairs {
			break
		}
		pairs[key] = value
	}
	return pairs
}

// formatText writes pairs as the strings of a TXT record, in a fixed order.
func formatText(pairs map[string]string) []string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		texts = append(texts, escape(key+"="+pairs[key]))
	}
	return texts
}
