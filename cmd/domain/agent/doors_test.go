package agent_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"dominion/cmd/domain/agent"
	"dominion/discovery"
)

// TestHeard holds how long a join looks for a house: a machine without a
// network need not wait as long as one whose house is slow to answer.
func TestHeard(t *testing.T) {
	home := discovery.Entry{
		Instance: "Home", Port: 8443, Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.1")},
		Text: map[string]string{"v": "1", "house": "7f3a9c", "name": "Home", "join": "8443"},
	}
	network := []string{"eth0 (10.77.0.12)"}
	for name, tt := range map[string]struct {
		interfaces []string
		answers    time.Duration // when the house does; 0: never
		meant      string
		houses     int
		lasts      time.Duration
	}{
		"no network":           {lasts: 3 * time.Second},
		"nobody answers":       {interfaces: network, lasts: 15 * time.Second},
		"a house answers":      {interfaces: network, answers: time.Second, houses: 1, lasts: time.Second},
		"a house answers late": {interfaces: network, answers: 9 * time.Second, houses: 1, lasts: 9 * time.Second},
		"only another answers": {interfaces: network, answers: time.Second, meant: "Other", houses: 1, lasts: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				find := func(ctx context.Context, accept func(discovery.Entry) bool) (discovery.Entry, discovery.Tried, error) {
					asked := time.Now()
					tried := discovery.Tried{Interfaces: tt.interfaces}
					if tt.answers > 0 {
						select {
						case <-time.After(tt.answers - time.Since(began)):
							tried.Heard = []discovery.Entry{home}
							tried.Lasted = time.Since(asked)
							if accept(home) {
								return home, tried, nil
							}
						case <-ctx.Done():
						}
					}
					<-ctx.Done()
					tried.Lasted = time.Since(asked)
					return discovery.Entry{}, tried, discovery.ErrNotFound
				}
				houses, tried := agent.Heard(t.Context(), find, tt.meant)
				if len(houses) != tt.houses || tried.Lasted != tt.lasts {
					t.Errorf("heard %v in %v, want %d in %v", houses, tried.Lasted, tt.houses, tt.lasts)
				}
			})
		})
	}
}
