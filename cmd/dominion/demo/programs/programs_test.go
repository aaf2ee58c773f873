package programs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"dominion/cmd/dominion/demo/programs"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// bus is one that the test speaks on.
type bus struct {
	in  chan topics.Inbound
	out chan topics.Message
}

func (b *bus) Inbound() <-chan topics.Inbound { return b.in }

func (b *bus) Publish(_ context.Context, m topics.Message) error {
	select {
	case b.out <- m:
		return nil
	default:
		return errors.New("the test does not listen")
	}
}

func (b *bus) synced() { b.in <- topics.Inbound{Link: topics.LinkSynced} }

func (b *bus) says(topic string, payload any) {
	text, ok := payload.([]byte)
	if !ok {
		text = topics.Encode(payload)
	}
	b.in <- topics.Inbound{Message: topics.Message{Topic: topic, Payload: text}}
}

// next is the next message on a topic; others are let pass.
func (b *bus) next(t *testing.T, topic string) topics.Message {
	t.Helper()
	limit := time.After(5 * time.Second)
	for {
		select {
		case m := <-b.out:
			if m.Topic == topic {
				return m
			}
		case <-limit:
			t.Fatalf("nothing was said on %s", topic)
		}
	}
}

// none fails when something was said on a topic until now.
func (b *bus) none(t *testing.T, topic string) {
	t.Helper()
	for {
		select {
		case m := <-b.out:
			if m.Topic == topic {
				t.Fatalf("said too early: %s %s", m.Topic, m.Payload)
			}
		default:
			return
		}
	}
}

func environ(service, domain string, port int, more ...string) []string {
	return append([]string{
		"SERVICE=" + service, "DOMAIN=" + domain, "DOMINION_URL=mqtt://127.0.0.1:1", "DOMINION_BASE=dominion",
		"START_ID=start7", "SERVICE_PORT=" + strconv.Itoa(port),
	}, more...)
}

// perform runs a service until the test ends it.
func perform(t *testing.T, name topics.Service, env []string) (*bus, context.CancelFunc) {
	t.Helper()
	b := &bus{make(chan topics.Inbound), make(chan topics.Message, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- programs.Perform(ctx, name, env, b) }()
	stop := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return b, stop
}

// place is an HTTP server's endpoint in a lookup.
func place(t *testing.T, domain topics.Node, address string) topics.Lookup {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	e := topics.Endpoint{Domain: domain, Host: u.Hostname(), Port: port}
	return topics.Lookup{Service: "webServer", Ready: 1, Host: e.Host, Port: e.Port, Endpoints: []topics.Endpoint{e}}
}

func TestLightOrchestratorFollowsWebServer(t *testing.T) {
	well := false
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthcheck" || !well {
			well = true
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer first.Close()
	second := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer second.Close()
	const own = "dominion/service/lightOrchestrator/kitchen/"
	space := topics.Space{}
	b, stop := perform(t, programs.LightOrchestrator, environ("lightOrchestrator", "kitchen", 1))

	b.synced()
	b.says(space.Lookup("webServer"), topics.Lookup{Service: "webServer"})
	b.none(t, own+"ready")
	b.says(space.Lookup("webServer"), place(t, "attic", first.URL)) // its first answer is an error
	found := b.next(t, own+"found")
	if h, err := topics.Decode[topics.Happening](found.Payload); err != nil || h.Domain != "attic" || h.Service != "webServer" || !found.Retained {
		t.Errorf("found %s, retained %v, %v", found.Payload, found.Retained, err)
	}
	if frame := b.next(t, own+"frame"); !regexp.MustCompile(`^{"v":1,"colour":"#[0-9a-f]{6}"}$`).Match(frame.Payload) || frame.Retained {
		t.Errorf("frame %s, retained %v", frame.Payload, frame.Retained)
	}
	want := topics.Message{Topic: own + "ready", Payload: []byte("start7"), QoS: 1, Retained: true}
	if diff := cmp.Diff(want, b.next(t, own+"ready")); diff != "" {
		t.Errorf("ready: -want +got:\n%s", diff)
	}
	b.next(t, own+"frame") // goes on

	b.says(space.Lookup("webServer"), topics.Lookup{Service: "webServer"})
	b.says(space.Lookup("webServer"), []byte("nonsense"))
	b.says(space.Lookup("webServer"), place(t, "kitchen", second.URL))
	if h, _ := topics.Decode[topics.Happening](b.next(t, own+"found").Payload); h.Domain != "kitchen" {
		t.Errorf("follows to %q", h.Domain)
	}
	b.synced()
	b.next(t, own+"found") // said again on a new connection

	stop()
	for _, topic := range []string{own + "found", own + "ready"} {
		if m := b.next(t, topic); len(m.Payload) > 0 || !m.Retained {
			t.Errorf("at its end: %s %q", topic, m.Payload)
		}
	}
}

func TestNPBarShowsWhatTheOrchestratorSays(t *testing.T) {
	const own = "dominion/service/npBar/porch/"
	space := topics.Space{}
	b, stop := perform(t, programs.NPBar, environ("npBar", "porch", 1))
	lookup := func(domain topics.Node) topics.Lookup {
		return topics.Lookup{Service: "lightOrchestrator", Ready: 1, Endpoints: []topics.Endpoint{{Domain: domain, Host: "h", Port: 1}}}
	}
	frame := func(domain topics.Node, colour string) {
		b.says(space.ServiceTopic("lightOrchestrator", domain)+"/frame", programs.Frame{Colour: colour})
	}
	b.synced()
	frame("kitchen", "#111111")
	b.says(space.Lookup("lightOrchestrator"), topics.Lookup{Service: "lightOrchestrator"})
	b.none(t, own+"lamp")

	b.says(space.Lookup("lightOrchestrator"), lookup("kitchen"))
	if m := b.next(t, own+"lamp"); string(m.Payload) != "on" || !m.Retained {
		t.Errorf("lamp %q, retained %v", m.Payload, m.Retained)
	}
	if m := b.next(t, own+"ready"); string(m.Payload) != "start7" || !m.Retained {
		t.Errorf("ready %q, retained %v", m.Payload, m.Retained)
	}
	frame("kitchen", "#222222")
	if m := b.next(t, own+"colour"); string(m.Payload) != "#222222" || m.Retained {
		t.Errorf("colour %q, retained %v", m.Payload, m.Retained)
	}
	frame("attic", "#333333") // nobody it follows
	b.says(space.Lookup("lightOrchestrator"), topics.Lookup{Service: "lightOrchestrator"})
	b.none(t, own+"lamp") // it keeps what it shows
	b.says(space.Lookup("lightOrchestrator"), lookup("attic"))
	frame("attic", "#444444")
	if m := b.next(t, own+"colour"); string(m.Payload) != "#444444" {
		t.Errorf("colour %q", m.Payload)
	}
	stop()
	if m := b.next(t, own+"lamp"); string(m.Payload) != "off" {
		t.Errorf("lamp %q at its end", m.Payload)
	}
}

func TestWebServerShowsTheHouse(t *testing.T) {
	port := freePort(t)
	space := topics.Space{}
	b, _ := perform(t, programs.WebServer, environ("webServer", "attic", port))
	b.synced() // it listens before it hears
	if got := read(t, port, "/healthcheck"); got != "Healthy!\n" {
		t.Errorf("healthcheck says %q", got)
	}
	if got := read(t, port, "/"); !strings.Contains(got, "nothing yet") {
		t.Errorf("before anything was heard:\n%s", got)
	}
	b.says(space.Summary("npBar"), topics.Summary{
		Service: "npBar", Phase: topics.SummaryReady, Run: topics.RunOn, Where: []topics.Node{"porch"}, Because: "required <everywhere>",
	})
	b.says(space.Summary("lights"), topics.Summary{
		Service: "lights", Phase: topics.SummaryWaiting, Run: topics.RunOn, Why: &topics.Why{Code: "X", Text: "waits for webServer"},
	})
	b.says(space.Lookup("npBar"), topics.Lookup{Service: "npBar", Ready: 1, Host: "127.0.0.1", Port: 4711})
	b.says(space.Summary("npBar"), []byte("{"))
	got := read(t, port, "/")
	for _, want := range []string{"npBar", "porch", "required &lt;everywhere&gt;", "127.0.0.1:4711", "waits for webServer", "webServer on attic"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q:\n%s", want, got)
		}
	}
}

func TestServicesReadOnlyWhatTheyMay(t *testing.T) {
	for _, name := range []topics.Service{programs.NPBar, programs.LightOrchestrator, programs.WebServer} {
		filters, err := programs.Filters(name, environ(string(name), "attic", 1))
		if err != nil || len(filters) == 0 {
			t.Errorf("%s: filters %v, %v", name, filters, err)
		}
		for _, f := range filters {
			ownOrHouse := topics.Space{}.MayRead(topics.Identity{Role: topics.RoleService, Name: string(name)}, f)
			frames := f == "dominion/service/lightOrchestrator/+/frame"
			if !ownOrHouse && !frames {
				t.Errorf("%s reads %s", name, f)
			}
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, without, want string
	}{
		{"npBar", "START_ID", "environment has no START_ID (an agent starts this program: dominion demo)"},
		{"toaster", "", `the demo has no service "toaster" (npBar, lightOrchestrator, webServer)`},
	} {
		var env []string
		for _, v := range environ("npBar", "porch", 1) {
			if tt.without == "" || !strings.HasPrefix(v, tt.without+"=") {
				env = append(env, v)
			}
		}
		err := programs.Run(t.Context(), tt.name, env, zerolog.Nop())
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestAServiceIsCountedAndEndsWithItsDemo(t *testing.T) {
	folder := t.TempDir()
	lock, err := programs.Hold(programs.Lock(folder), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- programs.Run(t.Context(), "npBar", environ("npBar", "porch", 1, "DEMO_FOLDER="+folder), zerolog.Nop())
	}()
	want := []programs.Living{{Service: "npBar", Domain: "porch", Start: "start7", PID: os.Getpid()}}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := programs.Census(folder)
		if err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(want, got) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("counted %v, want %v", got, want)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended while its demo lives: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	lock.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end with its demo")
	}
	if got, err := programs.Census(folder); err != nil || len(got) > 0 {
		t.Errorf("counted %v after its end, %v", got, err)
	}
}

func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if held, err := programs.Held(path); held || err != nil {
		t.Errorf("no file: held %v, %v", held, err)
	}
	f, err := programs.Hold(path, "text")
	if err != nil {
		t.Fatal(err)
	}
	if held, err := programs.Held(path); !held || err != nil {
		t.Errorf("held: %v, %v", held, err)
	}
	if text, err := os.ReadFile(path); string(text) != "text" {
		t.Errorf("it holds %q, %v", text, err)
	}
	f.Close()
	if held, err := programs.Held(path); held || err != nil {
		t.Errorf("let go: held %v, %v", held, err)
	}
	if _, err := programs.Hold(filepath.Join(path, "below"), ""); err == nil {
		t.Error("a file was held below a file")
	}
}

func TestCensusOfNothing(t *testing.T) {
	folder := t.TempDir()
	if got, err := programs.Census(folder); len(got) > 0 || err != nil {
		t.Errorf("counted %v, %v", got, err)
	}
	if err := os.MkdirAll(filepath.Join(folder, "runs", "a.b.c.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := programs.Census(folder); len(got) > 0 || err != nil {
		t.Errorf("counted %v, %v", got, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func read(t *testing.T, port int, path string) string {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, response.Status, err)
	}
	return string(body)
}
