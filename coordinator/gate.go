package coordinator

import (
	"time"

	"dominion/topics"
)

// Gate is who decides which machines belong to the house. A call may take up
// to two seconds, and is made by one goroutine.
type Gate interface {
	// Forget ends a node's account at once, its connections with it, and so
	// that their wills are published before it returns. Nil for an unknown node.
	Forget(topics.Node) error
	// Accept lets a machine in that asks in the join window.
	Accept(topics.Node) error
	// Reject turns such a machine away.
	Reject(topics.Node) error
	// Window opens the join window for so long; 0 closes it.
	Window(time.Duration) error
}

// Notice is what the wiring tells the house: an alert that opens or is
// solved, an event, or both.
type Notice struct {
	ID    string        // of the alert; "": the notice has none
	Alert *topics.Alert // nil clears ID
	For   time.Duration // how long the alert stands; 0: until it is cleared
	// What, if not empty, is told once as coordinator/event/<What>/<Subject>,
	// with Text for people. What is no name in Subject is made one.
	What, Subject, Text string
}
