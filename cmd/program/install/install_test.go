package install_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/program"
	"dominion/cmd/program/install"
	"dominion/cmd/program/unit"
)

// pi is a machine with systemd that exists in a directory: its file system,
// and what its programs would know.
type pi struct {
	t        *testing.T
	files    string
	machine  install.Machine
	users    map[string]string   // name: passwd line
	groups   map[string][]string // name: members
	active   bool
	enabled  bool
	ran      []string // what changes the machine
	given    map[string]string
	onDemand func(command string) // looks at the machine when a command runs
}

func newPi(t *testing.T) *pi {
	t.Helper()
	p := &pi{
		t: t, files: t.TempDir(), users: map[string]string{}, given: map[string]string{},
		groups: map[string][]string{"gpio": {"pi"}, "audio": nil, "wheel": nil},
	}
	p.write("/run/systemd/system/.keep", "")
	p.machine = install.Machine{
		Files: p.files, Root: true, Executable: "/usr/bin/domain", Invoked: "domain", Run: p.run,
		Give: func(path string, uid, gid int) {
			p.given[strings.TrimPrefix(filepath.Clean(path), p.files)] = fmt.Sprintf("%d:%d", uid, gid)
		},
	}
	return p
}

func (p *pi) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.files, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pi) read(path string) string {
	content, err := os.ReadFile(filepath.Join(p.files, path))
	if err != nil {
		return ""
	}
	return string(content)
}

// mode is what ls shows of a file.
func (p *pi) mode(path string) string {
	info, err := os.Stat(filepath.Join(p.files, path))
	if err != nil {
		return err.Error()
	}
	return info.Mode().String()
}

// run is the machine's getent, useradd, usermod and systemctl.
func (p *pi) run(name string, args ...string) (string, error) {
	command := strings.Join(append([]string{name}, args...), " ")
	if p.onDemand != nil {
		p.onDemand(command)
	}
	no := errors.New("no")
	last := args[len(args)-1]
	switch {
	case name == "getent" && args[0] == "passwd":
		if line, ok := p.users[last]; ok {
			return line + "\n", nil
		}
		return "", no
	case name == "getent":
		if members, ok := p.groups[last]; ok {
			return last + ":x:44:" + strings.Join(members, ",") + "\n", nil
		}
		return "", no
	case strings.HasPrefix(command, "systemctl is-active"):
		if p.active {
			return "", nil
		}
		return "", no
	case strings.HasPrefix(command, "systemctl is-enabled"):
		if p.enabled {
			return "", nil
		}
		return "", no
	}
	p.ran = append(p.ran, command)
	switch {
	case name == "useradd":
		p.users[last] = last + ":x:990:980:Dominion:/:/usr/sbin/nologin"
	case name == "usermod":
		for group := range strings.SplitSeq(args[len(args)-2], ",") {
			p.groups[group] = append(p.groups[group], last)
		}
	case command == "systemctl enable --quiet "+last:
		p.enabled = true
	case command == "systemctl start "+last:
		p.active = true
	case strings.HasPrefix(command, "systemctl disable --now"):
		p.active, p.enabled = false, false
	}
	return "", nil
}

// install installs, and returns what was said and what was run.
func (p *pi) install(o install.Options) (said string, ran []string) {
	p.t.Helper()
	var out bytes.Buffer
	o.Out, p.ran = &out, nil
	if err := p.machine.Install(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
	return out.String(), p.ran
}

func (p *pi) uninstall(o install.Options) string {
	p.t.Helper()
	var out bytes.Buffer
	o.Out, p.ran = &out, nil
	if err := p.machine.Uninstall(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
	return out.String()
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func agent() install.Options { return install.Options{Part: unit.Agent()} }

func TestInstall(t *testing.T) {
	p := newPi(t)
	p.write("/var/lib/dominion/domain/membership.json", "{}") // as root's domain join wrote it
	p.write("/etc/dominion/domain.toml", "")
	said, ran := p.install(agent())
	same(t, "said", `made the user dominion-domain
put the user dominion-domain into audio, gpio
wrote /etc/systemd/system/dominion-domain.service
dominion-domain runs, now and at each boot; its log: journalctl -u dominion-domain
`, said)
	same(t, "ran", []string{
		"useradd --system --user-group --no-create-home --home-dir /var/lib/dominion/domain --shell /usr/sbin/nologin --comment Dominion dominion-domain",
		"usermod --append --groups audio,gpio dominion-domain",
		"systemctl daemon-reload",
		"systemctl enable --quiet dominion-domain.service",
		"systemctl start dominion-domain.service",
	}, ran)
	same(t, "unit", unit.Agent().Render("dominion-domain", "/usr/bin/domain"), p.read("/etc/systemd/system/dominion-domain.service"))
	same(t, "owners", map[string]string{
		"/usr/local/dominion/services":             "990:980",
		"/var/lib/dominion/domain":                 "990:980",
		"/var/lib/dominion/domain/membership.json": "990:980",
		"/etc/dominion/domain.toml":                "0:980",
	}, p.given)
	same(t, "modes", []string{"drwx------", "-rw-r-----"}, []string{p.mode("/var/lib/dominion/domain"), p.mode("/etc/dominion/domain.toml")})

	said, ran = p.install(agent())
	same(t, "said again", "dominion-domain runs already, and will at each boot\n", said)
	same(t, "ran again", []string(nil), ran)
}

func TestInstallCopiesTheProgram(t *testing.T) {
	p := newPi(t)
	home := filepath.Join(t.TempDir(), "domain")
	build := func(text string) {
		if err := os.WriteFile(home, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build("first")
	p.machine.Executable = home
	said, _ := p.install(agent())
	if !strings.HasPrefix(said, "copied this program to /usr/local/bin/domain\n") || p.read("/usr/local/bin/domain") != "first" {
		t.Errorf("said %q, and there is %q", said, p.read("/usr/local/bin/domain"))
	}
	same(t, "mode", "-rwxr-xr-x", p.mode("/usr/local/bin/domain"))
	if !strings.Contains(p.read("/etc/systemd/system/dominion-domain.service"), "\nExecStart=/usr/local/bin/domain\n") {
		t.Error("the unit starts another program")
	}
	if _, ran := p.install(agent()); len(ran) != 0 {
		t.Errorf("the same program again: ran %q", ran)
	}

	// What is there is no build of ours.
	build("second")
	err := p.machine.Install(t.Context(), install.Options{Part: unit.Agent(), Out: &bytes.Buffer{}})
	fails(t, err, program.CannotRun, "/usr/local/bin/domain is another program, and is left alone")
	same(t, "left alone", "first", p.read("/usr/local/bin/domain"))
}

// TestInstallUpgrades is with a real build of ours, whose newer one takes its place.
func TestInstallUpgrades(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	p := newPi(t)
	home := filepath.Join(t.TempDir(), "domain")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", home, "dominion/cmd/domain").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.machine.Executable = home
	p.install(agent())
	newer, err := os.OpenFile(home, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newer.WriteString("newer"); err != nil {
		t.Fatal(err)
	}
	newer.Close()
	said, ran := p.install(agent())
	if !strings.HasPrefix(said, "copied this program to /usr/local/bin/domain\n") || !strings.HasSuffix(p.read("/usr/local/bin/domain"), "newer") {
		t.Errorf("said %q", said)
	}
	same(t, "ran", []string{"systemctl restart dominion-domain.service"}, ran)
}

func TestInstallLeavesAPackagesUnit(t *testing.T) {
	p := newPi(t)
	packaged := unit.Agent().Render("dominion-domain", "/usr/bin/domain")
	p.write("/usr/lib/systemd/system/dominion-domain.service", packaged)
	p.install(agent())
	if got := p.read("/etc/systemd/system/dominion-domain.service"); got != "" {
		t.Errorf("a second unit was written:\n%s", got)
	}

	pi := agent()
	pi.User = "pi"
	p.users["pi"] = "pi:x:1000:1000::/home/pi:/bin/bash"
	_, ran := p.install(pi)
	same(t, "its user's own", unit.Agent().Render("pi", "/usr/bin/domain"), p.read("/etc/systemd/system/dominion-domain.service"))
	same(t, "ran", []string{"systemctl daemon-reload", "systemctl restart dominion-domain.service"}, ran)

	if _, ran := p.install(agent()); len(ran) != 0 {
		t.Errorf("the user was changed by a second install that named none: %q", ran)
	}

	pi.User = "dominion-domain"
	said, _ := p.install(pi)
	if got := p.read("/etc/systemd/system/dominion-domain.service"); got != "" || !strings.Contains(said, "the package's own is the same") {
		t.Errorf("said %q, and there is:\n%s", said, got)
	}
}

func TestInstallTheLeader(t *testing.T) {
	p := newPi(t)
	p.machine.Executable = "/usr/bin/dominion"
	for _, file := range []string{"/etc/dominion/dominion.toml", "/etc/dominion/mqtt.password", "/var/lib/dominion/identity/authority.key", "/var/lib/dominion/domain/membership.json"} {
		p.write(file, "")
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(p.files, "var/lib/dominion/link")); err != nil {
		t.Fatal(err)
	}
	p.install(install.Options{Part: unit.Leader(), Files: []string{"/etc/dominion/mqtt.password"}})
	same(t, "owners", map[string]string{
		"/var/lib/dominion":                        "990:980",
		"/var/lib/dominion/identity":               "990:980",
		"/var/lib/dominion/identity/authority.key": "990:980",
		"/var/lib/dominion/link":                   "990:980", // the link itself
		"/etc/dominion/dominion.toml":              "0:980",
		"/etc/dominion/mqtt.password":              "0:980",
	}, p.given)
	same(t, "modes", []string{"drwx--x--x", "-rw-------", "-rw-r-----"}, []string{
		p.mode("/var/lib/dominion"), p.mode("/var/lib/dominion/identity/authority.key"), p.mode("/etc/dominion/mqtt.password"),
	})
	_, ran := p.install(install.Options{Part: unit.Leader(), Changed: true})
	same(t, "ran with another configuration", []string{"systemctl restart dominion.service"}, ran)
}

// TestInstallALeaderThatIsADomain is one whose agent's directory is its own,
// and whose data may be elsewhere.
func TestInstallALeaderThatIsADomain(t *testing.T) {
	p := newPi(t)
	p.machine.Executable = "/usr/bin/dominion"
	for _, file := range []string{"/etc/dominion/dominion.toml", "/var/lib/dominion/domain/desired.json", "/srv/house/retained.db"} {
		p.write(file, "")
	}
	both := unit.Leader()
	both.Runs, both.Writes = true, []string{"/srv/house", "/srv/nowhere"}
	p.install(install.Options{Part: both})
	for _, own := range []string{"/var/lib/dominion/domain/desired.json", "/srv/house/retained.db", "/usr/local/dominion/services"} {
		if p.given[own] != "990:980" {
			t.Errorf("%s is not its user's: %q", own, p.given)
		}
	}
	same(t, "its user is in the groups of devices", []string{"pi", "dominion"}, p.groups["gpio"])
}

func TestInstallRefuses(t *testing.T) {
	tests := []struct {
		name string
		o    install.Options
		pi   func(*pi)
		code int
		says string
	}{
		{name: "a machine without systemd", o: install.Options{Part: unit.Leader()},
			pi: func(p *pi) { os.RemoveAll(filepath.Join(p.files, "run/systemd")) }, code: program.CannotRun,
			says: `this machine has no systemd that would start it at boot.
Have your own init run this at boot, as a user who owns /var/lib/dominion:
  dominion serve --config /etc/dominion/dominion.toml --data /var/lib/dominion`},
		{name: "whoever is not root", o: agent(), pi: func(p *pi) { p.machine.Root = false }, code: program.CannotRun,
			says: "only root may do that: sudo domain install"},
		{name: "whoever is not root, with what he typed", o: agent(), code: program.CannotRun,
			pi:   func(p *pi) { p.machine.Root, p.machine.Invoked = false, "./domain" },
			says: "only root may do that: sudo ./domain install"},
		{name: "whoever is not root, of the agent in dominion", o: install.Options{Part: unit.Agent(), As: []string{"domain"}}, code: program.CannotRun,
			pi:   func(p *pi) { p.machine.Root, p.machine.Invoked = false, "./dominion" },
			says: "only root may do that: sudo ./dominion domain install"},
		{name: "a leader without a house", o: install.Options{Part: unit.Leader()}, code: program.BadUsage,
			says: "there is no house on this machine: /etc/dominion/dominion.toml is missing (make one: sudo dominion init)"},
		{name: "a leader of a user's house", o: install.Options{Part: unit.Part{Name: "dominion", Program: "dominion", Config: "/home/ann/.config/dominion/dominion.toml", Leads: true}},
			pi:   func(p *pi) { p.write("/home/ann/.config/dominion/dominion.toml", "") },
			code: program.BadUsage, says: "is a user's own, whose house does not start at boot (make one that does: sudo dominion init)"},
		{name: "a program of go run", o: agent(), pi: func(p *pi) { p.machine.Executable = "/tmp/go-build123/b001/exe/domain" }, code: program.BadUsage,
			says: "is a temporary program of go run"},
		{name: "a user that is not there", o: install.Options{Part: unit.Agent(), User: "ann"}, code: program.BadUsage,
			says: `this machine has no user "ann" (make it first: sudo adduser ann)`},
		{name: "another's unit", o: agent(), pi: func(p *pi) { p.write("/etc/systemd/system/dominion-domain.service", "[Unit]\n") }, code: program.CannotRun,
			says: "/etc/systemd/system/dominion-domain.service is not one that Dominion wrote, and is left alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPi(t)
			if tt.pi != nil {
				tt.pi(p)
			}
			tt.o.Out = &bytes.Buffer{}
			fails(t, p.machine.Install(t.Context(), tt.o), tt.code, tt.says)
			if slices.ContainsFunc(p.ran, func(c string) bool { return strings.HasPrefix(c, "systemctl") }) {
				t.Errorf("ran %q all the same", p.ran)
			}
		})
	}
}

func TestInstallSaysWhyItDoesNotStart(t *testing.T) {
	p := newPi(t)
	run := p.machine.Run
	p.machine.Run = func(name string, args ...string) (string, error) {
		if args[0] == "start" {
			return "", errors.New("exit status 1")
		}
		return run(name, args...)
	}
	err := p.machine.Install(t.Context(), install.Options{Part: unit.Agent(), Out: &bytes.Buffer{}})
	fails(t, err, program.CannotRun, "journalctl -u dominion-domain -n 20")
}

func fails(t *testing.T, err error, code int, says string) {
	t.Helper()
	var exit *program.Exit
	if !errors.As(err, &exit) || exit.Code != code || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want exit %d: %s", err, code, says)
	}
}

func TestUninstall(t *testing.T) {
	p := newPi(t)
	p.write("/var/lib/dominion/domain/membership.json", "{}")
	p.write("/etc/dominion/domain.toml", "")
	p.install(agent())
	var atTheEnd string // what systemd is told to end the agent with
	p.onDemand = func(command string) {
		if strings.HasPrefix(command, "systemctl disable") {
			atTheEnd = p.read("/run/systemd/system/dominion-domain.service.d/last-word.conf")
		}
	}
	same(t, "said", `dominion-domain runs no more, and not at the next boot
kept: /etc/dominion/domain.toml, /var/lib/dominion/domain
`, p.uninstall(agent()))
	same(t, "ran", []string{
		"systemctl daemon-reload", "systemctl disable --now --quiet dominion-domain.service", "systemctl daemon-reload",
	}, p.ran)
	same(t, "signal", "[Service]\nKillSignal=SIGINT\n", atTheEnd)
	for _, gone := range []string{"/etc/systemd/system/dominion-domain.service", "/run/systemd/system/dominion-domain.service.d"} {
		if _, err := os.Lstat(filepath.Join(p.files, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	same(t, "state", "{}", p.read("/var/lib/dominion/domain/membership.json"))

	same(t, "said again", `dominion-domain is not installed
kept: /etc/dominion/domain.toml, /var/lib/dominion/domain
`, p.uninstall(agent()))
	if len(p.ran) != 0 {
		t.Errorf("ran again: %q", p.ran)
	}
}

func TestUninstallWithoutSystemd(t *testing.T) {
	p := newPi(t)
	os.RemoveAll(filepath.Join(p.files, "run/systemd"))
	o := agent()
	o.Out = io.Discard
	fails(t, p.machine.Uninstall(t.Context(), o), program.CannotRun, "there is nothing to uninstall")
}

func TestUninstallOfAPackage(t *testing.T) {
	p := newPi(t)
	p.write("/usr/lib/systemd/system/dominion-domain.service", unit.Agent().Render("dominion-domain", "/usr/bin/domain"))
	p.install(agent())
	p.uninstall(agent())
	if p.active || p.enabled {
		t.Error("it still runs")
	}
	if p.read("/usr/lib/systemd/system/dominion-domain.service") == "" {
		t.Error("the package's unit is gone")
	}
}

func TestPlace(t *testing.T) {
	for executable, want := range map[string]string{
		"/usr/bin/dominion":         "/usr/bin/dominion",
		"/usr/local/bin/domain":     "/usr/local/bin/domain",
		"/home/pi/dominion":         "/usr/local/bin/dominion",
		"/home/pi/go/bin/dominion":  "/usr/local/bin/dominion",
		"/usr/local/src/x/dominion": "/usr/local/bin/dominion",
	} {
		if got, err := install.Place(executable); err != nil || got != want {
			t.Errorf("%s is started from %s, %v; want %s", executable, got, err, want)
		}
	}
}

// The leader's user owns the directory above the agent's state.
func TestInstallFollowsNoLinkInPlaceOfAState(t *testing.T) {
	p := newPi(t)
	victim := filepath.Join(p.machine.Files, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	p.write("/victim/shadow", "secret")
	state := filepath.Join(p.machine.Files, "var/lib/dominion")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../victim", filepath.Join(state, "domain")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(state, 990, 980); err != nil {
			t.Fatal(err)
		}
	}
	o := agent()
	o.Out = io.Discard
	if err := p.machine.Install(t.Context(), o); err == nil {
		t.Error("a link was taken for the state")
	}
	if p.given["/victim"] != "" || p.given["/victim/shadow"] != "" || p.mode("/victim") != "drwxr-xr-x" {
		t.Errorf("what it leads to was changed: %v, %s", p.given, p.mode("/victim"))
	}
}
