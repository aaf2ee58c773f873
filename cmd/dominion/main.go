// Command dominion is the leader of a house, and its command line.
package main

import (
	"os"

	"dominion/cmd/program"
)

func main() { os.Exit(program.Main(root())) }
