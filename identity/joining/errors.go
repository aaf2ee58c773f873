package joining

import (
	"time"

	"dominion/topics"
)

// Why says why a leader refused, for programs.
type Why string

// Reasons to refuse.
const (
	WrongCode    Why = "wrong"    // wrong, expired, voided, or another house's
	Used         Why = "used"     // the code has brought another machine in
	NoInvitation Why = "none"     // no code is open at this house
	NameInUse    Why = "name"     // another machine has the name (*identity.NameTaken at the client)
	WindowClosed Why = "closed"   // the join window is not open
	Rejected     Why = "rejected" // the owner said no
	Busy         Why = "busy"     // too many tries at once, here or at all
	LeaderDisk   Why = "disk"     // the leader cannot write to its disk
	BadRequest   Why = "bad"      // the leader cannot read what was sent
	Stale        Why = "stale"    // took too long, or the leader restarted meanwhile
	Stranger     Why = "stranger" // no certificate of this house (Renew)
	LeaderFault  Why = "fault"    // something at the leader; its log says what
)

// Refusal is a leader that said no. Its text says what to do.
type Refusal struct {
	Why   Why
	Door  string         // host:port
	House topics.HouseID // of the leader there
	Name  string         // of that house
	Node  topics.Node    // of Used: who came in with the code
	Wait  time.Duration  // of Busy: when to try again
}

func (e *Refusal) Error() string { return "" }

// NotDominion is an address where something answers that is no leader of a house.
type NotDominion struct {
	Door string
	Err  error
}

func (e *NotDominion) Error() string { return "" }

func (e *NotDominion) Unwrap() error { return e.Err }

// BrokenAnswer is an answer that ended early, or was changed on its way.
type BrokenAnswer struct {
	Door string
	Err  error
}

func (e *BrokenAnswer) Error() string { return "" }

func (e *BrokenAnswer) Unwrap() error { return e.Err }
