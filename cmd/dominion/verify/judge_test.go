package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dominion/cmd/dominion/verify"
	"dominion/topics"
)

const attic topics.Node = "attic"

// told are the events of a story. A line is a step ("# ping"), a connection
// ("1 open SID"), its end ("1 left", "1 broke"), a subscription ("1 hears
// FILTER"), or a message: "1 state/info {…}" on a topic of the node's, with the
// flags that it should have.
func told(t *testing.T, story string) verify.Seen {
	t.Helper()
	seen := verify.Seen{Node: attic, Wire: true, Gave: map[verify.Step]topics.Document{
		verify.StepDocument: {Term: 1, Gen: 1}, verify.StepBad: {Term: 1, Gen: 2}, verify.StepStopping: {Term: 1, Gen: 3},
	}}
	after := time.Duration(0)
	for line := range strings.Lines(story) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		after += time.Second
		e := verify.Event{After: after, What: verify.Said}
		conn, rest, _ := strings.Cut(line, " ")
		what, more, _ := strings.Cut(rest, " ")
		_, _ = fmt.Sscan(conn, &e.Conn)
		switch {
		case conn == "#":
			e.What, e.Step = verify.Marked, verify.Step(rest)
		case conn == "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			after += d
			continue
		case what == "open":
			will := fmt.Sprintf(`{"v":1,"state":"lost","sid":%q,"id":"a1"}`, more)
			e.What, e.Clean = verify.Opened, true
			e.Will = &topics.Message{Topic: "dominion/attic/state/presence", QoS: 1, Retained: true, Payload: []byte(will)}
		case what == "left":
			e.What = verify.Left
		case what == "broke":
			e.What = verify.Broke
		case what == "hears":
			e.What, e.Filter = verify.Subscribed, more
		default:
			e.Message = topics.Message{Topic: "dominion/attic/" + what, Payload: []byte(more), QoS: 1}
			e.Message.Retained = strings.HasPrefix(what, "state/") || strings.HasPrefix(what, "command/")
			if what == "event/heartbeat/agent" || what == "state/host" {
				e.Message.QoS = 0
			}
		}
		seen.Events = append(seen.Events, e)
	}
	return seen
}

// birth is one of a domain, on a connection.
func birth(conn int, sid string) string {
	return strings.NewReplacer("N ", fmt.Sprint(conn, " "), "SID", sid).Replace(`
N open SID
N hears dominion/attic/state/#
N hears dominion/attic/desired/#
N hears dominion/attic/command/#
N hears dominion/coordinator/#
N event/sync/SID token
N state/service/lamp {"v":1,"sid":"SID","service":"lamp","phase":"running","ready":true,"restarts":0}
N state/info {"v":1,"kind":"domain","id":"a1","sid":"SID"}
N state/presence {"v":1,"state":"online","sid":"SID","id":"a1"}
`)
}

// good is the story of a domain that does all as it should.
func good() string {
	const beat = `event/heartbeat/agent {"v":1,"sid":"S",`
	return "# birth" + birth(1, "s1") + strings.ReplaceAll(`
# ping
1 event/reply/verify-ping {"v":1,"id":"verify-ping","status":"accepted"}
1 event/reply/verify-ping {"v":1,"id":"verify-ping","status":"done","result":"pong"}
# repeat
1 event/reply/verify-ping {"v":1,"id":"verify-ping","status":"done","result":"pong"}
# unknown
1 event/reply/verify-unknown {"v":1,"id":"verify-unknown","status":"refused","why":{"code":"UNKNOWN_METHOD","text":"no such method"}}
# empty
1 event/error/command {"v":1,"code":"EMPTY","text":"an empty payload is no command"}
# beats
1 BEAT"seq":1}
wait 4s
1 BEAT"seq":2}
# stale
1 state/presence {"v":1,"state":"online","sid":"s1","id":"a1"}
# foreign
1 state/presence {"v":1,"state":"online","sid":"s1","id":"a1"}
# override
1 state/info {"v":1,"kind":"domain","id":"a1","sid":"s1"}
1 state/service/verify-foreign
# document
1 BEAT"seq":3,"term":1,"gen":1}
1 state/service/verify-good {"v":1,"sid":"s1","service":"verify-good","phase":"waiting","ready":false,"restarts":0,"why":{"code":"NO_DIRECTORY","text":"there is none"}}
# older
1 event/error/desired {"v":1,"code":"STALE_DOCUMENT","text":"older"}
1 BEAT"seq":4,"term":1,"gen":1}
# alien
1 event/error/house {"v":1,"code":"FOREIGN_HOUSE","text":"another"}
1 BEAT"seq":5,"term":1,"gen":1}
# bad
1 event/error/desired {"v":1,"code":"BAD_SERVICE","text":"run","field":"services.verify-bad.run"}
1 state/service/verify-beside {"v":1,"sid":"s1","service":"verify-beside","phase":"waiting","ready":false,"restarts":0,"why":{"code":"NO_DIRECTORY","text":"there is none"}}
1 BEAT"seq":6,"term":1,"gen":2}
# cleared
1 event/error/desired {"v":1,"code":"CLEARED","text":"cleared"}
1 BEAT"seq":7,"term":1,"gen":2}
# stopping
1 state/service/verify-good
1 state/service/verify-beside
1 BEAT"seq":8,"term":1,"gen":3}
# break
1 broke`, "BEAT", strings.ReplaceAll(beat, `"S"`, `"s1"`)) + birth(2, "s2") + `
# retained
2 broke` + birth(3, "s3") + `
3 event/reply/verify-retained {"v":1,"id":"verify-retained","status":"refused","why":{"code":"RETAINED_COMMAND","text":"retained"}}
3 event/error/command {"v":1,"code":"RETAINED_COMMAND","text":"retained"}
3 command/ping/host
# claimed
3 broke` + claimed() + `
# restart
4 broke` + birth(5, "s5") + `
# goodbye
5 state/presence {"v":1,"state":"stopped","sid":"s5","id":"a1","services":"kept"}
5 left
`
}

// claimed is a birth after twelve seconds, of who found the name in use.
func claimed() string {
	return strings.Replace(birth(4, "s4"), "4 event/sync", "wait 12s\n4 event/sync", 1) + `
4 event/error/name {"v":1,"code":"NAME_IN_USE","text":"was silent"}`
}

// TestDomainsFaultIsNamed holds that one thing which is otherwise in the story
// of a good domain is named, and nothing else.
func TestDomainsFaultIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"none":                  {"", "", ""},
		"will of another":       {`1 open s1`, `1 open s0`, "will-sid one-sid"},
		"sid twice":             {birth(5, "s5"), birth(5, "s4"), "new-sid"},
		"no sid in info":        {`"id":"a1","sid":"s2"}` + "\n2 state/presence", `"id":"a1"}` + "\n2 state/presence", "one-sid"},
		"deaf to documents":     {"1 hears dominion/attic/desired/#", "", "hears"},
		"deaf to the leader":    {"1 hears dominion/coordinator/#", "1 hears dominion/coordinator/state/+", "hears"},
		"no token":              {"1 event/sync/s1 token", "", "token"},
		"info after presence":   {"1 state/service/lamp", "1 state/other", "says-all-again"},
		"beats too late":        {"wait 4s", "wait 9s", "heartbeat"},
		"seq stands still":      {`"seq":2`, `"seq":1`, "heartbeat"},
		"no beats":              {"# beats\n", "# nothing\n", ""},
		"buried by a will":      {"# stale\n1 state/presence", "# stale\n1 event/x/y", "stale-will"},
		"gives its name away":   {"# foreign\n1 state/presence", "# foreign\n1 event/x/y", "same-name"},
		"does not heal":         {"# override\n1 state/info", "# override\n1 event/x/y", "heal"},
		"heals with rubbish":    {"# override\n" + `1 state/info {"v":1,"kind":"domain","id":"a1"`, "# override\n" + `1 state/info {"v":1,"kind":"domain","id":"a2"`, "heal"},
		"leaves foreign state":  {"1 state/service/verify-foreign\n", "", "heal-foreign"},
		"no acknowledgement":    {`"seq":3,"term":1,"gen":1`, `"seq":3,"term":1,"gen":0`, "document"},
		"no why":                {`"why":{"code":"NO_DIRECTORY","text":"there is none"}}` + "\n# older", `"rev":"1"}` + "\n# older", "document-state"},
		"takes an older one":    {`"seq":4,"term":1,"gen":1`, `"seq":4,"term":0,"gen":99`, "document-older"},
		"older in silence":      {"# older\n1 event/error/desired", "# older\n1 event/x/y", "document-older"},
		"takes an alien one":    {`"seq":5,"term":1,"gen":1`, `"seq":5,"term":2,"gen":1`, "document-alien"},
		"refuses the good one":  {`"seq":6,"term":1,"gen":2`, `"seq":6,"term":1,"gen":1`, "document-bad-one"},
		"names no bad one":      {`"services.verify-bad.run"`, `"services"`, "document-bad-one"},
		"clears all":            {`"seq":7,"term":1,"gen":2`, `"seq":7`, "document-cleared"},
		"stays away":            {birth(2, "s2"), "\n", "comes-back"},
		"runs a retained one":   {`"verify-retained","status":"refused","why":{"code":"RETAINED_COMMAND","text":"retained"}`, `"verify-retained","status":"done"`, "retained-not-run retained-refused"},
		"leaves a retained one": {"3 command/ping/host", "", "retained-refused"},
		"claims at once":        {"wait 12s", "", "name-in-use"},
		"claims in silence":     {"4 event/error/name", "4 event/x/y", "name-in-use"},
		"forgets a service":     {"5 state/service/lamp", "5 event/x/y", "says-all-again"},
		"goes in silence":       {`"state":"stopped"`, `"state":"online"`, "goodbye"},
		"hangs up":              {"5 left", "5 broke", "leaves"},
		"no version":            {`3 event/error/command {"v":1,`, `3 event/error/command {`, "json"},
		"not UTF-8":             {`"service":"lamp"`, "\"service\":\"l\xffmp\"", "json"},
		"fields of wrong types": {`"seq":8`, `"seq":"8"`, "fields document-stop"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good(), c.from) {
				t.Fatalf("the story has no %q", c.from)
			}
			var wrong []string
			for _, f := range verify.Judge(told(t, strings.Replace(good(), c.from, c.to, 1))) {
				if f.Result == verify.Wrong {
					wrong = append(wrong, f.Check)
				}
				if f.Result == verify.Wrong && f.Seen == "" || f.Result == verify.Unseen && name == "none" {
					t.Errorf("%s is %s: %q", f.Check, f.Result, f.Seen)
				}
			}
			want := strings.Fields(c.want)
			slices.Sort(wrong)
			slices.Sort(want)
			if !slices.Equal(wrong, want) {
				t.Errorf("wrong are %q, want %q", wrong, want)
			}
		})
	}
}

// TestMicrodomainNeedsLess holds that what the protocol does not ask of a
// microdomain is not asked of it.
func TestMicrodomainNeedsLess(t *testing.T) {
	for _, f := range verify.Judge(told(t, `
		# birth
		1 open
		1 hears dominion/attic/command/#
		1 state/service/lamp {"v":1,"service":"lamp","phase":"running","ready":true,"restarts":0}
		1 state/info {"v":1,"kind":"micro"}
		1 state/presence online
	`)) {
		if f.Result == verify.Wrong || strings.HasPrefix(f.Check, "document") || f.Check == "heartbeat" {
			t.Errorf("%s is %s: %s", f.Check, f.Result, f.Seen)
		}
	}
}

// TestParagraphs holds that each check names a paragraph that there is, and
// that no two have one name.
func TestParagraphs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range verify.Checks() {
		if names[c.Name] {
			t.Errorf("two checks are called %s", c.Name)
		}
		names[c.Name] = true
		if !paragraph(string(page), c.Paragraph) {
			t.Errorf("%s: docs/protocol.md has no paragraph %q", c.Name, c.Paragraph)
		}
	}
}

// paragraph tells whether the page has a chapter, or a paragraph that begins
// with its name, or one with that number in its chapter.
func paragraph(page, name string) bool {
	chapter, number := name, ""
	if at := strings.LastIndex(name, " "); at > 0 && regexp.MustCompile(`^\d+$`).MatchString(name[at+1:]) {
		chapter, number = name[:at], name[at+1:]
	}
	if number == "" && (strings.Contains(page, "\n**"+chapter+"**")) {
		return true
	}
	_, rest, found := strings.Cut(page, "# "+chapter+"\n")
	rest, _, _ = strings.Cut(rest, "\n#")
	return found && (number == "" || strings.Contains(rest, "\n"+number+". "))
}

// TestWrite holds that the report fits the screen and says what is wrong.
func TestWrite(t *testing.T) {
	all := []verify.Finding{
		{Check: "will", Paragraph: "Being a node 1", Result: verify.Right, Wanted: "a last will"},
		{Check: "order", Paragraph: "Being a node 6", Result: verify.Wrong, Wanted: strings.Repeat("services and info first, ", 8), Seen: strings.Repeat("state/info ", 20)},
		{Check: "ping", Paragraph: "Commands 1", Result: verify.Unseen, Wanted: "ping is done"},
	}
	var out bytes.Buffer
	if err := verify.Write(&out, "attic", all); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("too wide: %s", line)
		}
	}
	for _, want := range []string{"ok    a last will (Being a node 1)\n", "WRONG services", "      seen: state/info", "attic: 1 of 3 are WRONG, it did not come to 1."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if !verify.Failed(all) || verify.Failed(all[:1]) {
		t.Error("Failed is not whether one is wrong")
	}
	out.Reset()
	if err := verify.WriteJSON(&out, all); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var f verify.Finding
		if err := json.Unmarshal(line, &f); err != nil || f != all[0] {
			t.Errorf("%s: %v", line, err)
		}
		all = all[1:]
	}
}
