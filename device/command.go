package device

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dominion/device/host"
	"dominion/topics"
)

// The methods of a domain.
const (
	methodIdentify = "identify"
	methodPing     = "ping"
	methodPS       = "ps"
	methodReset    = "reset"
	methodRestart  = "restart"
)

// methods are those that this machine has.
func (a *Agent) methods() []string {
	all := []string{methodPing, methodPS, methodReset, methodRestart, methodTail}
	if _, err := host.FindLED(or(a.cfg.Root, "/")); err == nil {
		all = append(all, methodIdentify)
	}
	all = append(all, a.cfg.Allow...)
	slices.Sort(all)
	return slices.Compact(all)
}

// subjectHost is the subject of what concerns the node itself.
const subjectHost = "host"

// answer is a command that is answered once its service is ready, or is not.
type answer struct {
	id, topic string
	deadline  time.Time
}

// command runs one request. Every one is answered.
func (a *Agent) command(work context.Context, req topics.Request, now time.Time) {
	switch req.Method {
	case methodPing, methodPS, methodIdentify, host.Reboot, host.Shutdown:
		a.hostCommand(work, req)
	case methodTail:
		a.tail(work, req)
	case methodRestart:
		if u := a.subject(work, req); u != nil {
			a.restart(work, u, req, now)
		}
	case methodReset:
		if u := a.subject(work, req); u != nil {
			a.reset(work, u, req, now)
		}
	default:
		a.refuse(work, req, topics.FaultUnknown, fmt.Sprintf("unknown method %q (this domain has: %s)", req.Method, strings.Join(a.methods(), ", ")), "")
	}
}

// subject is the unit that a request is about; a request about none is refused.
func (a *Agent) subject(work context.Context, req topics.Request) *unit {
	name := topics.Service(req.Subject)
	u, known := a.units[name]
	want, wanted := a.wanted[name]
	switch {
	case !known:
		a.refuse(work, req, topics.NoDirectory, fmt.Sprintf("%s knows no service %q", a.cfg.Name, req.Subject), "dominion status")
	case u.seen != nil:
		a.refuse(work, req, topics.Observed, fmt.Sprintf("%s is only observed here: the house does not start or stop it", name), a.wayToOwn(u))
	case a.ending:
		a.refuse(work, req, topics.DomainStopped, "the agent ends, and its services with it", "")
	case !wanted:
		a.refuse(work, req, topics.NotWanted, fmt.Sprintf("no document says how to run %s", name), "dominion start "+req.Subject)
	case !want.Run:
		a.refuse(work, req, reasonToRest(want).Code, fmt.Sprintf("%s shall not run: %s", name, reasonToRest(want).Text), "dominion start "+req.Subject)
	case u.phase == topics.PhaseWaiting && u.why.Code != topics.Scheduled:
		a.refuse(work, req, u.why.Code, fmt.Sprintf("%s %s", name, u.why.Text), u.why.Next)
	default:
		return u
	}
	return nil
}

// restart stops a service and starts it again, or starts at once what waits
// in a backoff.
func (a *Agent) restart(work context.Context, u *unit, req topics.Request, now time.Time) {
	a.promise(work, u, req, now)
	u.history, u.next, u.missing = History{}, time.Time{}, false
	switch {
	case u.phase == topics.PhaseStopping:
		u.anew = true
	default:
		u.again = true
	}
}

// reset forgets a service's failures: what waits in a backoff starts at once.
func (a *Agent) reset(work context.Context, u *unit, req topics.Request, now time.Time) {
	u.history, u.next, u.missing = History{}, time.Time{}, false
	if u.ready {
		result := "runs and is ready"
		if u.phase == topics.PhaseDone {
			result = "is done"
		}
		a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Result: result, Topic: req.Topic})
		return
	}
	a.forgetOver(u.name)
	a.promise(work, u, req, now)
}

// promise accepts a request that is answered when the service is ready.
func (a *Agent) promise(work context.Context, u *unit, req topics.Request, now time.Time) {
	a.reply(work, topics.Reply{ID: req.ID, Status: topics.Accepted, Topic: req.Topic})
	limit := 2*a.cfg.Timing.Stop + a.cfg.Timing.Start + seconds(u.entry.Rule.Timeout)
	u.answers = append(u.answers, answer{id: req.ID, topic: req.Topic, deadline: now.Add(limit)})
}

// answer ends all promises of a unit.
func (a *Agent) answer(work context.Context, u *unit, status topics.Status, why *topics.Why) {
	for _, p := range u.answers {
		r := topics.Reply{ID: p.id, Status: status, Topic: p.topic, Why: why}
		if status == topics.Done {
			r.Result = "ready"
		}
		a.reply(work, r)
	}
	u.answers = nil
}

func (a *Agent) refuse(work context.Context, req topics.Request, code, text, next string) {
	a.reply(work, topics.Reply{ID: req.ID, Status: topics.Refused, Topic: req.Topic, Why: &topics.Why{Code: code, Text: text, Next: next}})
}

func (a *Agent) reply(work context.Context, r topics.Reply) {
	_ = a.publish(work, topics.Message{Topic: a.cfg.Space.Reply(a.cfg.Name, r.ID), Payload: topics.Encode(r), QoS: 1})
}
