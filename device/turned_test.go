package device_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/device/journal"
)

// TestTurned holds what a watchdog relies on: the loop turns at least every
// 30 s, also without a connection and with nothing to do.
func TestTurned(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var turns atomic.Int64
		a, err := device.New(device.Config{
			Name: attic, ID: "0123456789abcdef", ServicesDir: dir, DataDir: filepath.Join(dir, "data"),
			Turned: func() { turns.Add(1) }, Log: zerolog.Nop(),
			Output: journal.Bounds{Every: time.Minute},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx, newWire()) }()
		for minute := range 10 {
			before := turns.Load()
			time.Sleep(31 * time.Second)
			synctest.Wait()
			if turns.Load() == before {
				t.Errorf("no turn within 31 s, at try %d", minute)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
