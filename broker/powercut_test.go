package broker_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/broker"
)

// A power cut leaves of what was written since the last fsync any part: each
// page as it was, new, half new, or as zeros. bbolt writes a transaction's
// pages, calls fsync, writes one meta page, calls fsync. So from the files
// before and after a transaction all that a cut could leave can be made.

// cut is a transaction of which a part is lost.
type cut struct {
	before, after []byte
	old, now      map[string]string // what was retained then
	random        *rand.Rand
}

const sector = 512

func pageAt(b []byte, i int) []byte {
	size := os.Getpagesize()
	if i*size >= len(b) {
		return make([]byte, size)
	}
	return b[i*size : (i+1)*size]
}

// changed lists the pages that the transaction wrote.
func (c *cut) changed() (metas, data []int) {
	for i := range len(c.after) / os.Getpagesize() {
		switch {
		case bytes.Equal(pageAt(c.before, i), pageAt(c.after, i)):
		case i < 2:
			metas = append(metas, i)
		default:
			data = append(data, i)
		}
	}
	return metas, data
}

// tear makes of pages of the file what a cut may leave of them.
func (c *cut) tear(file []byte, pages []int) {
	for _, i := range pages {
		page, old, now := pageAt(file, i), pageAt(c.before, i), pageAt(c.after, i)
		switch c.random.IntN(5) {
		case 0:
			copy(page, old)
		case 1:
			copy(page, now)
		case 2: // in sectors
			for at := 0; at < len(page); at += sector {
				copy(page[at:at+sector], [][]byte{old, now}[c.random.IntN(2)][at:])
			}
		case 3: // in bytes
			at := c.random.IntN(len(page))
			copy(page, now[:at])
			copy(page[at:], old[at:])
		case 4:
			clear(page)
		}
	}
}

// inData is a file in which the transaction's pages are torn, and none of its
// meta is there yet. The size of the file is old or new.
func (c *cut) inData() []byte {
	file := append(bytes.Clone(c.before), make([]byte, max(0, len(c.after)-len(c.before)))...)
	_, data := c.changed()
	c.tear(file, data)
	return file
}

// inMeta is a file in which all is there but for its meta, which is torn.
func (c *cut) inMeta() []byte {
	file := bytes.Clone(c.after)
	metas, _ := c.changed()
	c.tear(file, metas)
	return file
}

// deceived is a file on a disk that did not write what it said it had written.
func (c *cut) deceived() []byte {
	file := bytes.Clone(c.after)
	_, data := c.changed()
	c.tear(file, data)
	return file
}

// opened opens a store with a file, writes to it, and opens it once more.
func opened(t *testing.T, file []byte) (kept map[string]string, moved string) {
	t.Helper()
	dir := inMemory(t)
	if err := os.WriteFile(filepath.Join(dir, "retained.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openBare(t, dir)
	kept, moved = maps.Clone(s.Kept), s.Moved
	for i := range 20 {
		s.Put(fmt.Sprintf("after/%d", i), "it")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openBare(t, dir)
	defer s.Close()
	maps.DeleteFunc(s.Kept, func(topic, _ string) bool { return topic[:2] == "af" })
	if !maps.Equal(kept, s.Kept) || s.Moved != "" {
		t.Fatalf("the second time it holds something else (moved %q; -first +second):\n%s", s.Moved, cmp.Diff(kept, s.Kept))
	}
	return kept, moved
}

// inMemory is a directory on which fsync costs nothing, if there is one.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "broker-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openBare(t testing.TB, dir string) *broker.BareStore {
	t.Helper()
	s, err := broker.OpenBareStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// transactions calls do for transactions of all kinds, of which every message
// was one that had been published.
func transactions(t *testing.T, n int, do func(*cut)) {
	dir := inMemory(t)
	random := rand.New(rand.NewPCG(1, 2))
	s := openBare(t, dir)
	defer s.Close()
	c := &cut{random: random, now: map[string]string{}}
	for round := range n {
		changes := []int{1, 5, 40, 300}[random.IntN(4)]
		if round == 0 || random.IntN(10) == 0 {
			changes = 1500
		}
		c.old = c.now
		for range changes {
			topic := fmt.Sprintf("devices/%04d", random.IntN(1800))
			size := random.IntN(400)
			if random.IntN(40) == 0 {
				size = random.IntN(20_000) // more than a page
			}
			payload := fmt.Sprint(round, " ") + strings.Repeat(string(rune('a'+round%26)), size)
			if random.IntN(3) == 0 {
				payload = ""
			}
			s.Put(topic, payload)
		}
		c.now = maps.Clone(s.Kept)
		var err error
		if c.before, err = os.ReadFile(filepath.Join(dir, "retained.db")); err != nil {
			t.Fatal(err)
		}
		if err := s.Turn(); err != nil {
			t.Fatal(err)
		}
		if c.after, err = os.ReadFile(filepath.Join(dir, "retained.db")); err != nil {
			t.Fatal(err)
		}
		if metas, data := c.changed(); len(metas) == 1 && len(data) > 0 {
			do(c)
		} else if len(metas)+len(data) > 0 {
			t.Fatalf("round %d: metas %v and data %v changed: not one transaction", round, metas, data)
		}
	}
}

func TestAPowerCutLosesNothingThatWasFlushed(t *testing.T) {
	t.Parallel()
	outcomes := map[string]int{}
	transactions(t, 12, func(c *cut) {
		for range 2 {
			kept, moved := opened(t, c.inData())
			if !maps.Equal(c.old, kept) || moved != "" {
				t.Fatalf("cut while its pages were written (moved %q; -flushed +got):\n%s", moved, cmp.Diff(c.old, kept))
			}
			kept, moved = opened(t, c.inMeta())
			switch {
			case moved != "":
				t.Fatalf("cut while its meta was written: moved %q", moved)
			case maps.Equal(kept, c.now):
				outcomes["new"]++
			case maps.Equal(kept, c.old):
				outcomes["old"]++
			default:
				t.Fatal("cut while its meta was written: neither what was flushed nor what was about to be")
			}
		}
	})
	if outcomes["new"] == 0 || outcomes["old"] == 0 {
		t.Errorf("outcomes %v: this tests nothing", outcomes)
	}
}

// A disk that lies says that it has written what it has not. What it lost of
// the last transaction is lost, but nothing that was flushed before.
func TestADiskThatLiesLosesOneTransaction(t *testing.T) {
	t.Parallel()
	damaged := 0
	published := map[string]bool{}
	transactions(t, 12, func(c *cut) {
		for topic, payload := range c.now {
			published[topic+" "+payload] = true
		}
		for range 3 {
			kept, moved := opened(t, c.deceived())
			if moved != "" {
				damaged++
			}
			for topic, payload := range kept {
				if was, ok := c.old[topic]; ok && payload != was && payload != c.now[topic] || !published[topic+" "+payload] {
					t.Errorf("%s is %.40q, which was neither flushed nor about to be", topic, payload)
				}
			}
			for topic := range c.old {
				if _, still := c.now[topic]; still && kept[topic] == "" {
					t.Errorf("%s is lost (moved %q)", topic, moved)
				}
			}
			if moved == "" && !maps.Equal(kept, c.old) && !maps.Equal(kept, c.now) {
				t.Errorf("taken for sound, and a mixture")
			}
			if t.Failed() {
				return
			}
		}
	})
	if damaged == 0 {
		t.Error("no file was damaged: this tests nothing")
	}
}

// bbolt writes over what its list of free pages names.
func TestAPageThatIsFreeAndInUseIsDamage(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	s := openBare(t, dir)
	for round := range 3 {
		for i := range 100 {
			s.Put(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 300+round))
		}
		turn(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(filepath.Join(dir, "retained.db"))
	if err != nil {
		t.Fatal(err)
	}
	const idAt, flagsAt, freelist = 16, 8, 0x10
	damaged := 0
	for wrong := range 32 {
		file := bytes.Clone(sound)
		for i := range len(file) / os.Getpagesize() {
			if page := pageAt(file, i); page[flagsAt] == freelist && page[idAt] != 0 {
				page[idAt] = byte(wrong)
			}
		}
		kept, moved := opened(t, file)
		if len(kept) != 100 {
			t.Errorf("page %d: %d messages, want 100", wrong, len(kept))
		}
		if moved != "" {
			damaged++
		}
	}
	if damaged < 5 {
		t.Errorf("%d files of 32 were damaged", damaged)
	}
}

// docs/operation.md tells people to copy the file while the broker runs, and
// when the copy is a good one.
func TestACopyThatIsEqualAfterwardsIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := startAndStop(t, in(dir))
	put := s.Injector()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				_ = put(fmt.Sprintf("devices/%d", i%500), bytes.Repeat([]byte{byte('a' + i%26)}, 300), true, 1)
			}
		}
	}()
	defer func() { close(done); <-ended }()
	file := filepath.Join(dir, "retained.db")
	eventually(t, "the storm is on", func() bool { return s.Store().Bytes > 100<<10 })
	whole := 0
	for tries := 0; tries < 300 && whole < 10; tries++ {
		first, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			continue
		}
		whole++
		if _, moved := opened(t, first); moved != "" {
			t.Fatalf("the copy is damaged: %s", moved)
		}
	}
	if whole == 0 {
		t.Skip("the file changed all the time")
	}
}

// Whatever is in the file, the broker starts, and says whether it was sound.
func FuzzStoreFile(f *testing.F) {
	dir := inMemory(f)
	s := openBare(f, dir)
	for i := range 300 {
		s.Put(fmt.Sprintf("devices/%d", i), strings.Repeat("x", 100*(i%60)+1))
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(filepath.Join(dir, "retained.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{0})
	f.Add(uint32(4096+16), []byte{9, 9, 9, 9})
	f.Add(uint32(3*4096+10), []byte{255, 255})
	f.Add(uint32(len(sound)-1), []byte{})
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		file := bytes.Clone(sound)
		from := min(int(at), len(file))
		if len(with) == 0 {
			file = file[:from]
		}
		copy(file[from:], with)
		kept, moved := opened(t, file)
		inMeta := int(at) < 2*os.Getpagesize() // then it is as before the last transaction
		if moved == "" && len(kept) != 300 && !inMeta {
			t.Errorf("it is sound with %d messages of 300", len(kept))
		}
	})
}
