package configs

import (
	"fmt"
	"strconv"
	"strings"
)

// The TOML library says which keys a file holds, but not where. This scanner finds the line of every key and of every
// element of a list in a file that the library accepts. In any other file it finds what it can: it refuses nothing, always
// ends and never panics.

// maxDepth bounds keys and values inside one another; the library would follow any depth until the stack is full.
const maxDepth = 64

// node is a key, a table or an element of a list in the file. A nil node has no line and nothing in it.
type node struct {
	line     int
	explicit bool // a header or a key names it; else it is only on the way to one
	keys     map[string]*node
	items    []*node
}

func (n *node) key(name string) *node {
	if n == nil {
		return nil
	}
	return n.keys[name]
}

func (n *node) item(i int) *node {
	if n == nil || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

// enter returns what name stands for in n, made if need be; in an array of tables that is the last table.
func (n *node) enter(name string, line int) *node {
	child := n.keys[name]
	if child == nil {
		child = &node{line: line}
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		n.keys[name] = child
	}
	return child
}

func (n *node) last() *node {
	if len(n.items) > 0 {
		return n.items[len(n.items)-1]
	}
	return n
}

// name marks n as named on this line. The first naming counts: a later one is a duplicate, which the library refuses.
func (n *node) name(line int) {
	if !n.explicit {
		n.explicit, n.line = true, line
	}
}

// flatten lists the lines by key, names joined by dots, elements as key[0].
func (n *node) flatten() map[string]int {
	lines := map[string]int{}
	var visit func(n *node, key string)
	visit = func(n *node, key string) {
		if key != "" {
			lines[key] = n.line
		}
		for name, child := range n.keys {
			visit(child, strings.TrimPrefix(key+"."+name, "."))
		}
		for i, item := range n.items {
			visit(item, fmt.Sprintf("%s[%d]", key, i))
		}
	}
	if n != nil {
		visit(n, "")
	}
	return lines
}

type scanner struct {
	text    string
	at      int // the byte to read next
	line    int // the line of that byte, from 1
	tooDeep int // the line on which maxDepth was passed, or 0
}

// scan finds the lines of everything in a TOML text. tooDeep is the line on which things stand more than maxDepth inside one another, or 0.
func scan(text string) (root *node, tooDeep int) {
	s := &scanner{text: text, line: 1}
	root = &node{}
	table := root
	for s.skip(" \t\r\n"); s.at < len(s.text) && s.tooDeep == 0; s.skip(" \t\r\n") {
		switch s.peek() {
		case '#':
		case '[':
			table = s.header(root)
		default:
			s.assignment(table, 0)
		}
		s.restOfLine()
	}
	return root, s.tooDeep
}

// header reads "[a.b]" or "[[a.b]]" and returns the table that the following lines belong to.
func (s *scanner) header(root *node) *node {
	s.next()
	array := s.accept('[')
	line := s.line
	names := s.names()
	table := root
	for i, name := range names {
		table = table.enter(name, line)
		if i < len(names)-1 {
			table = table.last()
		}
	}
	if len(names) == 0 {
		return &node{} // nameless, so nobody's
	}
	if !array {
		table.name(line)
		return table.last()
	}
	table.name(line)
	item := &node{line: line, explicit: true}
	table.items = append(table.items, item)
	return item
}

// assignment reads "a.b = value" into a table. It reads at least one byte.
func (s *scanner) assignment(table *node, depth int) {
	line, start := s.line, s.at
	names := s.names()
	if len(names) == 0 && s.at == start {
		s.next()
		return
	}
	for _, name := range names {
		table = table.last().enter(name, line)
	}
	if !s.accept('=') {
		return
	}
	table.name(line)
	s.skip(" \t")
	s.value(table, depth)
}

// value reads a value up to its last byte, and what stands in it into n.
func (s *scanner) value(n *node, depth int) {
	if depth > maxDepth {
		s.tooDeep, s.at = s.line, len(s.text)
	}
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.next()
		for s.inside(']') {
			item := &node{line: s.line, explicit: true}
			n.items = append(n.items, item)
			start := s.at
			if s.value(item, depth+1); s.at == start {
				s.next()
			}
		}
	case '{':
		s.next()
		for s.inside('}') {
			s.assignment(n, depth+1)
		}
	default:
		for s.at < len(s.text) && strings.IndexByte(",]}#\n", s.peek()) < 0 {
			s.next()
		}
	}
}

// inside skips to the next thing in a list or an inline table; it is false, and the end is read, if there is none.
func (s *scanner) inside(end byte) bool {
	for {
		s.skip(" \t\r\n,")
		switch {
		case s.at >= len(s.text), s.accept(end):
			return false
		case s.peek() != '#':
			return true
		}
		s.restOfLine()
	}
}

// names reads a key, dotted or not, and the blanks around it. It stops at what is no key.
func (s *scanner) names() []string {
	var names []string
	for {
		s.skip(" \t")
		start := s.at
		name := ""
		if c := s.peek(); c == '"' || c == '\'' {
			name = s.quoted()
		} else {
			for s.at < len(s.text) && isBareByte(s.peek()) {
				s.next()
			}
			name = s.text[start:s.at]
		}
		if s.at == start {
			return names
		}
		names = append(names, name)
		if len(names) > maxDepth {
			s.tooDeep = s.line
			return names
		}
		s.skip(" \t")
		if !s.accept('.') {
			return names
		}
	}
}

// quoted reads a string of any of the four kinds and returns what it says. One that may not hold a newline ends there.
func (s *scanner) quoted() string {
	quote := s.peek()
	if triple := strings.Repeat(string(quote), 3); strings.HasPrefix(s.text[s.at:], triple) {
		s.multiline(quote, triple)
		return ""
	}
	s.next()
	start := s.at
	for s.at < len(s.text) && s.peek() != '\n' {
		switch c := s.peek(); {
		case c == quote:
			text := s.text[start:s.at]
			s.next()
			if quote == '"' {
				return unescape(text)
			}
			return text
		case c == '\\' && quote == '"' && s.at+1 < len(s.text) && s.text[s.at+1] != '\n':
			s.next()
		}
		s.next()
	}
	return s.text[start:s.at]
}

func (s *scanner) multiline(quote byte, triple string) {
	for range triple {
		s.next()
	}
	for s.at < len(s.text) && !strings.HasPrefix(s.text[s.at:], triple) {
		if s.peek() == '\\' && quote == '"' {
			s.next()
		}
		s.next()
	}
	// Up to two quotes of the text may stand before the three that end it.
	for n := 0; n < 5 && s.accept(quote); n++ {
	}
}

// unescape reads the escapes of a basic string; one that is none stays as it is.
func unescape(text string) string {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(text, `\`)
		b.WriteString(plain)
		if !found {
			return b.String()
		}
		if rest == "" {
			b.WriteByte('\\')
			return b.String()
		}
		c := rest[0]
		text = rest[1:]
		if i := strings.IndexByte(`btnfre"\`, c); i >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[i])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		if digits > 0 && len(text) >= digits {
			if r, err := strconv.ParseUint(text[:digits], 16, 32); err == nil {
				b.WriteRune(rune(r))
				text = text[digits:]
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(c)
	}
}

func (s *scanner) peek() byte {
	if s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) next() {
	if s.at >= len(s.text) {
		return
	}
	if s.text[s.at] == '\n' {
		s.line++
	}
	s.at++
}

func (s *scanner) accept(c byte) bool {
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.next()
	return true
}

func (s *scanner) skip(blanks string) {
	for s.at < len(s.text) && strings.IndexByte(blanks, s.text[s.at]) >= 0 {
		s.next()
	}
}

func (s *scanner) restOfLine() {
	for s.at < len(s.text) && s.text[s.at] != '\n' {
		s.next()
	}
}
