package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dominion/topics"
)

// Report is what the coordinator says of the house: what it makes of every
// domain and service, and what is wrong.
type Report struct {
	Judgements map[topics.Node]topics.Judgement
	Summaries  map[topics.Service]topics.Summary
	Lookups    map[topics.Service]topics.Lookup
	Alerts     map[string]topics.Alert
}

// MakeReport says what a view and its plan come to. It is pure.
func MakeReport(v View, plan Plan) Report {
	r := Report{
		Judgements: map[topics.Node]topics.Judgement{},
		Summaries:  map[topics.Service]topics.Summary{},
		Lookups:    map[topics.Service]topics.Lookup{},
		Alerts:     map[string]topics.Alert{},
	}
	ready := endpoints(&v)
	domains := map[topics.Node]*Domain{}
	for i := range v.Domains {
		d := &v.Domains[i]
		domains[d.Name] = d
		r.Judgements[d.Name] = judgement(d, plan.Documents[d.Name], v)
		r.alertDomain(d, v)
	}
	for s, verdict := range plan.Services {
		summary := summarise(s, verdict, plan, v, domains, len(ready[s])+complete(s, v))
		if before, ok := v.Before[s]; ok && summary.Since == "" && before.Phase == summary.Phase {
			summary.Since = before.Since
		}
		if summary.Since == "" {
			summary.Since = v.Stamp
		}
		r.Summaries[s] = summary
		r.Lookups[s] = lookup(s, ready[s])
		r.alertService(s, verdict, summary)
	}
	return r
}

// complete counts where a oneshot has succeeded.
func complete(s topics.Service, v View) (n int) {
	for i := range v.Domains {
		if d := &v.Domains[i]; d.State.Reachable() && d.Reports[s].Complete() {
			n++
		}
	}
	return n
}

func judgement(d *Domain, wanted map[topics.Service]topics.Wanted, v View) topics.Judgement {
	j := topics.Judgement{State: d.State, Drain: d.Drain}
	if wanted == nil {
		wanted = d.Document
	}
	for s, w := range wanted {
		if !w.Run {
			continue
		}
		j.Wanted++
		if d.Reports[s].Ready && d.State.Reachable() {
			j.Ready++
		}
	}
	next := "dominion why " + string(d.Name)
	switch d.State {
	case topics.JudgedSuspect:
		j.Why = &topics.Why{Code: "SUSPECT", Text: "no heartbeat for a while", Next: next}
	case topics.JudgedLost:
		j.Why = &topics.Why{Code: topics.DomainLost, Text: "gone without a word; is it powered, is its network up?", Next: next}
		if d.Micro { // a device may have said so itself
			j.Why.Text = "gone, or so it says; is it powered, is its network up?"
		}
	case topics.JudgedConflict:
		j.Why = &topics.Why{Code: "CONFLICT", Text: "another domain has the same name but for the case of its letters", Next: "rename one of them"}
	case topics.JudgedUnknown:
		j.Why = &topics.Why{Code: topics.DomainUnknown, Text: "not heard since the leader's start", Next: next}
	case topics.JudgedStopped:
		text := "its agent was stopped, and its services with it"
		if d.Kept {
			text = "its agent was stopped, its services run on"
		}
		j.Why = &topics.Why{Code: topics.DomainStopped, Text: text, Next: next}
	}
	return j
}

// tally counts the instances of a service by what is known of them.
type tally struct {
	ready, starting, failing, stopping, silent, gated int

	done    int // of the ready ones: oneshots that have succeeded
	over    int // ended as their restart policy has it
	down    int // observed, and not running
	since   topics.Stamp
	version string
	why     *topics.Why // of the worst instance
}

func summarise(s topics.Service, verdict Verdict, plan Plan, v View, domains map[topics.Node]*Domain, ready int) topics.Summary {
	sum := topics.Summary{Service: s, Run: verdict.Run, Where: verdict.Where, Because: verdict.Because, Ready: ready}
	var t tally
	for _, name := range verdict.Where {
		d := domains[name]
		want, desired := plan.Documents[name][s]
		if !desired {
			want = d.Document[s]
		}
		if want.Run {
			sum.Wanted++
		}
		t.count(d, s, want)
	}
	sum.Since, sum.Version = t.since, t.version
	external := v.Catalogue != nil && v.Catalogue.entries[s].priority == External
	if sum.Observed = verdict.Observed; verdict.Observed {
		sum.Wanted, external = len(verdict.Where), false
	}
	if external {
		sum.Wanted = max(1, ready)
	}
	sum.Phase = phase(verdict, t, len(verdict.Where), ready, external)
	switch sum.Phase {
	case topics.SummaryReady, topics.SummaryDone:
	case topics.SummaryDegraded, topics.SummaryStopped, topics.SummaryOrphaned, topics.SummaryWaiting, topics.SummaryUnknown, topics.SummaryLost:
		sum.Why = first(verdict.Why, t.why)
	default:
		sum.Why = first(t.why, verdict.Why)
	}
	if sum.Why == nil && !sum.Phase.Met() {
		sum.Why = &topics.Why{Code: topics.WaitApply, Text: "was told to, has not reported yet", Next: "dominion why " + string(s)}
	}
	return sum
}

func (t *tally) count(d *Domain, s topics.Service, want topics.Wanted) {
	r, reported := d.Reports[s]
	if reported && t.version == "" {
		t.version = r.Version
	}
	switch {
	case !d.State.Reachable():
		t.silent++
		t.why = first(t.why, &topics.Why{Code: topics.DomainUnknown, Text: fmt.Sprintf("%s is %s", d.Name, d.State), Next: "dominion why " + string(d.Name)})
	case reported && r.Observed:
		t.countObserved(d, r)
	case reported && r.Ready:
		t.ready++
		if r.Complete() {
			t.done++
		}
		if t.since == "" {
			t.since = r.Since
		}
	case reported && (r.Phase == topics.PhaseBackoff || r.Phase == topics.PhaseCrashloop):
		t.failing++
		t.blame(d, r)
	case reported && r.Phase == topics.PhaseStopping:
		t.stopping++
		t.blame(d, r)
	case reported && r.Phase.Alive() && !want.Run:
		t.stopping++
	case reported && r.Phase.Alive():
		t.starting++
		t.blame(d, r)
	case reported && want.Run && r.Phase == topics.PhaseDone:
		t.over++
		t.blame(d, r)
	case reported && want.Run && r.Why != nil && r.Why.Code == topics.Scheduled:
		t.gated++
		t.blame(d, r)
	case reported && want.Run && d.Acked && d.Document[s].Run && r.Why != nil: // it was told to, and cannot
		t.failing++
		t.blame(d, r)
	case want.Run:
		t.starting++
	case waits(want):
		t.gated++
		t.why = first(t.why, want.Why)
	}
}

// blame takes over an instance's own why, with the name of its domain.
func (t *tally) blame(d *Domain, r topics.ServiceState) {
	if r.Why == nil || t.why != nil {
		return
	}
	why := *r.Why
	if !strings.Contains(why.Text, string(d.Name)) {
		why.Text = "on " + string(d.Name) + ": " + why.Text
	}
	t.why = &why
}

func phase(verdict Verdict, t tally, places, ready int, external bool) topics.SummaryPhase {
	switch {
	case verdict.Orphan && verdict.Run == topics.RunOn:
		return topics.SummaryOrphaned
	case verdict.Run == topics.RunOff && t.ready+t.starting+t.stopping+t.failing > 0:
		return topics.SummaryStopping
	case verdict.Run == topics.RunOff && t.silent > 0:
		return topics.SummaryUnknown
	case verdict.Run == topics.RunOff:
		return topics.SummaryStopped
	case external && ready > 0:
		return topics.SummaryReady
	case places == 0:
		return topics.SummaryWaiting
	case t.ready == places && short(verdict):
		return topics.SummaryDegraded
	case t.ready == places && t.done == places:
		return topics.SummaryDone
	case t.ready == places:
		return topics.SummaryReady
	case t.ready > 0:
		return topics.SummaryDegraded
	case t.failing > 0:
		return topics.SummaryFailing
	case t.starting > 0:
		return topics.SummaryStarting
	case t.over > 0:
		return topics.SummaryStopped
	case t.gated > 0:
		return topics.SummaryWaiting
	case t.stopping > 0:
		return topics.SummaryStopping
	case t.down > 0:
		return topics.SummaryStopped
	case verdict.Why != nil && verdict.Why.Code == topics.DomainLost:
		return topics.SummaryLost
	case t.silent > 0:
		return topics.SummaryUnknown
	}
	return topics.SummaryStarting
}

// short tells that the house wants more instances than it has places for.
func short(verdict Verdict) bool {
	return verdict.Why != nil && (verdict.Why.Code == topics.NoDomain || verdict.Why.Code == topics.VersionMismatch)
}

func lookup(s topics.Service, ready []topics.Endpoint) topics.Lookup {
	l := topics.Lookup{Service: s, Ready: len(ready), Endpoints: ready}
	if len(ready) > 0 {
		l.Host, l.Port = ready[0].Host, ready[0].Port
	}
	return l
}

func (r *Report) alertDomain(d *Domain, v View) {
	switch {
	case d.State == topics.JudgedLost:
		text := fmt.Sprintf("%s is lost", d.Name)
		if n := len(running(d)); n > 0 {
			text += fmt.Sprintf(", with %s", joined(running(d), ", "))
		}
		r.alert("lost-"+string(d.Name), topics.Alert{Severity: topics.SeverityError, Text: text, Next: "dominion why " + string(d.Name), About: string(d.Name)})
	case d.State == topics.JudgedConflict:
		r.alert("conflict-"+string(d.Name), topics.Alert{Severity: topics.SeverityError, Text: fmt.Sprintf("%s: another domain has the same name but for the case of its letters", d.Name), Next: "rename one of them", About: string(d.Name)})
	}
}

func running(d *Domain) []topics.Service {
	var all []topics.Service
	for _, s := range slices.Sorted(maps.Keys(d.Document)) {
		if d.Document[s].Run {
			all = append(all, s)
		}
	}
	return all
}

func (r *Report) alertService(s topics.Service, verdict Verdict, sum topics.Summary) {
	about, next := string(s), "dominion why "+string(s)
	switch {
	case sum.Phase == topics.SummaryOrphaned:
		text := fmt.Sprintf("%s is not in the catalogue, but %s still has the word to run it", s, joined(sum.Where, ", "))
		if sum.Ready > 0 {
			text = fmt.Sprintf("%s runs on %s but is not in the catalogue", s, joined(sum.Where, ", "))
		}
		r.alert("orphaned-"+about, topics.Alert{Severity: topics.SeverityWarning, Text: text, Next: "dominion remove " + about, About: about})
	case sum.Phase == topics.SummaryFailing || sum.Phase == topics.SummaryLost:
		r.alert("failing-"+about, topics.Alert{Severity: topics.SeverityError, Text: fmt.Sprintf("%s: %s", s, sum.Why.Text), Next: next, About: about})
	case sum.Why != nil && (sum.Why.Code == topics.NoDomain || sum.Why.Code == topics.VersionMismatch):
		r.alert("unplaced-"+about, topics.Alert{Severity: topics.SeverityWarning, Text: fmt.Sprintf("%s: %s", s, sum.Why.Text), Next: next, About: about})
	}
}

func (r *Report) alert(id string, a topics.Alert) { r.Alerts[nameFrom(id)] = a }

// counted is what one topic says of all alerts: the worst first, then by id.
func counted(alerts map[string]topics.Alert) topics.Alerts {
	severities := []string{topics.SeverityError, topics.SeverityWarning, topics.SeverityInfo}
	rank := func(id string) int {
		if i := slices.Index(severities, alerts[id].Severity); i >= 0 {
			return i
		}
		return len(severities)
	}
	ids := slices.SortedFunc(maps.Keys(alerts), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	all := topics.Alerts{Open: len(ids)}
	for _, id := range ids[:min(len(ids), topics.MaxAlertTexts)] {
		const longest = 200
		all.Texts, all.Next = append(all.Texts, shorten(alerts[id].Text, longest)), append(all.Next, shorten(alerts[id].Next, longest))
	}
	if len(ids) > 0 {
		all.Worst = alerts[ids[0]].Severity
	}
	return all
}
