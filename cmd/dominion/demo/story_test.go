package demo_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"dominion/cmd/dominion/demo"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

// house speaks as the nodes of a house do.
type house struct {
	told  *demo.Told
	space topics.Space
	now   time.Duration
}

func newHouse(out *bytes.Buffer, width, height int) *house {
	return &house{told: demo.NewTold(out, width, height, time.Unix(1e9, 0))}
}

func (h *house) says(topic string, payload any) {
	b, ok := payload.([]byte)
	if !ok {
		b = topics.Encode(payload)
	}
	h.told.Hear(topics.Message{Topic: topic, Payload: b}, h.now)
}

func (h *house) presence(n topics.Node, p topics.Presence) { h.says(h.space.Presence(n), p) }

func (h *house) online(nodes ...topics.Node) {
	for _, n := range nodes {
		h.presence(n, topics.Presence{State: topics.Online, Sid: topics.Sid("s" + strconv.Itoa(int(h.now)))})
	}
}

func (h *house) leads(term uint64) {
	h.presence(topics.Coordinator, topics.Presence{State: topics.Online, Role: topics.Active, Term: term, House: "7f3a9c"})
}

func (h *house) summary(s topics.Service, phase topics.SummaryPhase, where topics.Node, because, why string) {
	sum := topics.Summary{Service: s, Phase: phase, Run: topics.RunOn, Wanted: 1, Because: because}
	if where != "" {
		sum.Where = []topics.Node{where}
	}
	if why != "" {
		sum.Why = &topics.Why{Code: "X", Text: why}
	}
	h.says(h.space.Summary(s), sum)
}

func (h *house) runs(s topics.Service, where topics.Node, start string, port int) {
	h.says(h.space.ServiceState(where, s), topics.ServiceState{
		Service: s, Phase: topics.PhaseRunning, Ready: true, Start: start, Host: "127.0.0.1", Port: port,
	})
}

func (h *house) found(where topics.Node) {
	h.says(h.space.ServiceTopic("lightOrchestrator", "kitchen")+"/found", topics.Happening{Service: "webServer", Domain: where})
}

func (h *house) tell(seconds float64) {
	h.now = time.Duration(seconds * float64(time.Second))
	h.told.Tell(h.now)
}

const (
	needed   = "lightOrchestrator needs it"
	required = "required where trait neoPixelLight"
)

// stand lets the house come up as it does.
func (h *house) stand() {
	h.online("kitchen", "attic")
	h.leads(1)
	h.tell(0.1)
	h.online("porch")
	h.summary("webServer", topics.SummaryStarting, "attic", needed, "starts")
	h.summary("lightOrchestrator", topics.SummaryWaiting, "kitchen", "npBar needs it", "waits for webServer")
	h.summary("npBar", topics.SummaryWaiting, "porch", required, "waits for lightOrchestrator")
	h.tell(0.2)
	h.runs("webServer", "attic", "w1", 40127)
	h.summary("webServer", topics.SummaryReady, "attic", needed, "")
	h.tell(0.9)
	h.found("attic")
	h.runs("lightOrchestrator", "kitchen", "l1", 40128)
	h.summary("lightOrchestrator", topics.SummaryReady, "kitchen", "npBar needs it", "")
	h.tell(1.3)
	h.says(h.space.ServiceTopic("npBar", "porch")+"/lamp", []byte("on"))
	h.runs("npBar", "porch", "n1", 40129)
	h.summary("npBar", topics.SummaryReady, "porch", required, "")
	h.tell(1.6)
}

func TestTheStoryOfAPulledPlug(t *testing.T) {
	var out bytes.Buffer
	h := newHouse(&out, 80, 0)
	h.told.Header("0.1.0", "7f3a9c", 1884)
	h.stand()
	h.told.Table(h.now)
	h.told.Hints(1884, true)
	if !h.told.AllReady(h.now) {
		t.Error("not all is ready")
	}

	h.told.Note("attic", " (killed), seen after 3 ms")
	h.presence("attic", topics.Presence{State: topics.Lost, Sid: ""})
	h.summary("webServer", topics.SummaryUnknown, "attic", needed, "attic lost, moves in 5 s unless it returns")
	h.tell(8.1)
	h.tell(9.1)
	if h.told.AllReady(h.now) {
		t.Error("all is ready without webServer")
	}
	h.summary("webServer", topics.SummaryStarting, "kitchen", needed, "starts")
	h.tell(13.2)
	h.runs("webServer", "kitchen", "w2", 40130)
	h.summary("webServer", topics.SummaryReady, "kitchen", needed, "")
	h.tell(13.6)
	h.found("kitchen")
	h.tell(13.7)
	h.told.Expect("attic")
	h.online("attic")
	h.tell(19)

	want := `Dominion 0.1.0  demo house 7f3a  broker 127.0.0.1:1884 (1883 is in use)
 only for a look: anybody on this machine is its operator, nobody else hears
 of it (no mDNS), and what is lost moves after 5 s instead of 60 s
  0.2s  coordinator        leads · kitchen, attic, porch joined
  0.9s  webServer          ready on attic    http://127.0.0.1:40127
  1.3s  lightOrchestrator  ready on kitchen  found webServer by lookup
  1.6s  npBar              ready on porch    lamp: on
SERVICE            STATE  WHERE    BECAUSE
npBar              ready  porch    required where trait neoPixelLight
lightOrchestrator  ready  kitchen  npBar needs it
webServer          ready  attic    lightOrchestrator needs it

 k  pull attic's plug    s  stop/start npBar    w  why    q  end
 watch     mosquitto_sub -p 1884 -v -t 'dominion/#'
 HA        MQTT integration, broker 127.0.0.1, port 1884
  8.1s  attic              lost (killed), seen after 3 ms
  8.1s  webServer          unknown: attic lost, moves in 5 s unless it returns
 13.6s  webServer          ready on kitchen  http://127.0.0.1:40130
 13.7s  lightOrchestrator  follows webServer to kitchen
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, l := range strings.Split(out.String(), "\n") {
		if n := len([]rune(l)); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

func TestWhatIsTold(t *testing.T) {
	tests := []struct {
		name string
		then func(h *house)
		want string
	}{
		{"nothing when nothing changed", func(h *house) {
			h.summary("npBar", topics.SummaryReady, "porch", required, "")
			h.online("porch")
			h.tell(3)
		}, ""},
		{"a domain that comes back", func(h *house) {
			h.presence("porch", topics.Presence{State: topics.Lost})
			h.tell(3)
			h.online("porch")
			h.tell(4)
		}, "  3.0s  porch              lost\n  4.0s  porch              back\n"},
		{"a domain that was stopped", func(h *house) {
			h.presence("porch", topics.Presence{State: topics.Stopped})
			h.tell(3)
		}, "  3.0s  porch              stopped\n"},
		{"a new leader once, with what is known of its absence", func(h *house) {
			h.told.Note(topics.Coordinator, "no service was restarted")
			h.presence(topics.Coordinator, topics.Presence{State: topics.Online, Role: topics.Settling, Term: 2})
			h.tell(3)
			h.leads(2)
			h.tell(4)
			h.tell(5)
		}, "  4.0s  coordinator        leads again, term 2 · no service was restarted\n"},
		{"no word of a start that is quick", func(h *house) {
			h.summary("npBar", topics.SummaryStarting, "porch", required, "starts")
			h.tell(3)
			h.summary("npBar", topics.SummaryReady, "porch", required, "")
			h.tell(3.5)
			h.tell(30)
		}, ""},
		{"a start that takes long, with its reason", func(h *house) {
			h.summary("npBar", topics.SummaryStarting, "porch", required, "runs, and is not ready yet")
			h.tell(3)
			h.tell(6.9)
			h.tell(h.told.Next().Seconds())
			h.tell(8)
		}, "  7.0s  npBar              starting: runs, and is not ready yet\n"},
		{"a restart", func(h *house) {
			h.summary("npBar", topics.SummaryStarting, "porch", required, "starts")
			h.tell(3)
			h.runs("npBar", "porch", "n2", 1)
			h.summary("npBar", topics.SummaryReady, "porch", required, "")
			h.tell(3.2)
		}, "  3.2s  npBar              ready again on porch    lamp: on\n"},
		{"a failure, wrapped", func(h *house) {
			h.summary("npBar", topics.SummaryFailing, "porch", required, "ended with exit code 1 four times, and is started again in 8 s: lamp not found on the bus")
			h.tell(3)
		}, "  3.0s  npBar              failing: ended with exit code 1 four times, and is\n" +
			"                           started again in 8 s: lamp not found on the bus\n"},
		{"a change of reason only in the table", func(h *house) {
			h.summary("npBar", topics.SummaryFailing, "porch", required, "one")
			h.tell(3)
			h.summary("npBar", topics.SummaryFailing, "porch", required, "two")
			h.tell(4)
		}, "  3.0s  npBar              failing: one\n"},
		{"nothing that would steer a terminal", func(h *house) {
			h.summary("npBar", topics.SummaryFailing, "porch", required, "bad \x1b[2J\x07 thing")
			h.tell(3)
		}, "  3.0s  npBar              failing: bad  [2J  thing\n"},
		{"no nonsense of nonsense", func(h *house) {
			for _, topic := range []string{
				h.space.Summary("npBar"), h.space.Presence("attic"), h.space.ServiceTopic("lightOrchestrator", "kitchen") + "/found",
				"dominion/service/x", "dominion/a/b/c/d/e", "dominion/coordinator/event/placed/npBar",
			} {
				for _, payload := range []string{"", "{", "[]", "\xff", `{"v":1}`, `{"phase":7}`} {
					h.says(topic, []byte(payload))
				}
			}
			h.tell(3)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			h := newHouse(&out, 80, 0)
			h.stand()
			out.Reset()
			tt.then(h)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestALateLeaderIsToldOf(t *testing.T) {
	var out bytes.Buffer
	h := newHouse(&out, 80, 0)
	h.online("kitchen", "attic", "porch")
	h.tell(3)
	h.tell(4)
	h.tell(5)
	h.leads(1)
	h.tell(6)
	want := "  4.0s  coordinator        does not lead yet\n  6.0s  coordinator        leads · kitchen, attic, porch joined\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheOpeningDoesNotWaitForEver(t *testing.T) {
	var out bytes.Buffer
	h := newHouse(&out, 80, 0)
	h.leads(1)
	h.online("kitchen")
	h.tell(0.1)
	if out.Len() > 0 {
		t.Errorf("told before the others could join: %s", &out)
	}
	h.tell(h.told.Next().Seconds())
	h.online("attic")
	h.tell(5)
	want := "  4.0s  coordinator        leads · kitchen joined\n  5.0s  attic              joined\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestALiveScreen reads what a terminal shows: every line once, and below the
// last one the table as it is now, if there is room for it.
func TestALiveScreen(t *testing.T) {
	const told = `  0.2s  coordinator        leads · kitchen, attic, porch joined
  0.9s  webServer          ready on attic    http://127.0.0.1:40127
  1.3s  lightOrchestrator  ready on kitchen  found webServer by lookup
  1.6s  npBar              ready on porch    lamp: on
  4.0s  npBar              stopped: stopped by demo
`
	tests := []struct {
		name          string
		width, height int
		want          string
	}{
		{"wide", 80, 24, told + `
SERVICE            STATE    WHERE    BECAUSE
npBar              stopped  –        stopped by demo
lightOrchestrator  ready    kitchen  npBar needs it
webServer          ready    attic    lightOrchestrator needs it
`},
		{"narrow", 76, 24, told + `
SERVICE            STATE    WHERE    BECAUSE
npBar              stopped  –        stopped by demo
lightOrchestrator  ready    kitchen  npBar needs it
webServer          ready    attic    lightOrchestrator needs it
`},
		{"low", 80, 6, told},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			h := newHouse(&out, tt.width, tt.height)
			h.stand()
			h.summary("npBar", topics.SummaryStopped, "", "", "stopped by demo")
			h.tell(4)
			got := strings.Join(terminal(out.String(), tt.width), "\n") + "\n"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAFooterIsCutToTheWidth(t *testing.T) {
	var out bytes.Buffer
	h := newHouse(&out, 40, 24)
	h.stand()
	h.tell(2)
	lines := terminal(out.String(), 40)
	want := []string{
		"", "SERVICE            STATE  WHERE    BEC…", "npBar              ready  porch    req…",
		"lightOrchestrator  ready  kitchen  npB…", "webServer          ready  attic    lig…",
	}
	if diff := cmp.Diff(want, lines[max(0, len(lines)-5):]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// terminal is what stands on a screen that was written to: lines that are too
// long are wrapped, as terminals do.
func terminal(written string, width int) []string {
	rows, y, x := [][]rune{{}}, 0, 0
	down := func() {
		y++
		if y == len(rows) {
			rows = append(rows, nil)
		}
	}
	for written != "" {
		if strings.HasPrefix(written, "\x1b[") {
			end := strings.IndexAny(written, "AJm")
			n, _ := strconv.Atoi(written[2:end])
			switch written[end] {
			case 'A':
				y = max(0, y-n)
			case 'J':
				rows = append(rows[:y], rows[y][:min(x, len(rows[y]))])
			}
			written = written[end+1:]
			continue
		}
		r := []rune(written)[0]
		written = written[len(string(r)):]
		switch r {
		case '\r':
			x = 0
		case '\n':
			down()
		default:
			if x == width {
				down()
				x = 0
			}
			for len(rows[y]) <= x {
				rows[y] = append(rows[y], ' ')
			}
			rows[y][x] = r
			x++
		}
	}
	var lines []string
	for _, row := range rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return lines[:len(lines)-1]
}
