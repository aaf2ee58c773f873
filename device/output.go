package device

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"dominion/topics"
)

// Bounds of what services print.
const (
	outputCap = 1 << 20 // bytes of one file; as much again of what was before is kept beside it
	tailBytes = 8 << 10 // looked at for the last lines
	tailLines = 10
	tailWidth = 200 // characters of one line
)

// output is the file that one service prints into. The service writes to it
// itself, and so goes on when the agent is gone.
type output string

func outputOf(dataDir string, name topics.Service) output {
	return output(filepath.Join(dataDir, "output", string(name)+".log"))
}

// open prepares the file for one start and says where in it the start begins.
func (o output) open(start string, now time.Time) (*os.File, int64, error) {
	if err := o.rotate(); err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(string(o), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	if _, err := fmt.Fprintf(f, "--- start %s %s\n", start, topics.At(now)); err != nil {
		f.Close()
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// rotate moves what is in a file that has grown too long to <file>.1, in place
// of what was there. The file itself stays the same, because a service may
// hold it open; what it writes in this very moment may be lost.
func (o output) rotate() error {
	info, err := os.Stat(string(o))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= outputCap {
		return nil
	}
	if err != nil {
		return err
	}
	from, err := os.OpenFile(string(o), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := from.Seek(-outputCap, io.SeekEnd); err != nil {
		return err
	}
	to, err := os.OpenFile(string(o)+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(to, from, outputCap)
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return from.Truncate(0)
}

// makesOwn are lines in which make speaks of itself.
var makesOwn = regexp.MustCompile(`^g?make(\[\d+\])?: `)

// makesError is make's own word on how a recipe ended.
var makesError = regexp.MustCompile(`^g?make(?:\[\d+\])?: \*\*\* \[.*\] Error (\d+)`)

// last returns the last lines that were printed since an offset, without
// empty ones, cut and cleaned for a payload.
func (o output) last(offset int64) []string {
	f, err := os.Open(string(o))
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	if offset > info.Size() { // it was rotated meanwhile
		offset = 0
	}
	cut := info.Size()-offset > tailBytes
	if cut {
		offset = info.Size() - tailBytes
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, offset, tailBytes))
	if err != nil {
		return nil
	}
	if cut {
		if _, rest, ok := bytes.Cut(raw, []byte("\n")); ok {
			raw = rest
		}
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if line = clean(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-tailLines):]
}

// colours are the escape sequences of a terminal.
var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// clean makes one line fit for a payload: UTF-8, printable, bounded.
func clean(line string) string {
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, colours.ReplaceAllString(strings.ToValidUTF8(line, "?"), ""))
	line = strings.TrimSpace(line)
	if runes := []rune(line); len(runes) > tailWidth {
		line = string(runes[:tailWidth-1]) + "…"
	}
	return line
}

// telling is the last line that a service itself printed, not make nor the
// shell that tells of its end.
func telling(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if !makesOwn.MatchString(lines[i]) && lines[i] != "Terminated" && lines[i] != "Killed" {
			return lines[i]
		}
	}
	return ""
}
