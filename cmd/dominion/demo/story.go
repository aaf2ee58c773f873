package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dominion/topics"
	"dominion/topics/house"
)

// patience is how long a service may be on its way before that is worth a line.
const patience = 4 * time.Second

// story turns what the bus says into what a person is told: it folds the
// messages and tells what changed since it was asked last.
type story struct {
	space topics.Space
	house *house.House
	said  map[string]string // the services' own words, by topic
	cast  cast

	began     time.Time
	opened    bool
	late      bool   // who was not there in time for the first line is told of later
	term      uint64 // of the leader that was told last
	domains   map[topics.Node]topics.PresenceState
	acts      map[topics.Service]act
	found     map[topics.Service]string // whom the service said it follows
	returning map[topics.Node]bool      // their return is told by tell's caller
	losses    map[topics.Node]string    // what is known of a loss beside the loss
	reasons   map[topics.Service]string // the last placement's
}

// cast is who plays: the domains and the services in the order of the table.
type cast struct {
	domains  []topics.Node
	services []topics.Service
}

// act is what was last told of a service, and what it does now if that is not
// worth telling yet.
type act struct {
	told    picture
	present picture
	since   time.Time // of present.phase
}

// picture is what the house says of a service.
type picture struct {
	phase topics.SummaryPhase
	where string
	start string // the START_ID of the instance, once it is ready
}

// line is one thing to tell. Tone colours it.
type line struct {
	subject string
	text    string
	tone    tone
}

type tone int

const (
	plain tone = iota
	good
	warning
	bad
)

func newStory(space topics.Space, c cast, now time.Time) *story {
	return &story{
		space: space, house: house.New(space), said: map[string]string{}, cast: c, began: now,
		domains:   map[topics.Node]topics.PresenceState{},
		acts:      map[topics.Service]act{},
		found:     map[topics.Service]string{},
		returning: map[topics.Node]bool{},
		losses:    map[topics.Node]string{},
		reasons:   map[topics.Service]string{},
	}
}

// apply folds one message. What it cannot read it leaves out: the demo only
// tells, others refuse.
func (s *story) apply(m topics.Message, now time.Time) {
	if strings.HasPrefix(m.Topic, serviceData(s.space)) {
		s.said[m.Topic] = string(m.Payload)
		return
	}
	_ = s.house.Apply(m, now)
	a, err := s.space.Parse(m.Topic)
	if err == nil && a.Node == topics.Coordinator && a.Class == topics.Event {
		if h, err := topics.Decode[topics.Happening](m.Payload); err == nil && (a.Kind == "placed" || a.Kind == "moved") {
			s.reasons[topics.Service(a.Subject)] = h.Text
		}
	}
}

func serviceData(space topics.Space) string {
	return strings.TrimSuffix(space.ServiceTopic("x", "y"), "x/y")
}

// tell returns what changed since it was called last.
func (s *story) tell(now time.Time) []line {
	var lines []line
	lines = append(lines, s.tellOpening(now)...)
	if !s.opened {
		return lines
	}
	lines = append(lines, s.tellLeader()...)
	for _, name := range s.cast.domains {
		lines = append(lines, s.tellDomain(name)...)
	}
	for _, name := range s.inOrder() {
		lines = append(lines, s.tellService(name, now)...)
	}
	for _, name := range s.cast.services {
		lines = append(lines, s.tellFound(name)...)
	}
	return lines
}

// inOrder are the services with the dependencies first, as they come up.
func (s *story) inOrder() []topics.Service {
	up := slices.Clone(s.cast.services)
	slices.Reverse(up)
	return up
}

// tellOpening tells the first line: who leads, and who joined. It waits a
// little for those who are late.
func (s *story) tellOpening(now time.Time) []line {
	late := s.late
	s.late = s.late || now.Sub(s.began) >= patience
	switch {
	case s.opened:
		return nil
	case !s.house.Leads():
		if s.late && !late {
			return []line{{"coordinator", "does not lead yet", warning}}
		}
		return nil
	}
	var joined []string
	for _, name := range s.cast.domains {
		if s.presence(name) == topics.Online {
			joined = append(joined, string(name))
		}
	}
	if len(joined) < len(s.cast.domains) && !s.late {
		return nil
	}
	s.opened = true
	for _, name := range joined {
		s.domains[topics.Node(name)] = topics.Online
	}
	s.term = s.house.Leader().Presence.Term
	text := "leads"
	if len(joined) > 0 {
		text += " · " + strings.Join(joined, ", ") + " joined"
	}
	return []line{{"coordinator", text, good}}
}

func (s *story) tellLeader() []line {
	if !s.house.Leads() {
		return nil
	}
	term := s.house.Leader().Presence.Term
	if term == s.term {
		return nil
	}
	s.term = term
	text := fmt.Sprintf("leads again, term %d", term)
	if more := s.losses[topics.Coordinator]; more != "" {
		text += " · " + more
		delete(s.losses, topics.Coordinator)
	}
	return []line{{"coordinator", text, good}}
}

func (s *story) presence(name topics.Node) topics.PresenceState {
	if n := s.house.Node(name); n != nil {
		return n.Presence.State
	}
	return ""
}

func (s *story) tellDomain(name topics.Node) []line {
	before, now := s.domains[name], s.presence(name)
	if now == before {
		return nil
	}
	s.domains[name] = now
	switch now {
	case topics.Online:
		if s.returning[name] {
			return nil
		}
		if before == "" {
			return []line{{string(name), "joined", good}}
		}
		return []line{{string(name), "back", good}}
	case topics.Lost:
		text := "lost" + s.losses[name]
		delete(s.losses, name)
		return []line{{string(name), text, bad}}
	}
	return []line{{string(name), string(now), warning}}
}

func (s *story) tellService(name topics.Service, now time.Time) []line {
	summary, ok := s.house.Summary(name, now)
	if !ok {
		return nil
	}
	a := s.acts[name]
	present := picture{summary.Phase, join(summary.Where), s.start(name, summary, now)}
	if present.start == "" {
		present.start = a.told.start
	}
	if a.present.phase != present.phase {
		a.since = now
	}
	a.present = present
	defer func() { s.acts[name] = a }()
	if present == a.told || onItsWay(present.phase) && now.Sub(a.since) < patience {
		return nil
	}
	if present.phase == a.told.phase && present.phase != topics.SummaryReady {
		a.told = present
		return nil
	}
	again := a.told.start != "" && a.told.where == present.where && a.told.start != present.start
	a.told = present
	if present.phase == topics.SummaryReady {
		return []line{{string(name), ready(again, present.where, s.detail(name, summary, now)), good}}
	}
	text := string(present.phase)
	if summary.Why != nil && summary.Why.Text != "" {
		text += ": " + summary.Why.Text
	}
	return []line{{string(name), text, toneOf(present.phase)}}
}

func ready(again bool, where, detail string) string {
	text := "ready on "
	if again {
		text = "ready again on "
	}
	if detail == "" {
		return text + where
	}
	return fmt.Sprintf("%s%-7s  %s", text, where, detail)
}

// start is the START_ID of a service's ready instance.
func (s *story) start(name topics.Service, summary topics.Summary, now time.Time) string {
	if len(summary.Where) == 0 {
		return ""
	}
	n := s.house.Node(summary.Where[0])
	if n == nil {
		return ""
	}
	if state, ok := n.Service(name, now); ok && state.Ready {
		return state.Start
	}
	return ""
}

// onItsWay tells a phase that passes by itself, mostly soon.
func onItsWay(p topics.SummaryPhase) bool {
	switch p {
	case topics.SummaryStarting, topics.SummaryWaiting, topics.SummaryStopping, topics.SummaryDegraded:
		return true
	}
	return false
}

func toneOf(p topics.SummaryPhase) tone {
	switch p {
	case topics.SummaryReady, topics.SummaryDone:
		return good
	case topics.SummaryStopped:
		return plain
	case topics.SummaryFailing, topics.SummaryLost:
		return bad
	}
	return warning
}

// detail is what is worth knowing of a ready service: its address, whom it
// found, what it shows.
func (s *story) detail(name topics.Service, summary topics.Summary, now time.Time) string {
	if len(summary.Where) == 0 {
		return ""
	}
	where := summary.Where[0]
	own := s.space.ServiceTopic(name, where)
	if lamp := s.said[own+"/lamp"]; lamp != "" {
		return "lamp: " + lamp
	}
	if found, ok := decodeFound(s.said[own+"/found"]); ok {
		s.found[name] = string(found.Domain)
		return fmt.Sprintf("found %s by lookup", found.Service)
	}
	if n := s.house.Node(where); n != nil && name == "webServer" {
		if state, ok := n.Service(name, now); ok && state.Port != 0 {
			return fmt.Sprintf("http://%s:%d", state.Host, state.Port)
		}
	}
	return ""
}

// tellFound tells that a service follows another one to a new place.
func (s *story) tellFound(name topics.Service) []line {
	a, ok := s.acts[name]
	if !ok || a.told.phase != topics.SummaryReady || s.found[name] == "" {
		return nil
	}
	found, ok := decodeFound(s.said[s.space.ServiceTopic(name, topics.Node(a.told.where))+"/found"])
	if !ok || string(found.Domain) == s.found[name] {
		return nil
	}
	s.found[name] = string(found.Domain)
	return []line{{string(name), fmt.Sprintf("follows %s to %s", found.Service, found.Domain), good}}
}

func decodeFound(payload string) (topics.Happening, bool) {
	if payload == "" {
		return topics.Happening{}, false
	}
	h, err := topics.Decode[topics.Happening]([]byte(payload))
	return h, err == nil && h.Service != "" && h.Domain != ""
}

// next is when something may be worth telling although nothing more is heard.
func (s *story) next() time.Time {
	if !s.opened && !s.late {
		return s.began.Add(patience)
	}
	var first time.Time
	for _, name := range slices.Sorted(maps.Keys(s.acts)) {
		a := s.acts[name]
		if a.present != a.told && onItsWay(a.present.phase) {
			if at := a.since.Add(patience); first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	return first
}

// row is one service in the table.
type row struct {
	service string
	state   string
	where   string
	because string
	tone    tone
}

// table is the house as it is now.
func (s *story) table(now time.Time) []row {
	var rows []row
	for _, name := range s.cast.services {
		summary, ok := s.house.Summary(name, now)
		if !ok {
			rows = append(rows, row{service: string(name)})
			continue
		}
		because := summary.Because
		if summary.Why != nil && summary.Why.Text != "" {
			because = summary.Why.Text
		}
		rows = append(rows, row{string(name), string(summary.Phase), join(summary.Where), because, toneOf(summary.Phase)})
	}
	return rows
}

// allReady tells whether every service is ready and a leader stands by that.
func (s *story) allReady(now time.Time) bool {
	if !s.house.Leads() {
		return false
	}
	for _, name := range s.cast.services {
		if summary, ok := s.house.Summary(name, now); !ok || !summary.Phase.Met() {
			return false
		}
	}
	return true
}

// why answers the question for every service: why it should run, why it runs
// where it does, and why it is not as wanted.
func (s *story) why(now time.Time) []line {
	var lines []line
	for _, name := range s.cast.services {
		summary, ok := s.house.Summary(name, now)
		if !ok {
			lines = append(lines, line{string(name), "nothing is known of it yet", warning})
			continue
		}
		parts := []string{string(summary.Phase)}
		if summary.Because != "" {
			parts = append(parts, summary.Because)
		}
		if reason := s.reasons[name]; reason != "" && summary.Phase == topics.SummaryReady {
			parts = append(parts, reason)
		}
		if summary.Why != nil && summary.Why.Text != "" {
			parts = append(parts, summary.Why.Text)
		}
		lines = append(lines, line{string(name), strings.Join(parts, " · "), toneOf(summary.Phase)})
	}
	for _, name := range s.cast.domains {
		if j, ok := s.house.Judgement(name, now); ok && j.State != topics.JudgedOnline {
			text := string(j.State)
			if j.Why != nil {
				text += ": " + j.Why.Text
			}
			lines = append(lines, line{string(name), text, warning})
		}
	}
	alerts := s.house.Alerts(now)
	for _, id := range slices.Sorted(maps.Keys(alerts)) {
		lines = append(lines, line{"alert", alerts[id].Text, bad})
	}
	return lines
}

func join(nodes []topics.Node) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	return strings.Join(names, ", ")
}
