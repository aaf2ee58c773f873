package screen

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dominion/topics"
)

// Known tells what a name may mean in the house: a service, a domain, or both.
func Known(v View, name string) (service, domain bool) {
	_, service = services(v)[topics.Service(name)]
	return service, slices.Contains(DomainNames(v), name)
}

// ServiceNames are all services that anything was heard of, sorted.
func ServiceNames(v View) []string {
	names := make([]string, 0)
	for name := range services(v) {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// DomainNames are all domains that anything was heard of, sorted.
func DomainNames(v View) []string {
	names := map[string]bool{}
	for _, n := range v.House.Domains() {
		names[string(n.Name)] = true
	}
	for n := range v.House.Judgements(v.Now) {
		names[string(n)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func services(v View) map[topics.Service]bool {
	all := map[topics.Service]bool{}
	for name := range v.House.Summaries(v.Now) {
		all[name] = true
	}
	for name := range v.House.Lookups(v.Now) {
		all[name] = true
	}
	for name := range v.House.ServiceWords() {
		all[name] = true
	}
	for _, n := range v.House.Domains() {
		for name := range n.Services(v.Now) {
			all[name] = true
		}
		for name := range n.Info.Services {
			all[name] = true
		}
	}
	return all
}

// Why says why a service or a domain is as it is: the chain of reasons, what
// depends on what, and the next thing to type. The name must be Known.
func Why(v View, name string, s Style) string {
	e := &explainer{view: v, report: Look(v), style: s, told: map[string]bool{}}
	isService, isDomain := Known(v, name)
	if e.report.Leader.State != Leads {
		for _, line := range leadership(e.report) {
			s.indented(&e.out, 0, line)
		}
		e.out.WriteString("\n")
	}
	if isService {
		e.service(topics.Service(name), 0)
	}
	if isDomain {
		if isService {
			e.out.WriteString("\n")
		}
		e.domain(topics.Node(name))
	}
	if e.next != "" {
		e.out.WriteString("\n")
		s.indented(&e.out, 0, cell{text: "next: " + clean(e.next), colour: bold})
	}
	return e.out.String()
}

// explainer writes the reasons of one thing, and of what it waits for.
type explainer struct {
	view   View
	report Report
	style  Style
	out    strings.Builder
	told   map[string]bool
	next   string // of the deepest reason
}

// advise takes over what a reason says to do next, unless that is to ask what
// is being answered here. The deepest reason is told last and counts.
func (e *explainer) advise(next string) {
	if about, ok := strings.CutPrefix(next, whyCommand); next != "" && !(ok && e.told[about]) {
		e.next = next
	}
}

func (e *explainer) say(indent int, c colour, format string, args ...any) {
	e.style.indented(&e.out, indent, cell{text: clean(fmt.Sprintf(format, args...)), colour: c})
}

func (e *explainer) service(name topics.Service, indent int) {
	e.told[string(name)] = true
	sum, known := e.view.House.Summary(name, e.view.Now)
	if !known {
		e.say(indent, bold, "%s is in no catalogue that a coordinator has published", name)
		e.instances(name, indent+2, nil)
		if e.next == "" {
			e.next = fmt.Sprintf("add [services.%s] to the leader's configuration file, then: dominion reload", name)
		}
		return
	}
	e.say(indent, bold, "%s", headlineOf(sum, e.view))
	if sum.Why != nil {
		e.say(indent+2, yellow, "%s", sum.Why.Text)
		e.advise(sum.Why.Next)
	}
	switch {
	case sum.Observed:
		e.say(indent+2, plain, "observed: it runs without the house, which neither starts nor stops it")
	case sum.Because != "" && sum.Run == topics.RunOff:
		e.say(indent+2, plain, "not wanted: %s", sum.Because)
	case sum.Because != "":
		e.say(indent+2, plain, "wanted: %s", sum.Because)
	}
	e.word(name, indent+2)
	e.instances(name, indent+2, sum.Why)
	e.needs(name, indent, asWanted(sum))
	if indent == 0 {
		e.neededBy(name)
	}
}

func headlineOf(s topics.Summary, v View) string {
	text := fmt.Sprintf("%s is %s", s.Service, phase(s))
	if len(s.Where) > 0 {
		text += " on " + places(s.Where)
	}
	if d := lasting(s.Since, v.Now); d != "" {
		text += ", for " + d
	}
	return text
}

// word says what a person wished, and how to take it back.
func (e *explainer) word(name topics.Service, indent int) {
	w, ok := e.view.House.ServiceWords()[name]
	if !ok || w.Run != topics.RunOn && w.Run != topics.RunOff {
		return
	}
	by := "a person"
	if w.By != "" {
		by = w.By
	}
	text := fmt.Sprintf("%s said %s", by, w.Run)
	if d := lasting(w.Since, e.view.Now); d != "" {
		text += " " + d + " ago"
	}
	e.say(indent, plain, "%s; `dominion run %s auto` leaves it to the catalogue again", text, name)
}

// instances says what the domains report of a service. Their reasons are left
// out when they were said before.
func (e *explainer) instances(name topics.Service, indent int, said *topics.Why) {
	for _, n := range e.view.House.Domains() {
		state, ok := n.Service(name, e.view.Now)
		if !ok || state.Phase == topics.PhaseStopped && state.Why == nil && state.Exit == nil {
			continue
		}
		e.say(indent, plain, "%s%s: %s", n.Name, e.lastWord(n.Name), instance(state, e.view.Now))
		if state.Status != "" {
			e.say(indent+2, plain, "it says: %s", state.Status)
		}
		if state.Why == nil {
			continue
		}
		if said == nil || !strings.Contains(said.Text, state.Why.Text) {
			e.say(indent+2, yellow, "%s", state.Why.Text)
		}
		e.advise(state.Why.Next)
	}
}

// lastWord marks a report of a domain that cannot be heard now.
func (e *explainer) lastWord(name topics.Node) string {
	i := slices.IndexFunc(e.report.Domains, func(d Domain) bool { return d.Name == name })
	if i < 0 || e.report.Domains[i].State.Reachable() {
		return ""
	}
	return " said last"
}

// needs says what a service depends on, and explains those that are not ready,
// unless the service does without them.
func (e *explainer) needs(name topics.Service, indent int, content bool) {
	var ready []string
	for _, dependency := range e.dependencies()[name] {
		sum, ok := e.view.House.Summary(dependency, e.view.Now)
		switch {
		case ok && sum.Phase.Met():
			ready = append(ready, fmt.Sprintf("%s (%s on %s)", dependency, sum.Phase, places(sum.Where)))
			continue
		case ok && content:
			ready = append(ready, fmt.Sprintf("%s (%s)", dependency, sum.Phase))
			continue
		}
		if e.told[string(dependency)] {
			e.say(indent+2, plain, "needs %s (see above)", dependency)
			continue
		}
		e.say(indent+2, plain, "needs %s:", dependency)
		e.service(dependency, indent+4)
	}
	if len(ready) > 0 {
		e.say(indent+2, plain, "needs %s", strings.Join(ready, ", "))
	}
}

func (e *explainer) neededBy(name topics.Service) {
	var users []string
	for user, needs := range e.dependencies() {
		if slices.Contains(needs, name) {
			users = append(users, string(user))
		}
	}
	if slices.Sort(users); len(users) > 0 {
		e.say(2, plain, "needed by %s", strings.Join(users, ", "))
	}
}

// dependencies are what each service needs, as the desired documents say.
func (e *explainer) dependencies() map[topics.Service][]topics.Service {
	all := map[topics.Service][]topics.Service{}
	for _, n := range e.view.House.Domains() {
		doc, _ := e.view.House.Document(n.Name)
		for name, want := range doc.Services {
			if len(all[name]) == 0 {
				all[name] = want.Dependencies
			}
		}
	}
	return all
}

func (e *explainer) domain(name topics.Node) {
	e.told[string(name)] = true
	i := slices.IndexFunc(e.report.Domains, func(d Domain) bool { return d.Name == name })
	d := Domain{Name: name, State: topics.JudgedUnknown}
	if i >= 0 {
		d = e.report.Domains[i]
	}
	text := fmt.Sprintf("%s is %s", name, d.State)
	if lasts := lasting(d.Since, e.view.Now); lasts != "" {
		text += ", for " + lasts
	}
	e.say(0, bold, "%s", text)
	if d.Why != nil {
		e.say(2, yellow, "%s", d.Why.Text)
		e.advise(d.Why.Next)
	}
	if d.Drain {
		e.say(2, plain, "it is drained: nothing new is placed on it")
	}
	if len(d.Traits) > 0 {
		e.say(2, plain, "traits: %s", joined(d.Traits))
	}
	e.runs(name)
	if n := e.view.House.Node(name); n != nil && len(n.Info.Services) > 0 {
		e.say(2, plain, "can run: %s", joined(slices.Sorted(maps.Keys(n.Info.Services))))
	}
}

// runs says what a domain should run, and how that goes.
func (e *explainer) runs(name topics.Node) {
	doc, _ := e.view.House.Document(name)
	n := e.view.House.Node(name)
	nothing := true
	for _, service := range slices.Sorted(maps.Keys(doc.Services)) {
		want := doc.Services[service]
		state, reported := topics.ServiceState{}, false
		if n != nil {
			state, reported = n.Service(service, e.view.Now)
		}
		if !want.Run && !state.Phase.Alive() {
			continue
		}
		nothing = false
		verb := "should run"
		if !want.Run {
			verb = "should not run"
		}
		if !reported {
			e.say(2, plain, "%s %s; no report yet", verb, service)
			continue
		}
		e.say(2, plain, "%s %s%s: %s", verb, service, e.lastWord(name), instance(state, e.view.Now))
		if state.Why != nil {
			e.say(4, yellow, "%s", state.Why.Text)
			e.advise(state.Why.Next)
		}
	}
	if nothing {
		e.say(2, plain, "nothing should run there now")
	}
}

func joined[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}
