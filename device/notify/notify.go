// Package notify hears what a service says of itself, in the way that systemd
// has made usual (sd_notify(3)): lines of NAME=value, sent as one datagram to
// the socket that NOTIFY_SOCKET names.
package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// Variable names the socket in a service's environment.
const Variable = "NOTIFY_SOCKET"

// Bounds of what is heard: longer datagrams are dropped, and who sends more
// often waits.
const (
	longest   = 4096
	burst     = 50
	burstTime = time.Second
	maxPath   = 107 // of sockaddr_un(7), with the zero at its end
)

// Word is what one datagram said. All else that sd_notify knows, such as
// MAINPID and FDSTORE, is ignored.
type Word struct {
	Ready    bool    // READY=1
	Stopping bool    // STOPPING=1
	Watchdog bool    // WATCHDOG=1
	Status   *string // STATUS=…
}

// Sender is the process that sent a datagram, as the kernel says. A PID of 0
// is not known.
type Sender struct{ PID, UID int }

// Socket is where one service is heard.
type Socket struct{ conn *net.UnixConn }

// Address is where a socket for that path is: the path itself or, if that is
// longer than a socket's can be, a name that the kernel keeps, which begins
// with @ (unix(7), abstract). The same path has always the same address.
func Address(path string) string {
	if len(path) <= maxPath {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return "@dominion-" + hex.EncodeToString(sum[:16])
}

// Listen binds a socket to an Address, also where a former one was: a service
// that was given the address finds the new one.
func Listen(address string) (*Socket, error) {
	if !strings.HasPrefix(address, "@") {
		if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := askForSender(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("socket %s: %w", address, err)
	}
	return &Socket{conn}, nil
}

// Close ends the hearing. A path stays, for the next one.
func (s *Socket) Close() error { return s.conn.Close() }

// Run hands over what is said by those who may, until ctx ends or the socket
// is closed.
func (s *Socket) Run(ctx context.Context, may func(Sender) bool, tell func(Word)) {
	ended := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer ended()
	// Room for the sender's name only: file descriptors that come along find
	// none, and are closed by the kernel.
	payload, control := make([]byte, longest+1), make([]byte, senderSpace)
	since, count := time.Now(), 0
	for {
		n, c, _, _, err := s.conn.ReadMsgUnix(payload, control)
		if err != nil {
			return
		}
		if now := time.Now(); now.Sub(since) >= burstTime {
			since, count = now, 0
		}
		if count++; count > burst && !pause(ctx, since.Add(burstTime)) {
			return
		}
		if word, ok := parse(payload[:n]); ok && may(senderOf(control[:c])) {
			tell(word)
		}
	}
}

func pause(ctx context.Context, until time.Time) bool {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// parse reads a datagram; false: nothing in it counts.
func parse(payload []byte) (w Word, ok bool) {
	if len(payload) > longest {
		return Word{}, false
	}
	for line := range strings.Lines(string(payload)) {
		line = strings.TrimSuffix(line, "\n")
		switch name, value, _ := strings.Cut(line, "="); {
		case line == "READY=1":
			w.Ready = true
		case line == "STOPPING=1":
			w.Stopping = true
		case line == "WATCHDOG=1":
			w.Watchdog = true
		case name == "STATUS":
			w.Status = &value
		}
	}
	return w, w != Word{}
}
