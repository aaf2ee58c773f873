// Package demo is a whole house on one machine, to look at: a leader and three
// agents as processes of their own, real services started by make, and a
// screen that tells what happens.
//
// Nothing in it is played. The parent (Run) starts `dominion serve` and
// `dominion domain` with settings that it writes into a folder of its own, and
// tells what it hears on the bus; where a service runs is the coordinator's
// choice. What the services do stands in the package programs.
//
// Nothing outlives it either. The leader and the agents read a pipe that ends
// with the parent (--until-eof), the services wait for the lock of a file that the
// parent holds, so that even kill -9 of any of them leaves no process behind.
package demo
