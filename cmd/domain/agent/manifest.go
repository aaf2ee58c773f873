package agent

import (
	"regexp"
	"strings"

	"dominion/configs"
	"dominion/device"
	"dominion/topics/terms"
)

// ServiceFile is a service.toml; configs/service.example.toml explains each key.
type ServiceFile struct {
	Version string   `toml:"version"`
	Command []string `toml:"command"`
	Port    int      `toml:"port"`
	EnvFile string   `toml:"env_file"`

	Unit      string `toml:"unit"`
	Container string `toml:"container"`
	PIDOf     string `toml:"pid_of"`
	Own       bool   `toml:"own"`

	terms.Words
}

// Manifest reads a service.toml. Its errors have file and line.
func Manifest(path string) (device.Manifest, error) {
	var s ServiceFile
	file, err := configs.Load(&s, configs.Source{Path: path})
	if err != nil {
		return device.Manifest{}, err
	}
	m := device.Manifest{Version: s.Version, Command: s.Command, Port: s.Port, EnvFile: s.EnvFile,
		Unit: s.Unit, Container: s.Container, PIDOf: s.PIDOf, Own: s.Own}
	bad := s.outside(file)
	if s.Port < 0 || s.Port > 65535 {
		bad = append(bad, file.Errorf("port", "port is %d (want 1 to 65535)", s.Port))
	}
	own, faults := s.Words.Read()
	for _, f := range faults {
		bad = append(bad, file.Errorf(f.Key, "%s %s", f.Key, f.Text))
	}
	m.Terms = own
	if err := configs.Join(bad...); err != nil {
		return device.Manifest{}, err
	}
	return m, nil
}

// unitName is what systemd.unit(5) allows; containerName what the engines do.
var (
	unitName      = regexp.MustCompile(`^[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.[a-z]+$`)
	containerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

// outside checks what a service.toml says of something that runs without the
// house.
func (s ServiceFile) outside(file *configs.File) []error {
	var bad []error
	fault := func(key, format string, args ...any) { bad = append(bad, file.Errorf(key, format, args...)) }
	var named []string
	for _, k := range []struct{ key, value string }{{"unit", s.Unit}, {"container", s.Container}, {"pid_of", s.PIDOf}} {
		if k.value != "" {
			named = append(named, k.key)
		}
	}
	switch {
	case len(named) == 0 && s.Own:
		fault("own", "own needs unit or container: there is nothing else that could be somebody else's")
	case len(named) == 0:
		return nil
	case len(named) > 1:
		fault(named[1], "%s and %s: a service is one of them (take one out)", named[0], named[1])
	case len(s.Command) > 0:
		fault("command", "command and %s: what runs already needs no command (take one out)", named[0])
	}
	if s.PIDOf != "" && s.Own {
		fault("own", "own: nobody knows how to start %s again (write a Makefile or a unit for it)", s.PIDOf)
	}
	if s.Unit != "" && !unitName.MatchString(s.Unit) {
		fault("unit", "unit is %q (want a unit's whole name, like zigbee2mqtt.service)", s.Unit)
	}
	if s.Container != "" && !containerName.MatchString(s.Container) {
		fault("container", "container is %q (want a container's name)", s.Container)
	}
	if strings.ContainsAny(s.PIDOf, "/ \t\n") {
		fault("pid_of", "pid_of is %q (want a program's name, without its path and arguments)", s.PIDOf)
	}
	return bad
}
