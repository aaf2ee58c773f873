package screen

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"dominion/topics"
	"dominion/topics/house"
)

// View is a house as one reader sees it at one moment.
type View struct {
	House  *house.House
	Now    time.Time // for the house's queries and for durations
	Broker string    // its address, for people
	Silent bool      // the leader's presence is online, but it did not answer
	Lonely []Lonely  // machines that were heard in the local network
}

// Report is the state of a house, as `dominion status --json` writes it.
// Fields are added, never renamed.
type Report struct {
	House    topics.HouseID `json:"house,omitempty"`
	Name     string         `json:"name,omitempty"`
	Broker   string         `json:"broker,omitempty"`
	Leader   Leader         `json:"leader"`
	Domains  []Domain       `json:"domains"`
	Services []Service      `json:"services"`
	Alerts   []Alert        `json:"alerts"`
	Lonely   []Lonely       `json:"lonely,omitempty"` // machines in the network that hear no leader, if it was listened
	Well     bool           `json:"well"`             // a leader leads and nothing is other than wanted

	now time.Time
}

// LeaderState is how it stands with the leadership of the house.
type LeaderState string

// The states of the leadership. Only under Leads what the coordinator wrote
// is known to be true.
const (
	Leads    LeaderState = "active"
	Settles  LeaderState = "settling"
	Silent   LeaderState = "silent"   // says online, does not answer
	Gone     LeaderState = "gone"     // stopped or lost
	Leadless LeaderState = "leadless" // no coordinator was ever heard of
)

// Leader is the coordinator in a Report.
type Leader struct {
	State   LeaderState `json:"state"`
	Term    uint64      `json:"term,omitempty"`
	Version string      `json:"version,omitempty"`
}

// Domain is one domain or microdomain in a Report. State is the coordinator's
// judgement, or what the domain says of itself when there is none.
type Domain struct {
	Name    topics.Node           `json:"name"`
	State   topics.JudgementState `json:"state"`
	Kind    string                `json:"kind,omitempty"`
	Since   topics.Stamp          `json:"since,omitempty"`
	Wanted  int                   `json:"wanted"`
	Ready   int                   `json:"ready"`
	Drain   bool                  `json:"drain,omitempty"`
	Version string                `json:"version,omitempty"`
	Traits  []topics.Trait        `json:"traits,omitempty"`
	Host    *topics.Host          `json:"host,omitempty"`
	Why     *topics.Why           `json:"why,omitempty"`
	Well    bool                  `json:"well"`
}

// Service is one service in a Report: its summary, and whether it is as wanted.
type Service struct {
	topics.Summary
	Well bool `json:"well"`
}

// Alert is an open problem in a Report.
type Alert struct {
	ID string `json:"id"`
	topics.Alert
}

// Look makes the Report of a view.
func Look(v View) Report {
	r := Report{
		Broker: v.Broker, Leader: leader(v), now: v.Now,
		Domains: []Domain{}, Services: []Service{}, Alerts: []Alert{},
	}
	if l := v.House.Leader(); l != nil {
		r.House, r.Name = cmp.Or(l.Info.House, l.Presence.House), l.Info.Name
	}
	for _, n := range v.House.Domains() {
		r.Domains = append(r.Domains, domain(v, n, r.Leader.State))
	}
	summaries := v.House.Summaries(v.Now)
	for _, name := range slices.Sorted(maps.Keys(summaries)) {
		r.Services = append(r.Services, Service{summaries[name], asWanted(summaries[name])})
	}
	alerts := v.House.Alerts(v.Now)
	for _, id := range slices.Sorted(maps.Keys(alerts)) {
		r.Alerts = append(r.Alerts, Alert{id, alerts[id]})
	}
	r.Lonely = missed(v, r.Domains)
	r.Well = r.Leader.State == Leads &&
		!slices.ContainsFunc(r.Domains, func(d Domain) bool { return !d.Well }) &&
		!slices.ContainsFunc(r.Services, func(s Service) bool { return !s.Well }) &&
		!slices.ContainsFunc(r.Alerts, func(a Alert) bool { return a.Severity != topics.SeverityInfo })
	return r
}

func leader(v View) Leader {
	l := v.House.Leader()
	if l == nil || l.Presence.State == "" {
		return Leader{State: Leadless}
	}
	out := Leader{Term: cmp.Or(l.Presence.Term, l.Info.Term), Version: l.Info.Version}
	switch {
	case l.Presence.State != topics.Online:
		out.State = Gone
	case v.Silent:
		out.State = Silent
	case l.Presence.Role == topics.Active:
		out.State = Leads
	default:
		out.State = Settles
	}
	return out
}

// domain is what the coordinator makes of a node; without one that leads, what
// the node says of itself.
func domain(v View, n *house.Node, leader LeaderState) Domain {
	d := Domain{Name: n.Name, Kind: n.Info.Kind, Version: n.Info.Version, Traits: n.Info.Traits}
	if n.Host != (topics.Host{}) {
		d.Host = &n.Host
	}
	j, judged := v.House.Judgement(n.Name, v.Now)
	led := leader == Leads || leader == Settles
	switch {
	case judged && (led || n.Presence.State == ""):
		d.State, d.Since, d.Why, d.Wanted, d.Ready, d.Drain = j.State, j.Since, j.Why, j.Wanted, j.Ready, j.Drain
	case n.Presence.State == "":
		d.State = topics.JudgedUnknown
	default:
		d.State = topics.JudgementState(n.Presence.State)
		d.Wanted, d.Ready = counted(v, n)
	}
	switch d.State {
	case topics.JudgedOnline, topics.JudgedSleeping, topics.JudgedStopped:
		d.Well = true
	}
	return d
}

// counted are the services that a domain was last told to run, and those of
// them that it says are ready.
func counted(v View, n *house.Node) (wanted, ready int) {
	doc, _ := v.House.Document(n.Name)
	for name, want := range doc.Services {
		if !want.Run {
			continue
		}
		wanted++
		if state, ok := n.Service(name, v.Now); ok && state.Ready && n.Presence.State == topics.Online {
			ready++
		}
	}
	return wanted, ready
}

// asWanted tells whether a service needs nobody's attention.
func asWanted(s topics.Summary) bool {
	switch s.Phase {
	case topics.SummaryReady, topics.SummaryDone:
		return s.Run != topics.RunOff
	case topics.SummaryWaiting:
		return s.Why != nil && s.Why.Code == topics.Scheduled
	case topics.SummaryStopped:
		return s.Run == topics.RunOff || s.Observed // whoever stopped it knows
	}
	return false
}
