package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/coordinator"
	"dominion/topics"
)

func TestAStoreThatIsNotWrittenIsAnAlert(t *testing.T) {
	const path = "/var/lib/dominion/retained.db"
	for _, c := range []struct {
		err        error
		text, next string
	}{
		{
			&broker.StoreError{Path: path, Waiting: 37, Need: 1_300_000, Full: true, Err: &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}},
			"the disk of /var/lib/dominion/retained.db has no room: 37 messages of the house are only in memory, and gone if the power fails (no space left on device)",
			"free at least 2 MB there, see: df -h /var/lib/dominion (the house does the rest by itself)",
		},
		{
			&broker.StoreError{Path: path, Waiting: 1, Err: syscall.EIO},
			"the disk of /var/lib/dominion/retained.db reports errors: 1 message of the house is only in memory, and gone if the power fails (input/output error)",
			"copy /var/lib/dominion to another disk, then see: dmesg | tail (this one may be dying)",
		},
		{
			&broker.StoreError{Path: path, Waiting: 2, Err: &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS}},
			"the disk of /var/lib/dominion/retained.db is mounted read-only: 2 messages of the house are only in memory, and gone if the power fails (read-only file system)",
			"see why: dmesg | tail (a card that does this is often worn out: replace it)",
		},
		{
			&broker.StoreError{Path: path, Waiting: 2, Err: &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}},
			"the disk of /var/lib/dominion/retained.db may not be written by this user: 2 messages of the house are only in memory, and gone if the power fails (permission denied)",
			"see whose it is: ls -ld /var/lib/dominion /var/lib/dominion/retained.db",
		},
		{
			&broker.StoreError{Path: path, Waiting: 2, Err: errors.New("what nobody thought of")},
			"the disk of /var/lib/dominion/retained.db cannot be written: 2 messages of the house are only in memory, and gone if the power fails (what nobody thought of)",
			"look at the disk (dmesg); it is tried again all the time",
		},
	} {
		want := coordinator.Notice{ID: "store-not-written", Alert: &topics.Alert{Severity: topics.SeverityError, Text: c.text, Next: c.next}}
		if diff := cmp.Diff(want, storeNotice(c.err)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// However busy the coordinator is, it hears the last word on the store.
func TestTheLastWordOnTheStoreIsTold(t *testing.T) {
	g := newGate(nil, zerolog.Nop())
	for i := range noticesAtOnce {
		g.notices <- coordinator.Notice{ID: fmt.Sprint(i)}
	}
	g.storeTrouble(errors.New("it is full"))
	g.tellStore() // nobody listens
	g.storeTrouble(nil)
	g.tellStore()
	for range noticesAtOnce {
		<-g.notices
	}
	g.tellStore()
	if n := <-g.notices; n.ID != "store-not-written" || n.Alert != nil {
		t.Errorf("told %+v, want that it is over", n)
	}
	g.tellStore()
	if len(g.notices) != 0 {
		t.Errorf("told %+v too", <-g.notices)
	}
}
