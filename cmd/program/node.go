package program

import (
	"context"
	"errors"
	"os"
	"strings"

	"dominion/broker/client"
	"dominion/topics"
)

// Live runs a room on its connection to the bus. When ctx ends the room says
// its goodbye while the connection still stands, and then that one is closed.
// It returns why either could not go on, or nil.
func Live(ctx context.Context, bus *client.Client, room func(context.Context) error) error {
	roomCtx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	lineCtx, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	line := make(chan error, 1)
	go func() {
		err := bus.Run(lineCtx)
		leave(err)
		line <- err
	}()
	roomErr := room(roomCtx)
	hangUp()
	lineErr := <-line
	if lineErr != nil {
		return lineErr
	}
	if errors.Is(roomErr, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return roomErr
}

// HostName is NameOf this machine's host name.
func HostName() topics.Node {
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return NameOf(host)
}

// NameOf makes a domain's name of a host name: up to the first dot, what no
// name may have replaced by -. It is "" when nothing of it is left.
func NameOf(host string) topics.Node {
	host, _, _ = strings.Cut(host, ".")
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r < 0x80 && topics.CheckName(string(r)) == nil {
			return r
		}
		return '-'
	}, host), "-_")
	const longest = 63
	if n := topics.Node(name[:min(len(name), longest)]); n.Check() == nil {
		return n
	}
	return ""
}
