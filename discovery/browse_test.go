package discovery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dominion/discovery"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// next returns the next list, and when it came.
func next(t *testing.T, news <-chan []discovery.Entry, began time.Time) ([]discovery.Entry, time.Duration) {
	t.Helper()
	select {
	case list, open := <-news:
		if !open {
			t.Fatal("the watcher ended")
		}
		return list, time.Since(began)
	case <-time.After(time.Hour):
		t.Fatal("no list within an hour")
		return nil, 0
	}
}

func TestAWatcherTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here := house("aa", "10.0.0.5")
		air := discovery.Air(func(browse int) ([]discovery.Entry, error) {
			switch {
			case browse == 1: // nobody yet
				return nil, nil
			case browse < 5:
				return []discovery.Entry{here}, nil
			default: // it died
				return nil, nil
			}
		})
		began := time.Now()
		news := air.Browse(t.Context(), discovery.Search{})
		for _, want := range []struct {
			list []discovery.Entry
			at   time.Duration
		}{
			{nil, 4 * time.Second},
			{[]discovery.Entry{here}, (4 + 30 + 4) * time.Second},
			// Browses end at 38, 44, 78 s; those that miss it at 112, 118 and 124.
			{nil, 124 * time.Second},
		} {
			list, at := next(t, news, began)
			if diff := cmp.Diff(want.list, list, compared()); diff != "" || at != want.at {
				t.Errorf("after %v instead of %v (-want +got):\n%s", at, want.at, diff)
			}
		}
	})
}

func TestAWatcherWithoutANetworkMissesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here := house("aa", "10.0.0.5")
		air := discovery.Air(func(browse int) ([]discovery.Entry, error) {
			if browse > 1 && browse < 100 {
				return discovery.Nowhere(browse)
			}
			return []discovery.Entry{here}, nil
		})
		var log strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		var lists int
		for list := range air.Browse(ctx, discovery.Search{Log: zerolog.New(&log)}) {
			lists++
			if len(list) != 1 {
				t.Errorf("it tells %v", list)
			}
		}
		if lists != 1 {
			t.Errorf("it told %d times", lists)
		}
		if warned := strings.Count(log.String(), "\n"); warned != 1 || !strings.Contains(log.String(), "no network interface") {
			t.Errorf("it logged %d times:\n%s", warned, log.String())
		}
	})
}

func TestASlowReaderGetsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		air := discovery.Air(func(browse int) ([]discovery.Entry, error) {
			return []discovery.Entry{withPort(house("aa", "10.0.0.5"), min(browse, 10))}, nil
		})
		news := air.Browse(t.Context(), discovery.Search{})
		time.Sleep(time.Hour)
		if list := <-news; len(list) != 1 || list[0].Port != 10 {
			t.Errorf("it reads %v", list)
		}
	})
}

func TestASeekerFindsWhoIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other, own := house("aa", "10.0.0.5"), house("bb", "10.0.0.6")
		air := discovery.Air(func(browse int) ([]discovery.Entry, error) {
			switch {
			case browse < 3:
				return discovery.Nowhere(browse)
			case browse < 6:
				return []discovery.Entry{other}, nil
			default:
				return []discovery.Entry{other, own, house("cc", "10.0.0.7")}, nil
			}
		})
		got, tried, err := air.Find(t.Context(), func(e discovery.Entry) bool { return e.Text["house"] == "bb" })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(own, got, compared()); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		want := discovery.Tried{
			Service: discovery.DominionService, Interfaces: []string{"eth0 (10.77.0.12)"},
			Lasted: (2*2 + 3*4) * time.Second, // two pauses, three browses
			Heard:  []discovery.Entry{other, own}, Trouble: []string{"no network interface that is up, has an IPv4 address and can multicast"},
		}
		if diff := cmp.Diff(want, tried, compared()); diff != "" {
			t.Errorf("tried (-want +got):\n%s", diff)
		}
	})
}

func TestASeekerGivesUpInTime(t *testing.T) {
	for name, c := range map[string]struct {
		air  discovery.Air
		says string
	}{
		"nobody there": {func(int) ([]discovery.Entry, error) { return nil, nil },
			"looked for _dominion._tcp by mDNS for 30s on eth0 (10.77.0.12)\n" +
				"nobody answered: is UDP port 5353 blocked, or is it another network?"},
		"another there": {func(int) ([]discovery.Entry, error) { return []discovery.Entry{house("aa", "10.0.0.5")}, nil },
			"looked for _dominion._tcp by mDNS for 30s on eth0 (10.77.0.12)\n" +
				"heard: aa at 10.0.0.5, port 8443"},
		"no network": {discovery.Nowhere,
			"looked for _dominion._tcp by mDNS for 30s on no interface\n" +
				"trouble: no network interface that is up, has an IPv4 address and can multicast"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				began := time.Now()
				_, tried, err := c.air.Find(ctx, func(discovery.Entry) bool { return false })
				if !errors.Is(err, discovery.ErrNotFound) || time.Since(began) != 30*time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if diff := cmp.Diff(c.says, tried.String()); diff != "" {
					t.Errorf("tried (-want +got):\n%s", diff)
				}
			})
		})
	}
}
