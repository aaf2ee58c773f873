package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"dominion/broker"
	"dominion/coordinator"
	"dominion/topics"
)

// storeTrouble is told by the broker when its store cannot be written, and when
// it can again. Only the last word counts.
func (g *gate) storeTrouble(err error) {
	for {
		select {
		case g.store <- err:
			return
		default:
		}
		select {
		case <-g.store:
		default:
		}
	}
}

// tellStore tells the coordinator the last word on the store; what it does not
// take waits, and is told later.
func (g *gate) tellStore() {
	select {
	case err := <-g.store:
		if !g.tell(storeNotice(err)) {
			select {
			case g.store <- err:
			default: // there is a newer word
			}
		}
	default:
	}
}

// storeNotice is the alert that the store is not written; without an error, that
// it is over.
func storeNotice(err error) coordinator.Notice {
	n := coordinator.Notice{ID: "store-not-written"}
	if err == nil {
		return n
	}
	n.Alert = &topics.Alert{Severity: topics.SeverityError, Text: err.Error(), Next: "look at the disk (dmesg); it is tried again all the time"}
	var e *broker.StoreError
	if !errors.As(err, &e) {
		return n
	}
	folder := filepath.Dir(e.Path)
	why := "cannot be written"
	switch {
	case e.Full:
		why = "has no room"
		n.Alert.Next = fmt.Sprintf("free at least %s there, see: df -h %s (the house does the rest by itself)", megabytes(e.Need), folder)
	case errors.Is(err, syscall.EROFS):
		why = "is mounted read-only"
		n.Alert.Next = "see why: dmesg | tail (a card that does this is often worn out: replace it)"
	case errors.Is(err, fs.ErrPermission):
		why = "may not be written by this user"
		n.Alert.Next = fmt.Sprintf("see whose it is: ls -ld %s %s", folder, e.Path)
	case errors.Is(err, syscall.EIO):
		why = "reports errors"
		n.Alert.Next = fmt.Sprintf("copy %s to another disk, then see: dmesg | tail (this one may be dying)", folder)
	}
	n.Alert.Text = fmt.Sprintf("the disk of %s %s: %s only in memory, and gone if the power fails (%v)", e.Path, why, messages(e.Waiting), errno(err))
	return n
}

func messages(n int) string {
	if n == 1 {
		return "1 message of the house is"
	}
	return fmt.Sprintf("%d messages of the house are", n)
}

// megabytes rounds up.
func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", (bytes+1e6-1)/1e6) }

// errno is the operating system's word, without what was being done.
func errno(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return errors.Unwrap(err)
}
