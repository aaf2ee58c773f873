package agent_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/cmd/domain/agent"
	"dominion/cmd/domain/whereabouts"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

// TestRenewal holds that a certificate is renewed long before its end, that a
// failure is tried again, and that a clock that is years behind does no harm:
// this one begins in the year 2000.
func TestRenewal(t *testing.T) {
	h, papers := newHouse(t, "7f3a9c"), whereabouts.Papers(t.TempDir())
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := identity.Request(key, "pi2")
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Admit("pi2", "0123456789abcdef", request)
	if err != nil {
		t.Fatal(err)
	}
	if err := papers.Replace(&identity.Membership{House: h.id, Name: "Home", Node: "pi2", Base: topics.DefaultBase, Broker: "mqtts://127.0.0.1:8883",
		Door: h.at, Secret: a.Secret, Logins: identity.LoginsOwn, Authority: a.Authority, Certificate: a.Certificate, Key: key}); err != nil {
		t.Fatal(err)
	}
	nodes := h.Nodes()
	renews := nodes[0].Renews

	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var tries []time.Time
		live := func(lasts time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			err := agent.Renewal(ctx, papers, func(_ context.Context, m *identity.Membership) (*identity.Membership, error) {
				if tries = append(tries, time.Now()); len(tries) < 3 {
					return nil, errors.New("the leader is off")
				}
				now := *m
				now.Door = "127.0.0.1:2"
				cancel()
				return &now, nil
			}, zerolog.New(&out))
			if err != nil {
				t.Error(err)
			}
		}
		live(48 * time.Hour)
		if len(tries) != 0 {
			t.Errorf("renewed in %v", tries)
		}
		time.Sleep(time.Until(renews.Add(-48 * time.Hour)))
		live(30 * 24 * time.Hour)
		if len(tries) != 3 || tries[0].Before(renews) || tries[0].Sub(renews) > 12*time.Hour || tries[2].Sub(tries[0]) > time.Hour {
			t.Errorf("tried at %v, want three times soon after %v", tries, renews)
		}
		if m, err := papers.Load(); err != nil || m.Door != "127.0.0.1:2" {
			t.Errorf("stored is %+v, %v", m, err)
		}
		if n := strings.Count(out.String(), "the leader is off"); n != 2 {
			t.Errorf("said %d times that it failed:\n%s", n, &out)
		}
	})
}

func TestAnnounced(t *testing.T) {
	const id = "Zz0123456789abcdef"
	member := &identity.Membership{House: "7f3a9c"}
	announcement := func(instance, name, house, why string) []discovery.Announcement {
		return []discovery.Announcement{{Service: discovery.DomainService, Instance: instance, Port: 9,
			Text: map[string]string{"v": "1", "name": name, "id": id, "house": house, "why": why}}}
	}
	tests := []struct {
		name string
		got  []discovery.Announcement
		want []discovery.Announcement
	}{
		{"nothing while it has company", agent.Announced("pi2", id, member, false), nil},
		{"that a member is lonely", agent.Announced("pi2", id, member, true), announcement("pi2-zz0123", "pi2", "7f3a9c", "lonely")},
		{"that a stranger is new", agent.Stranger("My_Pi", id), announcement("my-pi-zz0123", "My_Pi", "", "new")},
		{"a name of any length", agent.Announced(topics.Node(strings.Repeat("a", 63)), id, member, true),
			announcement(strings.Repeat("a", 56)+"-zz0123", strings.Repeat("a", 63), "7f3a9c", "lonely")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
