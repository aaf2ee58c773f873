package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
)

// keepSettings writes what join was told by flags into the agent's own file, so
// that the agent has it at every start. A file that is there is its owner's:
// then it is said what to add.
func (j join) keepSettings(cmd *cobra.Command) {
	lines := j.settled(cmd)
	if lines == "" {
		return
	}
	path := j.file.Path()
	if path == "" {
		path = program.NewConfigFile("domain")
		err := writeNew(path, "# Written by "+j.command+"; all that can stand here: dominion example agent\n"+lines)
		if err == nil {
			fmt.Fprintf(j.says, "Its settings are in %s.\n", path)
			return
		}
		if !errors.Is(err, fs.ErrExist) {
			fmt.Fprintf(j.says, "Its settings cannot be stored: %v\n", err)
		}
	}
	fmt.Fprintf(j.says, "So that they are not only for now, see that these lines stand in %s:\n%s", path, lines)
}

// settled is what flags said that should stay, as TOML.
func (j join) settled(cmd *cobra.Command) string {
	var b strings.Builder
	changed := cmd.Flags().Changed
	if changed("name") && j.file.Path() != "" { // else its membership knows it
		fmt.Fprintf(&b, "name = %q\n", j.config.Name)
	}
	if changed("traits") {
		quoted := make([]string, 0, len(j.config.Traits))
		for _, t := range j.config.Traits {
			quoted = append(quoted, fmt.Sprintf("%q", t))
		}
		fmt.Fprintf(&b, "traits = [%s]\n", strings.Join(quoted, ", "))
	}
	data, err := filepath.Abs(j.config.Data)
	if err != nil {
		data = j.config.Data
	}
	services, err := filepath.Abs(j.config.ServicesDir)
	if err != nil {
		services = j.config.ServicesDir
	}
	for _, s := range []struct{ flag, key, value string }{
		{"services-dir", "services_dir", services},
		{"data", "data", data},
		{"address", "address", j.config.Address},
		{"log-level", "log_level", j.config.LogLevel},
	} {
		if changed(s.flag) {
			fmt.Fprintf(&b, "%s = %q\n", s.key, s.value)
		}
	}
	return b.String()
}

// writeNew writes a file that is not there yet.
func writeNew(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
