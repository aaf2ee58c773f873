package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/device/journal"
)

func open(t *testing.T, b journal.Bounds) *journal.Journal {
	t.Helper()
	j, err := journal.Open(filepath.Join(t.TempDir(), "output"), b)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// keep runs the journal until the test ends.
func keep(t *testing.T, j *journal.Journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		j.Run(ctx, func(err error) { t.Errorf("trouble: %v", err) })
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// prints appends to a file, as a service does.
func prints(t *testing.T, j *journal.Journal, name, text string) {
	t.Helper()
	f, err := j.Append(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestLastIsOfThisStart(t *testing.T) {
	j := open(t, journal.Bounds{})
	prints(t, j, "lamp", "of the start before\n")
	f, since, err := j.Begin("lamp", "s1", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, "  \x1b[31mred\x1b[0m\x07\n\n")
	j.Mark("lamp", "exited with code 1", time.Unix(0, 0))
	fmt.Fprint(f, "last\xff "+strings.Repeat("x", 300))
	want := []string{"red", "last? " + strings.Repeat("x", 193) + "…"}
	if diff := cmp.Diff(want, j.Last("lamp", since)); diff != "" {
		t.Error(diff)
	}
	tail := j.Tail("lamp", 4)
	want = []string{"  red", "", "--- exited with code 1 1970-01-01T00:00:00Z", "last? " + strings.Repeat("x", 300)}
	if diff := cmp.Diff(want, tail); diff != "" {
		t.Error(diff)
	}
}

// TestBounds holds that what services print is bounded for each and for all,
// and that Tail reads on in what was moved away.
func TestBounds(t *testing.T) {
	bounds := journal.Bounds{Size: 1000, Count: 2, Total: 5000}
	j := open(t, bounds)
	keep(t, j)
	line := 0
	for range 8 {
		var text strings.Builder
		for text.Len() <= 1000 {
			fmt.Fprintf(&text, "line %d\n", line)
			line++
		}
		prints(t, j, "lamp", text.String())
		eventually(t, "it is moved away", func() bool { return size(t, j.Path("lamp")) == 0 })
	}
	for n, want := range map[int]bool{1: true, 2: true, 3: false} {
		if got := size(t, fmt.Sprintf("%s.%d", j.Path("lamp"), n)); got > 1000 || (got > 0) != want {
			t.Errorf("file %d has %d bytes", n, got)
		}
	}
	tail := j.Tail("lamp", 150)
	if len(tail) != 150 || tail[149] != fmt.Sprintf("line %d", line-1) || tail[0] != fmt.Sprintf("line %d", line-150) {
		t.Errorf("the tail has %d lines, from %q to %q of %d", len(tail), tail[0], tail[len(tail)-1], line)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		prints(t, j, name, strings.Repeat("x", 1500)+"\n")
		eventually(t, name+" is moved away", func() bool { return size(t, j.Path(name)) == 0 })
	}
	eventually(t, "all together are bounded", func() bool {
		all, _ := filepath.Glob(filepath.Join(filepath.Dir(j.Path("a")), "*"))
		var sum int64
		for _, path := range all {
			sum += size(t, path)
		}
		return sum <= bounds.Total
	})
	if got := j.Tail("d", 1); len(got) != 1 {
		t.Error("the newest is gone")
	}
}

// TestMoreFilesThanRoom holds the bound where nothing is left to take away but
// what is being written.
func TestMoreFilesThanRoom(t *testing.T) {
	j := open(t, journal.Bounds{Size: 1000, Count: 1, Total: 2000})
	for _, name := range []string{"a", "b", "c"} {
		prints(t, j, name, strings.Repeat("x", 900)+"\n")
	}
	prints(t, j, "d", strings.Repeat("x", 1001))
	f, _, err := j.Begin("d", "s1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var sum int64
	for _, name := range []string{"a", "b", "c", "d"} {
		sum += size(t, j.Path(name)) + size(t, j.Path(name)+".1")
	}
	if sum > 2100 { // and the mark
		t.Errorf("%d bytes are kept", sum)
	}
}

func TestFollow(t *testing.T) {
	j := open(t, journal.Bounds{Size: 1000, Count: 3})
	prints(t, j, "lamp", "one\ntwo\nthr")
	keep(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, batches, ok := j.Follow(ctx, "lamp", 1)
	if !ok || cmp.Diff([]string{"two"}, lines) != "" {
		t.Fatalf("follows %v after %q", ok, lines)
	}
	var got []string
	until := func(last string) {
		t.Helper()
		late := time.After(20 * time.Second)
		for len(got) == 0 || got[len(got)-1] != last {
			select {
			case b := <-batches:
				if got = append(got, b.Lines...); b.Skipped != 0 {
					t.Errorf("%d bytes are left out", b.Skipped)
				}
			case <-late:
				t.Fatalf("%q does not come after %q", last, got)
			}
		}
	}
	prints(t, j, "lamp", "ee\n")
	prints(t, j, "other", "nothing to it\n")
	until("three")
	// Over many files, and in order.
	want := []string{"three"}
	for i := range 8 {
		var burst strings.Builder
		for n := range 20 {
			line := fmt.Sprintf("%d.%d of a line that makes the file grow beyond its bound", i, n)
			want = append(want, line)
			burst.WriteString(line + "\n")
		}
		prints(t, j, "lamp", burst.String())
		until(want[len(want)-1])
		eventually(t, "it is moved away", func() bool { return size(t, j.Path("lamp")) == 0 })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Of what is too much, the end is told, and how much is left out.
	prints(t, j, "lamp", strings.Repeat("much\n", 100_000)+"end\n")
	var skipped int64
	for got = nil; len(got) == 0 || got[len(got)-1] != "end"; {
		b := <-batches
		got, skipped = append(got, b.Lines...), skipped+b.Skipped
	}
	if told := int64(5*len(got) - 1); skipped+told < 500_000 || told > 200_000 {
		t.Errorf("%d lines are told, %d bytes left out", len(got), skipped)
	}
}

func TestALineThatNeverEnds(t *testing.T) {
	j := open(t, journal.Bounds{})
	keep(t, j)
	_, batches, _ := j.Follow(t.Context(), "lamp", 0)
	prints(t, j, "lamp", strings.Repeat("x", 5000))
	if b := <-batches; len(b.Lines) != 1 || len(b.Lines[0]) < 900 || len(b.Lines[0]) > 1010 {
		t.Errorf("got %d lines", len(b.Lines))
	}
}

func TestFullDiskStopsNothing(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	j := open(t, journal.Bounds{})
	if err := os.Symlink("/dev/full", j.Path("lamp")); err != nil {
		t.Fatal(err)
	}
	f, _, err := j.Begin("lamp", "s1", time.Now())
	if err != nil {
		t.Fatalf("a full disk keeps a service from starting: %v", err)
	}
	f.Close()
}
