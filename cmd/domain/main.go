// The runtime would look each second whether it was given other processors.
//go:debug updatemaxprocs=0

// Command domain is the device agent: one runs on each machine of a house. It
// is `dominion domain` without the leader's broker and store, small enough for
// the smallest machines.
package main

import (
	"os"
	"runtime/debug"

	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
)

// garbage is how much, in percent of what lives, may wait to be collected. The
// runtime's own 100 lets the heap grow to 4 MiB first, when less than 1 MiB of it
// lives: this is 2 MiB less with 10 services, and takes no measurable time, since
// an agent makes little garbage (go run ./bench/agent). GOGC says otherwise.
const garbage = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	os.Exit(program.Main(agent.Command()))
}
