package device

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dominion/device/notify"
	"dominion/topics"
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// contract are the variables that services are given (docs/services.md).
const (
	envBrokerIP   = "DOMINION_IP"
	envBrokerPort = "DOMINION_PORT"
	envMachine    = "DOMAIN_UUID"
	envPort       = "SERVICE_PORT"
	envURL        = "DOMINION_URL"
	envCA         = "DOMINION_CA"
	envBase       = "DOMINION_BASE"
	envDomain     = "DOMAIN"
	envService    = "SERVICE"
	envStart      = "START_ID"
	envTopic      = "SERVICE_TOPIC"
)

// CheckWanted tells why a service of a document must not be run as it is
// written, or nil: a variable of it steers a loader or make, or has a value
// that must not reach make. The error is a *topics.FieldError that begins
// with services.<name>.
func CheckWanted(name topics.Service, want topics.Wanted) error {
	field := "services." + string(name)
	for _, key := range slices.Sorted(maps.Keys(want.Env)) {
		at := field + ".env." + key
		if err := topics.CheckVariable(key, want.Env[key]); err != nil {
			return &topics.FieldError{Field: at, Text: err.Error()}
		}
		if ofContract(key) {
			return &topics.FieldError{Field: at, Text: "is set by the agent itself (choose another name)"}
		}
	}
	for _, dependency := range slices.Sorted(maps.Keys(want.Endpoints)) {
		at := field + ".endpoints." + string(dependency)
		target := want.Endpoints[dependency]
		switch {
		case dependency.Check() != nil:
			return &topics.FieldError{Field: at, Text: dependency.Check().Error()}
		case !topics.Travels(target.Host):
			return &topics.FieldError{Field: at + ".host", Text: fmt.Sprintf("is %.40q, no host name or address", target.Host)}
		case target.Port < 0 || target.Port > 65535:
			return &topics.FieldError{Field: at + ".port", Text: fmt.Sprintf("is %d (want 0 to 65535)", target.Port)}
		}
	}
	return nil
}

func ofContract(key string) bool {
	switch key {
	case notify.Variable, envWatchdog, envBrokerIP, envBrokerPort, envMachine, envPort, envURL, envCA, envBase, envDomain, envService, envStart, envTopic, envStatus:
		return true
	}
	return strings.HasPrefix(key, "SERVICE_") && (strings.HasSuffix(key, "_HOST") || strings.HasSuffix(key, "_PORT"))
}

// inherited is what services get of the agent's own environment: all but what
// is the agent's configuration, its service manager's word to it, make's, or
// one service's.
func inherited(environ []string) []string {
	var kept []string
	for _, assignment := range environ {
		key, _, _ := strings.Cut(assignment, "=")
		switch {
		case key == "" || ofContract(key) || key == "MFLAGS" || key == "GNUMAKEFLAGS":
		case key == "STATE_DIRECTORY" || strings.HasPrefix(key, "WATCHDOG_"):
		case strings.HasPrefix(key, "MAKE") || strings.HasPrefix(key, "DOMINION_") || strings.HasPrefix(key, "DOMAIN_") || strings.HasPrefix(key, "LISTEN_"):
		default:
			kept = append(kept, assignment)
		}
	}
	return kept
}

// environment is the whole environment of one start but its START_ID, which
// the process gets with its mark. SERVICE_X_HOST and SERVICE_X_PORT carry the
// dependency's name as it is written, with _ for -.
func (c Config) environment(name topics.Service, want topics.Wanted, port int, secrets []string) []string {
	access := c.access(name)
	ip, brokerPort := brokerAddress(access.URL)
	base := c.Space.Base
	if base == "" {
		base = topics.DefaultBase
	}
	env := append(inherited(c.Environ), secrets...)
	for _, key := range slices.Sorted(maps.Keys(want.Env)) {
		env = append(env, key+"="+want.Env[key])
	}
	env = append(env,
		envBrokerIP+"="+ip,
		envBrokerPort+"="+brokerPort,
		envMachine+"="+string(c.ID),
		envPort+"="+strconv.Itoa(port),
		envURL+"="+access.URL,
		envBase+"="+string(base),
		envDomain+"="+string(c.Name),
		envService+"="+string(name),
		envTopic+"="+c.Space.ServiceTopic(name, c.Name),
	)
	if access.CA != "" {
		env = append(env, envCA+"="+access.CA)
	}
	for _, dependency := range slices.Sorted(maps.Keys(want.Endpoints)) {
		prefix := "SERVICE_" + strings.ReplaceAll(string(dependency), "-", "_")
		target := want.Endpoints[dependency]
		env = append(env, prefix+"_HOST="+target.Host, prefix+"_PORT="+strconv.Itoa(target.Port))
	}
	return env
}

func (c Config) access(name topics.Service) Access {
	if c.Access == nil {
		return Access{}
	}
	return c.Access(name)
}

// brokerAddress is host and port of the broker's URL; if it names no port, the
// usual one.
func brokerAddress(broker string) (ip, port string) {
	u, err := url.Parse(broker)
	if err != nil || broker == "" {
		return "", ""
	}
	usual := "1883"
	if u.Scheme != "mqtt" && u.Scheme != "tcp" {
		usual = "8883" // all others are TLS
	}
	return u.Hostname(), or(u.Port(), usual)
}

// readEnvFile reads NAME=value lines; empty lines and those that begin with #
// are skipped. Values are taken as they stand.
func readEnvFile(dir, path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("env_file: %w", err)
	}
	defer f.Close()
	var env []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if !ok || !variable.MatchString(key) {
			return nil, fmt.Errorf("%s:%d: is not NAME=value", path, n) // never the line: it may be a secret
		}
		if ofContract(key) {
			return nil, fmt.Errorf("%s:%d: %s is set by the agent itself (choose another name)", path, n, key)
		}
		env = append(env, line)
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s", path), err)
	}
	return env, nil
}
