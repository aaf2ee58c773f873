// Package configs reads a program's settings, strictly, from one TOML file, the environment and the command line's flags
// into a Config struct of the caller's.
//
// The rooms of Dominion declare and check their own Config structs and know nothing of TOML; the programs in cmd hand a
// pointer to [Load]. What is wrong is reported all at once, each with its place and a remedy:
//
//	house.toml:12: services.lights: unknown key "dependancies" (dependencies?)
//	house.toml:15: lost_after: 60 has no unit (write "60s", or another unit: ms, s, m, h)
//	DOMINION_BOOT_GRACE: wants a duration, is "soon" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)
//	--instances: wants a whole number, is "many"
//
// # Keys
//
// A key is a field with a `toml:"name"` tag; fields without one (and those tagged "-") are no settings. An embedded struct
// without a tag gives its keys to the struct around it. Keys are case-sensitive. A field may be
//
//   - a string, a boolean, a whole number, a floating-point number, or a named type of these;
//   - a time.Duration (or [Duration]), which insists on a unit in text: "5s", never 5;
//   - anything with UnmarshalText on its pointer, which is given the text of a TOML string;
//   - a slice of these, a struct (a table), a slice of structs (an array of tables), a map with string keys (a table whose
//     keys are names, as in [services.NAME]), a pointer to any of these (nil: not said), or any.
//
// # Environment and flags
//
// Every key that one line of text can hold (no map, no slice of tables) can also be set in the environment and by a flag.
// Both names come from the key: log.level with the prefix DOMINION is DOMINION_LOG_LEVEL (see [EnvName]) and --log-level
// (see [FlagName]). A list is written with commas: DOMINION_LISTEN=127.0.0.1:1883,192.168.1.2:1883. An empty variable
// counts as not set; variables that belong to no key are somebody else's. A flag counts even when empty.
//
// # Checks
//
// Load knows types, not meanings. A room checks the meaning of its own Config in a method that takes what [File.Errorf] is,
// so that it can point at the line without knowing this package:
//
//	func (c Config) Check(errorf func(key, format string, args ...any) error) error {
//		…
//		bad = append(bad, errorf("services.lights.priority", "service %q: unknown priority %q (required?)", …))
//		…
//		return errors.Join(bad...)
//	}
//
// and the program joins the rooms' errors with [Join], which sorts them by line.
//
// # Precedence
//
// A flag wins over the environment, the environment over the file, the file over what the struct held before. What wins
// replaces the whole value: lists are never appended to. A map is filled name by name.
package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Source says where settings come from. The zero Source has none: Load then leaves the struct as it is.
type Source struct {
	// Path is the file. If it is empty, the variable <EnvPrefix>_CONFIG_FILE names it; if that is empty too, there is none.
	Path string
	// PathFrom says who named Path ("--config"), for the error when it cannot be read. May be empty.
	PathFrom string
	// EnvPrefix begins the names of the variables, without the underscore: "DOMINION". Empty: the environment is not read.
	EnvPrefix string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Flags holds the flags that the user did set, by key ("log.level"), as text.
	Flags map[string]string
}

// Load fills the struct that v points to from the file, then the environment, then the flags, and returns what it remembers
// of their places. If anything is wrong, it returns a nil File, leaves the struct as it was, and returns every error found,
// in the order of the file's lines, as one [Errors]. An error that is none of the user's (v is not a pointer to a struct, a
// field has a type that no setting can have, a flag has no key) begins with "configs:" and stands alone.
func Load(v any, src Source) (*File, error) {
	target, settings, err := schemaOf(v)
	if err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(src.Flags) {
		if _, ok := settings.leaf(key); !ok {
			return nil, fmt.Errorf("configs: flag %s: no key %q in %s that one line of text can hold", FlagName(key), key, target.Type())
		}
	}
	env := variables(src)
	path, from := src.Path, src.PathFrom
	if path == "" && src.EnvPrefix != "" {
		from = src.EnvPrefix + "_CONFIG_FILE"
		path = env[from]
	}
	d := &decoder{file: &File{path: path, set: map[string]string{}}, known: settings}
	work := reflect.New(target.Type()).Elem()
	work.Set(target)
	if path != "" {
		table, root, errs := read(path, from)
		d.errs = append(d.errs, errs...)
		d.file.lines = root.flatten()
		if table != nil {
			d.table(table, work, place{node: root})
		}
	}
	d.environment(work, src.EnvPrefix, env)
	d.flags(work, src.Flags)
	if err := Join(d.errs...); err != nil {
		return nil, err
	}
	target.Set(work)
	return d.file, nil
}

// Keys lists the keys that v, a pointer to a struct, knows, sorted. NAME stands for the names in a map, [] for the tables of an array:
// "listen", "services.NAME.priority", "tunnels[].port".
func Keys(v any) ([]string, error) {
	_, settings, err := schemaOf(v)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(settings))
	for _, s := range settings {
		keys = append(keys, s.key)
	}
	slices.Sort(keys)
	return keys, nil
}

// EnvName is the variable that sets a key: EnvName("DOMINION", "log.level") is "DOMINION_LOG_LEVEL".
func EnvName(prefix, key string) string {
	return prefix + "_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// FlagName is the flag that sets a key, with its dashes: FlagName("log.level") is "--log-level".
func FlagName(key string) string {
	return "--" + strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

func variables(src Source) map[string]string {
	if src.EnvPrefix == "" {
		return nil
	}
	env := make(map[string]string, len(src.Environ))
	for _, assignment := range src.Environ {
		if name, value, ok := strings.Cut(assignment, "="); ok {
			env[name] = value
		}
	}
	return env
}
