package screen

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"dominion/topics"
	"dominion/topics/house"
)

// Teller tells what happens on a bus. It remembers what was said, so that
// only news is told: no heartbeats, readings, tokens or repetitions. One
// goroutine owns it.
type Teller struct {
	space topics.Space
	house *house.House
	asked map[string]string // commands by id, as they are told
}

// NewTeller makes a Teller that has heard nothing yet.
func NewTeller(space topics.Space) *Teller {
	return &Teller{space: space, house: house.New(space), asked: map[string]string{}}
}

// Know makes the teller know what was heard before: it goes on from there.
func (t *Teller) Know(h *house.House) { t.house = h }

// House is what the teller has heard so far.
func (t *Teller) House() *house.House { return t.house }

// Line is one thing that happened. As JSON it is a line of
// `dominion watch --json`; fields are added, never renamed.
type Line struct {
	At      time.Time       `json:"at"` // when it was heard
	Who     topics.Node     `json:"who"`
	Text    string          `json:"text"`
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload,omitempty"` // as sent, or as a string if it is no JSON

	colour colour
}

// Render is the line for people: time, who, what.
func (l Line) Render(s Style) string {
	return fmt.Sprintf("%s  %s  %s", s.paint(dim, l.At.Format(time.TimeOnly)), s.paint(bold, fmt.Sprintf("%-12s", l.Who)), s.paint(l.colour, l.Text))
}

// news is what a message says that was not known before.
type news struct {
	text   string
	colour colour
}

func tell(c colour, format string, args ...any) news { return news{fmt.Sprintf(format, args...), c} }

// Tell folds one message and returns its line; false when it is no news. What
// was retained before the reader came is no news.
func (t *Teller) Tell(m topics.Message, now time.Time) (Line, bool) {
	a, err := t.space.Parse(m.Topic)
	if errors.Is(err, topics.ErrForeign) {
		return Line{}, false
	}
	line := Line{At: now, Who: a.Node, Topic: m.Topic}
	if utf8.Valid(m.Payload) && json.Valid(m.Payload) {
		line.Payload = m.Payload
	} else if len(m.Payload) > 0 {
		line.Payload, _ = json.Marshal(string(m.Payload))
	}
	var n news
	if err == nil {
		n, err = t.news(a, m, now)
	}
	if err != nil {
		n = tell(red, "cannot be read: %v", err)
	}
	if n.text == "" || m.Retained {
		return Line{}, false
	}
	line.Text, line.colour = clean(n.text), n.colour
	return line, true
}

// news compares what was known before a message with what is known after it.
func (t *Teller) news(a topics.Address, m topics.Message, now time.Time) (news, error) {
	switch a.Class {
	case topics.Command:
		return t.command(m)
	case topics.Event:
		return t.event(a, m, now)
	}
	before := t.picture(a, now)
	if err := t.house.Apply(m, now); err != nil {
		return news{}, err
	}
	if a.Class == topics.State && len(m.Payload) == 0 {
		return t.cleared(a, before)
	}
	return difference(a, before, t.picture(a, now)), nil
}

// cleared tells of the retained messages whose end means something.
func (t *Teller) cleared(a topics.Address, before picture) (news, error) {
	switch {
	case a.Kind == "alert" && before.alert.Text != "":
		return tell(green, "solved: %s", before.alert.Text), nil
	case a.Kind == "service" && before.reported:
		return tell(dim, "%s is no longer known here", a.Subject), nil
	case a.Kind == "summary" && before.summary.Service != "":
		return tell(dim, "%s has left the house", a.Subject), nil
	case a.Kind == "domain" && before.judgement.State != "":
		return tell(dim, "%s is forgotten", a.Subject), nil
	}
	return news{}, nil
}

func (t *Teller) command(m topics.Message) (news, error) {
	if len(m.Payload) == 0 {
		return news{}, nil // a retained command is cleared
	}
	r, err := t.space.DecodeRequest(m)
	if err != nil {
		return news{}, err
	}
	text := r.Method + " " + r.Subject
	if w := r.Switch(); w != "" {
		text += " " + string(w)
	}
	if r.ID != "" {
		t.remember(r.ID, text)
	}
	if r.Method == "ping" {
		return news{}, nil
	}
	if by := r.By(); by != "" {
		return tell(plain, "is asked by %s: %s", by, text), nil
	}
	return tell(plain, "is asked: %s", text), nil
}

// remember keeps what was asked, so that its answer can be told; not for
// ever, since answers may never come.
func (t *Teller) remember(id, text string) {
	const most = 1000
	if len(t.asked) >= most {
		clear(t.asked)
	}
	t.asked[id] = text
}

func (t *Teller) event(a topics.Address, m topics.Message, now time.Time) (news, error) {
	switch a.Kind {
	case "heartbeat":
		return news{}, t.house.Apply(m, now)
	case "sync", "log":
		return news{}, nil
	case "reply":
		r, err := topics.Decode[topics.Reply](m.Payload)
		if err != nil {
			return news{}, err
		}
		return t.reply(r), nil
	case "error":
		f, err := topics.Decode[topics.Fault](m.Payload)
		if err != nil {
			return news{}, err
		}
		return fault(f), nil
	}
	h, err := topics.Decode[topics.Happening](m.Payload)
	if err != nil {
		return news{}, err
	}
	return happening(a, h), nil
}

func (t *Teller) reply(r topics.Reply) news {
	about := t.asked[r.ID]
	if about == "" && r.Topic != "" {
		if a, err := t.space.Parse(r.Topic); err == nil {
			about = a.Kind + " " + a.Subject
		}
	}
	if about == "" {
		about = "command " + r.ID
	}
	if about == "ping host" {
		return news{}
	}
	n := tell(plain, "%s: %s", about, r.Status)
	switch r.Status {
	case topics.Done:
		n.colour = green
	case topics.Refused, topics.Failed:
		n.colour = red
	}
	if r.Result != "" {
		n.text += ", " + r.Result
	}
	if r.Why != nil {
		n.text += ", " + r.Why.Text
	}
	return n
}

func fault(f topics.Fault) news {
	text := f.Text
	if f.Topic != "" {
		text += " (" + f.Topic + ")"
	}
	if f.Count > 0 {
		text += fmt.Sprintf(", and %d more like it", f.Count)
	}
	if f.Next != "" {
		text += ", next: " + f.Next
	}
	return tell(red, "%s: %s", f.Code, text)
}

func happening(a topics.Address, h topics.Happening) news {
	text := h.Text
	if text == "" {
		text = a.Kind + " " + a.Subject
	}
	if h.Exit != nil && h.Text == "" {
		text += ", " + ended(*h.Exit)
	}
	if h.Why != nil && h.Why.Text != h.Text {
		text += ": " + h.Why.Text
	}
	return tell(plain, "%s", text)
}
