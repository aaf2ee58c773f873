package joining

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"dominion/topics"
)

// Why says why a leader refused, for programs.
type Why string

// Reasons to refuse.
const (
	WrongCode    Why = "wrong"    // wrong, expired, voided, or another house's
	Used         Why = "used"     // the code has served another machine
	NoInvitation Why = "none"     // no code is open at this house
	NameInUse    Why = "name"     // another machine has the name (*identity.NameTaken at the newcomer)
	Member       Why = "member"   // the window does not replace the key of a machine that is in
	WindowClosed Why = "closed"   // the join window is not open
	Rejected     Why = "rejected" // the owner said no
	Busy         Why = "busy"     // too many tries at once, of this address or of all
	LeaderDisk   Why = "disk"     // the leader cannot write to its disk
	BadRequest   Why = "bad"      // the leader cannot read what was sent, or it was changed on its way
	OtherVersion Why = "version"  // the other side speaks another version of the protocol
	Stale        Why = "stale"    // it took too long, or the leader restarted meanwhile
	Stranger     Why = "stranger" // no certificate that counts in this house (Renew)
	LeaderFault  Why = "fault"    // something at the leader; its log says what
)

// Refusal is a leader that said no. Its text says what to do.
type Refusal struct {
	Why   Why
	Door  string         // host:port
	House topics.HouseID // of the leader there, as it says; may be empty
	Name  string         // of that house
	Node  topics.Node    // of Used: who came in with the code, if anybody; of Member: the name that is in use
	Wait  time.Duration  // of Busy: when to try again
}

// house names what is at the door.
func (e *Refusal) house() string {
	if e.House == "" {
		return "the leader at " + e.Door
	}
	return fmt.Sprintf("the house %q (%s) at %s", e.Name, e.House, e.Door)
}

func (e *Refusal) Error() string {
	switch e.Why {
	case WrongCode:
		return e.house() + " does not know this code: it is wrong, used, expired or another house's " +
			"(compare it with what dominion invite printed, and the house with dominion status there; --leader HOST names another leader)"
	case Used:
		return fmt.Sprintf("the code was used by %s, and serves one machine (dominion invite makes another)", cmp.Or(string(e.Node), "another machine"))
	case NoInvitation:
		return e.house() + " has no code open: it expired, had too many wrong tries, or is another house's (dominion invite makes one; --leader HOST names another leader)"
	case WindowClosed:
		return e.house() + " has its join window closed (dominion join-window 10m opens it)"
	case Member:
		return fmt.Sprintf("%s has this machine already, as %s, and the window gives it no other key: use a code (dominion invite there), or have it forgotten first (dominion forget %[2]s)", e.house(), e.Node)
	case Rejected:
		return e.house() + " said no: its owner rejected this machine"
	case Busy:
		return fmt.Sprintf("%s has had too many tries at once: try again in %v", e.house(), max(e.Wait, time.Second))
	default:
		return e.technical()
	}
}

// technical is what a person can do less about.
func (e *Refusal) technical() string {
	switch e.Why {
	case LeaderDisk:
		return e.house() + " cannot write to its disk (is it full? df -h there); nothing was changed here, try again then"
	case BadRequest:
		return e.house() + " could not read what this machine sent: something between them changes it, or the programs differ (domain version, dominion version)"
	case OtherVersion:
		return e.house() + " speaks another version of the joining protocol: update the older of domain and dominion"
	case Stale:
		return e.house() + " no longer knows of this try: it took too long, or the leader restarted (try again)"
	case Stranger:
		return e.house() + " does not know this machine's certificate: it was forgotten or has joined again (dominion invite lets it in)"
	default:
		return e.house() + " could not let this machine in; its log says why (journalctl -u dominion)"
	}
}

// NotDominion is an address where something answers that is no leader of a house.
type NotDominion struct {
	Door string
	Err  error
}

func (e *NotDominion) Error() string {
	why := e.Err
	var broken *BrokenAnswer
	if errors.As(why, &broken) {
		why = broken.Err
	}
	return fmt.Sprintf("what answers at %s is not a leader's HTTPS port (8443, if it was not changed): %v (dominion status shows the port there)", e.Door, why)
}

func (e *NotDominion) Unwrap() error { return e.Err }

// BrokenAnswer is an answer that ended early, or was changed on its way.
type BrokenAnswer struct {
	Door string
	Err  error
}

func (e *BrokenAnswer) Error() string {
	return fmt.Sprintf("the answer of the leader at %s ended early or was changed on its way (%v); nothing was changed here, try again", e.Door, e.Err)
}

func (e *BrokenAnswer) Unwrap() error { return e.Err }
