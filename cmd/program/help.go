package program

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"
)

// columns is how wide what is for people may be.
const columns = 80

// WrapHelp keeps the flags of a command and of all below it within 80 columns.
// It does without cobra's templates: they would make domain larger by a fourth.
func WrapHelp(cmd *cobra.Command) {
	usage := new(cobra.Command).UsageFunc() // cobra's own
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		var text bytes.Buffer
		out := c.OutOrStderr()
		c.SetOut(&text)
		err := usage(c)
		c.SetOut(out)
		if err != nil {
			return err
		}
		wrapped := text.String()
		if flags := c.LocalFlags(); flags.HasAvailableFlags() {
			wrapped = strings.Replace(wrapped, strings.TrimRight(flags.FlagUsages(), "\n"), strings.TrimRight(flags.FlagUsagesWrapped(columns), "\n"), 1)
		}
		_, err = out.Write([]byte(wrapped))
		return err
	})
}
