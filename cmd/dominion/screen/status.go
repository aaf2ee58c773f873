package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"dominion/topics"
)

// Status is the whole house on one screen: the leader's state first, then
// domains, services with their reasons, open alerts, machines that are alone in
// the network, and what to do next.
func Status(r Report, s Style) string {
	var b strings.Builder
	b.WriteString(headline(r, s))
	for _, line := range leadership(r) {
		s.indented(&b, 0, line)
	}
	if len(r.Domains) > 0 {
		b.WriteString("\n" + Domains(r, s))
	}
	if len(r.Services) > 0 {
		b.WriteString("\n" + Services(r, s))
	}
	for i, a := range untold(r) {
		if i == 0 {
			b.WriteString("\n")
		}
		alert(&b, a, r.now, s)
	}
	if len(r.Lonely) > 0 {
		b.WriteString("\n")
		lonely(&b, r, s)
	}
	if r.Leader.State == Leads {
		b.WriteString("\n")
		s.indented(&b, 0, verdict(r))
	}
	return b.String()
}

// headline is the house, its leader and its broker.
func headline(r Report, s Style) string {
	house := "house"
	switch {
	case r.Name != "" && r.House != "":
		house = fmt.Sprintf("%s (%s)", r.Name, r.House)
	case r.Name != "" || r.House != "":
		house = "house " + r.Name + string(r.House)
	}
	lead := cell{text: "no coordinator leads", colour: red}
	switch r.Leader.State {
	case Leads:
		lead = cell{text: fmt.Sprintf("coordinator leads, term %d", r.Leader.Term), colour: green}
	case Settles:
		lead = cell{text: fmt.Sprintf("coordinator settles, term %d", r.Leader.Term), colour: yellow}
	}
	broker := ""
	if r.Broker != "" {
		broker = "broker " + r.Broker
	}
	text, used := "", 0
	for _, c := range []cell{{text: house, colour: bold}, lead, {text: broker, colour: dim}} {
		c.text = clip(clean(c.text), s.width())
		length := utf8.RuneCountInString(c.text)
		switch {
		case length == 0:
			continue
		case used == 0:
		case used+3+length > s.width():
			text, used = text+"\n", 0
		default:
			text, used = text+" · ", used+3
		}
		text, used = text+s.paint(c.colour, c.text), used+length
	}
	return text + "\n"
}

// leadership says what it means when nobody leads, and what to do.
func leadership(r Report) []cell {
	seen := "What follows was said last, and may be old."
	if len(r.Domains)+len(r.Services) == 0 {
		seen = "Nothing else is known of this house."
	}
	switch r.Leader.State {
	case Leads:
		return nil
	case Settles:
		return []cell{{text: "It has just started and listens who is there (at most 30 s) before it changes anything.", colour: yellow}}
	case Silent:
		return []cell{
			{text: "A coordinator is announced as online but does not answer. " + seen, colour: red},
			{text: "next: look whether `dominion serve` runs, and start it"},
		}
	case Gone:
		return []cell{
			{text: "The coordinator has left. Domains keep running what they run. " + seen, colour: red},
			{text: "next: dominion serve"},
		}
	}
	return []cell{
		{text: "The broker answers, but no coordinator was ever heard on it. " + seen, colour: red},
		{text: "next: dominion serve (or is it another --base?)"},
	}
}

// Domains is the table of the domains.
func Domains(r Report, s Style) string {
	headings := []cell{
		{text: "DOMAIN"}, {text: "STATE"}, {text: "READY"}, {text: "FOR"},
		{text: "CPU", right: true}, {text: "MEMORY", right: true}, {text: "DISK", right: true}, {text: "TEMP", right: true},
	}
	rows := make([]row, 0, len(r.Domains))
	for _, d := range r.Domains {
		state := string(d.State)
		if d.Drain {
			state += ", drains"
		}
		cells := []cell{
			{text: clip(string(d.Name), 30)},
			{text: state, colour: judgementColour(d.State)},
			{text: fmt.Sprintf("%d/%d", d.Ready, d.Wanted)},
			{text: lasting(d.Since, r.now)},
		}
		host := topics.Host{}
		if d.Host != nil {
			host = *d.Host
		}
		cells = append(cells, reading(host.CPU, "%"), reading(host.Memory, "%"), reading(host.Disk, "%"), reading(host.Temperature, "°"))
		rows = append(rows, row{cells, reason(d.Why, d.Well)})
	}
	return s.table(dimmed(headings), rows)
}

func reading(r topics.Reading, unit string) cell {
	if !r.Known {
		return cell{}
	}
	return cell{text: fmt.Sprintf("%.0f%s", r.Value, unit), right: true}
}

// Services is the table of the services: state, where, since when, why the
// house wants them, and below that why they are not as wanted.
func Services(r Report, s Style) string {
	headings := []cell{{text: "SERVICE"}, {text: "STATE"}, {text: "WHERE"}, {text: "FOR"}, {text: "BECAUSE"}}
	rows := make([]row, 0, len(r.Services))
	for _, v := range r.Services {
		cells := []cell{
			{text: clip(string(v.Service), 30)},
			{text: phase(v.Summary), colour: phaseColour(v.Phase)},
			{text: clip(places(v.Where), 24)},
			{text: lasting(v.Since, r.now)},
			{text: clean(v.Because)},
		}
		rows = append(rows, row{cells, reason(v.Why, v.Well)})
	}
	return s.table(dimmed(headings), rows)
}

func dimmed(headings []cell) []cell {
	for i := range headings {
		headings[i].colour = dim
	}
	return headings
}

func reason(why *topics.Why, well bool) []cell {
	switch {
	case why == nil:
		return nil
	case well:
		return []cell{{text: clean(why.Text), colour: dim}}
	}
	return []cell{{text: clean(why.Text), colour: yellow}}
}

// untold are the alerts that say more than the tables above them.
func untold(r Report) []Alert {
	told := func(a Alert, about string, why *topics.Why) bool {
		return a.About == about && why != nil && strings.Contains(a.Text, why.Text)
	}
	return slices.DeleteFunc(slices.Clone(r.Alerts), func(a Alert) bool {
		return slices.ContainsFunc(r.Services, func(v Service) bool { return told(a, string(v.Service), v.Why) }) ||
			slices.ContainsFunc(r.Domains, func(d Domain) bool { return told(a, string(d.Name), d.Why) })
	})
}

func alert(b *strings.Builder, a Alert, now time.Time, s Style) {
	c := yellow
	switch a.Severity {
	case topics.SeverityError:
		c = red
	case topics.SeverityInfo:
		c = plain
	}
	text := "! " + clean(a.Text)
	if d := lasting(a.Since, now); d != "" {
		text += " (for " + d + ")"
	}
	s.indented(b, 0, cell{text: text, colour: c})
	if a.Next != "" {
		s.indented(b, 2, cell{text: "next: " + clean(a.Next)})
	}
}

// verdict is the last line: all is well, or what to ask about.
func verdict(r Report) cell {
	i := slices.IndexFunc(r.Services, func(v Service) bool { return !v.Well })
	unwell := 0
	for _, v := range r.Services {
		if !v.Well {
			unwell++
		}
	}
	d := slices.IndexFunc(r.Domains, func(d Domain) bool { return !d.Well })
	switch {
	case unwell > 0:
		name := rootOf(r.Services, r.Services[i].Service)
		return cell{text: fmt.Sprintf("%s not as wanted · dominion why %s", count(unwell, "service is", "services are"), name), colour: yellow}
	case d >= 0:
		return cell{text: fmt.Sprintf("%s is %s · dominion why %s", r.Domains[d].Name, r.Domains[d].State, r.Domains[d].Name), colour: yellow}
	case !r.Well:
		return cell{text: count(len(r.Alerts), "alert is", "alerts are") + " open", colour: yellow}
	case len(r.Services) == 0 && len(r.Domains) == 0:
		return cell{text: "An empty house. Have a machine join it: dominion invite"}
	case len(r.Services) == 0:
		return cell{text: "No services yet. Add one from its directory: dominion add DIR"}
	}
	return cell{text: "everything is as wanted", colour: green}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// rootOf follows the reasons from a service to the one that the others wait
// for: each reason's next says whom to ask about.
func rootOf(all []Service, name topics.Service) topics.Service {
	for range all {
		i := slices.IndexFunc(all, func(v Service) bool { return v.Service == name })
		if i < 0 || all[i].Why == nil {
			return name
		}
		next := topics.Service(strings.TrimPrefix(all[i].Why.Next, whyCommand))
		j := slices.IndexFunc(all, func(v Service) bool { return v.Service == next && !v.Well })
		if j < 0 {
			return name
		}
		name = next
	}
	return name
}

// whyCommand is how a reason names the next thing to ask about.
const whyCommand = "dominion why "
