// Package coordinator decides what runs where, and says so on the bus.
//
// It has the shape of every room: the bus is folded into a house.House, Plan
// decides as a pure function over a View of plain values, and Run acts, in
// one goroutine. What it writes is a set of retained documents that follows
// from the plan; Run publishes the differences. Nothing that it needs is kept
// elsewhere than on the bus but the house's identity, the term, the names of
// the domains and the operator's words, which its data directory holds too.
package coordinator
