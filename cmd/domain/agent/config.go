package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"

	"dominion/cmd/program"
	"dominion/configs"
	"dominion/device/host"
	"dominion/identity"
	"dominion/topics"
)

// Config is the agent's settings; configs/domain.example.toml explains each.
type Config struct {
	Name         topics.Node    `toml:"name"`
	Base         topics.Base    `toml:"base"`
	Broker       string         `toml:"broker"`
	Username     string         `toml:"username"`
	PasswordFile string         `toml:"password_file"`
	Traits       []topics.Trait `toml:"traits"`
	ServicesDir  string         `toml:"services_dir"`
	Data         string         `toml:"data"`
	Address      string         `toml:"address"`
	Allow        []string       `toml:"allow"`
	LogLevel     string         `toml:"log_level"`
}

// ServicesDir is where services are when nobody says otherwise.
const ServicesDir = "/usr/local/dominion/services"

// Defaults are the settings of an agent that was told nothing: what it is and
// where its house is it knows from its membership, or finds out.
func Defaults() Config {
	return Config{ServicesDir: ServicesDir, Allow: []string{}, LogLevel: "info"}
}

// Settings are the keys that are flags too.
func Settings() []program.Setting {
	return []program.Setting{
		{Key: "name", Kind: "name", Help: "this machine's name in the house, default as it joined, else its host name"},
		{Key: "broker", Kind: "address", Help: "the house's broker; default is to find the house that was joined"},
		{Key: "username", Kind: "name", Help: "the login for the broker"},
		{Key: "password_file", Kind: "file", Help: "a file whose first line is the password"},
		{Key: "traits", Kind: "words", Help: "what this machine has, with commas between"},
		{Key: "services_dir", Kind: "directory", Help: "the services this machine can run, default " + ServicesDir},
		{Key: "data", Kind: "directory", Help: "what must outlive a restart, default in this user's data directory; root's is /var/lib/dominion/domain"},
		{Key: "address", Kind: "address", Help: "where others reach this machine's services, default found out"},
		{Key: "allow", Kind: "words", Help: "what the house may do to this machine: reboot, shutdown"},
		{Key: "base", Kind: "topic", Help: "the first level of the house's topics, default as the house says"},
		{Key: "log_level", Kind: "level", Help: program.Levels},
	}
}

// Check fills what depends on this machine and reports everything that is
// wrong, each with its place in the file.
func (c *Config) Check(file *configs.File) []error {
	var bad []error
	fault := func(key string, err error) { bad = append(bad, said(file, key, err)) }
	if c.Name != "" {
		if err := c.Name.Check(); err != nil {
			fault("name", fmt.Errorf("name: %w", err))
		}
	}
	if c.Base != "" {
		if err := c.Base.Check(); err != nil {
			fault("base", err)
		}
	}
	for i, t := range c.Traits {
		if err := topics.CheckName(string(t)); err != nil {
			fault(fmt.Sprintf("traits[%d]", i), fmt.Errorf("traits: %w", err))
		}
	}
	if c.Address != "" && net.ParseIP(c.Address) != nil && !host.Public(c.Address) && !loopback(c.Address) {
		fault("address", fmt.Errorf("address %s reaches no machine (give this machine's own, or leave it empty)", c.Address))
	}
	for i, what := range c.Allow {
		if what != host.Reboot && what != host.Shutdown {
			fault(fmt.Sprintf("allow[%d]", i), fmt.Errorf("allow: %q is not known (want %s, %s)", what, host.Reboot, host.Shutdown))
		}
	}
	if c.ServicesDir == "" {
		fault("services_dir", fmt.Errorf("services_dir is empty (the default is %s)", ServicesDir))
	}
	if c.Data == "" {
		dir, err := program.DataDir("domain")
		if err != nil {
			fault("data", err)
		}
		c.Data = dir
	}
	return bad
}

// as fills in what this machine is: a member what its house knows it as, and
// one that belongs to no house (nil) what its host name says.
func (c *Config) as(m *identity.Membership, file *configs.File) error {
	if m == nil {
		c.Base = cmp.Or(c.Base, topics.DefaultBase)
		if c.Name = cmp.Or(c.Name, program.HostName()); c.Name == "" {
			return said(file, "name", errors.New("name is empty, and the host name is none for a domain (choose one: letters, digits, - and _)"))
		}
		return nil
	}
	if c.Name != "" && c.Name != m.Node {
		return said(file, "name", fmt.Errorf("name is %s, but this machine joined %s as %s (leave name empty, or join again: domain join CODE --name %[1]s)", c.Name, m.Name, m.Node))
	}
	if c.Base != "" && c.Base != m.Base {
		return said(file, "base", fmt.Errorf("base is %s, but the house that this machine joined has %s (leave base empty)", c.Base, m.Base))
	}
	c.Name, c.Base = m.Node, m.Base
	return nil
}
