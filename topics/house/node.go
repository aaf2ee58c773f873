package house

import (
	"time"

	"dominion/topics"
)

// Node is what is known of one node: a domain, a microdomain or the coordinator.
type Node struct {
	Name     topics.Node
	Presence topics.Presence // the last that counted; zero when none was heard
	Info     topics.Info     // zero Kind when none was heard
	Host     topics.Host
	Beat     topics.Heartbeat // the last heartbeat of the present session

	claimed    *topics.Info // of a machine that is not the one in Presence
	services   map[topics.Service]kept[topics.ServiceState]
	remembered bool      // by the reader, from before
	session    int       // the reader's present session
	first      time.Time // when it became known
	verified   bool      // it spoke since this reader's session began
	heard      time.Time // when it last spoke: a birth or a heartbeat
	since      time.Time // when its presence changed, or the reader's session began
}

// known tells that something was said of the node that makes it one: an
// emptied topic, or one that no node has, is nobody.
func (n *Node) known() bool {
	return n.remembered || n.verified || n.Presence.State != "" || n.Info.Kind != "" || len(n.services) > 0
}

// Micro tells a microdomain: its word is believed as it comes.
func (n *Node) Micro() bool { return n.Info.Kind == topics.KindMicro }

// Spoke tells whether the node was heard since the reader's session began; a
// retained message is no speaking.
func (n *Node) Spoke() bool { return n.verified }

// First is when the node became known to this reader.
func (n *Node) First() time.Time { return n.first }

// Since is when its present session began, as far as this reader saw.
func (n *Node) Since() time.Time { return n.since }

// Heard is when the node last spoke; zero when it has not since the reader's start.
func (n *Node) Heard() time.Time { return n.heard }

func (n *Node) applyState(a topics.Address, m topics.Message, now time.Time) error {
	switch {
	case a.Kind == "presence" && a.Subject == "":
		return n.applyPresence(m, now)
	case a.Kind == "service" && a.Subject != "":
		return keep(n.services, topics.Service(a.Subject), m, n.session, now)
	case len(m.Payload) == 0:
		return nil // unknown, not empty
	case a.Kind == "info" && a.Subject == "":
		info, err := topics.Decode[topics.Info](m.Payload)
		if err != nil {
			return err
		}
		// Another machine's info counts once that machine is born here: until
		// then it may be anybody's, and nothing is to move for it.
		if id := n.Presence.ID; id != "" && info.ID != "" && info.ID != id {
			n.claimed = &info
			return nil
		}
		n.Info, n.claimed = info, nil
	case a.Kind == "host" && a.Subject == "":
		host, err := topics.Decode[topics.Host](m.Payload)
		if err != nil {
			return err
		}
		n.Host = host
	}
	return nil
}

// applyPresence folds a presence. A birth always counts; lost and stopped
// count only for the session that is known, because the will of an old
// session may come after the birth of the new one.
func (n *Node) applyPresence(m topics.Message, now time.Time) error {
	if len(m.Payload) == 0 {
		return nil // unknown, not empty
	}
	p, err := topics.DecodePresence(m.Payload)
	if err != nil {
		return err
	}
	stale := p.State != topics.Online && p.Sid != "" && n.Presence.Sid != "" && p.Sid != n.Presence.Sid
	if stale {
		return nil
	}
	if p.State != n.Presence.State || p.Sid != n.Presence.Sid {
		n.since = now
		n.Beat = topics.Heartbeat{}
	}
	if p.State == topics.Lost && n.Presence.Sid == p.Sid {
		p.House = n.Presence.House // a will says less than the birth did
	}
	n.Presence = p
	if n.claimed != nil && n.claimed.ID == p.ID {
		n.Info, n.claimed = *n.claimed, nil
	}
	if !m.Retained {
		n.verified = true
		n.heard = now
	}
	return nil
}

// applyHeartbeat folds a heartbeat; it revives a node that a stale will had buried.
func (n *Node) applyHeartbeat(m topics.Message, now time.Time) error {
	beat, err := topics.Decode[topics.Heartbeat](m.Payload)
	if err != nil {
		return err
	}
	if beat.Sid != n.Presence.Sid || n.Presence.State != topics.Online {
		n.Presence.State = topics.Online
		n.Presence.Sid = beat.Sid
		n.since = now
	}
	n.Beat = beat
	n.verified = true
	n.heard = now
	return nil
}

// Service is the node's last report on a service.
func (n *Node) Service(name topics.Service, now time.Time) (topics.ServiceState, bool) {
	k, ok := n.services[name]
	return k.value, ok && n.stands(k, now)
}

// stands tells whether a report holds. One from before the reader's present
// session holds until the node itself has spoken: had the node still had the
// service, it would have said so again.
func (n *Node) stands(k kept[topics.ServiceState], now time.Time) bool {
	return k.stands(now) && (k.session == n.session || !n.verified)
}

// Services are all reports that stand.
func (n *Node) Services(now time.Time) map[topics.Service]topics.ServiceState {
	all := make(map[topics.Service]topics.ServiceState, len(n.services))
	for name, k := range n.services {
		if n.stands(k, now) {
			all[name] = k.value
		}
	}
	return all
}

// Limits are when silence means something.
type Limits struct {
	Suspect   time.Duration // no heartbeat: suspect
	Lost      time.Duration // no heartbeat, and no will: lost
	BootGrace time.Duration // not heard since the reader's session began: unknown so long, then lost
}

// DefaultLimits are 12 s, 20 s and 5 min.
func DefaultLimits() Limits {
	return Limits{Suspect: 12 * time.Second, Lost: 20 * time.Second, BootGrace: 5 * time.Minute}
}

// Judge is what silence and presence together say of a node, and since when
// on the caller's clock.
func (n *Node) Judge(now time.Time, limits Limits) (topics.JudgementState, time.Time) {
	switch {
	case n.Presence.State == topics.Stopped:
		return topics.JudgedStopped, n.since
	case n.Presence.State == topics.Sleeping:
		return topics.JudgedSleeping, n.since
	case n.Micro() && n.Presence.State == topics.Online:
		return topics.JudgedOnline, n.since
	case n.Micro() && n.Presence.State == topics.Lost:
		return topics.JudgedLost, n.since
	case !n.verified:
		if now.Sub(n.since) < limits.BootGrace {
			return topics.JudgedUnknown, n.since
		}
		return topics.JudgedLost, n.since.Add(limits.BootGrace)
	case n.Presence.State == topics.Lost:
		return topics.JudgedLost, n.since
	}
	switch silent := now.Sub(n.heard); {
	case silent < limits.Suspect:
		return topics.JudgedOnline, n.since
	case silent < limits.Lost:
		return topics.JudgedSuspect, n.heard.Add(limits.Suspect)
	default:
		return topics.JudgedLost, n.heard.Add(limits.Lost)
	}
}

// NextJudgement is when silence alone will next change the judgement; the
// zero time when it will not.
func (n *Node) NextJudgement(now time.Time, limits Limits) time.Time {
	state, since := n.Judge(now, limits)
	switch {
	case state == topics.JudgedUnknown:
		return since.Add(limits.BootGrace)
	case n.Micro() || n.Presence.State != topics.Online || !n.verified:
		return time.Time{}
	case state == topics.JudgedOnline:
		return n.heard.Add(limits.Suspect)
	case state == topics.JudgedSuspect:
		return n.heard.Add(limits.Lost)
	}
	return time.Time{}
}
