package agent

import (
	"fmt"
	"time"

	"dominion/configs"
	"dominion/device"
	"dominion/topics"
)

// ServiceFile is a service.toml; configs/service.example.toml explains each key.
type ServiceFile struct {
	Version      string        `toml:"version"`
	Command      []string      `toml:"command"`
	Port         int           `toml:"port"`
	Ready        string        `toml:"ready"`
	ReadyDelay   time.Duration `toml:"ready_delay"`
	StartTimeout time.Duration `toml:"start_timeout"`
	EnvFile      string        `toml:"env_file"`
}

// Manifest reads a service.toml. Its errors have file and line.
func Manifest(path string) (device.Manifest, error) {
	var s ServiceFile
	file, err := configs.Load(&s, configs.Source{Path: path})
	if err != nil {
		return device.Manifest{}, err
	}
	m := device.Manifest{Version: s.Version, Command: s.Command, Port: s.Port, EnvFile: s.EnvFile}
	var bad []error
	if s.Port < 0 || s.Port > 65535 {
		bad = append(bad, file.Errorf("port", "port is %d (want 1 to 65535)", s.Port))
	}
	switch {
	case s.Ready != "":
		m.Ready = &topics.Readiness{By: s.Ready, Delay: s.ReadyDelay.Seconds(), Timeout: s.StartTimeout.Seconds()}
	case s.ReadyDelay != 0:
		m.Ready = &topics.Readiness{By: topics.ReadyDelay, Delay: s.ReadyDelay.Seconds(), Timeout: s.StartTimeout.Seconds()}
	case s.StartTimeout != 0:
		bad = append(bad, file.Errorf("start_timeout", "start_timeout needs ready (tcp, topic or delay)"))
	}
	if m.Ready != nil {
		if err := m.Ready.Check(); err != nil {
			bad = append(bad, file.Errorf("ready", "ready: %w", err))
		}
	}
	if err := configs.Join(bad...); err != nil {
		return device.Manifest{}, fmt.Errorf("%w", err)
	}
	return m, nil
}
