package joining_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// message is a message on its way, to be altered in place.
type message map[string]any

// between is the address of a man in the middle: he has a certificate of his
// own, and relays every message after he has had his way with it.
func between(t *testing.T, l *leader, alter func(path string, question bool, m message)) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question := altered(t, r.Body, func(m message) { alter(r.URL.Path, true, m) })
		res, err := client.Post("https://"+l.address+r.URL.Path, "application/json", bytes.NewReader(question))
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		answer := altered(t, res.Body, func(m message) {
			if res.StatusCode == http.StatusOK {
				alter(r.URL.Path, false, m)
			}
		})
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(answer)
	}))
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(func() { server.Close(); client.CloseIdleConnections() })
	return strings.TrimPrefix(server.URL, "https://")
}

func altered(t *testing.T, from io.Reader, alter func(message)) []byte {
	t.Helper()
	m := message{}
	body, err := io.ReadAll(from)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		t.Errorf("%s: %v", body, err)
	}
	alter(m)
	changed, err := json.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return changed
}

// spot is a field of a message that can be altered.
type spot struct {
	path     string
	question bool
	field    string
	how      string
}

func (s spot) String() string {
	direction := "answer"
	if s.question {
		direction = "question"
	}
	return fmt.Sprintf("%s %s: %s %s", s.path, direction, s.field, s.how)
}

// spots are all that there is to alter in a conversation.
type spots struct {
	mu  sync.Mutex // guards all
	all []spot
}

func (s *spots) note(path string, question bool, m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for field, value := range m {
		for how := range ways(value) {
			if at := (spot{path, question, field, how}); !slices.Contains(s.all, at) {
				s.all = append(s.all, at)
			}
		}
	}
}

// alter has his way with one spot.
func (s spot) alter(path string, question bool, m message) {
	if value, ok := m[s.field]; ok && path == s.path && question == s.question {
		if way, ok := ways(value)[s.how]; ok {
			m[s.field] = way()
		}
	}
}

// ways are how a value can be altered.
func ways(value any) map[string]func() any {
	none := func() any { return nil }
	switch v := value.(type) {
	case string:
		return map[string]func() any{
			"without":        none,
			"another start":  func() any { return another(v, 0) },
			"another middle": func() any { return another(v, len(v)/2) },
			"one cut off":    func() any { return v[:len(v)-1] },
			"of nothing":     func() any { return strings.Repeat("A", len(v)) },
		}
	case float64:
		return map[string]func() any{"without": none, "one more": func() any { return v + 1 }}
	case bool:
		return map[string]func() any{"without": none}
	case []any:
		all := map[string]func() any{
			"without":   none,
			"one fewer": func() any { return v[:len(v)-1] },
			"one more":  func() any { return append(slices.Clone(v), v[0]) },
			"in another order": func() any {
				turned := slices.Clone(v)
				slices.Reverse(turned)
				return turned
			},
		}
		for i := range v {
			for how, way := range ways(v[i]) {
				all[fmt.Sprintf("%d %s", i, how)] = func() any {
					changed := slices.Clone(v)
					changed[i] = way()
					return changed
				}
			}
		}
		return all
	}
	return nil
}

// another is a text with another character at a place: of base 64, of a name,
// of anything.
func another(s string, at int) string {
	c := "A"
	if s[at] == 'A' {
		c = "B"
	}
	return s[:at] + c + s[at+1:]
}

func TestAManInTheMiddleOfACode(t *testing.T) {
	seen := &spots{}
	honest := newLeader(t, "7f3a9c", "Birkenweg")
	other := honest.invite(t)
	o := machine(t, honest, "pi2", honest.invite(t))
	o.Door = between(t, honest, seen.note)
	if _, err := join(t, o); err != nil {
		t.Fatalf("when he only listens: %v", err)
	}
	if i := honest.invitation(t, other); i.Tries != 0 {
		t.Errorf("%+v", i)
	}
	if len(seen.all) < 60 {
		t.Fatalf("%d spots only: this test looks at nothing", len(seen.all))
	}
	for _, at := range seen.all {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			l := newLeader(t, "7f3a9c", "Birkenweg")
			l.invite(t)
			o := machine(t, l, "pi2", l.invite(t))
			o.Door = between(t, l, at.alter)
			m, err := join(t, o)
			if m != nil || err == nil {
				t.Fatal("it joined")
			}
			last := at.path == "/join/finish" && !at.question
			if nodes := l.nodes(); len(nodes) > 0 && !last {
				t.Errorf("admitted: %v", nodes)
			}
			o.Door = l.address
			if _, err := join(t, o); err != nil {
				t.Errorf("again, without him: %v", err)
			}
		})
	}
}

func TestAManInTheMiddleOfTheWindow(t *testing.T) {
	seen := &spots{}
	honest := newLeader(t, "7f3a9c", "Birkenweg")
	honest.door.Window(time.Hour)
	o := machine(t, honest, "pi2", "")
	o.Door = between(t, honest, seen.note)
	if _, err := owner(honest).ask(t, o); err != nil {
		t.Fatalf("when he only listens: %v", err)
	}
	if len(seen.all) < 60 {
		t.Fatalf("%d spots only: this test looks at nothing", len(seen.all))
	}
	for _, at := range seen.all {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			l := newLeader(t, "7f3a9c", "Birkenweg")
			l.door.Window(time.Hour)
			o := machine(t, l, "pi2", "")
			o.Door = between(t, l, at.alter)
			m, err := owner(l).ask(t, o)
			if m != nil || err == nil {
				t.Fatal("it joined")
			}
			last := at.path == "/join/wait" // the words were the same: it is in, and he keeps it from knowing
			if nodes := l.nodes(); len(nodes) > 0 && !last {
				t.Errorf("admitted: %v", nodes)
			}
		})
	}
}

// person is the owner, who compares the words of both screens and accepts or
// rejects.
type person struct{ *leader }

func owner(l *leader) person { return person{l} }

func (p person) ask(t *testing.T, o joining.Options) (*identity.Membership, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return joining.Ask(ctx, joining.Impatient(o), func(_ topics.Node, words string) {
		for _, r := range p.door.Requests() {
			decide := p.door.Reject
			if r.Words == words {
				decide = p.door.Accept
			}
			if err := decide(r.As); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAManInTheMiddleWithAKeyOfHisOwn(t *testing.T) {
	real, his := newLeader(t, "7f3a9c", "Birkenweg"), newLeader(t, "7f3a9c", "Birkenweg")
	real.door.Window(time.Hour)
	his.door.Window(time.Hour)
	victim := machine(t, his, "pi2", "")
	posing := machine(t, real, "pi2", "")
	posing.ID = victim.ID

	seen, shown := asks(t, victim), asks(t, posing)
	if seen.words == "" || shown.words == "" || seen.words == shown.words {
		t.Errorf("the screens show %q and %q", seen.words, shown.words)
	}
	for _, l := range []*leader{real, his} {
		if err := l.door.Reject("pi2"); err != nil {
			t.Error(err)
		}
	}
	for _, a := range []*asker{seen, shown} {
		if m, err := a.answered(); err == nil {
			t.Errorf("%s joined %s", m.Node, m.House)
		}
	}
}

func TestARecordedJoinCannotBePlayedAgain(t *testing.T) {
	type sent struct {
		path string
		body []byte
	}
	var mu sync.Mutex // guards tape
	var tape []sent
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	o.Door = between(t, l, func(path string, question bool, m message) {
		if body, err := json.Marshal(m); question && err == nil {
			mu.Lock()
			defer mu.Unlock()
			tape = append(tape, sent{path, body})
		}
	})
	if _, err := join(t, o); err != nil {
		t.Fatal(err)
	}
	if err := l.house.Forget("pi2"); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	session := ""
	for _, as := range []string{"as it was", "in the new session"} {
		for _, s := range tape {
			m := message{}
			if err := json.Unmarshal(s.body, &m); err != nil {
				t.Fatal(err)
			}
			if as == "in the new session" && m["session"] != nil {
				m["session"] = session
			}
			body, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Post("https://"+l.address+s.path, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			answer := message{}
			if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
				t.Error(err)
			}
			res.Body.Close()
			if answer["session"] != nil {
				session = answer["session"].(string)
			}
			if refused := res.StatusCode != http.StatusOK; refused != (s.path == "/join/prove" || s.path == "/join/finish") {
				t.Errorf("%s, %s: status %d", as, s.path, res.StatusCode)
			}
		}
	}
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted: %v", nodes)
	}
}
