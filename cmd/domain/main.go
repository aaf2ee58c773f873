// Command domain is the device agent: one runs on each machine of a house. It
// is `dominion domain` without the leader's broker and store, small enough for
// the smallest machines.
package main

import (
	"os"

	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
)

func main() { os.Exit(program.Main(agent.Command())) }
