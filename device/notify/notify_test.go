package notify_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dominion/device/notify"
)

// hearing is a socket with what it heard.
type hearing struct {
	path  string
	words chan notify.Word
	from  chan notify.Sender
}

func hear(t *testing.T, path string) hearing {
	t.Helper()
	s, err := notify.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	h := hearing{path, make(chan notify.Word, 1000), make(chan notify.Sender, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(from notify.Sender) bool { h.from <- from; return true }, func(w notify.Word) { h.words <- w })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

func say(t *testing.T, path, text string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func (h hearing) next(t *testing.T) notify.Word {
	t.Helper()
	select {
	case w := <-h.words:
		return w
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
	}
	return notify.Word{}
}

func TestWords(t *testing.T) {
	h := hear(t, filepath.Join(t.TempDir(), "s"))
	for _, nothing := range []string{"", "READY=0", "MAINPID=1\nFDSTORE=1", "READY=1" + strings.Repeat("x", 5000), "\x00\xff=\n\n="} {
		say(t, h.path, nothing)
	}
	say(t, h.path, "MAINPID=7\nREADY=1\nSTATUS=12 = a dozen\n")
	w := h.next(t)
	if !w.Ready || w.Stopping || w.Watchdog || w.Status == nil || *w.Status != "12 = a dozen" {
		t.Errorf("heard %+v", w)
	}
	if from := <-h.from; from.PID != os.Getpid() || from.UID != os.Getuid() {
		t.Errorf("it came from %+v", from)
	}
	say(t, h.path, "STOPPING=1\nWATCHDOG=1\nSTATUS=")
	if w := h.next(t); w.Ready || !w.Stopping || !w.Watchdog || w.Status == nil || *w.Status != "" {
		t.Errorf("heard %+v", w)
	}
}

// A service goes on to send to the path it was given, whoever listens there.
func TestTheNextSocketIsFoundAtTheSamePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := notify.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	h := hear(t, path)
	say(t, path, "READY=1")
	if !h.next(t).Ready {
		t.Error("the second socket heard something else")
	}
}

// sd_notify sends descriptors to be kept, or a pipe's end to be closed: they
// are not kept.
func TestDescriptorsThatComeAlongAreClosed(t *testing.T) {
	h := hear(t, filepath.Join(t.TempDir(), "s"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendmsg(fd, []byte("WATCHDOG=1"), unix.UnixRights(int(w.Fd())), &unix.SockaddrUnix{Name: h.path}, 0); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if !h.next(t).Watchdog {
		t.Error("heard something else")
	}
	if _, err := r.Read(make([]byte, 1)); err == nil { // hangs while anybody holds the other end
		t.Error("the pipe is open")
	}
}

func TestAPathThatNoSocketCanHaveGetsAName(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	name := notify.Address(long)
	if !strings.HasPrefix(name, "@") || name != notify.Address(long) || name == notify.Address(long+"y") {
		t.Errorf("its address is %s", name)
	}
	h := hear(t, name)
	say(t, name, "READY=1")
	if from := <-h.from; from.PID != os.Getpid() {
		t.Errorf("it came from %+v", from)
	}
	if short := filepath.Join(t.TempDir(), "s"); len(short) < 100 && notify.Address(short) != short {
		t.Errorf("a short path has the address %s", notify.Address(short))
	}
}

// Who floods the socket waits, and costs nothing.
func TestAFloodIsSlowedDown(t *testing.T) {
	h := hear(t, filepath.Join(t.TempDir(), "s"))
	conn := say(t, h.path, "WATCHDOG=1")
	began := time.Now()
	for range 120 {
		if _, err := conn.Write([]byte("WATCHDOG=1")); err != nil {
			t.Fatal(err)
		}
	}
	for range 121 {
		h.next(t)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("121 words were heard within %v", took)
	}
}
