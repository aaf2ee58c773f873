// Package setup writes a leader's configuration file for its owner, as text:
// the first one, and the entries of services that are added to it.
//
// All of it is decided here and done in cmd/dominion: nothing here reads or
// writes a file.
package setup

import (
	"fmt"
	"slices"
	"strings"
)

// Setting is one key of the top of a leader's file, with its value.
type Setting struct {
	Key   string
	Value []string // of a list, or the one of a text
	List  bool
}

// Text is a setting whose value is a text.
func Text(key, value string) Setting { return Setting{Key: key, Value: []string{value}} }

// List is a setting whose value is a list of texts.
func List(key string, values ...string) Setting {
	return Setting{Key: key, Value: values, List: true}
}

func (s Setting) toml() string {
	quoted := quotedAll(s.Value)
	if s.List {
		return fmt.Sprintf("%s = [%s]\n", s.Key, strings.Join(quoted, ", "))
	}
	return fmt.Sprintf("%s = %s\n", s.Key, quoted[0])
}

// First is a house's first file: the short form of the commented example, with
// these settings alone, each with what the example says of it, and what it says
// of the catalogue, which is empty yet. A setting that the example does not
// have is an error.
func First(example string, settings []Setting) (string, error) {
	head, _, _ := strings.Cut(example, "\n[")
	open, heading := settings, ""
	var b strings.Builder
	b.WriteString(preface)
	for paragraph := range strings.SplitSeq(head, "\n\n") {
		paragraph = strings.Trim(paragraph, "\n")
		if strings.HasPrefix(paragraph, "# ---- ") {
			title, below, _ := strings.Cut(paragraph, "\n")
			if strings.HasPrefix(below, "#") { // it explains tables
				b.WriteString("\n" + paragraph + "\n")
				continue
			}
			heading, paragraph = "\n"+title+"\n", below
		}
		text, rest := only(paragraph, open)
		if len(rest) == len(open) {
			continue
		}
		b.WriteString(heading + "\n" + text)
		open, heading = rest, ""
	}
	if len(open) > 0 {
		return "", fmt.Errorf("the example has no setting %q", open[0].Key)
	}
	return b.String(), nil
}

const preface = `# The settings of a house's leader, written by dominion init.
#
#   dominion example leader     every setting there is, explained
#   dominion check FILE         what is wrong with this file
#   dominion add DIR            add a service at the end of this file
#   dominion reload             have the leader read the services again
#
# What stands above the services counts from the leader's next start.
`

// only is a paragraph of the example with the settings that are wanted, and
// those that it does not have.
func only(paragraph string, wanted []Setting) (text string, rest []Setting) {
	rest = slices.Clone(wanted)
	var b strings.Builder
	for line := range strings.Lines(paragraph + "\n") {
		if strings.HasPrefix(line, "#") {
			b.WriteString(line)
			continue
		}
		key, _, _ := strings.Cut(line, " ")
		i := slices.IndexFunc(rest, func(s Setting) bool { return s.Key == key })
		if i < 0 {
			continue
		}
		b.WriteString(rest[i].toml())
		rest = slices.Delete(rest, i, i+1)
	}
	return b.String(), rest
}

// Append is a file's text with an entry at its end. All that was there stays
// as it was, to the byte.
func Append(text, entry string) string {
	newline := "\n"
	if strings.Contains(text, "\r\n") {
		newline = "\r\n"
	}
	switch {
	case text == "":
	case strings.HasSuffix(text, "\n"):
		text += newline
	default:
		text += newline + newline
	}
	return text + strings.ReplaceAll(entry, "\n", newline)
}

func quotedAll(texts []string) []string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return quoted
}

// quote writes a basic string of TOML.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
