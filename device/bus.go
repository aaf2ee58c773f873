package device

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"dominion/device/host"
	"dominion/topics"
)

// hear takes in one thing from the bus.
func (a *Agent) hear(work context.Context, in topics.Inbound) {
	now := time.Now()
	switch {
	case in.Link == topics.LinkUp:
		a.link.sid, a.link.up, a.link.synced, a.link.born, a.link.document = in.Sid, true, false, false, nil
		a.view.looked = time.Time{} // broker or interfaces may be others: look again where this machine is reached
	case in.Link == topics.LinkSynced:
		a.link.sid, a.link.synced, a.pause = in.Sid, true, nil
		a.work.linked.Store(true)
		if a.link.document != nil || len(a.memory.Document) > 0 {
			a.offer(work, a.link.document)
		}
		a.haste(now)
		a.birth(work, now)
	case in.Link == topics.LinkDown:
		a.linkDown()
	case in.Request != nil:
		a.command(work, *in.Request, now)
	default:
		a.message(work, in.Message, now)
	}
}

func (a *Agent) linkDown() {
	a.link.up, a.link.synced, a.link.born = false, false, false
	a.work.linked.Store(false)
	a.haste(time.Now())
}

func (a *Agent) message(work context.Context, m topics.Message, now time.Time) {
	space := a.cfg.Space
	switch m.Topic {
	case space.DesiredServices(a.cfg.Name):
		if !a.link.synced {
			// The name may be another machine's: nothing is done before the
			// client has made sure that it is not.
			a.link.document = m.Payload
			return
		}
		a.offer(work, m.Payload)
		return
	case space.PlanHeartbeat():
		a.heardPlanner(work, now)
		return
	case space.Presence(topics.Coordinator):
		if p, err := topics.DecodePresence(m.Payload); err == nil && p.House != "" {
			a.lead.house = p.House
		}
		return
	}
	name, node, word, ok := space.ParseServiceWord(m.Topic)
	if !ok || node != a.cfg.Name {
		return
	}
	u := a.units[name]
	if u == nil || u.run == nil || u.start != string(bytes.TrimSpace(m.Payload)) {
		return
	}
	switch {
	case word == topics.WordReady && u.entry.Rule.By != topics.ReadyNotify:
		signal(u.run.heard)
	case word == topics.WordAlive && u.entry.Live != nil && u.entry.Live.By == topics.ReadyTopic:
		signal(u.run.beat)
	}
}

func (a *Agent) heardPlanner(work context.Context, now time.Time) {
	if a.lead.lonely {
		a.cfg.Log.Info().Msg("the leader is heard again")
	}
	a.lead.beat = now
	if a.lead.enough != nil {
		a.lead.enough() // from here on it is the coordinator's word that counts
		a.lead.enough = nil
	}
	a.feelLonely(false)
	if a.lead.offered != nil {
		a.offer(work, a.lead.offered)
	}
}

func (a *Agent) lastHeard() time.Time {
	if a.lead.beat.IsZero() {
		return a.began
	}
	return a.lead.beat
}

// loneliness says once that no leader is heard. Everything keeps running.
func (a *Agent) loneliness(now time.Time) {
	if silent := now.Sub(a.lastHeard()); !a.lead.lonely && silent >= a.cfg.Timing.Lonely {
		a.feelLonely(true)
		a.cfg.Log.Warn().Stringer("silent", silent.Round(time.Second)).Msg("no leader is heard: everything keeps running as it was told")
	}
}

func (a *Agent) feelLonely(lonely bool) {
	if a.lead.lonely != lonely && a.cfg.Lonely != nil {
		a.cfg.Lonely(lonely)
	}
	a.lead.lonely = lonely
}

// offer judges a document that came, and takes it up or says why not.
func (a *Agent) offer(work context.Context, payload []byte) {
	a.lead.offered = nil
	heard := !a.lead.beat.IsZero() && time.Since(a.lead.beat) <= a.cfg.Timing.Heard
	j := Judge(a.held(), Offer{Payload: payload, Heard: heard, Leader: a.lead.house})
	switch j.Verdict {
	case Later:
		a.lead.offered = payload
	case Refuse:
		j.Fault.Topic = a.cfg.Space.DesiredServices(a.cfg.Name)
		a.cfg.Log.Warn().Str("code", j.Fault.Code).Msg(j.Fault.Text)
		a.fault(work, j.Subject, j.Fault)
	case Same:
		a.link.beat = time.Time{}
	case Accept:
		stranger := a.memory.House == ""
		if err := a.accept(payload, j); err != nil {
			// Nothing that is not stored is acted on.
			a.cfg.Log.Error().Err(err).Msg("the desired document cannot be stored")
			a.fault(work, topics.ErrDesired, topics.Fault{Code: topics.FaultBad, Text: "the document cannot be stored: " + err.Error(), Next: "df -h " + a.cfg.DataDir})
			a.lead.offered = payload
			return
		}
		if stranger && a.link.born {
			a.sayInfo(work)
			a.sayPresence(work, topics.Online, "")
		}
		a.reportBad(work, j.Bad)
		a.link.beat = time.Time{} // the heartbeat acknowledges it
	}
}

// retry has stored what could not be.
func (a *Agent) retry(work context.Context, now time.Time) {
	if a.lead.offered != nil && a.memory.House != "" && now.Sub(a.link.beat) >= a.cfg.Timing.Heartbeat {
		a.offer(work, a.lead.offered)
	}
	if a.past.unkept {
		a.keepPast()
	}
}

func (a *Agent) reportBad(work context.Context, bad map[topics.Service]error) {
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		f := topics.Fault{Code: topics.FaultService, Text: bad[name].Error(), Topic: a.cfg.Space.DesiredServices(a.cfg.Name), Field: "services." + string(name)}
		if field, ok := bad[name].(*topics.FieldError); ok {
			f.Field = field.Field
		}
		a.cfg.Log.Warn().Str("service", string(name)).Err(bad[name]).Msg("this service is not taken up as the document has it")
		a.fault(work, topics.ErrDesired, f)
	}
}

// birth says everything, presence last. It waits for the first look at what
// is on this machine.
func (a *Agent) birth(work context.Context, now time.Time) {
	if !a.link.synced || a.link.born || a.view.inventory == nil || a.view.traits == nil {
		return
	}
	a.link.born = true
	a.settle(work, now)
	for _, name := range slices.Sorted(maps.Keys(a.units)) {
		a.units[name].sent = ""
	}
	a.sayStates(work)
	a.sayInfo(work)
	if a.view.measured != (topics.Host{}) {
		a.sayHost(work, now)
	}
	a.sayPresence(work, topics.Online, "")
	a.cfg.Log.Info().Str("sid", string(a.link.sid)).Msg("online")
	a.link.beat = time.Time{}
}

func (a *Agent) sayPresence(work context.Context, state topics.PresenceState, services string) {
	p := topics.Presence{State: state, Sid: a.link.sid, ID: a.cfg.ID, House: a.memory.House, Services: services}
	_ = a.publish(work, topics.Message{Topic: a.cfg.Space.Presence(a.cfg.Name), Payload: topics.Encode(p), QoS: 1, Retained: true})
}

func (a *Agent) sayInfo(work context.Context) {
	v := a.view
	i := topics.Info{
		Kind: topics.KindDomain, ID: a.cfg.ID, Sid: a.link.sid, House: a.memory.House, Version: a.cfg.Version, Protocol: topics.Protocol,
		OS: v.facts.OS, Arch: v.facts.Arch, Model: v.facts.Model, CPUs: v.facts.CPUs, Memory: v.facts.Memory, Boot: v.facts.Boot,
		PID: os.Getpid(), Addresses: v.inventory.addresses, Traits: v.traits, Methods: a.methods(), Runners: v.inventory.runners,
		Services: v.inventory.services, Term: a.term, Gen: a.gen,
	}
	_ = a.publish(work, topics.Message{Topic: a.cfg.Space.Info(a.cfg.Name), Payload: topics.Encode(i), QoS: 1, Retained: true})
}

func (a *Agent) sayHost(work context.Context, now time.Time) {
	h := host.After(a.view.said, a.view.measured)
	if a.publish(work, topics.Message{Topic: a.cfg.Space.Host(a.cfg.Name), Payload: topics.Encode(h), Retained: true}) == nil {
		a.view.said, a.view.saidAt = h, now
	}
}

// sayStates publishes what changed of the services.
func (a *Agent) sayStates(work context.Context) {
	for _, name := range slices.Sorted(maps.Keys(a.units)) {
		u := a.units[name]
		if u.seen != nil && u.seen.state.Stage == "" && u.seen.err == nil {
			continue // what was said of it last stands until it was looked at
		}
		payload := topics.Encode(a.state(u))
		if string(payload) == u.sent {
			continue
		}
		if a.publish(work, topics.Message{Topic: a.cfg.Space.ServiceState(a.cfg.Name, name), Payload: payload, QoS: 1, Retained: true}) == nil {
			u.sent = string(payload)
		}
	}
}

// say publishes what changed and beats: after the states, so that who hears
// the heartbeat's gen has heard what it did.
func (a *Agent) say(work context.Context, now time.Time) {
	if !a.link.born {
		return
	}
	a.sayStates(work)
	a.sayFaults(work, now)
	if now.Sub(a.link.beat) < a.cfg.Timing.Heartbeat {
		return
	}
	a.link.seq++
	a.link.beat = now
	b := topics.Heartbeat{Sid: a.link.sid, Seq: a.link.seq, Term: a.term, Gen: a.gen, Uptime: int64(now.Sub(a.began).Seconds())}
	_ = a.publish(work, topics.Message{Topic: a.cfg.Space.Heartbeat(a.cfg.Name), Payload: topics.Encode(b)})
}

// tellExit says that a service ended, with the last it said; asked: it was to.
func (a *Agent) tellExit(work context.Context, u *unit, rep report, asked bool) {
	if !a.link.born || rep.missing {
		return
	}
	h := topics.Happening{Text: string(u.name) + " " + ending(rep.exit) + after(rep.lived), Service: u.name, Domain: a.cfg.Name, Exit: rep.exit, Lines: rep.lines, Why: u.why}
	if rep.exit == nil && rep.why != nil {
		h.Text = string(u.name) + " did not start"
	}
	if asked && rep.exit != nil && rep.exit.Signal == "SIGKILL" {
		h.Text += fmt.Sprintf(": it had not ended %v after TERM (have it end when it is asked to)", a.cfg.Timing.Stop)
	}
	_ = a.publish(work, topics.Message{Topic: a.cfg.Space.Occurrence(a.cfg.Name, "exit", string(u.name)), Payload: topics.Encode(h), QoS: 1})
}

// publish hands a message to the bus. A link that is down brings a birth, and
// that says everything again.
func (a *Agent) publish(work context.Context, m topics.Message) error {
	err := a.link.bus.Publish(work, m)
	if err != nil {
		a.cfg.Log.Debug().Err(err).Str("topic", m.Topic).Msg("not published")
	}
	return err
}

// heldFault is an error event that waits: for the birth, or for a second to
// pass since the last one on its topic.
type heldFault struct {
	subject string
	fault   topics.Fault
	count   int // how many of the same were held back
}

// fault reports a refusal that nobody asked for: one on each topic in a
// second; of those that tell of the same field the last is said, and counted.
func (a *Agent) fault(work context.Context, subject string, f topics.Fault) {
	key := subject + " " + f.Field
	held := a.link.faults[key]
	if held == nil {
		held = &heldFault{subject: subject}
		a.link.faults[key] = held
	} else {
		held.count++
	}
	held.fault = f
	a.sayFaults(work, time.Now())
}

func (a *Agent) sayFaults(work context.Context, now time.Time) {
	if !a.link.born {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(a.link.faults)) {
		held := a.link.faults[key]
		if now.Before(a.link.blamed[held.subject].Add(time.Second)) {
			continue
		}
		a.link.blamed[held.subject] = now
		held.fault.Count = held.count
		if a.publish(work, topics.Message{Topic: a.cfg.Space.Error(a.cfg.Name, held.subject), Payload: topics.Encode(held.fault), QoS: 1}) == nil {
			delete(a.link.faults, key)
		}
	}
}

// goodbye is the last word of a planned end, with the answers that are owed.
func (a *Agent) goodbye(work context.Context) {
	if !a.link.born {
		return
	}
	ctx, cancel := context.WithTimeout(work, 2*time.Second)
	defer cancel()
	for _, u := range a.units {
		a.answer(ctx, u, topics.Failed, &topics.Why{Code: topics.DomainStopped, Text: "the agent ended before it was ready", Next: "dominion why " + string(u.name)})
	}
	a.sayStates(ctx)
	services := topics.ServicesKept
	if a.ending {
		services = topics.ServicesStopped
	}
	a.sayPresence(ctx, topics.Stopped, services)
}
