package demo

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"dominion/cmd/dominion/demo/programs"
	"dominion/topics"
)

// plug is the story of a domain that went away, until it is back and it was
// looked whether anything ran twice.
type plug struct {
	out   time.Time // it was pulled; zero when the agent died by other hands
	died  time.Time // the agent's end, seen or made
	lost  time.Time // the bus said so
	moved time.Time // since then everything is ready without it
	back  time.Time // it was started again
	seen  time.Time // the bus said so
	twice map[topics.Service][]string
}

const (
	plugged   = "attic"             // whose plug the key pulls
	shown     = 3 * time.Second     // from the move to the return, so that it can be read
	outAtMost = 30 * time.Second    // then it comes back in any case
	returned  = 5 * time.Second / 2 // after which a returned domain has settled, and was given what it gets
)

// unplug kills the attic's agent and its services at once.
func (s *show) unplug(now time.Time) {
	if _, running := s.company.running[plugged]; !running || s.plugs[plugged] != nil {
		s.say(line{plugged, "is out already, and comes back by itself", warning})
		return
	}
	s.plugs[plugged] = &plug{out: now, died: now}
	s.company.signal(plugged, syscall.SIGKILL)
	if err := s.company.unplug(plugged); err != nil {
		s.failure = err
	}
}

// measure notes when the bus says that a domain is lost, or there again.
func (s *show) measure(m topics.Message, now time.Time) {
	a, err := s.story.space.Parse(m.Topic)
	if err != nil || a.Class != topics.State || a.Kind != "presence" {
		return
	}
	p := s.plugs[a.Node]
	presence, err := topics.DecodePresence(m.Payload)
	if p == nil || err != nil || m.Retained {
		return
	}
	switch {
	case presence.State == topics.Lost && p.lost.IsZero():
		p.lost = now
		if !p.out.IsZero() {
			s.story.losses[a.Node] = fmt.Sprintf(" (killed), seen after %d ms", now.Sub(p.out).Milliseconds())
		}
	case presence.State == topics.Online && !p.back.IsZero() && p.seen.IsZero():
		p.seen = now
	}
}

// watch looks after the domains that are out: it counts services, brings a
// domain back when its services' move was shown, and says at last whether
// anything ran twice.
func (s *show) watch(now time.Time) {
	for name, p := range s.plugs {
		if !p.out.IsZero() && now.Sub(p.out) < time.Second {
			// What was just being started when the plug was pulled.
			if err := s.company.unplug(name); err != nil {
				s.failure = err
			}
		}
		s.count(p)
		switch {
		case p.back.IsZero():
			s.wait(name, p, now)
		case !p.seen.IsZero() && now.Sub(p.seen) >= returned:
			delete(s.plugs, name)
			delete(s.story.returning, name)
			s.say(p.verdict(name))
		case p.seen.IsZero() && now.Sub(p.back) > outAtMost:
			delete(s.plugs, name)
			delete(s.story.returning, name)
			s.say(line{string(name), "was started again, but does not come back", bad})
		}
	}
}

// wait brings a pulled domain back in time.
func (s *show) wait(name topics.Node, p *plug, now time.Time) {
	if p.out.IsZero() || s.company.running[string(name)] != nil {
		return
	}
	if p.moved.IsZero() && !p.lost.IsZero() && now.Sub(p.lost) > time.Second && s.story.allReady(now) {
		p.moved = now
	}
	if !p.moved.IsZero() && now.Sub(p.moved) >= shown || now.Sub(p.out) >= outAtMost {
		if err := s.company.start(string(name)); err != nil {
			s.failure = err
		}
		s.comeBack(name, p, now)
	}
}

func (s *show) comeBack(name topics.Node, p *plug, now time.Time) {
	p.back = now
	s.story.returning[name] = true
}

// count looks whether a service lives more often than the house wants.
func (s *show) count(p *plug) {
	living, err := programs.Census(s.folder.path)
	if err != nil {
		s.failure = err
		return
	}
	where := map[topics.Service][]string{}
	for _, l := range living {
		where[l.Service] = append(where[l.Service], string(l.Domain))
	}
	for service, domains := range where {
		if len(domains) < 2 {
			continue
		}
		if p.twice == nil {
			p.twice = map[topics.Service][]string{}
		}
		p.twice[service] = slices.Compact(slices.Sorted(slices.Values(domains)))
	}
}

// verdict is what can be said of a domain that is back.
func (p *plug) verdict(name topics.Node) line {
	if len(p.twice) == 0 {
		return line{string(name), "back · nothing started twice", good}
	}
	var all []string
	for service, domains := range p.twice {
		all = append(all, fmt.Sprintf("%s ran twice (%s)", service, strings.Join(domains, ", ")))
	}
	slices.Sort(all)
	return line{string(name), "back · " + strings.Join(all, ", "), bad}
}
