package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"
)

// bbolt takes a file for memory: where the file is damaged it panics, loops or
// writes over what is in use, and what is missing at its end is a SIGBUS. So a
// file is read here first, as bytes that nobody vouches for, and bbolt opens
// only what is sound: both is in bbolt's internal/common, and has not changed
// since version 2 of its format.
//
// A file is pages of one size. Pages 0 and 1 are metas, written in turns, each
// with a checksum and with the root of the tree of its transaction; a meta is
// written only when its tree is on the disk, and no transaction writes over the
// tree of the one before. So one of the two is whole after a power cut, and
// both are if the disk lied about what it had written.
const (
	pageHead    = 16 // id 8, flags 2, count 2, overflow 4
	elementSize = 16 // of a branch: pos 4, ksize 4, page 8; of a leaf: flags 4, pos 4, ksize 4, vsize 4
	bucketHead  = 16 // root 8, sequence 8
	metaSize    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0)

	longestLeaf = 8 << 20 // a few messages of the largest kind
	deepest     = 64      // levels of a tree; a few millions of messages make five
)

// survey is what a store file holds.
type survey struct {
	kept   map[string]stored
	fresh  bool  // it has no bucket yet
	damage error // nil: it is sound, and kept is all of it; else kept is what could be read
}

// stored is one message of a file.
type stored struct {
	message packets.Packet
	entry   entry
}

func readStored(it item) (stored, error) {
	pk, err := decodeRecord(it.key, it.value)
	if err != nil {
		return stored{}, err
	}
	return stored{pk, entry{recordHash(it.value), len(it.key) + len(it.value)}}, nil
}

// surveyFile reads a store file. It panics for no content.
func surveyFile(file io.ReaderAt, size int64) survey {
	metas := findMetas(file, size)
	if len(metas) == 0 {
		return survey{kept: scanLeaves(file, size), damage: fmt.Errorf("%w: it does not begin as one", errCorrupt)}
	}
	newest := walkTree(file, size, metas[0])
	if newest.damage == nil || len(metas) == 1 {
		return newest
	}
	// What the newest transaction wrote is lost in part, and in its place may be
	// what was there long ago; the transaction before is whole, if it was one.
	before := walkTree(file, size, metas[1])
	both := before.kept
	for topic, m := range newest.kept {
		was, ok := both[topic]
		if !ok || before.damage != nil || m.message.Created > was.message.Created {
			both[topic] = m
		}
	}
	newest.kept = both
	return newest
}

// meta is what one of the first two pages says.
type meta struct {
	pageSize       int64
	root, freelist uint64
	pages          uint64 // how many the file has at least
	transaction    uint64
}

// findMetas returns the metas that are whole, the newest first.
func findMetas(file io.ReaderAt, size int64) []meta {
	first, ok := readMeta(file, 0)
	var found []meta
	if ok {
		found = append(found, first)
		if second, ok := readMeta(file, first.pageSize); ok && second.pageSize == first.pageSize {
			found = append(found, second)
		}
	} else {
		for at := int64(1 << 10); at <= 16<<20 && at < size; at *= 2 {
			if second, ok := readMeta(file, at); ok && second.pageSize == at {
				found = append(found, second)
				break
			}
		}
	}
	slices.SortStableFunc(found, func(a, b meta) int {
		if a.transaction > b.transaction {
			return -1
		}
		return 1
	})
	return found
}

func readMeta(file io.ReaderAt, at int64) (meta, bool) {
	b := make([]byte, pageHead+metaSize)
	if _, err := file.ReadAt(b, at); err != nil {
		return meta{}, false
	}
	b = b[pageHead:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	m := meta{pageSize: int64(u32(b[8:])), root: u64(b[16:]), freelist: u64(b[32:]), pages: u64(b[40:]), transaction: u64(b[48:])}
	ok := u32(b) == metaMagic && u32(b[4:]) == metaVersion && u64(b[56:]) == sum.Sum64() &&
		m.pageSize >= 1<<10 && m.pageSize <= 16<<20 && m.pageSize&(m.pageSize-1) == 0
	return m, ok
}

// tree reads the pages of one transaction.
type tree struct {
	file     io.ReaderAt
	meta     meta
	pages    uint64 // below it a page may be
	used     []bool // by page
	last     []byte // key that was read last
	found    map[string]stored
	bucket   []byte // value of the bucket; nil: there is none
	damage   error
	damages  int
	inBucket bool
}

func walkTree(file io.ReaderAt, size int64, m meta) survey {
	t := &tree{file: file, meta: m, pages: m.pages, found: map[string]stored{}}
	if most := uint64(size / m.pageSize); m.pages > most {
		t.pages = most
		t.fault("its end is missing: %d bytes of %d", size, m.pages*uint64(m.pageSize))
	}
	t.used = make([]bool, t.pages)
	t.walk(m.root, 0, nil, nil)
	if t.bucket != nil {
		t.walkBucket()
	}
	t.checkFreelist()
	s := survey{kept: t.found, fresh: t.bucket == nil}
	if t.damage != nil {
		s.damage = fmt.Errorf("%w: %w (and %d more faults)", errCorrupt, t.damage, t.damages-1)
	}
	return s
}

func (t *tree) walkBucket() {
	t.inBucket, t.last = true, nil
	b := t.bucket
	switch root := binary.NativeEndian.Uint64(b); {
	case root != 0:
		t.walk(root, 0, nil, nil)
	case len(b) < bucketHead+pageHead || pageFlags(b[bucketHead:]) != leafPage:
		t.fault("its bucket is no page")
	default: // it is so small that it has no page of its own
		t.leaf(0, b[bucketHead:], nil, nil)
	}
	var sum tally
	for _, m := range t.found {
		sum.add(m.entry)
	}
	if want := tally(binary.NativeEndian.Uint64(b[8:])); want != 0 && sum != want {
		t.fault("it is made of the messages of several times")
	}
}

func (t *tree) fault(format string, args ...any) {
	t.damages++
	if t.damage == nil {
		t.damage = fmt.Errorf(format, args...)
	}
}

func pageFlags(p []byte) uint16 { return binary.NativeEndian.Uint16(p[8:]) }
func pageCount(p []byte) int    { return int(binary.NativeEndian.Uint16(p[10:])) }

// read returns a page with what overflows it; nil after a fault. No page is
// read twice, so that no walk is endless.
func (t *tree) read(id uint64) []byte {
	if id < 2 || id >= t.pages {
		t.fault("page %d is not in the file", id)
		return nil
	}
	head := make([]byte, t.meta.pageSize)
	if _, err := t.file.ReadAt(head, int64(id)*t.meta.pageSize); err != nil {
		t.fault("page %d: %w", id, err)
		return nil
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || id+more >= t.pages {
		t.fault("page %d is something else", id)
		return nil
	}
	for i := id; i <= id+more; i++ {
		if t.used[i] {
			t.fault("page %d has two places", i)
			return nil
		}
		t.used[i] = true
	}
	if more == 0 {
		return head
	}
	whole := make([]byte, (1+int64(more))*t.meta.pageSize)
	copy(whole, head)
	if _, err := t.file.ReadAt(whole[len(head):], int64(id+1)*t.meta.pageSize); err != nil {
		t.fault("page %d: %w", id, err)
		return nil
	}
	return whole
}

// walk reads what is below a page, whose keys are from first on to below most;
// nil is no limit. (What points to a page has its first key, and bbolt counts
// on it: else it comes to point twice to the same page.)
func (t *tree) walk(id uint64, depth int, first, most []byte) {
	page := t.read(id)
	switch {
	case page == nil:
	case pageFlags(page) == leafPage:
		t.leaf(id, page, first, most)
	case pageFlags(page) == branchPage && depth < deepest:
		t.branch(id, page, depth, first, most)
	default:
		t.fault("page %d is of no known kind", id)
	}
}

func (t *tree) branch(id uint64, page []byte, depth int, first, most []byte) {
	n := pageCount(page)
	keys, children := make([][]byte, n), make([]uint64, n)
	for i := range n {
		at := pageHead + i*elementSize
		element, ok := within(page, at, 0, elementSize)
		if !ok {
			t.fault("page %d is cut", id)
			return
		}
		keys[i], ok = within(page, at, binary.NativeEndian.Uint32(element), uint64(binary.NativeEndian.Uint32(element[4:])))
		if !ok || len(keys[i]) == 0 {
			t.fault("page %d has no key %d", id, i)
			return
		}
		children[i] = binary.NativeEndian.Uint64(element[8:])
	}
	if n == 0 || first != nil && !bytes.Equal(keys[0], first) {
		t.fault("page %d begins otherwise", id)
	}
	for i, key := range keys {
		below := most
		if i+1 < n {
			below = keys[i+1]
		}
		if below != nil && bytes.Compare(key, below) >= 0 {
			t.fault("page %d is out of order", id)
		}
		t.walk(children[i], depth+1, key, below)
	}
}

// within is the part of a page at a distance from one of its elements.
func within(page []byte, element int, distance uint32, size uint64) ([]byte, bool) {
	from := uint64(element) + uint64(distance)
	if from+size > uint64(len(page)) {
		return nil, false
	}
	return page[from : from+size], true
}

func (t *tree) leaf(id uint64, page []byte, first, most []byte) {
	if pageCount(page) == 0 && first != nil {
		t.fault("page %d is empty", id)
	}
	for it := range items(page) {
		switch {
		case it.key == nil:
			t.fault("page %d is cut", id)
			return
		case first != nil && !bytes.Equal(it.key, first):
			t.fault("page %d begins otherwise", id)
		case most != nil && bytes.Compare(it.key, most) >= 0 || t.last != nil && bytes.Compare(it.key, t.last) <= 0:
			t.fault("%.60q is out of order", it.key)
		}
		first = nil
		t.last = it.key
		switch {
		case t.inBucket && it.flags == 0:
			if m, err := readStored(it); err != nil {
				t.fault("%.60q: %w", it.key, err)
			} else {
				t.found[m.message.TopicName] = m
			}
		case !t.inBucket && it.flags == bucketFlag && string(it.key) == bucketName && len(it.value) >= bucketHead:
			t.bucket = it.value
		default:
			t.fault("%.60q does not belong there", it.key)
		}
	}
}

// item is an element of a leaf.
type item struct {
	flags      uint32
	key, value []byte
}

// items yields what is on a leaf, and one without a key where that is cut.
func items(page []byte) iter.Seq[item] {
	return func(yield func(item) bool) {
		u32 := binary.NativeEndian.Uint32
		for i := range pageCount(page) {
			at := pageHead + i*elementSize
			element, ok := within(page, at, 0, elementSize)
			if !ok {
				yield(item{})
				return
			}
			flags, pos, ksize, vsize := u32(element), u32(element[4:]), u32(element[8:]), u32(element[12:])
			both, ok := within(page, at, pos, uint64(ksize)+uint64(vsize))
			if !ok || ksize == 0 {
				yield(item{})
				return
			}
			if !yield(item{flags, both[:ksize], both[ksize:]}) {
				return
			}
		}
	}
}

// checkFreelist looks for pages that are in use and free as well: bbolt would
// write over them.
func (t *tree) checkFreelist() {
	if t.meta.freelist == noFreelist {
		return
	}
	page := t.read(t.meta.freelist)
	if page == nil {
		return
	}
	if pageFlags(page) != freelistPage {
		t.fault("its list of free pages is no such list")
		return
	}
	ids, n := page[pageHead:], uint64(pageCount(page))
	if n == 0xFFFF { // then the number is the first of them
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		t.fault("its list of free pages is cut")
		return
	}
	for i := range n {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id < 2 || id >= t.pages || t.used[id] {
			t.fault("page %d is said to be free", id)
			return
		}
		t.used[id] = true
	}
}

// scanLeaves finds what can be read in a file without a meta: what is sound in
// any page that was a leaf once, the newest on each topic. It may find what has
// been cleared since.
func scanLeaves(file io.ReaderAt, size int64) map[string]stored {
	found := map[string]stored{}
	for _, pageSize := range slices.Compact([]int64{4 << 10, int64(os.Getpagesize())}) {
		head := make([]byte, pageSize)
		for id := int64(2); id < size/pageSize; id++ {
			if _, err := file.ReadAt(head, id*pageSize); err != nil {
				continue
			}
			if binary.NativeEndian.Uint64(head) != uint64(id) || pageFlags(head) != leafPage {
				continue
			}
			more := min(int64(binary.NativeEndian.Uint32(head[12:]))*pageSize, longestLeaf, size-(id+1)*pageSize)
			whole := make([]byte, pageSize+more)
			if _, err := file.ReadAt(whole, id*pageSize); err != nil {
				continue
			}
			for it := range items(whole) {
				if m, err := readStored(it); err == nil && m.message.Created >= found[m.message.TopicName].message.Created {
					found[m.message.TopicName] = m
				}
			}
		}
	}
	return found
}
