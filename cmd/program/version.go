package program

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"dominion/topics"
)

// VersionLine says which build a program of that name is, for --version.
func VersionLine(name string) string {
	return fmt.Sprintf("%s %s, protocol %d, %s, %s/%s\n", name, Version(), topics.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// VersionCommand is `version`: the same line, or JSON.
func VersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "The version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !asJSON {
				_, err := fmt.Fprint(cmd.OutOrStdout(), VersionLine(cmd.Root().Name()))
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
				Version  string `json:"version"`
				Protocol int    `json:"protocol"`
				Go       string `json:"go"`
				OS       string `json:"os"`
				Arch     string `json:"arch"`
			}{Version(), topics.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
