package device

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"syscall"
	"time"

	"dominion/topics"
)

// A machine that boots while no leader is heard has the endpoints of its
// dependencies on other machines as they were last known, and looks itself
// whether they are back.

// Echo is what came of a knock at an endpoint.
type Echo int

// The echoes.
const (
	Silence Echo = iota // its machine does not answer
	Refusal             // its machine is there, and nothing listens
	Welcome
)

// knockEvery is the pause between two knocks.
const knockEvery = time.Second

// elsewhere are the endpoints of dependencies on other machines.
func (a *Agent) elsewhere() []topics.Target {
	seen := map[topics.Target]bool{}
	var all []topics.Target
	for _, want := range a.wanted {
		for _, at := range want.Endpoints {
			if want.Run && at.Port != 0 && !seen[at] {
				seen[at] = true
				all = append(all, at)
			}
		}
	}
	return all
}

// knock looks at the endpoints until all answer, or a leader is heard.
func (a *Agent) knock(work context.Context) {
	targets := a.elsewhere()
	if len(targets) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(work)
	a.lead.enough = cancel
	a.running.Go(func() {
		defer cancel()
		t := time.NewTicker(knockEvery)
		defer t.Stop()
		heard := map[topics.Target]Echo{}
		for {
			news, left := false, false
			for _, at := range targets {
				if heard[at] == Welcome {
					continue
				}
				now := knockAt(ctx, at)
				news = news || now != heard[at]
				left = left || now != Welcome
				heard[at] = now
			}
			if news {
				a.tellSight(ctx, sight{echoes: maps.Clone(heard)})
			}
			if !left {
				return
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

func knockAt(ctx context.Context, at topics.Target) Echo {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	switch {
	case err == nil:
		conn.Close()
		return Welcome
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refusal
	}
	return Silence
}
