package screen

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"dominion/topics"
)

// picture is what was known of one topic at one moment.
type picture struct {
	presence  topics.Presence
	info      topics.Info
	service   topics.ServiceState
	reported  bool
	document  topics.Document
	word      topics.ServiceWord
	drain     topics.DomainWord
	judgement topics.Judgement
	summary   topics.Summary
	lookup    topics.Lookup
	alert     topics.Alert
}

func (t *Teller) picture(a topics.Address, now time.Time) picture {
	var p picture
	if n := t.house.Node(a.Node); n != nil {
		p.presence, p.info = n.Presence, n.Info
		p.service, p.reported = n.Service(topics.Service(a.Subject), now)
	}
	p.document, _ = t.house.Document(a.Node)
	p.word = t.house.ServiceWords()[topics.Service(a.Subject)]
	p.drain = t.house.DomainWords()[topics.Node(a.Subject)]
	p.judgement, _ = t.house.Judgement(topics.Node(a.Subject), now)
	p.summary, _ = t.house.Summary(topics.Service(a.Subject), now)
	p.lookup, _ = t.house.Lookup(topics.Service(a.Subject), now)
	p.alert = t.house.Alerts(now)[a.Subject]
	return p
}

// difference tells in words what two pictures of one topic differ in.
func difference(a topics.Address, before, after picture) news {
	coordinator := a.Node == topics.Coordinator
	switch {
	case a.Kind == "presence" && coordinator:
		return leading(before.presence, after.presence)
	case a.Kind == "presence":
		return presence(before.presence, after.presence)
	case a.Kind == "info" && !coordinator:
		return info(before.info, after.info)
	case a.Class == topics.State && a.Kind == "service":
		return report(before.service, after.service)
	case a.Kind == "services":
		return document(before.document, after.document)
	case a.Class == topics.Desired && a.Kind == "service":
		return word(a.Subject, before.word, after.word)
	case a.Class == topics.Desired && a.Kind == "domain":
		return drain(a.Subject, before.drain, after.drain)
	case a.Kind == "domain":
		return judgement(a.Subject, before.judgement, after.judgement)
	case a.Kind == "summary":
		return summary(before.summary, after.summary)
	case a.Kind == "lookup":
		return lookup(before.lookup, after.lookup)
	case a.Kind == "alert" && before.alert.Text != after.alert.Text:
		return tell(yellow, "alert: %s", after.alert.Text)
	}
	return news{}
}

func leading(before, after topics.Presence) news {
	same := before.State == after.State && before.Role == after.Role && before.Term == after.Term
	switch {
	case same:
	case after.State == topics.Stopped:
		return tell(yellow, "has left; domains keep running what they run")
	case after.State == topics.Lost:
		return tell(red, "is lost; domains keep running what they run")
	case after.Role == topics.Active:
		return tell(green, "leads, term %d", after.Term)
	case after.Role == topics.Settling:
		return tell(yellow, "listens who is there, term %d", after.Term)
	}
	return news{}
}

func presence(before, after topics.Presence) news {
	if before.State == after.State && before.Sid == after.Sid {
		return news{}
	}
	switch after.State {
	case topics.Online:
		if before.State == "" {
			return tell(green, "is there")
		}
		return tell(green, "is back")
	case topics.Lost:
		return tell(red, "is lost: its connection broke")
	case topics.Sleeping:
		return tell(dim, "sleeps for %s", Lasting(time.Duration(after.Wake)*time.Second))
	}
	if after.Services != "" {
		return tell(yellow, "has stopped, its services are %s", after.Services)
	}
	return tell(yellow, "has stopped")
}

func info(before, after topics.Info) news {
	if before.Version == after.Version && slices.Equal(before.Traits, after.Traits) && maps.Equal(before.Services, after.Services) {
		return news{}
	}
	words := []string{"is a " + after.Kind}
	if after.Version != "" {
		words = append(words, "version "+after.Version)
	}
	if len(after.Traits) > 0 {
		words = append(words, "has "+joined(after.Traits))
	}
	if len(after.Services) > 0 {
		words = append(words, "can run "+joined(slices.Sorted(maps.Keys(after.Services))))
	}
	return tell(plain, "%s", strings.Join(words, ", "))
}

func report(before, after topics.ServiceState) news {
	if before.Phase == after.Phase && before.Ready == after.Ready && before.Start == after.Start &&
		before.Port == after.Port && before.PID == after.PID && sameWhy(before.Why, after.Why) {
		return news{}
	}
	n := tell(plain, "%s %s%s", after.Service, step(before, after), because(after.Why))
	switch {
	case after.Ready:
		n.colour = green
	case after.Phase == topics.PhaseBackoff || after.Phase == topics.PhaseCrashloop:
		n.colour = red
	}
	return n
}

// step says of an instance what is new.
func step(before, after topics.ServiceState) string {
	words := []string{string(after.Phase)}
	switch {
	case after.Ready && after.Phase == topics.PhaseRunning:
		words = append(words, "ready")
	case after.Phase == topics.PhaseRunning:
		words = append(words, "not ready")
	}
	if after.Port != 0 && after.Port != before.Port {
		words = append(words, "port "+strconv.Itoa(after.Port))
	}
	if after.PID != 0 && after.PID != before.PID {
		words = append(words, "pid "+strconv.Itoa(after.PID))
	}
	if after.Version != "" && after.Version != before.Version {
		words = append(words, "version "+after.Version)
	}
	if after.Exit != nil && (before.Exit == nil || *after.Exit != *before.Exit) {
		words = append(words, "last "+ended(*after.Exit))
	}
	return strings.Join(words, ", ")
}

func document(before, after topics.Document) news {
	var run, stop, again []string
	for _, name := range slices.Sorted(maps.Keys(after.Services)) {
		was, is := before.Services[name], after.Services[name]
		switch {
		case is.Run && !was.Run:
			run = append(run, string(name))
		case !is.Run && was.Run:
			stop = append(stop, string(name))
		case is.Run && is.Rev != was.Rev:
			again = append(again, string(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Services)) {
		if _, stays := after.Services[name]; !stays && before.Services[name].Run {
			stop = append(stop, string(name))
		}
	}
	var words []string
	for _, w := range []struct {
		verb  string
		names []string
	}{{"run ", run}, {"stop ", stop}, {"restart ", again}} {
		if len(w.names) > 0 {
			words = append(words, w.verb+strings.Join(w.names, ", "))
		}
	}
	if len(words) == 0 {
		return news{}
	}
	return tell(plain, "should %s", strings.Join(words, "; "))
}

func word(name string, before, after topics.ServiceWord) news {
	if before.Run == after.Run && before.Instances == after.Instances && before.Pin == after.Pin {
		return news{}
	}
	run := after.Run
	if run == "" {
		run = topics.RunAuto
	}
	text := fmt.Sprintf("the word on %s is %s", name, run)
	if after.Instances != 0 {
		text += fmt.Sprintf(", on %d domains", after.Instances)
	}
	if after.Pin != "" {
		text += ", pinned to " + string(after.Pin)
	}
	if after.By != "" {
		text += ", says " + after.By
	}
	return tell(plain, "%s", text)
}

func drain(name string, before, after topics.DomainWord) news {
	switch {
	case before.Drain == after.Drain:
		return news{}
	case after.Drain:
		return tell(plain, "the word on %s is drain", name)
	}
	return tell(plain, "the word on %s is no longer drain", name)
}

func judgement(name string, before, after topics.Judgement) news {
	if before.State == after.State && before.Drain == after.Drain && sameWhy(before.Why, after.Why) {
		return news{}
	}
	return tell(judgementColour(after.State), "%s is %s%s", name, after.State, because(after.Why))
}

func summary(before, after topics.Summary) news {
	if phase(before) == phase(after) && slices.Equal(before.Where, after.Where) && before.Run == after.Run && sameWhy(before.Why, after.Why) {
		return news{}
	}
	return tell(phaseColour(after.Phase), "%s", summarised(after))
}

func lookup(before, after topics.Lookup) news {
	if Lookup(before) == Lookup(after) {
		return news{}
	}
	if found := strings.Fields(Lookup(after)); len(found) > 0 {
		return tell(plain, "%s is found at %s", after.Service, strings.Join(found, ", "))
	}
	return tell(plain, "%s is found nowhere", after.Service)
}

func sameWhy(a, b *topics.Why) bool {
	return a == b || a != nil && b != nil && a.Text == b.Text
}

func because(why *topics.Why) string {
	if why == nil {
		return ""
	}
	return ": " + why.Text
}
