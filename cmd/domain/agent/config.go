package agent

import (
	"fmt"
	"net"
	"path/filepath"

	"dominion/cmd/program"
	"dominion/configs"
	"dominion/device/host"
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
	LogLevel     string         `toml:"log_level"`
}

// ServicesDir is where services are when nobody says otherwise.
const ServicesDir = "/usr/local/dominion/services"

// Defaults are the settings of an agent that was told nothing. The name is
// this machine's, the data directory this user's.
func Defaults() Config {
	return Config{Base: topics.DefaultBase, Broker: "mqtt://127.0.0.1:1883", ServicesDir: ServicesDir, LogLevel: "info"}
}

// Settings are the keys that are flags too.
func Settings() []program.Setting {
	return []program.Setting{
		{Key: "name", Kind: "name", Help: "this machine's name in the house, default its host name"},
		{Key: "broker", Kind: "address", Help: "the house's broker, default mqtt://127.0.0.1:1883"},
		{Key: "username", Kind: "name", Help: "the login for the broker"},
		{Key: "password_file", Kind: "file", Help: "a file whose first line is the password"},
		{Key: "traits", Kind: "words", Help: "what this machine has, with commas between"},
		{Key: "services_dir", Kind: "directory", Help: "the services this machine can run, default " + ServicesDir},
		{Key: "data", Kind: "directory", Help: "what must outlive a restart, default in this user's data directory"},
		{Key: "address", Kind: "address", Help: "where others reach this machine's services, default found out"},
		{Key: "base", Kind: "topic", Help: "the first level of the house's topics, default dominion"},
		{Key: "log_level", Kind: "level", Help: program.Levels},
	}
}

// Check fills what depends on this machine and reports everything that is
// wrong, each with its place in the file.
func (c *Config) Check(file *configs.File) []error {
	var bad []error
	fault := func(key string, err error) { bad = append(bad, said(file, key, err)) }
	if c.Name == "" {
		if c.Name = program.HostName(); c.Name == "" {
			fault("name", fmt.Errorf("name is empty, and the host name is none for a domain (choose one: letters, digits, - and _)"))
		}
	} else if err := c.Name.Check(); err != nil {
		fault("name", fmt.Errorf("name: %w", err))
	}
	if err := c.Base.Check(); err != nil {
		fault("base", err)
	}
	for i, t := range c.Traits {
		if err := topics.CheckName(string(t)); err != nil {
			fault(fmt.Sprintf("traits[%d]", i), fmt.Errorf("traits: %w", err))
		}
	}
	if c.Address != "" && net.ParseIP(c.Address) != nil && !host.Public(c.Address) && !loopback(c.Address) {
		fault("address", fmt.Errorf("address %s reaches no machine (give this machine's own, or leave it empty)", c.Address))
	}
	if c.ServicesDir == "" {
		fault("services_dir", fmt.Errorf("services_dir is empty (the default is %s)", ServicesDir))
	}
	if c.Data == "" {
		dir, err := program.UserData()
		if err != nil {
			fault("data", err)
		}
		c.Data = filepath.Join(dir, "dominion", "domain")
	}
	return bad
}
