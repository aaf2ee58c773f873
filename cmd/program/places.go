package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dominion/configs"
)

// systemConfig and systemData are where a program that belongs to the machine,
// not to one user, has its settings and its data.
const (
	systemConfig = "/etc/dominion"
	systemData   = "/var/lib/dominion"
)

// LoadOwn is Load for a program whose own file is read when neither --config
// nor <prefix>_CONFIG_FILE names one; see ConfigFile.
func LoadOwn(cmd *cobra.Command, v any, prefix string, settings []Setting) (*configs.File, error) {
	return load(cmd, v, prefix, settings, ConfigFile(strings.ToLower(prefix)))
}

// ConfigFile is the file of a program that is named nowhere, for "domain"
// ~/.config/dominion/domain.toml (below $XDG_CONFIG_HOME if that is set), else
// /etc/dominion/domain.toml. It is "" when there is neither. One that is there
// and cannot be looked at is named too: its error is the user's to read.
func ConfigFile(program string) string {
	for _, dir := range configDirs() {
		path := filepath.Join(dir, program+".toml")
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// NewConfigFile is where a program writes its first configuration file: for
// root in /etc/dominion, for others in their own configuration directory.
func NewConfigFile(program string) string {
	dirs := configDirs()
	if os.Geteuid() == 0 && os.Getenv("XDG_CONFIG_HOME") == "" {
		dirs = dirs[len(dirs)-1:]
	}
	return filepath.Join(dirs[0], program+".toml")
}

func configDirs() []string {
	dirs := []string{systemConfig}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return []string{filepath.Join(dir, "dominion"), systemConfig}
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		dirs = []string{filepath.Join(home, ".config", "dominion"), systemConfig}
	}
	return dirs
}

// DataDir is where Dominion keeps what must outlive a restart, and below it a
// part's own: root's is /var/lib/dominion, that of others dominion in UserData.
// Root's is in UserData too when XDG_DATA_HOME says where that is. In a systemd
// unit it is the unit's own StateDirectory, which is already the part's.
func DataDir(below ...string) (string, error) {
	if dir := os.Getenv("STATE_DIRECTORY"); filepath.IsAbs(dir) {
		return dir, nil
	}
	root := systemData
	if os.Geteuid() != 0 || os.Getenv("XDG_DATA_HOME") != "" {
		dir, err := UserData()
		if err != nil {
			return "", err
		}
		root = filepath.Join(dir, "dominion")
	}
	return filepath.Join(append([]string{root}, below...)...), nil
}
