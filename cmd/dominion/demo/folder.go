package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"dominion/cmd/dominion/demo/programs"
	"dominion/topics"
)

const folderPrefix = "dominion-demo-"

// folder is where everything of one demo is kept: the settings and data of its
// leader and agents, its services, its logs. Who holds its lock lives.
type folder struct {
	path   string
	lock   *os.File
	guests []guest // services beside the demo's own
}

// errPath refuses a folder whose path cannot travel: in the catalogue's env it
// goes over the bus into the services' environment.
var errPath = errors.New("has a character that must not reach a service's environment (set TMPDIR to a path of letters, digits and . _ : / @ % + , = -)")

// newFolder makes a demo's folder in the folder for temporary files and holds it.
func newFolder(parent string) (*folder, error) {
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w (is %s full or not writable?)", err, parent)
	}
	path, err = filepath.Abs(path)
	if err == nil && !regexp.MustCompile(`^[A-Za-z0-9._:/@%+,=-]*$`).MatchString(path) {
		err = fmt.Errorf("folder %q %w", path, errPath)
	}
	f := &folder{path: path}
	if err == nil {
		f.lock, err = programs.Hold(f.lockPath(), "")
	}
	if err != nil {
		os.RemoveAll(path)
		return nil, err
	}
	return f, nil
}

func (f *folder) lockPath() string { return programs.Lock(f.path) }

func (f *folder) file(names ...string) string {
	return filepath.Join(append([]string{f.path}, names...)...)
}

// release lets go of the lock: whatever still waits for it ends.
func (f *folder) release() { f.lock.Close() }

// remove deletes the folder. An agent or service that is just ending may write
// into it once more, so it tries again.
func (f *folder) remove() error {
	var err error
	for range 3 {
		if err = os.RemoveAll(f.path); err == nil {
			return nil
		}
	}
	return err
}

// sweep removes the folders of demos that were killed. It touches none that
// somebody holds, that is not this user's, or that is just being made.
func sweep(parent string) {
	all, err := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range all {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && mine(info) && abandoned(path, info) {
			os.RemoveAll(path)
		}
	}
}

// abandoned tells that nobody holds a folder. One has its lock a moment after
// it was made, unless its demo was killed in between.
func abandoned(path string, folder fs.FileInfo) bool {
	lock := programs.Lock(path)
	info, err := os.Lstat(lock)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Since(folder.ModTime()) > time.Minute
	}
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	held, err := programs.Held(lock)
	return err == nil && !held
}

func mine(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// agent is one machine of the demo's house.
type agent struct {
	name   topics.Node
	traits []topics.Trait
	has    []topics.Service // the services in its services_dir
}

// ownServices are those of the demo, in the order of the table: what needs
// before what is needed.
func ownServices() []topics.Service {
	return []topics.Service{programs.NPBar, programs.LightOrchestrator, programs.WebServer}
}

// agents are the machines of the demo's house.
func agents() []agent {
	compute := []topics.Service{programs.LightOrchestrator, programs.WebServer}
	return []agent{
		{"kitchen", []topics.Trait{"compute"}, compute},
		{"attic", []topics.Trait{"compute"}, compute},
		{"porch", []topics.Trait{"neoPixelLight"}, []topics.Service{programs.NPBar}},
	}
}

// furnish writes the settings of the leader and the agents, and the services.
func (f *folder) furnish(executable string, port int) error {
	if strings.ContainsAny(executable+f.path, "\n\r") {
		return fmt.Errorf("program %q: its path has a line break", executable)
	}
	files := map[string]string{"dominion.toml": f.leaderSettings(port)}
	for _, a := range agents() {
		files[string(a.name)+".toml"] = f.agentSettings(a, port)
		for _, service := range a.has {
			dir := filepath.Join(string(a.name), "services", string(service))
			files[filepath.Join(dir, "Makefile")] = makefile(executable, service)
			files[filepath.Join(dir, "service.toml")] = "version = \"" + programs.Version + "\"\n"
		}
		if !slices.Contains(a.traits, "compute") {
			continue
		}
		for _, g := range f.guests {
			if err := g.install(f.file(string(a.name), "services")); err != nil {
				return err
			}
		}
	}
	for name, content := range files {
		path := f.file(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return os.MkdirAll(f.file("log"), 0o700)
}

func (f *folder) leaderSettings(port int) string {
	settings := fmt.Sprintf(`# The leader of the demo's house.
name = "demo house"
data = %[1]s
listen = ["127.0.0.1:%[2]d"]
anonymous = ["operator", "homeassistant", "node", "service"]  # this machine is trusted: it is only for a look
lost_after = "5s"  # not 60 s: somebody is watching
boot_grace = "15s"

[services.npBar]
priority = "required"
dependencies = ["lightOrchestrator"]
traits = ["neoPixelLight"]
ready = "topic"
start_timeout = "20s"
env = { %[3]s = %[4]s }

[services.lightOrchestrator]
priority = "dependency"
dependencies = ["webServer"]
traits = ["compute"]
follows = true
ready = "topic"
start_timeout = "20s"
env = { %[3]s = %[4]s }

[services.webServer]
priority = "dependency"
traits = ["compute"]
ready = "tcp"
start_timeout = "20s"
env = { %[3]s = %[4]s }
`, quoteTOML(f.file("leader")), port, programs.FolderVariable, quoteTOML(f.path))
	for _, g := range f.guests {
		settings += g.settings()
	}
	return settings
}

func (f *folder) agentSettings(a agent, port int) string {
	traits := make([]string, len(a.traits))
	for i, t := range a.traits {
		traits[i] = quoteTOML(string(t))
	}
	return fmt.Sprintf(`# The agent of the demo's machine %[1]s.
name = "%[1]s"
broker = "mqtt://127.0.0.1:%[2]d"
traits = [%[3]s]
services_dir = %[4]s
data = %[5]s
`, a.name, port, strings.Join(traits, ", "), quoteTOML(f.file(string(a.name), "services")), quoteTOML(f.file(string(a.name), "data")))
}

// makefile starts one of the demo's services: this very program.
func makefile(executable string, service topics.Service) string {
	quoted := "'" + strings.ReplaceAll(executable, "'", `'\''`) + "'"
	return fmt.Sprintf("start:\n\t@exec %s demo-service %s\n", strings.ReplaceAll(quoted, "$", "$$"), service)
}

// quoteTOML writes a basic string.
func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
