package broker_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"dominion/broker"
)

// large is a store of 12 MiB of which next to nothing is alive.
func large(t *testing.T, dir string) *broker.BareStore {
	t.Helper()
	s := openBare(t, dir)
	for i := range 3000 {
		s.Put(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 4000))
	}
	turn(t, s)
	full := s.Figures()
	for i := range 3000 {
		if i%100 != 0 {
			s.Put(fmt.Sprintf("devices/%d", i), "")
		}
	}
	if full.Bytes < 12<<20 || full.Live < 12<<20 || full.Live > 2*full.Bytes {
		t.Errorf("12 MB are in a file of %d bytes, and %d of it would be left", full.Bytes, full.Live)
	}
	return s
}

func turn(t *testing.T, s *broker.BareStore) {
	t.Helper()
	if err := s.Turn(); err != nil {
		t.Fatal(err)
	}
}

func TestALargeFileIsCompactedWhileTheBrokerRuns(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := large(t, dir)
	turns := 0
	for ; s.Figures().Bytes > 1<<20 && turns < 10; turns++ {
		turn(t, s)
		s.Put("meanwhile", fmt.Sprint(turns))
		s.Put("devices/0", fmt.Sprint(turns)) // it is in the new file already
	}
	if f := s.Figures(); f.Bytes > 1<<20 || f.Live > f.Bytes || f.Live < 30*4000 {
		t.Errorf("after %d turns a file of %d bytes has %d of use", turns, f.Bytes, f.Live)
	}
	kept := maps.Clone(s.Kept)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openBare(t, dir)
	if diff := cmp.Diff(kept, s.Kept); diff != "" || s.Moved != "" {
		t.Errorf("moved %q (-was +is):\n%s", s.Moved, diff)
	}
	onlyTheStore(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestALargeFileIsCompactedWhenItIsOpened(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	if err := large(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, in(dir))
	if kept := len(retained(t, s, "#")); s.Recovered() != "" || kept != 30 {
		t.Fatalf("%d messages, want 30; moved %q", kept, s.Recovered())
	}
	eventually(t, "the file is small, and nobody wrote", func() bool { return s.Store().Bytes < 1<<20 })
	onlyTheStore(t, dir)
}

func TestASmallFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := openBare(t, dir)
	for i := range 300 { // 1.2 MB
		s.Put(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 4000))
	}
	turn(t, s)
	for i := range 300 {
		s.Put(fmt.Sprintf("devices/%d", i), "")
	}
	turn(t, s)
	file, err := os.Stat(filepath.Join(dir, "retained.db"))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		turn(t, s)
	}
	if now, err := os.Stat(filepath.Join(dir, "retained.db")); err != nil || !os.SameFile(file, now) {
		t.Errorf("there is another file, %v", err)
	}
}

// A compaction may end anywhere: what it leaves is the old file, with a part of
// the new one beside it under another name.
func TestACompactionThatWasCutShortLeavesTheOldFile(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := openBare(t, dir)
	for i := range 5000 {
		s.Put(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 100))
	}
	turn(t, s)
	s.CompactAlways()
	for moment := 0; moment < 4; moment++ {
		s.Put("devices/0", fmt.Sprint(moment)) // the first that is copied
		s.Put(fmt.Sprintf("devices/%d", 1+moment), "")
		turn(t, s) // a third of a compaction
		after := inMemory(t)
		for _, file := range files(t, dir) {
			content, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if file != "retained.db" {
				content = content[:len(content)/2]
			}
			if err := os.WriteFile(filepath.Join(after, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		next := openBare(t, after)
		if next.Moved != "" || !maps.Equal(next.Kept, s.Kept) {
			t.Errorf("moment %d: %d messages, want %d; moved %q", moment, len(next.Kept), len(s.Kept), next.Moved)
		}
		onlyTheStore(t, after)
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestACompactionThatCannotBeDoesNoHarm(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := large(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "retained.db.new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		turn(t, s)
	}
	if f := s.Figures(); f.Trouble != "" || f.Waiting != 0 || f.Bytes < 12<<20 {
		t.Errorf("%+v", f)
	}
	kept := s.Kept
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openBare(t, dir); !maps.Equal(kept, s.Kept) {
		t.Errorf("%d messages, want %d", len(s.Kept), len(kept))
	}
}

func TestAFileThatIsTakenAwayIsWrittenAnew(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(file string) error{
		"deleted": os.Remove,
		"emptied": func(file string) error { return os.Truncate(file, 0) },
		"cut":     func(file string) error { return os.Truncate(file, 3*4096) },
		"replaced": func(file string) error {
			return os.WriteFile(file+"~", []byte("other"), 0o600)
		},
		"moved away": func(file string) error { return os.Rename(file, file+"~") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() // on tmpfs a page that was read once stays
			told := make(chan error, 10)
			s, stop := startAndStop(t, func(o *broker.Options) { in(dir)(o); o.StoreTrouble = func(err error) { told <- err } })
			p := join(t, dial(t, s), "attic", nil)
			for i := range 200 {
				p.publish(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 300), 1, true)
			}
			eventually(t, "all is on the disk", func() bool { return s.Store().Waiting == 0 })
			file := filepath.Join(dir, "retained.db")
			if err := take(file); err != nil {
				t.Fatal(err)
			}
			if name == "replaced" {
				if err := os.Rename(file+"~", file); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 200 {
				p.publish(fmt.Sprintf("devices/%d", i), "new", 1, true)
			}
			p.publish("devices/late", "it", 1, true)
			stop()
			if len(told) > 0 {
				t.Errorf("told %v: the disk is sound", <-told)
			}
			next := openBare(t, dir)
			defer next.Close()
			if next.Moved != "" || len(next.Kept) != 201 || next.Kept["devices/0"] != "new" {
				t.Errorf("%d messages, want 201; moved %q", len(next.Kept), next.Moved)
			}
		})
	}
}

func TestWhatIsNoStoreIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		there func(file string) error
		want  string
	}{
		"a folder":      {func(file string) error { return os.Mkdir(file, 0o700) }, "is no file (move it away"},
		"a dead link":   {func(file string) error { return os.Symlink("/nowhere/x", file) }, ""},
		"nothing in it": {func(file string) error { return os.WriteFile(file, nil, 0o600) }, ""},
		"a leftover":    {func(file string) error { return os.WriteFile(file+".new", bytes.Repeat([]byte("x"), 9999), 0o600) }, ""},
		"only zeros, as a new file of bbolt has after a power cut": {func(file string) error { return os.WriteFile(file, make([]byte, 16<<10), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.there(filepath.Join(dir, "retained.db")); err != nil {
				t.Fatal(err)
			}
			s, err := broker.Open(broker.Options{Data: dir, Log: zerolog.Nop()})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A disk may come from a machine whose pages have another size.
func TestAFileOfAnotherMachineIsRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10} {
		dir := inMemory(t)
		db, err := bbolt.Open(filepath.Join(dir, "retained.db"), 0o600, &bbolt.Options{PageSize: size, NoFreelistSync: size == 1<<10})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for round := range 4 {
			s := openBare(t, dir)
			if s.Moved != "" || !maps.Equal(s.Kept, want) {
				t.Fatalf("pages of %d, round %d: %d messages, want %d; moved %q", size, round, len(s.Kept), len(want), s.Moved)
			}
			for i := range 300 {
				s.Put(fmt.Sprintf("devices/%d", i*(round+1)), strings.Repeat("x", 100*round+i))
			}
			want = maps.Clone(s.Kept)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAnIdleStoreIsNotWritten(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := openBare(t, dir)
	s.Put("devices/1", "on")
	turn(t, s)
	before, err := os.Stat(filepath.Join(dir, "retained.db"))
	if err != nil {
		t.Fatal(err)
	}
	flushed := s.Figures().Flushed
	for range 5 {
		s.Put("devices/1", "on")
		s.Put("devices/2", "")
		s.Put("devices/3", "came and")
		s.Put("devices/3", "") // went
		turn(t, s)
	}
	after, err := os.Stat(filepath.Join(dir, "retained.db"))
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it was written at %v, %v", after.ModTime(), err)
	}
	if f := s.Figures(); f.Waiting != 0 || f.Flushed.Before(flushed) || time.Since(f.Flushed) > time.Minute {
		t.Errorf("%+v", f)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func onlyTheStore(t *testing.T, dir string) {
	t.Helper()
	if diff := cmp.Diff([]string{"retained.db"}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
