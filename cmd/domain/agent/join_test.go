package agent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// house is a leader's side: who belongs, and the door.
type house struct {
	*identity.House
	dir    string
	id     topics.HouseID
	door   *joining.Door
	at     string // host:port
	broker string // of the handout
}

func newHouse(t *testing.T, id topics.HouseID) *house {
	t.Helper()
	h := &house{dir: filepath.Join(t.TempDir(), "identity"), id: id, broker: "mqtts://:8883"}
	var err error
	if h.House, err = identity.Create(h.dir, "Home"); err != nil {
		t.Fatal(err)
	}
	h.door = joining.NewDoor(joining.DoorOptions{
		House: h.House, Dir: h.dir, Tell: func(joining.Happening) {}, Log: zerolog.Nop(),
		Handout: func() (joining.Handout, error) {
			return joining.Handout{House: h.id, Name: "Home", Base: topics.DefaultBase, Broker: h.broker, Door: ":1", Logins: identity.LoginsOwn}, nil
		},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.at = listener.Addr().String()
	server := &http.Server{Handler: h.door, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(listener, h.TLS(func() []string { return []string{"127.0.0.1"} })))
	}()
	t.Cleanup(func() { server.Close(); <-served })
	return h
}

func (h *house) invite(t *testing.T) string {
	t.Helper()
	code, err := joining.Invite(h.dir, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return code.String()
}

// machine is where domain is typed: its data and its settings.
type machine struct {
	t    *testing.T
	home string
	data string
}

// newMachine is the machine on which all that is typed until the test's end is
// typed.
func newMachine(t *testing.T) *machine {
	m := &machine{t: t, home: t.TempDir(), data: filepath.Join(t.TempDir(), "data")}
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(m.home, "config"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(m.home, "share"))
	t.Setenv("DOMAIN_DATA", m.data)
	return m
}

// screen is what a program writes.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until a text is on the screen.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not said in 20 s:\n%s", text, s)
		}
	}
}

// domain runs the program, and returns its exit code when it has ended.
func domain(ctx context.Context, out *screen, args ...string) int {
	cmd := agent.Command()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(out)
	cmd.SetIn(strings.NewReader(""))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		io.WriteString(out, err.Error()+"\n")
	}
	var exit *program.Exit
	switch {
	case err == nil:
		return program.Well
	case errors.As(err, &exit):
		return exit.Code
	}
	return -1
}

// types runs the program and holds what it says and how it ends.
func (m *machine) types(code int, says string, args ...string) string {
	m.t.Helper()
	out := &screen{}
	if got := domain(m.t.Context(), out, args...); got != code || !strings.Contains(out.String(), says) {
		m.t.Errorf("domain %s: exit %d, want %d, and %q in:\n%s", strings.Join(args, " "), got, code, says, out)
	}
	return out.String()
}

// membership is what the machine has of its house; nil: it has none.
func (m *machine) membership() *identity.Membership {
	m.t.Helper()
	is, err := identity.LoadMembership(m.data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return is
}

func TestJoin(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	m.types(program.Well, "This machine is pi2 of the house Home (7f3a9c).", "join", h.invite(t), "--leader", h.at, "--name", "pi2", "--no-run")
	is := m.membership()
	if is == nil || is.Node != "pi2" || is.House != "7f3a9c" || is.Broker != "mqtts://127.0.0.1:8883" || is.Door != h.at {
		t.Fatalf("it is %+v", is)
	}
	for name, mode := range map[string]os.FileMode{"membership.json": 0o600, "house.crt": 0o644, "machine-id": 0o600} {
		info, err := os.Stat(filepath.Join(m.data, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(m.data, "*key*")); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
	if nodes := h.Nodes(); len(nodes) != 1 || nodes[0].Name != "pi2" {
		t.Errorf("the house has %+v", nodes)
	}

	// Once more, for the same house: it is known under its name.
	m.types(program.Well, "This machine is pi2 of the house Home (7f3a9c).", "join", h.invite(t), "--leader", h.at, "--no-run")
	if again := m.membership(); string(again.Certificate) == string(is.Certificate) || len(h.Nodes()) != 1 {
		t.Errorf("it was not renewed; the house has %+v", h.Nodes())
	}
}

// TestAMemberIsWhoItJoinedAs holds that no setting makes a machine speak as
// another than its certificate is for.
func TestAMemberIsWhoItJoinedAs(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	m.types(program.Well, "", "join", h.invite(t), "--leader", h.at, "--name", "pi2", "--no-run")
	m.types(program.BadUsage, "--name: name is pi9, but this machine joined Home as pi2", "--name", "pi9")
	m.types(program.BadUsage, "base is other, but the house that this machine joined has dominion", "--base", "other")
	if err := os.WriteFile(filepath.Join(m.data, "membership.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.types(program.CannotRun, "membership.json is damaged")
}

// TestJoinRefused holds that a join that fails says what to do, and changes
// nothing.
func TestJoinRefused(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	code := h.invite(t)
	request := func(node topics.Node, id topics.MachineID) {
		key, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		r, err := identity.Request(key, node)
		if err == nil {
			_, err = h.Admit(node, id, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	request("attic", "another")
	wrong := joining.NewCode().String()

	misread := map[bool]string{true: "8", false: "7"}[code[0] == '7'] + code[1:]
	m.types(program.BadUsage, misread, "join", misread, "--leader", h.at, "--no-run")
	m.types(program.BadUsage, "--leader is \"http://x\"", "join", code, "--leader", "http://x", "--no-run")
	m.types(program.BadUsage, "a.b", "join", code, "--leader", h.at, "--name", "a.b", "--no-run")
	m.types(program.Unwell, "does not know this code", "join", wrong, "--leader", h.at, "--name", "pi2", "--no-run")
	m.types(program.Unwell, "--name", "join", code, "--leader", h.at, "--name", "attic", "--no-run")
	m.types(program.NoAnswer, "no leader answers", "join", code, "--leader", "127.0.0.1:1", "--name", "pi2", "--no-run")
	if m.membership() != nil {
		t.Fatal("a machine that was refused is a member")
	}
	m.types(program.Well, "This machine is pi2", "join", code, "--leader", h.at, "--name", "pi2", "--no-run")
	blanks := append(strings.Split(code, "-"), "--leader", h.at, "--no-run")
	m.types(program.Well, "This machine is pi2", append([]string{"join"}, blanks...)...) // the same once more

	other := newMachine(t)
	other.types(program.Unwell, "pi2", "join", code, "--leader", h.at, "--name", "pi3", "--no-run")
	if other.membership() != nil {
		t.Error("a code let two machines in")
	}
}

// TestJoinAnotherHouse holds that a machine changes houses only when it was
// told to leave the first.
func TestJoinAnotherHouse(t *testing.T) {
	h, other, m := newHouse(t, "7f3a9c"), newHouse(t, "aaaaaa"), newMachine(t)
	m.types(program.Well, "", "join", h.invite(t), "--leader", h.at, "--name", "pi2", "--no-run")
	code := other.invite(t)
	said := m.types(program.Unwell, "this machine belongs to Home (7f3a9c)", "join", code, "--leader", other.at, "--no-run")
	if !strings.Contains(said, h.Fingerprint()) || !strings.Contains(said, "domain leave") {
		t.Errorf("no fingerprint or no remedy: %s", said)
	}
	if m.membership().House != "7f3a9c" || len(other.Nodes()) != 0 {
		t.Error("it changed houses")
	}
	m.types(program.BadUsage, "--yes", "leave")
	m.types(program.Well, "dominion forget pi2", "leave", "--yes")
	m.types(program.Well, "belongs to no house", "leave", "--yes")
	if files, _ := filepath.Glob(filepath.Join(m.data, "*")); m.membership() != nil || len(files) == 0 {
		t.Errorf("what is left: %q", files)
	}
	m.types(program.Well, "of the house Home (aaaaaa)", "join", code, "--leader", other.at, "--name", "pi2", "--no-run")
}

// TestJoinCannotKeep holds that a code is not lost when its machine's disk
// does not take what it brought.
func TestJoinCannotKeep(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	code := h.invite(t)
	inTheWay := filepath.Join(m.data, "membership.json", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	// A directory is damaged papers: those are no reason to forget a house.
	m.types(program.CannotRun, "membership.json", "join", code, "--leader", h.at, "--name", "pi2", "--no-run")
	if len(h.Nodes()) != 0 {
		t.Fatal("the code was used though what came of it could not be kept")
	}
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	inTheWay = filepath.Join(m.data, "house.crt", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	m.types(program.CannotRun, "type the same again", "join", code, "--leader", h.at, "--name", "pi2", "--no-run")
	if m.membership() != nil || len(h.Nodes()) != 1 {
		t.Fatalf("membership %+v, the house has %+v", m.membership(), h.Nodes())
	}
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	m.types(program.Well, "This machine is pi2", "join", code, "--leader", h.at, "--name", "pi2", "--no-run")
}

// TestJoinKeepsItsSettings holds that what is typed once is there at the next
// start, and that a file of the owner's is left to him.
func TestJoinKeepsItsSettings(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	path := filepath.Join(m.home, "config", "dominion", "domain.toml")
	m.types(program.Well, path, "join", h.invite(t), "--leader", h.at, "--name", "pi2", "--no-run", "--traits", "compute,usb-zigbee", "--services-dir", "/srv/x")
	want := "traits = [\"compute\", \"usb-zigbee\"]\nservices_dir = \"/srv/x\"\n"
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(text), want) {
		t.Fatalf("%v:\n%s", err, text)
	}
	t.Setenv("DOMAIN_BROKER", "mqtt://10.0.0.5")
	m.types(program.Well, "DOMAIN_BROKER: broker is named", "join", h.invite(t), "--leader", h.at, "--no-run")
	t.Setenv("DOMAIN_BROKER", "")
	m.types(program.Well, "traits = [\"other\"]", "join", h.invite(t), "--leader", h.at, "--no-run", "--traits", "other")
	if again, _ := os.ReadFile(path); string(again) != string(text) {
		t.Errorf("the owner's file was changed:\n%s", again)
	}
}

// TestJoinByTheWindow holds that a machine without a code is let in by who
// compared the words.
func TestJoinByTheWindow(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	m.types(program.Unwell, "join-window", "join", "--leader", h.at, "--name", "pi2", "--no-run")
	h.door.Window(time.Minute)
	out, ended := &screen{}, make(chan int, 1)
	go func() { ended <- domain(t.Context(), out, "join", "--leader", h.at, "--name", "pi2", "--no-run") }()
	out.shows(t, "dominion accept pi2")
	waiting := h.door.Requests()
	if len(waiting) != 1 || !strings.Contains(out.String(), waiting[0].Words) {
		t.Fatalf("the leader shows %+v, the machine:\n%s", waiting, out)
	}
	if err := h.door.Accept(waiting[0].As); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != program.Well || m.membership() == nil {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// TestJoinInterrupted holds that a join that was ended says no more of a code
// than there was.
func TestJoinInterrupted(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	h.door.Window(time.Minute)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, ended := &screen{}, make(chan int, 1)
	go func() { ended <- domain(ctx, out, "join", "--leader", h.at, "--name", "pi2", "--no-run") }()
	out.shows(t, "dominion accept pi2")
	interrupt()
	if code := <-ended; code != program.Unwell || m.membership() != nil ||
		!strings.Contains(out.String(), "interrupted: nothing was changed here\n") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// TestJoinIsOnline holds that what join is for happens: the machine is on the
// bus as who it joined as, by its certificate alone.
func TestJoinIsOnline(t *testing.T) {
	h, m := newHouse(t, "7f3a9c"), newMachine(t)
	server, err := broker.Open(broker.Options{
		ListenTLS: []string{"127.0.0.1:0"}, TLS: h.TLS(func() []string { return []string{"127.0.0.1"} }),
		Accounts: h.House, Rules: topics.Space{}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	defer func() { cancel(); server.Close(); <-served }()
	_, port, _ := net.SplitHostPort(server.TLSAddrs()[0].String())
	h.broker = "mqtts://:" + port

	run, end := context.WithCancel(t.Context())
	defer end()
	out, ended := &screen{}, make(chan int, 1)
	go func() {
		ended <- domain(run, out, "join", h.invite(t), "--leader", h.at, "--name", "pi2", "--services-dir", t.TempDir())
	}()
	out.shows(t, "online")

	// Joining again beside it: what runs takes it up.
	m.types(program.Well, "An agent runs here already", "join", h.invite(t), "--leader", h.at)
	out.shows(t, "the agent begins anew")
	begun := strings.Index(out.String(), "the agent begins anew")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String()[begun:], "online"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not online again:\n%s", out)
		}
	}
	end()
	if code := <-ended; code != program.Well {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
