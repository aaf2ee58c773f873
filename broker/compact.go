package broker

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"
)

// bbolt's file never shrinks. So when it is much larger than what it holds, a
// new one is written and takes its place; and also when the disk may not have
// what was written to the old one. It is made of what is retained, not of the
// old file, in steps between which the old one is flushed as ever.

// When a file is compacted: it is larger than the floor, and many times of what
// it holds. What failed is tried again after a while.
const (
	compactFloor = 4 << 20
	compactTimes = 3
	compactPause = time.Hour
)

// rewrite is a new file that is not complete.
type rewrite struct {
	to    *volume
	left  []string // topics that are not in it, in their order
	again []string // topics that were written to the old file since
}

// compacted is about how large a new file would be that holds so much.
func compacted(live int64) int64 { return live + live/4 + 64<<10 }

// wasteful tells whether a file of this size ought to be compacted.
func wasteful(size, live int64) bool {
	return size > max(compactFloor, compactTimes*compacted(live))
}

// worthwhile tells whether a compaction should begin.
func (st *store) worthwhile() bool {
	return st.wasteful(st.volume.size(), st.volume.live) && !time.Now().Before(st.resting)
}

// begin starts a new file.
func (st *store) begin() error {
	to, err := newVolume(st.path + newSuffix)
	if err != nil {
		return err
	}
	st.rewrite = &rewrite{to: to, left: slices.Sorted(maps.Keys(st.volume.known))}
	return nil
}

// step goes on with the new file; with the last step it takes its place. After
// an error there is no new file, and the old one is what it was.
func (st *store) step() (err error) {
	r := st.rewrite
	defer func() {
		if err != nil {
			st.drop()
		}
	}()
	if len(r.left) > 0 {
		n, err := r.to.bring(r.left, st.current)
		if err != nil {
			return err
		}
		r.left = r.left[n:]
		if len(r.left) > 0 {
			return nil
		}
	}
	waiting := st.take()
	late := slices.Concat(r.again, waiting)
	for len(late) > 0 {
		n, err := r.to.bring(late, st.current)
		if err != nil {
			st.touch(waiting...)
			return err
		}
		late = late[n:]
	}
	return st.replace()
}

// replace puts the new file in the place of the old one.
func (st *store) replace() error {
	to, old := st.rewrite.to, st.volume
	if err := to.moveTo(st.path); err != nil {
		if to.path == st.path { // it has the name, but perhaps not after a power cut
			st.adopt(to)
			_ = to.close()
		}
		return err
	}
	st.log.Info().Str("path", st.path).Int64("before", old.size()).Int64("after", to.size()).Msg("the store was written anew")
	st.adopt(to)
	return nil
}

func (st *store) adopt(to *volume) {
	_ = st.volume.close()
	st.volume, st.rewrite = to, nil
}

// drop gives the new file up.
func (st *store) drop() {
	if st.rewrite == nil {
		return
	}
	_ = st.rewrite.to.close()
	st.rewrite = nil
	if err := os.Remove(st.path + newSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		st.log.Warn().Err(err).Msg("an unfinished copy of the store is not removed")
	}
}
