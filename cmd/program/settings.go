package program

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dominion/configs"
)

// Setting is a key of a configuration that is also a flag.
type Setting struct {
	Key  string
	Kind string // what its value is, for the help: "addresses"; "" is a switch
	Help string
}

// AddFlags adds the flag of every setting, and --config, to a command.
func AddFlags(cmd *cobra.Command, settings []Setting) {
	cmd.Flags().Var(&text{kind: "file"}, "config", "the configuration file")
	for _, s := range settings {
		flag := cmd.Flags().VarPF(&text{kind: s.Kind}, strings.TrimPrefix(configs.FlagName(s.Key), "--"), "", s.Help)
		if s.Kind == "" {
			flag.NoOptDefVal = "true"
		}
	}
}

// text is a flag's value as it was written: configs reads it.
type text struct{ written, kind string }

func (t *text) String() string { return t.written }

func (t *text) Set(s string) error {
	t.written = s
	return nil
}

// Type is what the help shows as the value.
func (t *text) Type() string {
	if t.kind == "" {
		return "bool"
	}
	return t.kind
}

// Load fills a configuration from the file that --config or <prefix>_CONFIG_FILE
// names, the environment (variables that begin with prefix) and the command's
// flags. What is wrong is an Exit with BadUsage that names every fault.
func Load(cmd *cobra.Command, v any, prefix string, settings []Setting) (*configs.File, error) {
	return load(cmd, v, prefix, settings, "")
}

// LoadFlags is Load without any file: for commands whose settings are not those
// of the program's file.
func LoadFlags(cmd *cobra.Command, v any, prefix string, settings []Setting) error {
	environ := slices.DeleteFunc(os.Environ(), func(assignment string) bool {
		return strings.HasPrefix(assignment, prefix+"_CONFIG_FILE=")
	})
	src := configs.Source{EnvPrefix: prefix, Environ: environ, Flags: flagsOf(cmd, settings)}
	if _, err := configs.Load(v, src); err != nil {
		return &Exit{BadUsage, err}
	}
	return nil
}

// load is Load, with the file that is read when none is named.
func load(cmd *cobra.Command, v any, prefix string, settings []Setting, unnamed string) (*configs.File, error) {
	src := configs.Source{EnvPrefix: prefix, Environ: os.Environ(), Flags: flagsOf(cmd, settings)}
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		src.Path, src.PathFrom = f.Value.String(), "--config"
	} else if os.Getenv(prefix+"_CONFIG_FILE") == "" {
		src.Path = unnamed
	}
	file, err := configs.Load(v, src)
	if err != nil {
		return nil, &Exit{BadUsage, err}
	}
	return file, nil
}

// flagsOf are the flags that the user did set, by their keys.
func flagsOf(cmd *cobra.Command, settings []Setting) map[string]string {
	keys, set := map[string]string{}, map[string]string{}
	for _, s := range settings {
		keys[strings.TrimPrefix(configs.FlagName(s.Key), "--")] = s.Key
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if key, ok := keys[f.Name]; ok {
			set[key] = f.Value.String()
		}
	})
	return set
}

// BrokerURL is a broker's address with its login: the user's name and the
// first line of the password file are put into the address, unless it has its
// own. An address without a scheme is one of mqtt.
func BrokerURL(broker, username, passwordFile string) (string, error) {
	if broker != "" && !strings.Contains(broker, "://") {
		broker = "mqtt://" + broker
	}
	if username == "" && passwordFile == "" {
		return broker, nil
	}
	u, err := url.Parse(broker)
	if err != nil {
		return broker, nil // the client says what is wrong with it
	}
	if u.User != nil && u.User.Username() != "" && username == "" {
		username = u.User.Username()
	}
	if username == "" {
		return "", fmt.Errorf("password_file is given, but no username (write username, or mqtt://user@host)")
	}
	u.User = url.User(username)
	if passwordFile != "" {
		password, err := firstLine(passwordFile)
		if err != nil {
			return "", err
		}
		u.User = url.UserPassword(username, password)
	}
	return u.String(), nil
}

func firstLine(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the password file: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("password file %s: its first line is empty (write the password there)", path)
	}
	return line, nil
}

// Redacted is a broker's address for people: without its password.
func Redacted(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return "an unreadable address"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}
