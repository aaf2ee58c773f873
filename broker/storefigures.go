package broker

import (
	"os"
	"time"
)

// StoreFigures are what the store has to say about itself.
type StoreFigures struct {
	Path    string
	Bytes   int64     // size of the file
	Live    int64     // what a compacted one would have, about
	Waiting int       // topics that are not on the disk yet
	Flushed time.Time // last successful flush; zero: never
	Trouble string    // why the last flush failed; empty: it did not
}

func (st *store) figures() StoreFigures {
	f := StoreFigures{Path: st.path}
	if info, err := os.Stat(st.path); err == nil {
		f.Bytes = info.Size()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	f.Waiting = len(st.dirty)
	return f
}
