//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	ourbroker "dominion/broker"
	"dominion/identity"
	"dominion/topics"
)

// household is a house with a login of each kind, on no broker yet.
type household struct {
	t      testing.TB
	data   string
	house  *identity.House
	logins map[string]string // passwords, by user; "" is nobody
}

func newHousehold(t testing.TB, nodes ...topics.Node) *household {
	t.Helper()
	h := &household{t: t, data: t.TempDir(), logins: map[string]string{"": "", "leader": "s3cret-of-the-leader"}}
	var err error
	if h.house, err = identity.Create(filepath.Join(h.data, "identity"), "Villa Kunterbunt"); err != nil {
		t.Fatal(err)
	}
	for user, role := range map[string]topics.Role{
		"ann": topics.RoleOperator, "ha": topics.RoleHomeAssistant, "vera": topics.RoleViewer, "plug": topics.RoleNode,
	} {
		h.logins[user] = identity.NewPassword()
		if err := h.house.SetUser(user, role, h.logins[user]); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range nodes {
		h.admit(node)
	}
	return h
}

func (h *household) admit(node topics.Node) {
	h.t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		h.t.Fatal(err)
	}
	request, err := identity.Request(key, node)
	if err != nil {
		h.t.Fatal(err)
	}
	admission, err := h.house.Admit(node, topics.MachineID("machine-"+node), request)
	if err != nil {
		h.t.Fatal(err)
	}
	user, password := identity.NodeLogin(node, admission.Secret)
	h.logins[user] = password
	user, password = identity.ServiceLogin(node, admission.Secret, "lamp")
	h.logins[user] = password
}

// export writes what `dominion acl` says into mosquitto's two files.
func (h *household) export(dir string) {
	h.t.Helper()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	config, password := filepath.Join(h.data, "house.toml"), filepath.Join(h.data, "password")
	write(password, h.logins["leader"]+"\n")
	write(config, fmt.Sprintf(`
broker = "mqtt://127.0.0.1"
username = "leader"
password_file = %q
logins = "own"
data = %q
[services.lamp]
priority = "manual"
`, password, h.data))
	for file, options := range map[string][]string{
		"dominion.acl": {"--foreign", "e2e"}, "dominion.passwords": {"--users"},
	} {
		args := append([]string{"acl", "--format", "mosquitto", "--config", config}, options...)
		out, err := network{}.command(program(h.t, "dominion"), args...).Output()
		if err != nil {
			h.t.Fatalf("dominion %v: %v", args, err)
		}
		write(filepath.Join(dir, file), string(out))
	}
}

// front is a broker that the household lives on.
type front struct {
	*household
	port   int
	forget func(topics.Node) // and what the broker needs to know of it
	told   func(topic string) bool
	ours   bool
	log    string // a file; mosquitto says there what it denied
}

func (f front) as(user string) broker {
	password, ok := f.logins[user]
	if !ok {
		password = "guess"
	}
	return broker{port: f.port, username: user, password: password}
}

// onMosquitto is Debian's mosquitto with the exported files.
func onMosquitto(t testing.TB, nodes ...topics.Node) front {
	h, dir, port := newHousehold(t, nodes...), t.TempDir(), freePort(t)
	h.export(dir)
	conf := fmt.Sprintf("listener %d 127.0.0.1\nper_listener_settings false\nallow_anonymous false\n"+
		"acl_file %[2]s/dominion.acl\npassword_file %[2]s/dominion.passwords\nset_tcp_nodelay true\nuser root\nlog_type all\n", port, dir)
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, network{}.command("mosquitto", "-c", file))
	f := front{household: h, port: port, log: p.output}
	eventually(t, 10*time.Second, "mosquitto listens", f.as("ann").answers)
	f.forget = func(n topics.Node) {
		h.house.Forget(n)
		h.export(dir)
		p.cmd.Process.Signal(syscall.SIGHUP) // as systemctl reload
	}
	return f
}

// onOurs is our own broker, with the same house for its accounts.
func onOurs(t testing.TB, nodes ...topics.Node) front {
	h := newHousehold(t, nodes...)
	var lock sync.Mutex // guards refused
	var refused []string
	server, err := ourbroker.Open(ourbroker.Options{
		Listen: []string{"127.0.0.1:0"}, Accounts: h.house, Log: zerolog.Nop(),
		Refused: func(r ourbroker.Refusal) {
			lock.Lock()
			defer lock.Unlock()
			refused = append(refused, r.Topic)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Run(t.Context())
	}()
	t.Cleanup(func() {
		<-ended
		server.Close()
	})
	f := front{household: h, port: server.Addrs()[0].(*net.TCPAddr).Port, ours: true}
	f.forget = func(n topics.Node) {
		h.house.Forget(n)
		server.Expel(h.house.Stands)
	}
	f.told = func(topic string) bool {
		lock.Lock()
		defer lock.Unlock()
		return slices.Contains(refused, topic)
	}
	return f
}

// deed is something that somebody tries at a broker.
type deed struct {
	who   string
	does  string // writes, clears, leaves, reads
	topic string // or filter
	// allowed by our broker; differs: mosquitto does the other, as the acl_file
	// says on top.
	allowed, differs bool
}

func (d deed) String() string {
	who := d.who
	if who == "" {
		who = "nobody"
	}
	return who + " " + d.does + " " + strings.ReplaceAll(d.topic, "/", ".")
}

func deeds() []deed {
	const (
		presence = "dominion/porch/state/presence"
		command  = "dominion/porch/command/ping/host"
		desired  = "dominion/porch/desired/services"
		leading  = "dominion/coordinator/state/presence"
		device   = "homeassistant/device/x/config"
	)
	var all []deed
	try := func(allowed bool, who, does string, those ...string) {
		for _, topic := range those {
			all = append(all, deed{who: who, does: does, topic: topic, allowed: allowed})
		}
	}
	const no, yes = false, true
	try(no, "", "writes", "e2e/x", presence)
	try(no, "", "leaves", presence)
	try(no, "", "reads", command)
	try(no, "eve", "writes", command)
	try(no, "attic.door2", "writes", "dominion/service/lamp/x") // no login of the catalogue

	try(no, "attic", "writes", "dominion/porch/state/info", leading, "dominion/coordinator/event/heartbeat/plan", "dominion/attic/desired/services",
		command, "dominion/coordinator/command/stop/lamp", "dominion/service/lamp/porch/ready", device, "e2e/x")
	try(no, "attic", "clears", presence)
	try(no, "attic", "leaves", presence, leading, "dominion/attic/desired/services")
	try(no, "attic", "reads", command, "dominion/+/command/#", "#")
	try(yes, "attic", "writes", "dominion/attic/state/info", "dominion/attic/event/exit/lamp", "dominion/service/lamp/attic/ready")
	try(yes, "attic", "leaves", "dominion/attic/state/presence")
	try(yes, "attic", "reads", "dominion/attic/command/#")
	all = append(all, deed{who: "attic", does: "writes", topic: "dominion/attic/command/ping/host", differs: true})
	try(yes, "plug", "writes", "dominion/plug/state/presence")
	try(no, "plug", "writes", "dominion/attic/state/presence")

	try(no, "attic.lamp", "writes", "dominion/attic/state/info", command, "dominion/service/door/x", "e2e/x")
	try(no, "attic.lamp", "leaves", "dominion/attic/state/presence")
	try(no, "attic.lamp", "reads", "dominion/attic/command/#", "dominion/+/command/#", "#")
	try(yes, "attic.lamp", "writes", "dominion/service/lamp/frame")
	try(yes, "attic.lamp", "leaves", "dominion/service/lamp/attic/gone")

	try(no, "vera", "writes", "e2e/x", command, presence)
	try(no, "vera", "leaves", command)
	try(yes, "vera", "reads", "#", "dominion/+/command/#")

	try(no, "ann", "writes", desired, presence, leading, device, "dominion/coordinator/desired/service/lamp")
	try(no, "ann", "leaves", presence)
	try(yes, "ann", "writes", command, "e2e/x")
	try(yes, "ann", "reads", "#")

	const gate = "dominion/coordinator/command/"
	try(no, "ha", "writes", desired, device, leading, gate+"join/window", gate+"join/window/x", gate+"join", gate+"forget/porch")
	try(no, "ha", "leaves", gate+"join/window")
	try(yes, "ha", "writes", command, gate+"accept/porch", "homeassistant/status", "e2e/x")
	try(yes, "ann", "writes", gate+"join/window", gate+"forget/porch")
	all = append(all, deed{who: "ha", does: "clears", topic: device, allowed: true, differs: true})
	return all
}

func TestMosquittoRefusesWhatOurBrokerRefuses(t *testing.T) {
	for name, begin := range map[string]func(testing.TB, ...topics.Node) front{"mosquitto": onMosquitto, "our own": onOurs} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := begin(t, "attic", "porch")
			observer := f.as("ann").subscribe(t, "#")
			for i, d := range deeds() {
				t.Run(d.String(), func(t *testing.T) {
					mark := "attempt-" + strconv.Itoa(i)
					came := f.tried(t, d, mark, observer)
					if want := d.allowed != (d.differs && !f.ours); came != want {
						t.Errorf("it came about: %v, want %v", came, want)
					}
					if f.ours && !came && d.who != "" && d.who != "eve" && d.who != "attic.door2" && !f.told(d.topic) {
						t.Error("our broker did not tell that it refused it")
					}
				})
			}
			if denied := f.log != "" && len(f.denied()) > 0; denied == f.ours {
				t.Errorf("mosquitto says what it denied: %v", denied)
			}
			t.Run("a forgotten node", func(t *testing.T) {
				was := f.as("porch")
				connected := was.listen(t, was, "dominion/porch/event/sync/here")
				f.forget("porch")
				eventually(t, 10*time.Second, "porch's connection has ended, and it is not let in again", func() (bool, string) {
					return !connected.process.alive(), ""
				})
				eventually(t, 5*time.Second, "porch is not let in", func() (bool, string) {
					err := was.send("dominion/porch/state/info", "after")
					return err != nil, fmt.Sprint(err)
				})
				f.as("attic").publish(t, "dominion/attic/state/info", "still in")
			})
		})
	}
}

// What mosquitto is told to allow is enough for a house to live on it.
func TestAHouseOnMosquittoWithItsOwnRights(t *testing.T) {
	t.Parallel()
	f := onMosquitto(t, "attic", "kitchen", "porch")
	h := &house{t: t, broker: f.as("ann"), as: f.as}
	h.begin()
	h.await(40*time.Second, allReady)
	bus := h.broker.subscribe(t, "dominion/#", "homeassistant/#")
	for _, c := range []struct{ user, verb, phase string }{{"ha", "stop", "stopped"}, {"ann", "start", "ready"}} {
		command := "dominion/coordinator/command/" + c.verb + "/npBar"
		f.as(c.user).publish(t, command, "now")
		answered(t, bus, command, "done")
		for _, service := range demoServices() {
			bus.awaitPhase(t, 30*time.Second, service, c.phase)
		}
	}
	const restart = "dominion/coordinator/command/restart/npBar"
	f.as("ann").publish(t, restart, "now", "-r")
	bus.await(10*time.Second, "a retained command is cleared", is(restart, ""))
	h.await(20*time.Second, allReady)
	h.once()
	if denied := f.denied(); len(denied) > 0 {
		t.Errorf("mosquitto: %s", strings.Join(denied, ""))
	}
}

// denied is what mosquitto says that it denied.
func (f front) denied() (lines []string) {
	f.t.Helper()
	said, err := os.ReadFile(f.log)
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, "Denied") {
			lines = append(lines, line)
		}
	}
	return lines
}

// send is publish for those who may be refused at the door.
func (b broker) send(topic, payload string) error {
	args := append(b.arguments(), "-q", "1", "-t", topic)
	if payload == "" {
		args = append(args, "-n", "-r")
	} else {
		args = append(args, "-m", payload)
	}
	out, err := b.network.command("mosquitto_pub", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// tried does a deed and tells whether it came about.
func (f front) tried(t *testing.T, d deed, mark string, observer *capture) bool {
	t.Helper()
	known := f.logins[d.who] != ""
	switch d.does {
	case "reads":
		return f.triedToRead(t, d, mark)
	case "leaves":
		f.leave(t, d, mark)
	default:
		payload := mark
		if d.does == "clears" {
			payload = ""
		}
		// Who is let in stays in: a refused publish is answered as any.
		if err := f.as(d.who).send(d.topic, payload); (err == nil) != known {
			t.Errorf("who has a login: %v; mosquitto_pub: %v", known, err)
		}
	}
	fence := "fence-" + mark
	f.as("ann").publish(t, "e2e/fence", fence)
	observer.await(10*time.Second, "the fence", is("e2e/fence", fence))
	return slices.ContainsFunc(observer.all(), func(m message) bool {
		return m.topic == d.topic && (m.payload == mark || d.does == "clears" && m.payload == "")
	})
}

// leave connects with a last will and dies. It returns when the will, if it was
// accepted, has been sent: so has that of one who died later.
func (f front) leave(t *testing.T, d deed, mark string) {
	t.Helper()
	observer := f.as("ann").subscribe(t, "dominion/#")
	dead := f.dying(t, d.who, d.topic, mark)
	witness := f.dying(t, "porch", "dominion/porch/event/gone/"+mark, "witness")
	dead.kill()
	time.Sleep(200 * time.Millisecond) // so that the broker sees this end first
	witness.kill()
	observer.await(10*time.Second, "the will of the witness", is("dominion/porch/event/gone/"+mark, "witness"))
}

// dying is a client that has a last will, once it is connected or refused.
func (f front) dying(t *testing.T, user, topic, will string) *process {
	t.Helper()
	args := append([]string{"-oL", "mosquitto_sub"}, f.as(user).arguments()...) // stdbuf: what it says comes at once
	args = append(args, "-d", "-t", "dominion/coordinator/state/lookup/lamp", "--will-topic", topic, "--will-payload", will, "--will-qos", "1")
	p := start(t, network{}.command("stdbuf", args...))
	eventually(t, 10*time.Second, "an answer to CONNECT", func() (bool, string) {
		said := tail(p.output, 20)
		return !p.alive() || strings.Contains(said, "received SUBACK"), said
	})
	return p
}

// triedToRead subscribes, and has a command sent that the filter matches.
func (f front) triedToRead(t *testing.T, d deed, mark string) bool {
	t.Helper()
	reader, writer, here := f.as(d.who), f.as(d.who), "dominion/"+d.who+"/event/sync/here"
	switch d.who {
	case "attic.lamp":
		here = "dominion/service/lamp/here"
	case "vera", "ann":
		writer, here = f.as("ann"), "e2e/here"
	case "":
		return reader.send("e2e/x", mark) == nil // who cannot connect reads nothing
	}
	c := reader.listen(t, writer, here, d.topic)
	victim := "dominion/porch/command/ping/host"
	if strings.Contains(d.topic, "attic") {
		victim = "dominion/attic/command/ping/host"
	}
	f.as("ann").publish(t, victim, mark)
	writer.publish(t, here, "fence-"+mark)
	c.await(10*time.Second, "the fence", is(here, "fence-"+mark))
	return len(c.on(victim)) > 0
}
