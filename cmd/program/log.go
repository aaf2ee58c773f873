package program

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// Levels are the words for a log's level.
const Levels = "debug, info, warn or error"

// NewLog makes a log for people: one line each, in colour on a terminal. Those
// beside get the same lines, without colour.
func NewLog(w io.Writer, level string, beside ...io.Writer) (zerolog.Logger, error) {
	var l zerolog.Level
	switch strings.ToLower(level) {
	case "debug":
		l = zerolog.DebugLevel
	case "", "info":
		l = zerolog.InfoLevel
	case "warn", "warning":
		l = zerolog.WarnLevel
	case "error":
		l = zerolog.ErrorLevel
	default:
		return zerolog.Logger{}, fmt.Errorf("log_level is %q (%s)", level, Levels)
	}
	out := zerolog.ConsoleWriter{Out: w, NoColor: !Colour(w), TimeFormat: time.DateTime}
	if journal(w) {
		out.PartsExclude = []string{zerolog.TimestampFieldName} // it has its own
	}
	all := []io.Writer{out}
	for _, b := range beside {
		all = append(all, zerolog.ConsoleWriter{Out: b, NoColor: true, TimeFormat: time.DateTime})
	}
	return zerolog.New(zerolog.MultiLevelWriter(all...)).Level(l).With().Timestamp().Logger(), nil
}

// journal tells whether what is written goes to systemd's journal, as
// systemd.exec(5) says of JOURNAL_STREAM.
func journal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("JOURNAL_STREAM") == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// Colour tells whether a writer is a terminal whose user likes colour.
func Colour(w io.Writer) bool {
	return Terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Terminal tells whether a writer is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Columns is the width of a terminal, 0 when w is none.
func Columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Release is the version of this source.
const Release = "0.1.0"

// Version is the release and, as far as the build knows it, the commit:
// 0.1.0+3f2a91c, with .dirty when the tree had changes. It is semver.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Release
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if len(commit) < 7 {
		return Release
	}
	version := Release + "+" + commit[:7]
	if settings["vcs.modified"] == "true" {
		version += ".dirty"
	}
	return version
}
