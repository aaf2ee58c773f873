//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dominion/identity"
)

// besieged is a house on a lan whose owner has also opened a listener without
// TLS, and the logins of those who attack it.
type besieged struct {
	*home
	t        *testing.T
	dir      string // files that the attackers' programs read
	password map[string]string
}

func newBesieged(t *testing.T) *besieged {
	h := &home{lan: newLAN(t, 4), t: t, first: 1, domains: map[string]*process{}}
	h.do(1, "init", "--yes", "--name", "home")
	h.host(1).run("sed", "-i", `s/^listen = .*/listen = ["127.0.0.1:1883", "10.77.0.11:1883"]/`, "/etc/dominion/dominion.toml")
	h.lead()
	h.leads()
	b := &besieged{home: h, t: t, dir: t.TempDir(), password: map[string]string{}}
	for _, number := range []int{2, 3} {
		h.join(number)
	}
	for user, role := range map[string]string{"vera": "viewer", "ann": "operator"} {
		out := h.do(1, "user", "add", user, "--role", role, "--password-file", b.file(user, "correct-horse-"+user))
		b.password[user] = "correct-horse-" + user
		t.Log(out)
	}
	b.keepPapers(2)
	return b
}

func (b *besieged) file(name, content string) string {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// keepPapers takes a copy of what a machine was given when it joined.
func (b *besieged) keepPapers(number int) {
	b.t.Helper()
	var m identity.Membership
	if err := json.Unmarshal([]byte(b.host(number).run("cat", "/var/lib/dominion/domain/membership.json")), &m); err != nil {
		b.t.Fatal(err)
	}
	b.file("node.crt", string(m.Certificate))
	b.file("node.key", string(m.Key))
	b.file("house.crt", string(m.Authority))
	user, password := identity.ServiceLogin(m.Node, m.Secret, "webServer")
	b.password[user] = password
}

// alerted waits until the house's open alerts say all of these words, each
// sentence in one.
func (b *besieged) alerted(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, 10*time.Second, "an alert that says "+strings.Join(words, ", "), func() (bool, string) {
		out, _ := b.host(1).command(program(t, "dominion"), "status", "--json").Output()
		var view struct{ Alerts []struct{ Text string } }
		if err := json.Unmarshal(out, &view); err != nil {
			return false, err.Error()
		}
		for _, a := range view.Alerts {
			found := 0
			for _, w := range words {
				if strings.Contains(a.Text, w) {
					found++
				}
			}
			if found == len(words) {
				t.Logf("alert: %s", a.Text)
				return true, ""
			}
		}
		return false, string(out)
	})
}

// tls are the arguments that mosquitto's clients need for the broker with TLS,
// as nobody, as a node with its certificate, or as a user.
func (b *besieged) tls(as string) []string {
	args := []string{"-h", "10.77.0.11", "-p", "8883", "--cafile", filepath.Join(b.dir, "house.crt"), "-i", "attacker-" + as}
	switch as {
	case "nobody":
	case "node":
		args = append(args, "--cert", filepath.Join(b.dir, "node.crt"), "--key", filepath.Join(b.dir, "node.key"))
	default:
		args = append(args, "-u", as, "-P", b.password[as])
	}
	return args
}

func (b *besieged) try(number int, name string, args ...string) (string, error) {
	out, err := b.host(number).command("timeout", append([]string{"10", name}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestEveryAttackIsRefusedAndOnTheAlertList tries, from other machines of the
// LAN, what docs/security.md says is refused.
func TestEveryAttackIsRefusedAndOnTheAlertList(t *testing.T) {
	t.Parallel()
	b := newBesieged(t)
	retained := func(topic string) string {
		out, _ := b.try(1, "mosquitto_sub", "-h", "127.0.0.1", "-t", topic, "-W", "1")
		return out
	}
	// What is refused at the door ends the program; what is refused inside is
	// acknowledged and goes nowhere.
	for _, a := range []struct {
		name, as, topic string
		let             bool // in
		alert           string
	}{
		{"anonymous from the LAN", "nobody", "dominion/pi3/state/info", false, "10.77.0.14"},
		{"a node writes another's state", "node", "dominion/pi3/state/evil", true, "node pi2"},
		{"a viewer publishes", "vera", "dominion/coordinator/command/stop/webServer", true, "user vera"},
		{"an operator writes desired", "ann", "dominion/pi3/desired/services", true, "user ann"},
		{"a service writes another's data", "pi2.webServer", "dominion/service/lamp/x", true, "service pi2.webServer"},
	} {
		t.Run(a.name, func(t *testing.T) {
			before := retained(a.topic)
			out, err := b.try(4, "mosquitto_pub", append(b.tls(a.as), "-q", "1", "-r", "-t", a.topic, "-m", "evil")...)
			if a.let != (err == nil) {
				t.Errorf("let in: %v, %s", err == nil, out)
			}
			if after := retained(a.topic); after != before {
				t.Errorf("%s was %q and is %q", a.topic, before, after)
			}
			if a.let {
				b.alerted(t, a.alert, a.topic)
			} else {
				b.alerted(t, a.alert, "not let in")
			}
		})
	}
	t.Run("a will on another's presence", func(t *testing.T) {
		out, err := b.try(4, "mosquitto_sub", append(b.tls("node"), "-t", "dominion/pi2/command/#", "-W", "2",
			"--will-topic", "dominion/pi3/state/presence", "--will-payload", "evil", "--will-retain")...)
		if err == nil {
			t.Errorf("it was let in: %s", out)
		}
		b.alerted(t, "node pi2", "dominion/pi3/state/presence")
	})
	t.Run("a service reads commands", func(t *testing.T) {
		out, err := b.try(4, "mosquitto_sub", append(b.tls("pi2.webServer"), "-t", "dominion/+/command/#", "-W", "2")...)
		if !strings.Contains(out, "denied") {
			t.Errorf("it was not refused: %v, %s", err, out)
		}
		b.alerted(t, "service pi2.webServer", "dominion/+/command/#")
	})
	t.Run("a plain listener without a password", func(t *testing.T) {
		if out, err := b.try(4, "mosquitto_pub", "-h", "10.77.0.11", "-t", "x", "-m", "evil"); err == nil {
			t.Errorf("it was let in: %s", out)
		}
		if out, err := b.try(4, "mosquitto_pub", "-h", "10.77.0.11", "-u", "ann", "-P", "wrong-password", "-t", "x", "-m", "evil"); err == nil {
			t.Errorf("it was let in with a wrong password: %s", out)
		}
		if out, err := b.try(4, "mosquitto_pub", "-h", "10.77.0.11", "-u", "ann", "-P", b.password["ann"], "-t", "x", "-m", "hello"); err != nil {
			t.Errorf("its owner was not let in: %v, %s", err, out)
		}
		b.alerted(t, "10.77.0.14", "wrong user or password")
	})
	t.Run("a code is used by another machine", func(t *testing.T) {
		// pi2 and pi3 used theirs; a copy of one is worth nothing.
		code := b.invite()
		if out, err := b.try(3, program(t, "domain"), "join", code, "--no-run", "--name", "pi3"); err != nil {
			t.Fatalf("pi3 joins again: %v, %s", err, out)
		}
		out, err := b.try(4, program(t, "domain"), "join", code, "--no-run")
		if err == nil {
			t.Errorf("pi4 came in with pi3's code: %s", out)
		}
		t.Log(out)
		b.alerted(t, "10.77.0.14", "code")
	})
	t.Run("1,000 guesses of a code", func(t *testing.T) {
		code := b.invite()
		out, err := b.try(4, "python3", "-c", guesses)
		if err != nil {
			t.Fatalf("%v, %s", err, out)
		}
		t.Log(out)
		if domains, _, said := b.status(); domains["pi4"] != "" {
			t.Errorf("pi4 came in: %s", said)
		}
		b.alerted(t, "10.77.0.14", "join")
		if out, err := b.try(3, program(t, "domain"), "join", code, "--no-run"); err == nil {
			t.Errorf("the code is still good: %s", out)
		}
	})
	t.Run("a forgotten node's certificate", func(t *testing.T) {
		listener := start(t, b.host(4).command("stdbuf", append([]string{"-oL", "mosquitto_sub"}, append(b.tls("node"), "-t", "dominion/pi2/command/#", "-d")...)...))
		eventually(t, 5*time.Second, "it is connected", func() (bool, string) {
			said := tail(listener.output, 5)
			return strings.Contains(said, "SUBACK"), said
		})
		b.do(1, "forget", "pi2")
		eventually(t, 10*time.Second, "it is not let in", func() (bool, string) {
			out, err := b.try(4, "mosquitto_pub", append(b.tls("node"), "-t", "dominion/pi2/state/x", "-m", "evil")...)
			return err != nil, out
		})
		b.alerted(t, "forgotten")
		if out := strings.TrimSpace(strings.ReplaceAll(retained("dominion/pi2/#"), "Timed out", "")); out != "" {
			t.Errorf("of pi2 is left: %s", out)
		}
	})
}

// guesses tries a thousand codes, each a guess.
const guesses = `
import collections, http.client, json, os, ssl, base64
context = ssl._create_unverified_context()
answers = collections.Counter()
connection = None
# The base point of ristretto255 (RFC 9496, 4.3.2): a share that is well made.
share = base64.b64encode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")).decode()
for i in range(1000):
    body = json.dumps({"v": 1, "node": "pi4", "id": "guess%d" % i,
                       "sid": base64.b64encode(os.urandom(16)).decode(), "share": share})
    try:
        if connection is None:
            connection = http.client.HTTPSConnection("10.77.0.11", 8443, context=context, timeout=5)
        connection.request("POST", "/join/start", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        answers[answer.status] += 1
        if answer.status == 200:
            started = json.loads(said)
            proofs = [base64.b64encode(os.urandom(64)).decode() for _ in started["shares"]]
            connection.request("POST", "/join/prove", json.dumps({"v": 1, "session": started["session"], "proofs": proofs}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            answers["prove: %d" % answer.status] += 1
            last = said.decode()[:200]
    except (OSError, http.client.HTTPException):
        connection = None
        answers["cut"] += 1
print("answers:", dict(answers), "the last guess that was weighed:", last)
`
