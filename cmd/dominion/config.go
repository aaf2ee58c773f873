package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"dominion/broker/client"
	"dominion/cmd/domain/agent"
	"dominion/cmd/dominion/firmware"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/coordinator"
	"dominion/topics"
)

// config is the leader's settings; configs/dominion.example.toml explains each.
type config struct {
	Name   string      `toml:"name"`
	Base   topics.Base `toml:"base"`
	Prefix string      `toml:"prefix"`
	Data   string      `toml:"data"`

	Domain      topics.Node    `toml:"domain"`
	Traits      []topics.Trait `toml:"traits"`
	ServicesDir string         `toml:"services_dir"`

	Listen        []string      `toml:"listen"`
	ListenTLS     []string      `toml:"listen_tls"`
	HTTPS         string        `toml:"https"`
	HTTP          string        `toml:"http"`
	Origins       []string      `toml:"origins"`
	Anonymous     []topics.Role `toml:"anonymous"`
	AllowInsecure bool          `toml:"allow_insecure"`

	Broker           string `toml:"broker"`
	Username         string `toml:"username"`
	PasswordFile     string `toml:"password_file"`
	Logins           string `toml:"logins"`
	NodeUsername     string `toml:"node_username"`
	NodePasswordFile string `toml:"node_password_file"`

	LostAfter time.Duration `toml:"lost_after"`
	BootGrace time.Duration `toml:"boot_grace"`
	LogLevel  string        `toml:"log_level"`

	Services    map[string]coordinator.Entry `toml:"services"`
	Microdomain map[string]firmware.Entry    `toml:"microdomain"`
}

func defaults() config {
	t := coordinator.DefaultTiming()
	return config{
		Name: "dominion", Base: topics.DefaultBase, Prefix: topics.DefaultPrefix,
		ServicesDir: agent.ServicesDir, Listen: []string{"127.0.0.1:1883"}, ListenTLS: []string{}, Origins: []string{},
		Anonymous: []topics.Role{topics.RoleViewer}, Logins: loginsShared,
		LostAfter: t.LostAfter, BootGrace: t.BootGrace, LogLevel: "info",
	}
}

func (c config) space() topics.Space { return topics.Space{Base: c.Base, Prefix: c.Prefix} }

// settings are the leader's keys that are flags too.
func settings() []program.Setting {
	return []program.Setting{
		{Key: "name", Kind: "name", Help: "what people call the house, default dominion"},
		{Key: "listen", Kind: "addresses", Help: "where our broker listens, default 127.0.0.1:1883; port 0 takes a free one"},
		{Key: "listen_tls", Kind: "addresses", Help: "where our broker listens with TLS, default nowhere; usual is :8883"},
		{Key: "https", Kind: "address", Help: "where machines join the house, default nowhere; usual is :8443"},
		{Key: "http", Kind: "address", Help: "where figures and WebSockets are to be had without TLS, default nowhere; usual is 127.0.0.1:8080"},
		{Key: "origins", Kind: "urls", Help: "pages that may open a WebSocket, besides those of this machine: https://house.example"},
		{Key: "anonymous", Kind: "roles", Help: "what clients without a login may be on this machine, default viewer"},
		{Key: "allow_insecure", Help: "let clients without a login in on every address, not loopback alone"},
		{Key: "broker", Kind: "address", Help: "lead on this broker instead of our own: mqtt://192.168.1.2:1883"},
		{Key: "username", Kind: "name", Help: "the login for that broker"},
		{Key: "password_file", Kind: "file", Help: "a file whose first line is the password"},
		{Key: "logins", Kind: "word", Help: "how nodes log in at that broker: shared (default) or own"},
		{Key: "node_username", Kind: "name", Help: "the login that nodes share at that broker"},
		{Key: "node_password_file", Kind: "file", Help: "a file whose first line is its password"},
		{Key: "data", Kind: "directory", Help: "what must outlive a restart, default in this user's data directory"},
		{Key: "domain", Kind: "name", Help: "run the agent too: this machine is the domain of that name"},
		{Key: "traits", Kind: "words", Help: "with --domain: what this machine has, with commas between"},
		{Key: "services_dir", Kind: "directory", Help: "with --domain: the services this machine can run"},
		{Key: "lost_after", Kind: "duration", Help: "how long a domain is lost before its services move, default 60s"},
		{Key: "boot_grace", Kind: "duration", Help: "how long a known domain may be silent after the leader's start, default 5m"},
		{Key: "base", Kind: "topic", Help: "the first level of the house's topics, default dominion"},
		{Key: "prefix", Kind: "topic", Help: "Home Assistant's discovery prefix, default homeassistant"},
		{Key: "log_level", Kind: "level", Help: program.Levels},
	}
}

// check fills in what depends on this machine, makes the catalogue, and
// reports everything that is wrong, each with its place. Without a file there
// is no catalogue: such a leader starts and stops nothing.
func (c *config) check(file *configs.File) (*coordinator.Catalogue, error) {
	var bad []error
	fault := func(key, format string, args ...any) {
		bad = append(bad, file.Errorf(key, "%s: %w", key, fmt.Errorf(format, args...)))
	}
	if err := c.Base.Check(); err != nil {
		fault("base", "%w", err)
	}
	if err := topics.Base(c.Prefix).Check(); err != nil {
		fault("prefix", "%w", err)
	} else if c.Prefix == string(c.Base) {
		fault("prefix", "is the same as base (Home Assistant looks at its own prefix, usually homeassistant)")
	}
	if c.Domain != "" {
		if err := c.Domain.Check(); err != nil {
			fault("domain", "%w", err)
		}
	}
	for i, t := range c.Traits {
		if err := topics.CheckName(string(t)); err != nil {
			fault(fmt.Sprintf("traits[%d]", i), "%w", err)
		}
	}
	if c.Broker == "" {
		c.checkListen(fault)
	} else if broker, err := theirBroker(c.Broker); err != nil {
		fault("broker", "%w", err)
	} else {
		c.Broker = broker
	}
	c.checkRoles(fault)
	c.checkHTTP(fault)
	c.checkLogins(fault)
	for key, d := range map[string]time.Duration{"lost_after": c.LostAfter, "boot_grace": c.BootGrace} {
		if d <= 0 {
			fault(key, "is %v (want more than nothing: 60s, 5m)", d)
		}
	}
	if c.Data == "" {
		dir, err := program.DataDir()
		if err != nil {
			fault("data", "%w", err)
		}
		c.Data = dir
	}
	catalogue, faults := coordinator.NewCatalogue(c.Services)
	for _, f := range faults {
		bad = append(bad, file.Errorf(f.Key, "%s: %s", f.Key, f.Text))
	}
	for _, f := range firmware.Check(c.Microdomain) {
		bad = append(bad, file.Errorf(f.Key, "%s: %s", f.Key, f.Text))
	}
	if file.Path() == "" && len(c.Services) == 0 {
		catalogue = nil
	}
	if err := configs.Join(bad...); err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return catalogue, nil
}

// How the nodes of a house on another broker log in there.
const (
	loginsShared = "shared" // all with node_username
	loginsOwn    = "own"    // each with its own: the broker has the list of `dominion acl`
)

// theirBroker is the URL of a broker whose address may have been written
// without a scheme. The error is the client's, who would refuse it.
func theirBroker(written string) (string, error) {
	broker, err := program.BrokerURL(written, "", "")
	if err == nil {
		_, err = client.HostPort(broker)
	}
	return broker, err
}

func (c *config) checkListen(fault func(key, format string, args ...any)) {
	if len(c.Listen)+len(c.ListenTLS) == 0 {
		fault("listen", "is empty (127.0.0.1:1883 is usual; or name your own broker with broker)")
	}
	for key, addresses := range map[string][]string{"listen": c.Listen, "listen_tls": c.ListenTLS} {
		for i, address := range addresses {
			if !listenable(address) {
				fault(fmt.Sprintf("%s[%d]", key, i), "%q is no host:port (write 127.0.0.1:1883, or :8883 for all addresses)", address)
			}
		}
	}
}

// listenable tells whether that is an address with a port that there is.
func listenable(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err == nil
}

func (c *config) checkRoles(fault func(key, format string, args ...any)) {
	known := []topics.Role{topics.RoleViewer, topics.RoleOperator, topics.RoleHomeAssistant, topics.RoleNode, topics.RoleService}
	for i, role := range c.Anonymous {
		if !slices.Contains(known, role) {
			fault(fmt.Sprintf("anonymous[%d]", i), "%q is no role that a client may be given (viewer, operator, homeassistant, node, service; [] lets nobody in without a login)", role)
		}
	}
}

func (c *config) checkHTTP(fault func(key, format string, args ...any)) {
	if c.HTTPS != "" && !listenable(c.HTTPS) {
		fault("https", "%q is no host:port (write :8443 for all addresses)", c.HTTPS)
	}
	switch host, _, _ := net.SplitHostPort(c.HTTP); {
	case c.HTTP == "":
	case !listenable(c.HTTP):
		fault("http", "%q is no host:port (write 127.0.0.1:8080)", c.HTTP)
	case !isLoopback(host) && !c.AllowInsecure:
		fault("http", "%q is open to the network, and passwords would go over it in the clear (write 127.0.0.1:8080, or use https; allow_insecure is only for a network that you trust with your house)", c.HTTP)
	}
	for i, origin := range c.Origins {
		page, err := url.Parse(origin)
		if err != nil || page.Scheme == "" || page.Host == "" || origin != page.Scheme+"://"+page.Host {
			fault(fmt.Sprintf("origins[%d]", i), "%q is no origin (write the page's address up to its host or port: https://house.example)", origin)
		}
	}
}

func (c *config) checkLogins(fault func(key, format string, args ...any)) {
	switch {
	case c.Logins != loginsShared && c.Logins != loginsOwn:
		fault("logins", "is %q (want shared: all nodes use node_username; or own: the broker has the users of dominion acl)", c.Logins)
	case c.NodePasswordFile != "" && c.NodeUsername == "":
		fault("node_password_file", "is given, but no node_username")
	}
}

// anonymous is what clients without a login may be.
func (c *config) anonymous() []topics.Identity {
	who := make([]topics.Identity, len(c.Anonymous))
	for i, role := range c.Anonymous {
		who[i] = topics.Identity{Role: role}
	}
	return who
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
