//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// chaosService is one of the ten.
type chaosService struct {
	recipe  string   // of its Makefile's target start, "" if it has none
	command []string // of its service.toml
	terms   string   // in the catalogue
	ends    bool     // it runs and ends
	works   func(c *chaos, name string) error
}

// part makes the test's own program a service: listener, page or notifier.
const part = "DOMINION_E2E_PART"

// self stands for the test's own program in recipes and commands.
const self = "{self}"

var chaosServices = map[string]chaosService{
	"web": {recipe: "exec env " + part + "=listener " + self, works: answersOnItsPort,
		terms: "ready = \"tcp\"\nlive = \"tcp\"\nlive_interval = \"1s\"\nlive_failures = 2\n"},
	"page": {command: []string{"env", part + "=page", self}, works: showsItsPage,
		terms: "ready = \"http\"\nlive = \"http\"\nlive_interval = \"1s\"\nlive_timeout = \"1s\"\nlive_failures = 2\n"},
	"watchdog": {recipe: "exec env " + part + "=notifier " + self,
		terms: "ready = \"notify\"\nlive = \"notify\"\nlive_interval = \"1s\"\n"},
	"lamp":   {command: []string{"sleep", "100000"}},
	"family": {recipe: "sleep 100000 & (sleep 100000 & sleep 100000 & wait) & sleep 100000"},
	"deaf":   {recipe: "trap '' TERM; while :; do sleep 0.5; done"},
	"chatty": {recipe: "while :; do head -c 20000 /dev/urandom | base64 -w 0; sleep 0.2; done"},
	"daemon": {recipe: "(sleep 100000 & sleep 100000 &)"},
	"backup": {recipe: "sleep 1; date > done", ends: true, works: hasItsFile, terms: "type = \"oneshot\"\n"},
	"lights": {recipe: "test -n \"$$SERVICE_web_PORT\" && exec sleep 100000", terms: "dependencies = [\"web\", \"page:soft\"]\n"},
}

// furnish writes the services and the catalogue.
func (c *chaos) furnish() {
	c.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	var catalogue strings.Builder
	for _, name := range slices.Sorted(maps.Keys(chaosServices)) {
		s := chaosServices[name]
		dir := filepath.Join(c.dir, "services", name)
		if s.recipe != "" {
			c.write(filepath.Join(dir, "Makefile"), "start:\n\t@"+strings.ReplaceAll(s.recipe, self, exe)+"\n")
		} else {
			var words []string
			for _, word := range s.command {
				words = append(words, fmt.Sprintf("%q", strings.ReplaceAll(word, self, exe)))
			}
			c.write(filepath.Join(dir, "service.toml"), "command = ["+strings.Join(words, ", ")+"]\n")
		}
		fmt.Fprintf(&catalogue, "[services.%s]\npriority = \"required\"\ntraits = [\"compute\"]\nrestart_first = \"100ms\"\nrestart_cap = \"1s\"\n%s\n", name, s.terms)
	}
	c.write(c.config(), catalogue.String())
}

// play is a service that the test's own program plays.
func play(as string) error {
	at := "127.0.0.1:" + os.Getenv("SERVICE_PORT")
	switch as {
	case "page":
		return http.ListenAndServe(at, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	case "notifier":
		for range time.Tick(100 * time.Millisecond) {
			if conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET")); err == nil {
				conn.Write([]byte("READY=1\nWATCHDOG=1"))
				conn.Close()
			}
		}
	}
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		conn.Close()
	}
}

// port is the one that a running service was given.
func (c *chaos) port(name string) string {
	for _, pid := range c.of(name) {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for assignment := range strings.SplitSeq(string(env), "\x00") {
			if port, ok := strings.CutPrefix(assignment, "SERVICE_PORT="); ok {
				return port
			}
		}
	}
	return ""
}

func answersOnItsPort(c *chaos, name string) error {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+c.port(name), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func showsItsPage(c *chaos, name string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://127.0.0.1:" + c.port(name) + "/")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func hasItsFile(c *chaos, name string) error {
	_, err := os.Stat(filepath.Join(c.dir, "services", name, "done"))
	return err
}

// command sends one to the coordinator, and does not wait for its answer.
func (c *chaos) command(method, service, word string) string {
	args := append(c.broker.arguments(), "-q", "1", "-t", fmt.Sprintf("dominion/coordinator/command/%s/%s", method, service), "-m", word)
	if err := c.broker.network.command("mosquitto_pub", args...).Run(); err != nil {
		return fmt.Sprintf("%s %s: %v", method, service, err)
	}
	return method + " " + service + " " + word
}

// resetAll has a person type dominion reset for each service, until the
// leader has answered: all are wanted, and their failures are forgotten.
func (c *chaos) resetAll() {
	c.t.Helper()
	for name := range chaosServices {
		heard := c.heard()
		id := fmt.Sprintf("r%d", heard)
		eventually(c.t, 20*time.Second, "reset "+name+" is answered", func() (bool, string) {
			c.command("reset", name, fmt.Sprintf(`{"id":%q}`, id))
			for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				for _, m := range c.since(heard) {
					if m.Topic != "dominion/coordinator/event/reply/"+id {
						continue
					}
					reply, err := topics.Decode[topics.Reply](m.Payload)
					return err == nil && reply.Status != topics.Refused, string(m.Payload)
				}
			}
			return false, "no answer"
		})
	}
}
