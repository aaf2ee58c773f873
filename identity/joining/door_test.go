package joining_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"dominion/identity"
	"dominion/identity/joining"
)

func TestWhatIsNoLeader(t *testing.T) {
	page := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		plain   bool
	}{
		"a page":                     {handler: page(200, "<html>router</html>")},
		"a page that is not found":   {handler: page(404, "not found")},
		"another JSON":               {handler: page(200, `{"state":"ok"}`)},
		"another protocol":           {handler: page(200, `{"v":1,"protocol":"dominion-page","house":"7f3a9c","name":"x"}`)},
		"tricks in the house's id":   {handler: page(200, `{"v":1,"protocol":"dominion-join","house":"7f\u001b[2J","name":"x"}`)},
		"tricks in the house's name": {handler: page(200, `{"v":1,"protocol":"dominion-join","house":"7f3a9c","name":"\u001b[2J"}`)},
		"plain HTTP":                 {handler: page(200, "{}"), plain: true},
		"more than an answer":        {handler: page(200, strings.Repeat(" ", 1<<20)+"{}")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(tt.handler)
			server.Config.ErrorLog = quiet()
			if tt.plain {
				server.Start()
			} else {
				server.StartTLS()
			}
			defer server.Close()
			door := server.Listener.Addr().String()
			_, err := join(t, joining.Options{Door: door, Code: joining.NewCode(), Node: "pi2", ID: "x"})
			var not *joining.NotDominion
			var other *joining.Refusal
			switch {
			case errors.As(err, &other) && other.Why == joining.OtherVersion && name == "another JSON":
			case !errors.As(err, &not) || !strings.Contains(err.Error(), door):
				t.Errorf("got %T: %v", err, err)
			case strings.ContainsRune(err.Error(), '\x1b'):
				t.Errorf("the error can clear the screen: %q", err)
			}
		})
	}
}

func TestNobodyIsThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := listener.Addr().String()
	listener.Close()
	_, err = join(t, joining.Options{Door: door, Code: joining.NewCode(), Node: "pi2", ID: "x"})
	if want := "nobody answers at " + door + " (connection refused)"; err == nil || err.Error() != want || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, o := range []joining.Options{
		{Door: "nowhere", Code: joining.NewCode(), Node: "pi2", ID: "x"},
		{Door: door, Code: joining.NewCode(), Node: "pi/2", ID: "x"},
		{Door: door, Code: joining.NewCode(), Node: "pi2"},
		{Door: door, Code: "1", Node: "pi2", ID: "x"},
	} {
		if _, err := join(t, o); err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestHalfAnAnswer(t *testing.T) {
	for _, path := range []string{"/join/hello", "/join/start", "/join/prove", "/join/finish"} {
		t.Run(path, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			o := machine(t, l, "pi2", l.invite(t))
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				whole := httptest.NewRecorder()
				l.door.ServeHTTP(whole, r)
				body := whole.Body.Bytes()
				if r.URL.Path == path {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
					body = body[:len(body)/2]
				}
				w.WriteHeader(whole.Code)
				_, _ = w.Write(body)
			}))
			server.Config.ErrorLog = quiet()
			server.StartTLS()
			defer server.Close()
			o.Door = server.Listener.Addr().String()
			m, err := join(t, o)
			var broken *joining.BrokenAnswer
			if m != nil || !errors.As(err, &broken) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
			o.Door = l.address
			if _, err := join(t, o); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestAConnectionThatEndsAtOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { listener.Close(); <-done }()
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadByte()
			conn.Close()
		}
	}()
	door := listener.Addr().String()
	m, err := join(t, joining.Options{Door: door, Code: joining.NewCode(), Node: "pi2", ID: "x"})
	if err == nil {
		t.Fatalf("joined %+v", m)
	}
	if want := "what answers at " + door + " is not a leader's HTTPS port"; !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "EOF") {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRenewing(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	m, err := join(t, machine(t, l, "pi2", l.invite(t)))
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := joining.Renew(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(renewed.Certificate, m.Certificate) {
		t.Error("the certificate is the same")
	}
	renewed.Certificate = m.Certificate
	if diff := cmp.Diff(m, renewed); diff != "" {
		t.Errorf("beside its certificate (-before +after):\n%s", diff)
	}

	t.Run("when an answer was lost", func(t *testing.T) {
		if _, err := joining.Renew(t.Context(), m); err != nil {
			t.Error(err)
		}
	})
	t.Run("at another house's leader", func(t *testing.T) {
		other := newLeader(t, "k2m4aa", "Birkenweg")
		lost := *m
		lost.Door = other.address
		var foreign *identity.ForeignLeader
		if _, err := joining.Renew(t.Context(), &lost); !errors.As(err, &foreign) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		res := post(l.door, "/renew", "192.168.1.9:5", `{"v":1,"request":""}`)
		if res.Code != http.StatusForbidden || !strings.Contains(res.Body.String(), string(joining.Stranger)) {
			t.Errorf("%d %s", res.Code, res.Body)
		}
	})
	t.Run("when it was forgotten", func(t *testing.T) {
		if err := l.house.Forget("pi2"); err != nil {
			t.Fatal(err)
		}
		_, err := joining.Renew(t.Context(), m)
		wants(t, err, joining.Stranger)
		if h := l.last(); h.Why != joining.Stranger || !strings.Contains(h.Text, "pi2 was forgotten") {
			t.Errorf("told: %+v", h)
		}
	})
}

// TestStrangersKeepNoMemberFromRenewing holds that who floods the door, from the
// member's own address too, does not make its certificate run out; and that a
// member cannot flood it either.
func TestStrangersKeepNoMemberFromRenewing(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	m, err := join(t, machine(t, l, "pi2", l.invite(t)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := join(t, machine(t, l, "pi3", l.invite(t)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		remote := fmt.Sprintf("127.0.0.%d:5", 1+i%5)
		post(l.door, "/renew", remote, `{"v":1,"request":""}`)
	}
	if _, err := join(t, machine(t, l, "pi4", l.invite(t))); err == nil {
		t.Fatal("the strangers' limits are not used up: this test looks at nothing")
	}
	for range 10 {
		if _, err := joining.Renew(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	_, err = joining.Renew(t.Context(), m)
	wants(t, err, joining.Busy)
	if _, err := joining.Renew(t.Context(), other); err != nil {
		t.Errorf("another member: %v", err)
	}
}

// post sends a body past the network.
func post(d *joining.Door, path, remote, body string) *httptest.ResponseRecorder {
	return send(d, http.MethodPost, path, remote, body)
}

func send(d *joining.Door, method, path, remote, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// startBody is a start that is right in form, with a share that is none.
const startBody = `{"v":1,"sid":"AAAAAAAAAAAAAAAAAAAAAA==","node":"pi2","id":"x","share":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`

func TestLimits(t *testing.T) {
	served := func(l *leader, remote func(int) string, n int) (count int) {
		for i := range n {
			if post(l.door, "/join/start", remote(i), startBody).Code != http.StatusTooManyRequests {
				count++
			}
		}
		return count
	}
	v4 := func(i int) string { return fmt.Sprintf("192.168.%d.%d:99", i/250, i%250) }
	tests := map[string]struct {
		remote func(int) string
		want   int // of a thousand at once
		later  int // of a hundred six seconds later
	}{
		"an address":                       {func(int) string { return "192.168.1.9:4711" }, 10, 1},
		"an address by both its notations": {func(i int) string { return []string{"192.168.1.9:1", "[::ffff:192.168.1.9]:1"}[i%2] }, 10, 1},
		"an IPv6 network":                  {func(i int) string { return fmt.Sprintf("[fd00::%x]:1", i+1) }, 10, 1},
		"who has no address":               {func(int) string { return "@" }, 10, 1},
		"all of IPv4 together":             {v4, 30, 6},
		"all networks of IPv6 together":    {func(i int) string { return fmt.Sprintf("[fd00:0:0:%x::1]:1", i+1) }, 30, 6},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			l.invite(t)
			if got := served(l, tt.remote, 1000); got != tt.want {
				t.Errorf("%d of 1000 were served, want %d", got, tt.want)
			}
			l.clock.add(-time.Hour) // a clock that is set back neither frees nor locks out
			if got := served(l, tt.remote, 100); got != 0 {
				t.Errorf("after the clock was set back, %d were served", got)
			}
			l.clock.add(6 * time.Second)
			if got := served(l, tt.remote, 100); got != tt.later {
				t.Errorf("six seconds later, %d were served, want %d", got, tt.later)
			}
		})
	}
}

// TestEveryRefusalCosts holds that nobody is refused as often as he likes, or
// has it told as often.
func TestEveryRefusalCosts(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		why                joining.Why // that is told; "": nothing is
	}{
		"a proof of nothing":   {http.MethodPost, "/join/prove", `{"v":1,"session":"x"}`, http.StatusGone, joining.Stale},
		"an end of nothing":    {http.MethodPost, "/join/finish", `{"v":1,"session":"x"}`, http.StatusGone, joining.Stale},
		"waiting for nothing":  {http.MethodPost, "/join/wait", `{"v":1,"session":"x"}`, http.StatusGone, joining.Stale},
		"revealing nothing":    {http.MethodPost, "/join/reveal", `{"v":1,"session":"x"}`, http.StatusGone, joining.Stale},
		"what cannot be read":  {http.MethodPost, "/join/start", `{`, http.StatusBadRequest, joining.BadRequest},
		"a name that is none":  {http.MethodPost, "/join/ask", `{"v":1,"node":"../x","id":"x"}`, http.StatusBadRequest, joining.BadRequest},
		"more than a message":  {http.MethodPost, "/join/hello", strings.Repeat(" ", 17<<10), http.StatusBadRequest, joining.BadRequest},
		"another version":      {http.MethodPost, "/join/hello", `{"v":2}`, http.StatusBadRequest, joining.OtherVersion},
		"a stranger's renewal": {http.MethodPost, "/renew", `{"v":1,"request":""}`, http.StatusForbidden, joining.Stranger},
		"another path":         {http.MethodPost, "/join/other", "", http.StatusNotFound, ""},
		"a browser":            {http.MethodGet, "/join/hello", "", http.StatusMethodNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			counts := map[int]int{}
			for range 1000 {
				counts[send(l.door, tt.method, tt.path, "192.168.1.9:5", tt.body).Code]++
			}
			if diff := cmp.Diff(map[int]int{tt.status: 10, http.StatusTooManyRequests: 990}, counts); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			told := map[joining.Why]int{}
			for _, h := range l.all() {
				told[h.Why]++
			}
			want := map[joining.Why]int{joining.Busy: 1}
			if tt.why != "" {
				want[tt.why] = 1
			}
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if res := post(l.door, "/join/hello", "192.168.1.9:5", `{"v":1}`); res.Code != http.StatusOK {
				t.Errorf("who waits there too gets %d", res.Code)
			}
		})
	}
}

func TestAFloodIsToldOnceAMinute(t *testing.T) {
	const stale = `{"v":1,"session":"x"}`
	l := newLeader(t, "7f3a9c", "Birkenweg")
	for range 1000 {
		post(l.door, "/join/prove", "192.168.1.9:5", stale)
	}
	l.clock.add(59 * time.Second)
	post(l.door, "/join/prove", "192.168.1.9:5", stale)
	if n := l.happenings(joining.Refused, joining.Stale); n != 1 {
		t.Errorf("told %d times within a minute", n)
	}
	l.clock.add(time.Second)
	post(l.door, "/join/prove", "192.168.1.9:5", stale)
	if h := l.last(); h.Why != joining.Stale || h.Times != 11 || !strings.Contains(h.Text, "11 times") {
		t.Errorf("told: %+v", h)
	}
	post(l.door, "/join/prove", "192.168.1.10:5", stale)
	if h := l.last(); h.Remote != "192.168.1.10" || h.Times != 1 || strings.Contains(h.Text, "times") {
		t.Errorf("another address: %+v", h)
	}

	before := len(l.all())
	for i := range 1000 {
		for range 2 {
			post(l.door, "/join/prove", fmt.Sprintf("[fd00:0:0:%x::1]:1", i), stale)
		}
	}
	if told := len(l.all()) - before; told > 256 {
		t.Errorf("of many networks, %d refusals were told", told)
	}
	l.clock.add(time.Minute)
	post(l.door, "/join/prove", "192.168.1.11:5", stale)
	if h := l.last(); h.Remote != "192.168.1.11" {
		t.Errorf("after many networks: %+v", h)
	}
}

func TestWhoIsBusySaysUntilWhen(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.invite(t)
	var last *httptest.ResponseRecorder
	for range 11 {
		last = post(l.door, "/join/start", "192.168.1.9:5", startBody)
	}
	if last.Code != http.StatusTooManyRequests || last.Header().Get("Retry-After") != "6" {
		t.Errorf("%d, Retry-After %q", last.Code, last.Header().Get("Retry-After"))
	}
	if other := post(l.door, "/join/start", "192.168.1.10:5", startBody); other.Code == http.StatusTooManyRequests {
		t.Error("another address has to wait too")
	}
}

func TestWhatTheDoorDoesNotRead(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	tests := map[string]struct {
		path, body string
		status     int
		why        joining.Why
	}{
		"nothing":                {"/join/start", "", 400, joining.BadRequest},
		"no JSON":                {"/join/start", "\x1b[2J", 400, joining.BadRequest},
		"two messages":           {"/join/hello", `{"v":1}{"v":1}`, 400, joining.BadRequest},
		"another version":        {"/join/hello", `{"v":2}`, 400, joining.OtherVersion},
		"a long message":         {"/join/hello", `{"v":1,"x":"` + strings.Repeat("x", 16<<10) + `"}`, 400, joining.BadRequest},
		"a name that is none":    {"/join/start", strings.Replace(startBody, "pi2", "../x", 1), 400, joining.BadRequest},
		"tricks in an id":        {"/join/start", strings.Replace(startBody, `"x"`, `"\u001b[2J"`, 1), 400, joining.BadRequest},
		"no id":                  {"/join/start", strings.Replace(startBody, `"x"`, `""`, 1), 400, joining.BadRequest},
		"a short share":          {"/join/start", strings.Replace(startBody, "AAAAAAAA", "", 2), 400, joining.BadRequest},
		"no such session":        {"/join/prove", `{"v":1,"session":"x","proofs":[]}`, 410, joining.Stale},
		"no such session at all": {"/join/finish", `{"v":1}`, 410, joining.Stale},
		"nobody waits":           {"/join/wait", `{"v":1,"session":""}`, 410, joining.Stale},
		"nothing to reveal":      {"/join/reveal", `{"v":1,"session":""}`, 410, joining.Stale},
		"a short commitment":     {"/join/ask", `{"v":1,"node":"pi2","id":"x","commitment":"AAAA"}`, 400, joining.BadRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l.clock.add(time.Minute)
			res := post(l.door, tt.path, "192.168.1.9:5", tt.body)
			if res.Code != tt.status || !strings.Contains(res.Body.String(), fmt.Sprintf(`"why":%q`, tt.why)) {
				t.Errorf("%d %s", res.Code, res.Body)
			}
			if h := l.last(); h.What != joining.Refused || h.Why != tt.why || h.Remote != "192.168.1.9" || strings.ContainsRune(h.Text, '\x1b') {
				t.Errorf("told: %+v", h)
			}
		})
	}
	l.clock.add(time.Minute)
	get := httptest.NewRecorder()
	l.door.ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/join/hello", nil))
	if get.Code != http.StatusMethodNotAllowed || !strings.Contains(get.Body.String(), "domain join") {
		t.Errorf("a browser gets %d %s", get.Code, get.Body)
	}
	if res := post(l.door, "/join/other", "192.168.1.9:5", "{}"); res.Code != http.StatusNotFound {
		t.Errorf("another path: %d", res.Code)
	}
}

func TestTheNeutralElementIsNoShare(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	code := l.invite(t)
	if res := post(l.door, "/join/start", "192.168.1.9:5", startBody); res.Code != http.StatusBadRequest {
		t.Errorf("the leader took it: %d %s", res.Code, res.Body)
	}
	o := machine(t, l, "pi2", code)
	o.Door = between(t, l, func(path string, question bool, m message) {
		if path == "/join/start" && !question {
			m["shares"] = []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
		}
	})
	var broken *joining.BrokenAnswer
	if _, err := join(t, o); !errors.As(err, &broken) {
		t.Errorf("the newcomer took it: %v", err)
	}
}

// TestSharesThatNoLeaderOffers holds how many guesses at a code who poses as a
// leader has in one run: for each share that is answered, one.
func TestSharesThatNoLeaderOffers(t *testing.T) {
	share := func() string {
		key, _, err := joining.CPaceRun(append(make([]byte, 31), 1), rand.Text(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(key)
	}
	eight := []any{share(), share(), share(), share(), share(), share(), share(), share()}
	for name, tt := range map[string]struct {
		shares   []any
		answered bool
	}{
		"eight":       {eight, true},
		"nine":        {append(eight[:8:8], share()), false},
		"one twice":   {append(eight[:2:2], eight[0]), false},
		"none at all": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			o := machine(t, l, "pi2", l.invite(t))
			var answered atomic.Bool
			o.Door = between(t, l, func(path string, question bool, m message) {
				switch {
				case path == "/join/start" && !question:
					m["shares"] = tt.shares
				case path == "/join/prove":
					answered.Store(true)
				}
			})
			if _, err := join(t, o); err == nil || answered.Load() != tt.answered {
				t.Errorf("answered: %v, %v", answered.Load(), err)
			}
		})
	}
}

func TestALeaderWithoutTheCodeIsNotBelieved(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.invite(t)
	o := machine(t, l, "pi2", joining.NewCode())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/join/prove" { // he says yes to any proof
			_, _ = io.WriteString(w, `{"v":1,"pick":0,"proof":"AAAA"}`)
			return
		}
		l.door.ServeHTTP(w, r)
	}))
	server.StartTLS()
	defer server.Close()
	o.Door = server.Listener.Addr().String()
	var broken *joining.BrokenAnswer
	if _, err := join(t, o); !errors.As(err, &broken) || !strings.Contains(err.Error(), "does not prove") {
		t.Errorf("got %v", err)
	}
}

func TestASessionEndsByItself(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	o.Door = between(t, l, func(path string, question bool, _ message) {
		if path == "/join/prove" && question {
			l.clock.add(2 * time.Minute)
		}
	})
	_, err := join(t, o)
	wants(t, err, joining.Stale)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for why, want := range map[joining.Why]string{
		joining.WrongCode: "dominion invite", joining.Used: "dominion invite", joining.NoInvitation: "dominion invite",
		joining.WindowClosed: "dominion join-window 10m", joining.Member: "dominion invite", joining.Rejected: "owner", joining.Busy: "try again in 7s",
		joining.LeaderDisk: "df -h", joining.BadRequest: "domain version", joining.OtherVersion: "update",
		joining.Stale: "try again", joining.Stranger: "dominion invite", joining.LeaderFault: "journalctl",
	} {
		err := &joining.Refusal{Why: why, Door: "192.168.1.7:8443", House: "7f3a9c", Name: "Birkenweg", Wait: 7 * time.Second}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", why, err, want)
		}
	}
}

// FuzzHandlers sends anything to each handler: it is answered in JSON, and
// nobody comes in.
func FuzzHandlers(f *testing.F) {
	paths := []string{"/join/hello", "/join/start", "/join/prove", "/join/finish", "/join/ask", "/join/reveal", "/join/wait", "/renew"}
	for i := range paths {
		for _, body := range []string{
			startBody, `{"v":1}`, `{"v":1,"session":"x","proofs":["",null]}`, `{"v":1,"session":"x","box":"AA=="}`,
			`{"v":1,"node":"pi2","id":"x","commitment":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
			`{"v":1,"session":"x","nonce":"","key":"","request":"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----"}`, `[`, ``,
		} {
			f.Add(uint8(i), body)
		}
	}
	root := f.TempDir()
	house, err := identity.Create(filepath.Join(root, "identity"), "Birkenweg")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := joining.Invite(root, time.Hour); err != nil {
		f.Fatal(err)
	}
	now := &clock{now: time.Now()}
	d := joining.NewDoor(joining.DoorOptions{
		House: house, Dir: root, Now: now.Now, Log: zerolog.Nop(), Tell: func(joining.Happening) {},
		Handout: func() (joining.Handout, error) { return joining.Handout{House: "7f3a9c", Name: "Birkenweg"}, nil },
	})
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		now.add(15 * time.Second) // within the limits
		d.Window(time.Hour)
		session := firstSession(d)
		if which%2 == 1 {
			body = strings.ReplaceAll(body, `"x"`, `"`+session+`"`)
		}
		res := post(d, paths[int(which/2)%len(paths)], "192.168.1.9:5", body)
		if !json.Valid(res.Body.Bytes()) {
			t.Errorf("status %d, body %q", res.Code, res.Body)
		}
		if nodes := house.Nodes(); len(nodes) > 0 {
			t.Fatalf("admitted: %v", nodes)
		}
	})
}

// firstSession begins a conversation in the window, so that its later messages
// are reached.
func firstSession(d *joining.Door) string {
	res := post(d, "/join/ask", "192.168.1.9:5", `{"v":1,"node":"pi2","id":"x","commitment":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`)
	var answer struct{ Session string }
	_ = json.Unmarshal(res.Body.Bytes(), &answer)
	return answer.Session
}
