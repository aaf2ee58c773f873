package device_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dominion/device"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

func TestLivenessCountsFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		looks := []string{"", "bad", "bad", "", "hangs", "bad", "bad", "never asked"}
		var told []string
		device.WatchLive(t.Context(), topics.Liveness{By: "http"}.WithDefaults(), func(ctx context.Context) error {
			now := looks[0]
			looks = looks[1:]
			switch now {
			case "":
				return nil
			case "hangs":
				<-ctx.Done()
				return ctx.Err()
			}
			return errors.New(now)
		}, func(err error, over bool) {
			told = append(told, fmt.Sprintf("%v: %v %v", time.Since(began), err, over))
		})
		want := []string{
			"1m0s: bad false", "1m30s: bad false", "2m0s: <nil> false",
			"2m35s: context deadline exceeded false", "3m0s: bad false", "3m30s: bad true",
		}
		if diff := cmp.Diff(want, told); diff != "" || len(looks) != 1 {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
