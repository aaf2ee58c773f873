// Package device is the agent of one machine: it keeps the services running
// that the house wants here, and reports them.
//
// What should run comes as one retained document; it is stored before it is
// acted on, and the agent runs what was stored while no leader is heard. One
// goroutine, Run's, owns all state: it folds what it hears, asks Plan (pure)
// what to do, and hands each start to a goroutine of its own that tells it
// what happened. Services run by make or by a command of their own, in a
// process group of their own, and outlive the agent: a ledger lets the next
// one adopt or end them, so that there are never two copies.
package device
