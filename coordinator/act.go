package coordinator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"dominion/topics"
	"dominion/topics/house"
)

// act plans for the house as it is now, and publishes what is different.
func (c *Coordinator) act(ctx context.Context, now time.Time) {
	c.dirty = false
	c.tellNotices(ctx)
	c.learn(ctx)
	view := c.view(now)
	plan := MakePlan(view)
	c.awaitJoined(now)
	c.report = MakeReport(view, plan)
	c.tell(ctx, view, plan)
	c.publishDocuments(ctx, plan)
	c.publishReport(ctx, now)
	c.forgetRemoved(ctx, plan)
	c.retryForwards(ctx, now)
	maps.DeleteFunc(c.graves, func(_ topics.Node, g grave) bool { return now.After(g.until) })
}

// learn keeps the names of domains that are new, and takes a higher term when
// a domain holds one.
func (c *Coordinator) learn(ctx context.Context) {
	changed, highest := false, c.term
	for _, d := range c.house.Domains() {
		if !slices.Contains(c.memory.Domains, d.Name) && (d.Spoke() || d.Info.Kind != "") {
			c.memory.Domains = append(c.memory.Domains, d.Name)
			changed = true
		}
		term, gen := applied(d)
		if term > highest || term == c.term && gen > c.gen || c.refused {
			highest = max(highest, term)
			changed, c.refused = true, false
			c.log.Warn().Str("domain", string(d.Name)).Uint64("term", term).Uint64("gen", gen).Msg("a domain holds a newer document than this leader wrote; taking a higher term")
			c.term = highest + 1
		}
	}
	c.refused = false
	if !changed {
		return
	}
	if c.term > c.memory.Term {
		c.memory.Term, c.gen = c.term, 0
		c.sayPresence(ctx, topics.Active)
	}
	c.keep()
}

// awaitJoined wakes the planner when the next domain that is joining has settled.
func (c *Coordinator) awaitJoined(now time.Time) {
	if c.joined != nil {
		return
	}
	for _, d := range c.house.Domains() {
		if left := d.Since().Add(c.cfg.Timing.JoinSettle).Sub(now); d.Spoke() && left > 0 {
			c.joined = time.After(left)
			return
		}
	}
}

// applied is the pair that a domain says it holds.
func applied(d *house.Node) (term, gen uint64) {
	term, gen = d.Info.Term, d.Info.Gen
	if d.Beat.Term > term || d.Beat.Term == term && d.Beat.Gen > gen {
		term, gen = d.Beat.Term, d.Beat.Gen
	}
	return term, gen
}

// view takes the planner's plain values from the folded house.
func (c *Coordinator) view(now time.Time) View {
	v := View{
		Now: now, Stamp: topics.At(now), Timing: c.cfg.Timing, Catalogue: c.cfg.Catalogue,
		Words: c.memory.Services, Removed: c.memory.Removed, Before: c.report.Summaries,
	}
	if v.Before == nil {
		v.Before = c.house.Summaries(now)
	}
	for _, n := range c.house.Domains() {
		v.Domains = append(v.Domains, c.domain(n, now))
	}
	markTwins(v.Domains)
	return v
}

// markTwins finds domains whose names differ only in case: the house takes
// them for two, people and Home Assistant for one. The one with less to run is
// in conflict, else the one that came later.
func markTwins(domains []Domain) {
	by := map[string]int{}
	for i := range domains {
		key := strings.ToLower(string(domains[i].Name))
		j, twin := by[key]
		if !twin {
			by[key] = i
			continue
		}
		a, b := &domains[j], &domains[i]
		if c := cmp.Or(cmp.Compare(len(b.Document), len(a.Document)), a.First.Compare(b.First)); c > 0 {
			a, by[key] = b, i
			b = &domains[j]
		}
		b.State, b.Known = topics.JudgedConflict, false
	}
}

func (c *Coordinator) domain(n *house.Node, now time.Time) Domain {
	state, since := n.Judge(now, c.limits())
	settle := c.cfg.Timing.JoinSettle
	d := Domain{
		Name: n.Name, State: state, Since: since, First: n.First(), Micro: n.Micro(), Known: n.Info.Kind != "",
		Kept:    n.Presence.Services != topics.ServicesStopped,
		Settled: n.Spoke() && now.Sub(n.Since()) >= settle,
		Joining: state == topics.JudgedOnline && now.Sub(n.First()) < settle,
		Drain:   c.memory.Drains[n.Name].Drain,
		Sid:     n.Presence.Sid, Traits: n.Info.Traits, OnDisk: n.Info.Services, Memory: n.Info.Memory,
		Reports: n.Services(now),
	}
	if len(n.Info.Addresses) > 0 {
		d.Address = n.Info.Addresses[0]
	}
	if doc, ok := c.standing(n.Name); ok {
		d.Document = doc.Services
		term, gen := applied(n)
		d.Acked = term > doc.Term || term == doc.Term && gen >= doc.Gen
	}
	if foreign := n.Presence.House; foreign != "" && foreign != c.memory.House && n.Spoke() {
		c.strange(&d, foreign, now.Sub(n.Since()), now)
	}
	return d
}

// strange treats a domain that says it is another house's: nothing is placed
// on it, and once that has lasted, so that it was no stray message which its
// owner puts right, what runs there is not ours.
func (c *Coordinator) strange(d *Domain, foreign topics.HouseID, lasts time.Duration, now time.Time) {
	d.Settled = false
	if lasts < strangeAfter && d.Document != nil {
		return
	}
	d.Known = false
	d.Document, d.Reports = map[topics.Service]topics.Wanted{}, nil
	c.notice("house-"+string(d.Name), topics.Alert{
		Severity: topics.SeverityError, About: string(d.Name),
		Text: fmt.Sprintf("%s belongs to another house (%s; this is %s)", d.Name, foreign, c.memory.House),
		Next: fmt.Sprintf("on %s: end the agent, remove its data directory, start it again", d.Name),
	}, now.Add(time.Minute))
}

// standing is the newest document that is known of a domain. The bus's own
// is only as new as the last replay.
func (c *Coordinator) standing(name topics.Node) (topics.Document, bool) {
	own, ok := c.documents[name]
	heard, also := c.house.Document(name)
	if also && (!ok || heard.Term > own.Term || heard.Term == own.Term && heard.Gen > own.Gen) {
		return heard, true
	}
	return own, ok
}

// publishDocuments writes the documents that changed: first those that take
// something away, so that a move is never overtaken.
func (c *Coordinator) publishDocuments(ctx context.Context, plan Plan) {
	var takes, gives []topics.Node
	for _, name := range slices.Sorted(maps.Keys(plan.Documents)) {
		want := plan.Documents[name]
		written, ok := c.standing(name)
		node := c.house.Node(name)
		foreign := node.Presence.House != "" && node.Presence.House != c.memory.House
		switch {
		case foreign, !ok && node.Info.Kind == "":
		case ok && written.Term == c.term && reflect.DeepEqual(written.Services, want):
			if !c.sent[name] { // the broker may have forgotten; the domain need not write it again
				c.publish(ctx, c.cfg.Space.DesiredServices(name), written)
				c.sent[name] = true
			}
		case takesAway(written.Services, want):
			takes = append(takes, name)
		default:
			gives = append(gives, name)
		}
	}
	for _, name := range append(takes, gives...) {
		c.gen++
		doc := topics.Document{House: c.memory.House, Term: c.term, Gen: c.gen, Services: plan.Documents[name]}
		c.documents[name], c.sent[name] = doc, true
		payload := topics.Encode(doc)
		c.send(ctx, topics.Message{Topic: c.cfg.Space.DesiredServices(name), Payload: payload, QoS: 1, Retained: true})
		if size := len(payload); size > topics.MaxPayload {
			c.log.Error().Str("domain", string(name)).Int("bytes", size).Msg("the desired document is too long to be sent")
			c.notice("document-"+string(name), topics.Alert{
				Severity: topics.SeverityError, About: string(name),
				Text: fmt.Sprintf("the document of %s has %d bytes (at most %d): it hears nothing new", name, size, topics.MaxPayload),
				Next: "shorten env in the configuration, or spread its services",
			}, time.Now().Add(time.Minute))
		}
	}
	if len(takes)+len(gives) > 0 {
		c.beat(ctx) // a domain that knows no house yet takes a document only from a leader it hears
	}
}

func takesAway(was, want map[topics.Service]topics.Wanted) bool {
	for s, w := range was {
		if w.Run && !want[s].Run {
			return true
		}
	}
	return false
}

// publishReport writes what changed of the judgements, summaries, lookups,
// alerts and words, and empties what no longer stands.
func (c *Coordinator) publishReport(ctx context.Context, now time.Time) {
	s, out := c.cfg.Space, map[string]any{}
	for name, j := range c.report.Judgements {
		out[s.Judgement(name)] = c.since(name, j, now)
	}
	for name, l := range c.report.Lookups {
		out[s.Lookup(name)] = l
	}
	for name, sum := range c.report.Summaries {
		out[s.Summary(name)] = sum
	}
	alerts := c.alerts(now)
	for id, a := range alerts {
		out[s.Alert(id)] = a
	}
	out[s.Alerts()] = counted(alerts)
	for name, w := range c.memory.Services {
		out[s.ServiceWord(name)] = w
	}
	for name, w := range c.memory.Drains {
		out[s.DomainWord(name)] = w
	}
	for _, topic := range slices.Sorted(maps.Keys(out)) {
		payload := topics.Encode(out[topic])
		if before, ok := c.published[topic]; ok && before == string(payload) {
			continue
		}
		c.published[topic] = string(payload)
		c.send(ctx, topics.Message{Topic: topic, Payload: payload, QoS: 1, Retained: true})
	}
	delete(c.replayed, s.Presence(topics.Coordinator))
	delete(c.replayed, s.Info(topics.Coordinator))
	for topic := range c.replayed {
		c.published[topic] = cmp.Or(c.published[topic], "?")
	}
	c.replayed = nil
	for _, topic := range slices.Sorted(maps.Keys(c.published)) {
		if _, stands := out[topic]; !stands {
			delete(c.published, topic)
			c.send(ctx, topics.Message{Topic: topic, QoS: 1, Retained: true})
		}
	}
}

// since keeps the time of a judgement that is what it was.
func (c *Coordinator) since(name topics.Node, j topics.Judgement, now time.Time) topics.Judgement {
	before, ok := c.house.Judgement(name, now)
	if was, said := c.published[c.cfg.Space.Judgement(name)]; said {
		decoded, err := topics.Decode[topics.Judgement]([]byte(was))
		before, ok = decoded, err == nil
	}
	j.Since = topics.At(now)
	if ok && before.State == j.State && before.Since != "" {
		j.Since = before.Since
	}
	return j
}

// alerts are the report's and the notices that still stand, with the time
// that each began.
func (c *Coordinator) alerts(now time.Time) map[string]topics.Alert {
	all := map[string]topics.Alert{}
	maps.DeleteFunc(c.notices, func(_ string, n notice) bool { return n.over(now) })
	maps.Copy(all, shown(c.notices, now))
	for s, sum := range c.report.Summaries { // a service that tries again has not recovered yet
		id := "failing-" + string(s)
		was, said := c.published[c.cfg.Space.Alert(id)]
		if a, err := topics.Decode[topics.Alert]([]byte(was)); said && err == nil && sum.Phase == topics.SummaryStarting {
			all[id] = a
		}
	}
	standing := c.house.Alerts(now)
	for id, a := range c.report.Alerts {
		a.Since = topics.At(now)
		if was, said := c.published[c.cfg.Space.Alert(id)]; said {
			if decoded, err := topics.Decode[topics.Alert]([]byte(was)); err == nil {
				a.Since = decoded.Since
			}
		} else if was, ok := standing[id]; ok && was.Since != "" && len(c.published) == 0 {
			a.Since = was.Since
		}
		all[id] = a
	}
	return all
}

// tell publishes what happened since the last plan as events, for people and
// automations. The first plan of a leader is no news.
func (c *Coordinator) tell(ctx context.Context, v View, plan Plan) {
	known, placed := map[topics.Node]topics.JudgementState{}, map[topics.Service][]topics.Node{}
	for i := range v.Domains {
		d := &v.Domains[i]
		known[d.Name] = d.State
		was, before := c.known[d.Name]
		if c.known == nil || before && was == d.State {
			continue
		}
		switch {
		case !before:
			c.happened(ctx, "joined", string(d.Name), topics.Happening{Domain: d.Name, Text: fmt.Sprintf("%s joined", d.Name)})
		case d.State == topics.JudgedOnline && was == topics.JudgedUnknown && d.Joining:
		case d.State == topics.JudgedOnline && was != topics.JudgedSuspect:
			c.happened(ctx, "back", string(d.Name), topics.Happening{Domain: d.Name, Text: fmt.Sprintf("%s is back", d.Name)})
		case d.State == topics.JudgedLost, d.State == topics.JudgedStopped:
			c.happened(ctx, string(d.State), string(d.Name), topics.Happening{Domain: d.Name, Text: fmt.Sprintf("%s is %s", d.Name, d.State)})
		}
	}
	for _, s := range slices.Sorted(maps.Keys(plan.Services)) {
		placed[s] = plan.Services[s].Where
		if why := plan.Services[s].Why; len(placed[s]) == 0 && why != nil && why.Code == topics.WaitMove {
			placed[s] = c.placed[s] // on its way: it is told once it has arrived
		}
		if c.placed != nil && !plan.Services[s].Orphan && !plan.Services[s].Observed {
			c.tellPlacement(ctx, s, c.placed[s], placed[s])
		}
	}
	c.known, c.placed = known, placed
}

func (c *Coordinator) tellPlacement(ctx context.Context, s topics.Service, was, now []topics.Node) {
	var from topics.Node
	for _, d := range was {
		if !slices.Contains(now, d) {
			from = d
		}
	}
	for _, d := range now {
		switch {
		case slices.Contains(was, d):
		case from != "":
			c.happened(ctx, "moved", string(s), topics.Happening{Service: s, Domain: d, From: from, Text: fmt.Sprintf("%s moves from %s to %s", s, from, d)})
		default:
			c.happened(ctx, "placed", string(s), topics.Happening{Service: s, Domain: d, Text: fmt.Sprintf("%s is placed on %s", s, d)})
		}
	}
}

func (c *Coordinator) happened(ctx context.Context, what, subject string, h topics.Happening) {
	c.log.Info().Str("event", what).Str("subject", subject).Msg(h.Text)
	c.send(ctx, topics.Message{Topic: c.cfg.Space.Occurrence(topics.Coordinator, what, subject), Payload: topics.Encode(h), QoS: 1})
}

// forgetRemoved drops the words on services that were removed and are gone.
func (c *Coordinator) forgetRemoved(ctx context.Context, plan Plan) {
	for s := range c.memory.Removed {
		_, still := plan.Services[s]
		if _, said := c.memory.Services[s]; still || !said {
			continue
		}
		delete(c.memory.Services, s)
		c.house.ForgetService(s)
		c.keep()
		c.happened(ctx, "removed", string(s), topics.Happening{Service: s, Text: fmt.Sprintf("%s is removed", s)})
		c.dirty = true
	}
}
