package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/agent"
)

// TestHelpFitsTheScreen holds that no line of any command's help is wider than
// 80 columns.
func TestHelpFitsTheScreen(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, program := range []func() *cobra.Command{root, agent.Command} {
		for _, path := range paths(program()) {
			var out bytes.Buffer
			cmd := program()
			cmd.SetOut(&out)
			cmd.SetArgs(append(path[1:], "--help"))
			if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "Usage:\n  "+strings.Join(path, " ")) {
				t.Errorf("%s --help: %v\n%s", strings.Join(path, " "), err, &out)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%s --help: %d columns: %s", strings.Join(path, " "), n, line)
				}
			}
		}
	}
}

// paths are the words that name each command of a program.
func paths(cmd *cobra.Command) [][]string {
	all := [][]string{strings.Fields(cmd.CommandPath())}
	for _, sub := range cmd.Commands() {
		all = append(all, paths(sub)...)
	}
	return all
}
