package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

const (
	answerWithin = 10 * time.Second // a domain has so long to answer a command,
	maxTries     = 3                // so often,
	doneWithin   = 2 * time.Minute  // and so long to be done once it accepted
)

// request answers one command to the coordinator.
func (c *Coordinator) request(ctx context.Context, r topics.Request) {
	if r.Method == "ping" && r.Subject == "host" {
		c.done(ctx, r, "pong")
		return
	}
	if c.stage != settle && c.stage != active {
		c.refuse(ctx, r, "NOT_LEADING", "this coordinator does not lead", "try again in some seconds")
		return
	}
	switch r.Method {
	case "run", "start", "stop", "reset", "restart", "remove":
		c.requestService(ctx, r, topics.Service(r.Subject))
		return
	case "reload":
		c.reload(ctx, r)
		return
	case "forget":
		c.requestForget(ctx, r, topics.Node(r.Subject))
		return
	case "accept", "reject", "join":
		c.requestGate(ctx, r)
		return
	}
	c.refuse(ctx, r, topics.FaultUnknown, fmt.Sprintf("no method %q", r.Method),
		"one of run, start, stop, reset, restart, remove (service), forget, accept, reject (node), join/window or reload/catalogue")
}

func (c *Coordinator) requestService(ctx context.Context, r topics.Request, s topics.Service) {
	catalogued := slices.Contains(c.cfg.Catalogue.Services(), s)
	reported := c.reported(s)
	if !catalogued && !reported {
		c.refuse(ctx, r, "UNKNOWN_SERVICE", fmt.Sprintf("the house knows no service %q", s), "dominion status")
		return
	}
	if why := c.hands(s); why != nil {
		c.refuse(ctx, r, why.Code, why.Text, why.Next)
		return
	}
	if r.Method != "restart" && !c.able(ctx, r, s, catalogued) {
		return
	}
	switch r.Method {
	case "start":
		c.word(ctx, r, s, topics.RunOn)
	case "stop":
		c.word(ctx, r, s, topics.RunOff)
	case "run":
		run := r.Switch()
		if run == "" {
			c.refuse(ctx, r, topics.FaultBad, fmt.Sprintf("%q is none of on, off, auto", r.Word+r.Arg("run")),
				fmt.Sprintf("mosquitto_pub -t %s -m on", r.Topic))
			return
		}
		c.word(ctx, r, s, run)
	case "reset":
		c.forwardTo(ctx, r, s, "reset", func(w topics.ServiceState) bool {
			return w.Phase == topics.PhaseBackoff || w.Phase == topics.PhaseCrashloop
		}, true)
		c.word(ctx, r, s, topics.RunAuto)
	case "remove":
		if catalogued {
			c.refuse(ctx, r, "IN_CATALOGUE", fmt.Sprintf("%s is in the catalogue", s),
				fmt.Sprintf("take [services.%s] out of the configuration first, or: dominion stop %s", s, s))
			return
		}
		c.memory.Removed[s] = true
		c.word(ctx, r, s, topics.RunOff)
	case "restart":
		c.forwardTo(ctx, r, s, "restart", restartable, false)
	}
}

// restartable tells that a domain runs a service, or has it rest only because
// it ended by itself or waits for its hour.
func restartable(w topics.ServiceState) bool {
	switch {
	case !w.Phase.Settled() || w.Phase == topics.PhaseDone:
		return true
	case w.Why == nil:
		return false
	}
	switch w.Why.Code {
	case topics.Scheduled, topics.Exited, topics.NotLive, topics.StartTimeout, topics.StartFailed, topics.BuildFailed,
		topics.OutOfMemory, topics.PortTaken:
		return true
	}
	return false
}

// able refuses wishes that this leader could only accept in vain.
func (c *Coordinator) able(ctx context.Context, r topics.Request, s topics.Service, catalogued bool) bool {
	starts := r.Method == "start" || r.Method == "run" && r.Switch() == topics.RunOn
	switch {
	case c.cfg.Catalogue == nil:
		c.refuse(ctx, r, "NO_CATALOGUE", "this leader was started without a configuration file, and starts and stops nothing",
			"dominion example leader > house.toml; dominion serve --config house.toml")
	case starts && !catalogued && c.report.Summaries[s].Phase != topics.SummaryOrphaned:
		c.refuse(ctx, r, "NOT_IN_CATALOGUE", fmt.Sprintf("%s is not in the catalogue", s), fmt.Sprintf("add [services.%s] to the configuration", s))
	default:
		return true
	}
	return false
}

// reported tells whether a domain has said anything of a service.
func (c *Coordinator) reported(s topics.Service) bool {
	now := time.Now()
	for _, d := range c.house.Domains() {
		if _, ok := d.Service(s, now); ok {
			return true
		}
	}
	return false
}

// word keeps an operator's wish, on disk first, then on the bus, and answers.
func (c *Coordinator) word(ctx context.Context, r topics.Request, s topics.Service, run topics.RunWord) {
	before, said := c.memory.Services[s]
	w := before
	if w.Run != run {
		w.Run, w.By, w.Since = run, r.By(), topics.At(time.Now())
		w.Rev = max(w.Rev, c.house.ServiceWords()[s].Rev) + 1
		c.memory.Services[s] = w
		if err := c.keep(); err != nil {
			if c.memory.Services[s] = before; !said {
				delete(c.memory.Services, s)
			}
			c.refuse(ctx, r, "NOT_KEPT", err.Error(), "free some space on the leader's disk")
			return
		}
		topic := c.cfg.Space.ServiceWord(s)
		c.publish(ctx, topic, w)
		if c.stage == active {
			c.published[topic] = string(topics.Encode(w))
		}
	}
	c.reply(ctx, r, topics.Reply{Status: topics.Accepted})
	result := map[topics.RunWord]string{
		topics.RunOn: "is to run", topics.RunOff: "is to stop", topics.RunAuto: "is as the catalogue says",
	}[run]
	c.done(ctx, r, string(s)+" "+result)
	c.dirty = true
}

func (c *Coordinator) reply(ctx context.Context, r topics.Request, answer topics.Reply) {
	answer.ID, answer.Topic = r.ID, r.Topic
	c.send(ctx, topics.Message{Topic: c.cfg.Space.Reply(topics.Coordinator, r.ID), Payload: topics.Encode(answer), QoS: 1})
}

func (c *Coordinator) done(ctx context.Context, r topics.Request, result string) {
	c.reply(ctx, r, topics.Reply{Status: topics.Done, Result: result})
}

func (c *Coordinator) refuse(ctx context.Context, r topics.Request, code, text, next string) {
	c.reply(ctx, r, topics.Reply{Status: topics.Refused, Why: &topics.Why{Code: code, Text: text, Next: next}})
}

// forward is a command that was handed on to domains and is not answered yet.
type forward struct {
	request  topics.Request
	quiet    bool // nobody waits for the answer
	domain   topics.Node
	message  topics.Message
	sent     time.Time
	tries    int
	accepted bool
	siblings *siblings
}

// siblings are the forwards of one request.
type siblings struct {
	open  int
	worst *topics.Why
}

// forwardTo hands a command on to every domain whose report on s is wanted by
// the filter. The requester hears accepted now, and done or failed when all
// domains have answered.
func (c *Coordinator) forwardTo(ctx context.Context, r topics.Request, s topics.Service, method string, wanted func(topics.ServiceState) bool, quiet bool) {
	now := time.Now()
	group := &siblings{}
	for _, d := range c.house.Domains() {
		report, ok := d.Service(s, now)
		state, _ := d.Judge(now, c.limits())
		if !ok || !wanted(report) || !state.Reachable() || d.Micro() {
			continue
		}
		id := topics.NewID(10)
		f := &forward{request: r, quiet: quiet, domain: d.Name, siblings: group, message: topics.Message{
			Topic:   c.cfg.Space.Command(d.Name, method, string(s)),
			Payload: topics.Encode(map[string]string{"id": id, "by": "coordinator"}), QoS: 1,
		}}
		group.open++
		c.forwards[id] = f
		c.try(ctx, f, now)
	}
	switch {
	case quiet:
	case group.open == 0:
		c.refuse(ctx, r, "NOT_RUNNING", fmt.Sprintf("%s runs on no domain that can be heard", s), "dominion why "+string(s))
	default:
		c.reply(ctx, r, topics.Reply{Status: topics.Accepted})
	}
}

func (c *Coordinator) try(ctx context.Context, f *forward, now time.Time) {
	f.tries++
	f.sent = now
	c.send(ctx, f.message)
}

// answered takes a domain's reply to a forwarded command.
func (c *Coordinator) answered(m topics.Message, a topics.Address, now time.Time) {
	f, ok := c.forwards[a.Subject]
	if !ok || f.domain != a.Node {
		return
	}
	answer, err := topics.Decode[topics.Reply](m.Payload)
	if err != nil {
		return
	}
	if !answer.Status.Final() {
		f.accepted, f.sent = true, now
		return
	}
	var why *topics.Why
	if answer.Status != topics.Done {
		why = &topics.Why{Code: "FAILED", Text: fmt.Sprintf("%s: %s", f.domain, answer.Status), Next: "dominion why " + f.request.Subject}
		if answer.Why != nil {
			why.Code, why.Text, why.Next = answer.Why.Code, fmt.Sprintf("%s: %s", f.domain, answer.Why.Text), answer.Why.Next
		}
	}
	c.finish(context.Background(), a.Subject, why)
}

// finish ends a forward, and answers the request when it was the last.
func (c *Coordinator) finish(ctx context.Context, id string, why *topics.Why) {
	f := c.forwards[id]
	delete(c.forwards, id)
	f.siblings.open--
	f.siblings.worst = first(f.siblings.worst, why)
	switch {
	case f.siblings.open > 0 || f.quiet:
	case f.siblings.worst != nil:
		c.reply(ctx, f.request, topics.Reply{Status: topics.Failed, Why: f.siblings.worst})
	default:
		c.done(ctx, f.request, f.request.Subject+" was restarted")
	}
}

// retryForwards sends again what was not answered in time, and gives up after
// the last try.
func (c *Coordinator) retryForwards(ctx context.Context, now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(c.forwards)) {
		f := c.forwards[id]
		waited := now.Sub(f.sent)
		switch {
		case f.accepted && waited < doneWithin, !f.accepted && waited < answerWithin:
		case !f.accepted && f.tries < maxTries:
			c.try(ctx, f, now)
		default:
			c.finish(ctx, id, &topics.Why{Code: "NO_ANSWER", Text: fmt.Sprintf("%s did not answer", f.domain), Next: "dominion why " + string(f.domain)})
		}
	}
}

// complaint raises an alert for what a node reports that a person should know.
func (c *Coordinator) complaint(m topics.Message, a topics.Address, now time.Time) {
	if a.Subject != topics.ErrName && a.Subject != topics.ErrHouse && a.Subject != topics.ErrDesired {
		return
	}
	fault, err := topics.Decode[topics.Fault](m.Payload)
	if err != nil {
		return
	}
	if a.Subject == topics.ErrDesired {
		c.refused = c.refused || fault.Code == topics.FaultStale
		return
	}
	c.notice(a.Subject+"-"+string(a.Node), topics.Alert{
		Severity: topics.SeverityError, Text: fmt.Sprintf("%s: %s", a.Node, fault.Text), Next: fault.Next, About: string(a.Node),
	}, now.Add(10*time.Minute))
}
