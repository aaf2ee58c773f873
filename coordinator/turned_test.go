package coordinator_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
)

// TestTurned holds what a watchdog relies on: the loop turns every second, also
// without a connection and with nothing to do.
func TestTurned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns atomic.Int64
		l := lead(t, newBus(), t.TempDir(), nil, func(c *coordinator.Config) { c.Turned = func() { turns.Add(1) } })
		defer l.stop()
		for range 10 {
			before := turns.Load()
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
			if turns.Load() == before {
				t.Error("no turn within a second")
			}
		}
	})
}
