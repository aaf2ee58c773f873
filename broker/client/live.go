package client

import (
	"context"
	"errors"
)

// Live runs a room on its connection to the bus. When ctx ends the room says
// its goodbye while the connection still stands, and then that one is closed.
// It returns why either could not go on, or nil.
func Live(ctx context.Context, bus *Client, room func(context.Context) error) error {
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
